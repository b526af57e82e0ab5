//! Records to commit, with everything that a test does not care about filled in.

use flowstone_core::io::{Address, Manifest, Stored};
use flowstone_core::partition::{PartitionSet, PartitionSpace};
use flowstone_core::run::{RunCounts, RunState};
use flowstone_core::store::{
    ChunkClaim, ChunkProgress, ChunkState, LineageInput, Materialization, Record, RunRow, StepFailure, Store,
};
use flowstone_core::{
    AssetId, AssetKey, ChunkNo, CodeVersion, DataVersion, Error, ErrorKind, Fence, Incarnation, Result, RunId, Version,
};
use flowstone_store::SqliteStore;
use jiff::Timestamp;
use tempfile::TempDir;
use uuid::Uuid;

/// The first run of a test.
pub(crate) const RUN: RunId = run_id(1);
pub(crate) const OLD_CODE: CodeVersion = CodeVersion(0xabc);
pub(crate) const NEW_CODE: CodeVersion = CodeVersion(u128::MAX);

pub(crate) const fn run_id(no: u128) -> RunId {
    RunId(Uuid::from_u128(no))
}

/// A moment of the tests' own clock.
pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

pub(crate) fn set(partitions: impl IntoIterator<Item = u64>) -> PartitionSet {
    partitions.into_iter().collect()
}

/// A store in a folder of its own, which lives as long as what is given with it.
pub(crate) async fn fresh() -> (TempDir, SqliteStore) {
    let state = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(state.path()).await.unwrap();
    (state, store)
}

/// Declares `count` assets that are not partitioned, as far as the store knows.
pub(crate) async fn declare(store: &dyn Store, count: usize) -> Vec<AssetId> {
    let assets: Vec<_> = (0..count)
        .map(|no| (AssetKey::new(format!("asset-{no}")).unwrap(), PartitionSpace::Unit))
        .collect();
    store.declare_assets(&assets).await.unwrap()
}

/// Commits a group of which every record must be taken.
pub(crate) async fn take(store: &dyn Store, records: &[Record]) {
    for verdict in store.commit(records).await.unwrap() {
        verdict.unwrap();
    }
}

/// The kinds of the verdicts, `None` for what was taken.
pub(crate) fn kinds(verdicts: &[Result<()>]) -> Vec<Option<ErrorKind>> {
    verdicts
        .iter()
        .map(|verdict| verdict.as_ref().err().map(Error::kind))
        .collect()
}

pub(crate) fn run_row(run: RunId) -> RunRow {
    RunRow {
        run,
        pipeline: "flights".into(),
        idempotency_key: None,
        request: b"request".to_vec().into(),
        plan: None,
        incarnation: Incarnation::NONE,
        state: RunState::Queued,
        created_at: at(0),
        moved_at: at(0),
        counts: RunCounts::default(),
        error: None,
    }
}

pub(crate) fn created(run: RunId) -> Record {
    Record::RunCreated(run_row(run))
}

pub(crate) fn moved(run: RunId, to: RunState) -> Record {
    let counts = RunCounts {
        total: 3,
        succeeded: 2,
        failed: 1,
        ..RunCounts::default()
    };
    Record::RunMoved {
        run,
        to,
        at: at(1),
        counts,
        error: None,
    }
}

pub(crate) fn claim(asset: AssetId, chunk: u64, fence: u64, steps: PartitionSet) -> Record {
    let (chunk, fence) = (ChunkNo(chunk), Fence(fence));
    Record::ChunkClaimed(ChunkClaim {
        run: RUN,
        asset,
        chunk,
        fence,
        steps,
        crashes: 0,
        at: at(1),
    })
}

pub(crate) fn progress(asset: AssetId, chunk: u64, fence: u64) -> ChunkProgress {
    ChunkProgress {
        run: RUN,
        asset,
        chunk: ChunkNo(chunk),
        fence: Fence(fence),
        materialized: Vec::new(),
        inputs: Vec::new(),
        unchanged: PartitionSet::new(),
        skipped: PartitionSet::new(),
        failed: Vec::new(),
        outdated: Vec::new(),
        state: ChunkState::Running,
        at: at(2),
    }
}

/// Progress that makes `partitions` at `version`.
pub(crate) fn making(
    asset: AssetId,
    (chunk, fence): (u64, u64),
    partitions: &PartitionSet,
    version: u64,
) -> ChunkProgress {
    let materialized = partitions
        .iter()
        .map(|partition| made(asset, partition, version))
        .collect();
    ChunkProgress {
        materialized,
        ..progress(asset, chunk, fence)
    }
}

pub(crate) fn made(asset: AssetId, partition: u64, version: u64) -> Materialization {
    Materialization {
        asset,
        partition,
        version: Version(version),
        run: RUN,
        stored: Stored {
            address: Address::Inline(format!("{partition}@{version}").into_bytes().into()),
            data_version: DataVersion::of(&partition.to_le_bytes()),
            bytes: 8,
            rows: partition.is_multiple_of(2).then_some(partition),
            manifest: partition.is_multiple_of(3).then(|| Manifest::of(&partition).unwrap()),
        },
        code_version: OLD_CODE,
        attempt: 1,
        started_at: at(1),
        ended_at: at(2),
    }
}

pub(crate) fn failure(asset: AssetId, partition: u64, is_final: bool) -> StepFailure {
    let error = Error::permanent("it broke").fix("mend it").to_record();
    StepFailure {
        asset,
        partition,
        attempt: 1,
        is_final,
        error,
        at: at(2),
    }
}

pub(crate) fn input(asset: AssetId, partitions: (u64, u64), upstream: AssetId, from: (u64, u64)) -> LineageInput {
    LineageInput {
        asset,
        partitions,
        version: Version(1),
        upstream,
        from,
        one_to_one: false,
        upstream_version: Version(1),
    }
}
