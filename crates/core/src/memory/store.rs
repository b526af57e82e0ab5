//! The store's rules, stated over maps.

mod fan_out;
mod prune;
mod records;
mod redefine;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;

use self::fan_out::FanOuts;
use super::IdMap;
use crate::partition::{DynamicKey, DynamicSpace, PartitionKey, PartitionSet, PartitionSpace};
use crate::run::RunState;
use crate::store::{
    AssetRow, AssetStatus, ChunkRow, Event, FanOutFilter, FanOutRow, ItemClaim, ItemEnds, ItemFailure, LineageInput,
    Materialization, PageRow, Prune, Pruned, Record, Redefinition, RefusedRuns, RunFilter, RunRow, Segment,
    StepFailure, Store, StoreStats, Versions,
};
use crate::{AssetId, AssetKey, ChunkNo, FanOutId, Result, RunId, Version};

/// Keeps the ledger in memory, until it is dropped.
#[derive(Debug, Default)]
pub struct MemoryStore {
    kept: Mutex<Kept>,
}

type ChunkKey = (RunId, AssetId, ChunkNo);

#[derive(Debug, Default)]
struct Kept {
    assets: Vec<AssetRow>,
    ids: HashMap<AssetKey, AssetId>,
    runs: BTreeMap<RunId, RunRow>,
    /// The states of runs of which nothing else is left.
    forgotten: HashMap<RunId, RunState>,
    chunks: IdMap<ChunkKey, ChunkRow>,
    /// The versions of each partition, oldest first.
    materialized: IdMap<(AssetId, u64), Vec<Materialization>>,
    status: IdMap<AssetId, AssetStatus>,
    inputs: IdMap<AssetId, Vec<LineageInput>>,
    failures: HashMap<RunId, Failures>,
    fan_outs: FanOuts,
    events: Vec<Event>,
    sets: BTreeMap<String, DynamicSpace>,
}

/// The failed attempts of one run.
#[derive(Debug, Default)]
struct Failures {
    in_order: Vec<StepFailure>,
    attempts: HashSet<Attempt>,
}

type Attempt = (AssetId, u64, u32);

fn attempt_of(failure: &StepFailure) -> Attempt {
    (failure.asset, failure.partition, failure.attempt)
}

impl MemoryStore {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn set(&mut self, name: &str) -> Result<DynamicSpace> {
        if let Some(known) = self.sets.get(name) {
            return Ok(known.clone());
        }
        let set = DynamicSpace::new(name)?;
        self.sets.insert(name.to_owned(), set.clone());
        Ok(set)
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn is_durable(&self) -> bool {
        false
    }

    async fn declare_assets(&self, assets: &[(AssetKey, PartitionSpace)]) -> Result<Vec<AssetId>> {
        self.kept().declare(assets)
    }

    async fn redefine(&self, changes: &[Redefinition]) -> Result<Vec<AssetId>> {
        self.kept().redefine(changes)
    }

    async fn dynamic_set(&self, name: &str) -> Result<DynamicSpace> {
        self.kept().set(name)
    }

    async fn add_dynamic_keys(&self, set: &str, keys: &[PartitionKey], at: Timestamp) -> Result<Vec<u64>> {
        DynamicSpace::check_call(keys)?;
        let mut kept = self.kept();
        let space = kept.set(set)?;
        let mut indices = Vec::with_capacity(keys.len());
        for key in keys {
            let row = DynamicKey {
                index: space.find(key).unwrap_or(space.len()),
                key: key.clone(),
                added_at: at,
                retired_at: None,
            };
            indices.push(row.index);
            space.learn([row])?;
        }
        Ok(indices)
    }

    async fn retire_dynamic_keys(&self, set: &str, keys: &[PartitionKey], at: Timestamp) -> Result<Vec<u64>> {
        DynamicSpace::check_call(keys)?;
        let mut kept = self.kept();
        let space = kept.set(set)?;
        let indices: Vec<u64> = keys.iter().map(|key| space.index_of(key)).collect::<Result<_>>()?;
        let rows = indices.iter().filter_map(|index| space.entry(*index));
        let retired: Vec<_> = rows
            .map(|row| DynamicKey {
                retired_at: row.retired_at.or(Some(at)),
                ..row
            })
            .collect();
        space.learn(retired)?;
        Ok(indices)
    }

