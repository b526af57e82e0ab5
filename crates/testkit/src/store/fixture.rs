//! Records to commit, as short as a test can say them.

use flowstone_core::io::{Address, Stored};
use flowstone_core::partition::{PartitionSet, PartitionSpace, StaticSpace};
use flowstone_core::run::{RunCounts, RunState};
use flowstone_core::store::{
    ChunkClaim, ChunkProgress, ChunkState, LineageInput, Materialization, Record, RunRow, StepFailure, Store,
};
use flowstone_core::{
    AssetId, AssetKey, ChunkNo, CodeVersion, DataVersion, Error, ErrorKind, ErrorRecord, Fence, Incarnation, Result,
    RunId, Version,
};
use jiff::Timestamp;
use uuid::Uuid;

/// A moment; stores keep milliseconds.
pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::new(1_704_067_200 + second, 123_000_000).expect("a moment of this century")
}

/// Runs sort by number.
pub(super) fn run_id(number: u64) -> RunId {
    RunId(Uuid::from_u128((u128::from(number) << 80) | 0x7000_8000_0000_0000_0000))
}

pub(super) fn key(name: &str) -> AssetKey {
    AssetKey::new(name).expect("a name")
}

pub(super) fn letters() -> PartitionSpace {
    PartitionSpace::Static(StaticSpace::new(["a", "b", "c"]).expect("a space"))
}

/// Declares so many assets.
pub(super) async fn assets<const N: usize>(store: &impl Store) -> [AssetId; N] {
    let rows: Vec<_> = (0..N)
        .map(|number| (key(&format!("asset_{number}")), letters()))
        .collect();
    let ids = store.declare_assets(&rows).await.expect("assets are declared");
    ids.try_into().expect("one id for each asset")
}

pub(super) fn run_row(run: RunId) -> RunRow {
    RunRow {
        run,
        pipeline: "test".to_owned(),
        idempotency_key: None,
        request: bytes::Bytes::from_static(b"request"),
        plan: None,
        incarnation: Incarnation::NONE,
        state: RunState::Queued,
        created_at: at(0),
        moved_at: at(0),
        counts: RunCounts::default(),
        error: None,
    }
}

/// Creates a run that is on its way.
pub(super) async fn running(store: &impl Store, number: u64) -> RunId {
    let run = run_id(number);
    commit(
        store,
        &[Record::RunCreated(run_row(run)), moved(run, RunState::Running)],
    )
    .await;
    run
}

pub(super) fn moved(run: RunId, to: RunState) -> Record {
    Record::RunMoved {
        run,
        to,
        at: at(1),
        counts: RunCounts::default(),
        error: None,
    }
}

pub(super) fn taken(run: RunId, incarnation: Incarnation) -> Record {
    Record::RunTaken { run, incarnation }
}

pub(super) fn claim(run: RunId, asset: AssetId, chunk: u64, fence: u64, steps: PartitionSet) -> ChunkClaim {
    ChunkClaim {
        run,
        asset,
        chunk: ChunkNo(chunk),
        fence: Fence(fence),
        steps,
        crashes: 0,
        at: at(2),
    }
}

pub(super) fn claimed(run: RunId, asset: AssetId, chunk: u64, fence: u64, steps: PartitionSet) -> Record {
    Record::ChunkClaimed(claim(run, asset, chunk, fence, steps))
}

/// Progress with nothing in it, by the holder of `fence`.
pub(super) fn progress(run: RunId, asset: AssetId, chunk: u64, fence: u64) -> ChunkProgress {
    ChunkProgress {
        run,
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
        at: at(3),
    }
}

pub(super) fn made(run: RunId, asset: AssetId, partition: u64, version: u64) -> Materialization {
    Materialization {
        asset,
        partition,
        version: Version(version),
        run,
        stored: stored(&format!("{}/{partition}/{version}", asset.0)),
        code_version: CodeVersion(1),
        attempt: 1,
        started_at: at(2),
        ended_at: at(3),
    }
}

pub(super) fn stored(place: &str) -> Stored {
    Stored {
        address: Address::Location(place.into()),
        data_version: DataVersion::of(place.as_bytes()),
        bytes: place.len() as u64,
        rows: None,
        manifest: None,
    }
}

pub(super) fn failure(asset: AssetId, partition: u64, attempt: u32, is_final: bool) -> StepFailure {
    StepFailure {
        asset,
        partition,
        attempt,
        is_final,
        error: error("it failed"),
        at: at(4),
    }
}

pub(super) fn error(text: &str) -> ErrorRecord {
    Error::new(ErrorKind::User, text).fix("mend it").to_record()
}

/// Each of `partitions` was made from its counterpart, from `from` on.
pub(super) fn one_to_one(
    (asset, partitions, version): (AssetId, (u64, u64), u64),
    (upstream, from, upstream_version): (AssetId, u64, u64),
) -> LineageInput {
    let from = (from, from + partitions.1 - partitions.0);
    LineageInput {
        asset,
        partitions,
        version: Version(version),
        upstream,
        from,
        one_to_one: true,
        upstream_version: Version(upstream_version),
    }
}

/// Each of `partitions` was made from all of `from`.
pub(super) fn many(
    (asset, partitions, version): (AssetId, (u64, u64), u64),
    (upstream, from, upstream_version): (AssetId, (u64, u64), u64),
) -> LineageInput {
    LineageInput {
        asset,
        partitions,
        version: Version(version),
        upstream,
        from,
        one_to_one: false,
        upstream_version: Version(upstream_version),
    }
}

pub(super) fn set(partitions: impl IntoIterator<Item = u64>) -> PartitionSet {
    partitions.into_iter().collect()
}

/// Commits records that are all taken.
pub(super) async fn commit(store: &impl Store, records: &[Record]) {
    for (record, verdict) in records.iter().zip(verdicts(store, records).await) {
        if let Err(error) = verdict {
            panic!("{record:?} is refused: {error}");
        }
    }
}

/// Commits records and gives the verdict on each.
pub(super) async fn verdicts(store: &impl Store, records: &[Record]) -> Vec<Result<()>> {
    let verdicts = store.commit(records).await.expect("the group is stored");
    assert_eq!(verdicts.len(), records.len(), "one verdict for each record");
    verdicts
}

/// Commits one record, which is refused.
pub(super) async fn refused(store: &impl Store, record: Record) -> ErrorKind {
    match verdicts(store, std::slice::from_ref(&record))
        .await
        .pop()
        .expect("one verdict")
    {
        Ok(()) => panic!("{record:?} is taken"),
        Err(error) => error.kind(),
    }
}

/// Claims a chunk and makes `partitions` at `version` with it, in one group.
pub(super) async fn make(
    store: &impl Store,
    (run, chunk): (RunId, u64),
    asset: AssetId,
    partitions: impl IntoIterator<Item = u64>,
    version: u64,
) {
    let partitions = set(partitions);
    let materialized = partitions
        .iter()
        .map(|partition| made(run, asset, partition, version))
        .collect();
    let progress = ChunkProgress {
        materialized,
        state: ChunkState::Ended,
        ..progress(run, asset, chunk, 1)
    };
    commit(
        store,
        &[
            claimed(run, asset, chunk, 1, partitions),
            Record::ChunkProgress(progress),
        ],
    )
    .await;
}
