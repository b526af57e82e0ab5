//! A ledger filled by hand.

use std::sync::atomic::{AtomicU64, Ordering};

use flowstone_core::io::{Address, Stored};
use flowstone_core::memory::MemoryStore;
use flowstone_core::partition::{PartitionSet, PartitionSpace, Partitions};
use flowstone_core::run::{RunCounts, RunState};
use flowstone_core::store::{
    ChunkClaim, ChunkProgress, ChunkState, LineageInput, Materialization, Record, RunRow, Store,
};
use flowstone_core::{AssetId, AssetKey, ChunkNo, CodeVersion, DataVersion, Fence, Incarnation, RunId, Version};
use flowstone_lineage::{Direction, LineageGraph, LineageQuery, downstream, upstream};
use jiff::Timestamp;

#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) store: MemoryStore,
    chunks: AtomicU64,
}

/// What something was made from: an asset, its partitions, their version.
#[derive(Clone, Copy)]
pub(crate) struct From(pub(crate) AssetId, pub(crate) (u64, u64), pub(crate) u64);

impl Ledger {
    pub(crate) async fn asset(&self, name: &str, partitions: impl Into<Partitions>) -> AssetId {
        let space: PartitionSpace = partitions.into().build().unwrap();
        let ids = self
            .store
            .declare_assets(&[(AssetKey::new(name).unwrap(), space)])
            .await
            .unwrap();
        ids[0]
    }

    /// Records that all of `partitions` were made from all of `inputs`.
    pub(crate) async fn made(&self, asset: AssetId, partitions: (u64, u64), version: u64, inputs: &[From]) {
        self.record(asset, partitions, version, inputs, false).await;
    }

    /// Records that each of `partitions` was made from its counterpart in each of `inputs`.
    pub(crate) async fn made_each(&self, asset: AssetId, partitions: (u64, u64), version: u64, inputs: &[From]) {
        self.record(asset, partitions, version, inputs, true).await;
    }

    async fn record(&self, asset: AssetId, partitions: (u64, u64), version: u64, inputs: &[From], one_to_one: bool) {
        let run: RunId = "018f4e5c-8c4e-7cc0-9c4b-3c7a5a6d2f10".parse().unwrap();
        let (chunk, fence) = (ChunkNo(self.chunks.fetch_add(1, Ordering::Relaxed)), Fence(1));
        let at = Timestamp::UNIX_EPOCH;
        let steps = PartitionSet::from_range(partitions.0..=partitions.1);
        let materialized = steps.iter().map(|partition| Materialization {
            asset,
            partition,
            version: Version(version),
            run,
            stored: Stored {
                address: Address::Location(format!("{asset}/{partition}/{version}").into()),
                data_version: DataVersion(0),
                bytes: 1,
                rows: None,
                manifest: None,
            },
            code_version: CodeVersion(0),
            attempt: 1,
            started_at: at,
            ended_at: at,
        });
        let inputs = inputs
            .iter()
            .map(|From(upstream, from, upstream_version)| LineageInput {
                asset,
                partitions,
                version: Version(version),
                upstream: *upstream,
                from: *from,
                one_to_one,
                upstream_version: Version(*upstream_version),
            });
        let progress = ChunkProgress {
            run,
            asset,
            chunk,
            fence,
            materialized: materialized.collect(),
            inputs: inputs.collect(),
            unchanged: PartitionSet::new(),
            skipped: PartitionSet::new(),
            failed: Vec::new(),
            outdated: Vec::new(),
            state: ChunkState::Ended,
            at,
        };
        let claim = ChunkClaim {
            run,
            asset,
            chunk,
            fence,
            steps,
            crashes: 0,
            at,
        };
        let mut records = vec![Record::ChunkClaimed(claim), Record::ChunkProgress(progress)];
        if self.store.run(run).await.unwrap().is_none() {
            records.insert(0, Record::RunCreated(asked_for(run, at)));
        }
        let verdicts = self.store.commit(&records).await.unwrap();
        verdicts.into_iter().collect::<Result<Vec<()>, _>>().unwrap();
    }

    pub(crate) async fn upstream(&self, query: &LineageQuery) -> LineageGraph {
        let graph = upstream(&self.store, query).await.unwrap();
        check(&graph, Direction::Upstream);
        graph
    }

    pub(crate) async fn downstream(&self, query: &LineageQuery) -> LineageGraph {
        let graph = downstream(&self.store, query).await.unwrap();
        check(&graph, Direction::Downstream);
        graph
    }
}

fn asked_for(run: RunId, at: Timestamp) -> RunRow {
    RunRow {
        run,
        pipeline: "test".to_owned(),
        idempotency_key: None,
        request: Default::default(),
        plan: None,
        incarnation: Incarnation::NONE,
        state: RunState::Queued,
        created_at: at,
        moved_at: at,
        counts: RunCounts::default(),
        error: None,
    }
}

/// What holds for every graph: the subject first, no two nodes that should be one, every other node on an edge.
fn check(graph: &LineageGraph, direction: Direction) {
    assert_eq!(graph.direction, direction);
    assert_eq!(graph.nodes[0].depth, 0);
    for (index, node) in graph.nodes.iter().enumerate() {
        let same_lane = |other: &&_| {
            let other: &flowstone_lineage::LineageNode = other;
            (other.asset, other.version) == (node.asset, node.version)
        };
        for other in graph.nodes[..index].iter().filter(same_lane) {
            let apart = other.partitions.1 + 1 < node.partitions.0 || node.partitions.1 + 1 < other.partitions.0;
            assert!(apart, "{} and {} should be one", node.label(), other.label());
        }
        let far = |edge: &flowstone_lineage::LineageEdge| match direction {
            Direction::Upstream => edge.upstream,
            Direction::Downstream => edge.downstream,
        };
        assert!(
            index == 0 || graph.edges.iter().any(|edge| far(edge) == index),
            "nothing leads to {}",
            node.label()
        );
    }
}