    async fn assets(&self) -> Result<Vec<AssetRow>> {
        let mut kept = self.kept();
        let mut rows = kept.assets.clone();
        for row in &mut rows {
            let mut known = BTreeMap::new();
            for set in row.space.dynamic_sets() {
                known.insert(set.name().to_owned(), kept.set(set.name())?);
            }
            row.space = row.space.with_sets(&mut |set| known[set.name()].clone());
        }
        Ok(rows)
    }

    async fn commit(&self, records: &[Record]) -> Result<Vec<Result<()>>> {
        let mut kept = self.kept();
        let mut refused = RefusedRuns::default();
        let verdicts = records
            .iter()
            .map(|record| refused.judge(record, || kept.apply(record)));
        Ok(verdicts.collect())
    }

    async fn statuses(&self, assets: &[AssetId]) -> Result<Vec<AssetStatus>> {
        let kept = self.kept();
        let status = |asset| kept.status.get(asset).cloned().unwrap_or_default();
        Ok(assets.iter().map(status).collect())
    }

    async fn heads(&self, asset: AssetId, partitions: &PartitionSet) -> Result<Vec<Materialization>> {
        let kept = self.kept();
        let head = |partition| {
            kept.materialized
                .get(&(asset, partition))
                .and_then(|all| all.last())
                .cloned()
        };
        Ok(partitions.iter().filter_map(head).collect())
    }

    async fn materializations(&self, asset: AssetId, versions: &Versions) -> Result<Vec<Materialization>> {
        let kept = self.kept();
        let mut found = Vec::new();
        for (version, partitions) in versions.iter() {
            let one = |partition| {
                let all = kept.materialized.get(&(asset, partition))?;
                all.iter().find(|made| made.version == version).cloned()
            };
            found.extend(partitions.iter().filter_map(one));
        }
        found.sort_unstable_by_key(|made| made.partition);
        Ok(found)
    }

    async fn materialization(
        &self,
        asset: AssetId,
        partition: u64,
        version: Option<Version>,
    ) -> Result<Option<Materialization>> {
        let kept = self.kept();
        let Some(all) = kept.materialized.get(&(asset, partition)) else {
            return Ok(None);
        };
        Ok(match version {
            Some(version) => all.iter().find(|made| made.version == version).cloned(),
            None => all.last().cloned(),
        })
    }

    async fn inputs_of(&self, asset: AssetId, partition: u64, version: Version) -> Result<Vec<LineageInput>> {
        let kept = self.kept();
        let all = kept.inputs.get(&asset).into_iter().flatten();
        Ok(all
            .filter(|input| input.version == version && input.upstream_of(partition).is_some())
            .copied()
            .collect())
    }

    async fn uses_of(&self, upstream: AssetId, partition: u64, version: Option<Version>) -> Result<Vec<LineageInput>> {
        let kept = self.kept();
        let all = kept.inputs.values().flatten();
        let matches = |input: &&LineageInput| {
            input.upstream == upstream
                && version.is_none_or(|version| input.upstream_version == version)
                && input.downstream_of(partition).is_some()
        };
        Ok(all.filter(matches).copied().collect())
    }

    async fn runs(&self, filter: RunFilter, count_max: usize) -> Result<Vec<RunRow>> {
        let kept = self.kept();
        Ok(match filter {
            RunFilter::All => kept.runs.values().rev().take(count_max).cloned().collect(),
            RunFilter::Open => kept
                .runs
                .values()
                .filter(|row| !row.state.is_terminal())
                .take(count_max)
                .cloned()
                .collect(),
        })
    }

    async fn run(&self, run: RunId) -> Result<Option<RunRow>> {
        Ok(self.kept().runs.get(&run).cloned())
    }

    async fn run_by_key(&self, idempotency_key: &str) -> Result<Option<RunRow>> {
        let kept = self.kept();
        let found = kept
            .runs
            .values()
            .find(|row| row.idempotency_key.as_deref() == Some(idempotency_key));
        Ok(found.cloned())
    }

    async fn chunks(&self, run: RunId) -> Result<Vec<ChunkRow>> {
        let kept = self.kept();
        let mut rows: Vec<ChunkRow> = kept
            .chunks
            .values()
            .filter(|row| row.claim.run == run)
            .cloned()
            .collect();
        rows.sort_by_key(|row| (row.claim.asset, row.claim.chunk));
        Ok(rows)
    }

    async fn failures(&self, run: RunId) -> Result<Vec<StepFailure>> {
        let kept = self.kept();
        let failures = kept.failures.get(&run);
        Ok(failures.map(|failures| failures.in_order.clone()).unwrap_or_default())
    }

    async fn events(&self, after: u64, count_max: usize) -> Result<Vec<Event>> {
        let kept = self.kept();
        Ok(kept
            .events
            .iter()
            .filter(|event| event.sequence > after)
            .take(count_max)
            .cloned()
            .collect())
    }

    async fn history(&self, asset: AssetId, partitions: &PartitionSet) -> Result<Vec<Materialization>> {
        let kept = self.kept();
        let all = partitions
            .iter()
            .filter_map(|partition| kept.materialized.get(&(asset, partition)));
        Ok(all.flatten().cloned().collect())
    }

    async fn fan_outs(&self, filter: FanOutFilter) -> Result<Vec<FanOutRow>> {
        Ok(self.kept().fan_outs.rows(filter))
    }

    async fn item_pages(&self, fan_out: FanOutId) -> Result<Vec<PageRow>> {
        Ok(self.kept().fan_outs.pages(fan_out))
    }

    async fn item_page(&self, fan_out: FanOutId, first: u64) -> Result<Option<PageRow>> {
        Ok(self.kept().fan_outs.page(fan_out, first))
    }

    async fn item_claims(&self, fan_out: FanOutId) -> Result<Vec<ItemClaim>> {
        Ok(self.kept().fan_outs.claims(fan_out))
    }

    async fn item_ends(&self, fan_out: FanOutId) -> Result<ItemEnds> {
        Ok(self.kept().fan_outs.ends(fan_out))
    }

    async fn segments(&self, fan_out: FanOutId, page: u64) -> Result<Vec<Segment>> {
        Ok(self.kept().fan_outs.segments(fan_out, page))
    }

    async fn item_failures(&self, fan_out: FanOutId, from: u64, count_max: usize) -> Result<Vec<ItemFailure>> {
        Ok(self.kept().fan_outs.failures(fan_out, from, count_max))
    }

    async fn run_state(&self, run: RunId) -> Result<Option<RunState>> {
        let kept = self.kept();
        let known = kept.runs.get(&run).map(|row| row.state);
        Ok(known.or_else(|| kept.forgotten.get(&run).copied()))
    }

    async fn prune(&self, prune: &Prune) -> Result<Pruned> {
        Ok(self.kept().prune(prune))
    }

    async fn stats(&self) -> Result<StoreStats> {
        let kept = self.kept();
        let materialized = kept.materialized.values().map(Vec::len).sum::<usize>();
        let inputs = kept.inputs.values().map(Vec::len).sum::<usize>();
        let counts = [
            ("asset", kept.assets.len()),
            ("run", kept.runs.len()),
            ("chunk", kept.chunks.len()),
            (
                "step_failure",
                kept.failures.values().map(|failures| failures.in_order.len()).sum(),
            ),
            ("materialization", materialized),
            ("lineage_input", inputs),
            ("event", kept.events.len()),
        ];
        let tables = counts
            .into_iter()
            .chain(kept.fan_outs.row_counts(|_| true))
            .map(|(name, rows)| (name.to_owned(), (rows as u64, None)))
            .collect();
        Ok(StoreStats {
            schema_version: 0,
            tables,
            bytes: 0,
            free_bytes: 0,
        })
    }
}
