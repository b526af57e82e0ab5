//! Random records: the SQLite ledger must answer as core's in-memory store does.

use flowstone_core::memory::MemoryStore;
use flowstone_core::run::RunState;
use flowstone_core::store::{AssetStatus, ChunkProgress, ChunkState, LineageInput, Record, RunFilter, RunRow, Store};
use flowstone_core::{AssetId, Incarnation, RunId, Version};
use flowstone_store::SqliteStore;
use proptest::prelude::*;

use super::samples::*;

const ASSETS: u32 = 3;
/// Partitions on both sides of the border between two stored pieces.
const PARTITIONS: [u64; 6] = [0, 1, 2, 65_535, 65_536, 65_540];

fn a_run() -> impl Strategy<Value = RunId> {
    (1..4_u128).prop_map(run_id)
}

fn some_partitions() -> impl Strategy<Value = Vec<u64>> {
    prop::sample::subsequence(PARTITIONS.to_vec(), 0..=PARTITIONS.len())
}

fn a_state() -> impl Strategy<Value = RunState> {
    prop::sample::select(RunState::ALL.to_vec())
}

fn a_progress() -> impl Strategy<Value = Record> {
    let chunk = (a_run(), 0..ASSETS, 0..2_u64, 1..4_u64, any::<bool>());
    let made = (some_partitions(), 1..5_u64, any::<bool>());
    let marks = (
        some_partitions(),
        some_partitions(),
        some_partitions(),
        0..ASSETS,
        some_partitions(),
    );
    (chunk, made, marks).prop_map(
        |((run, asset, chunk, fence, ends), (partitions, version, is_old), marks)| {
            let asset = AssetId(asset);
            let mut progress = making(asset, (chunk, fence), &set(partitions), version);
            progress.run = run;
            for made in &mut progress.materialized {
                made.run = run;
                made.code_version = if is_old { OLD_CODE } else { NEW_CODE };
            }
            let (unchanged, skipped, failed, outdated_asset, outdated) = marks;
            let mut unchanged = set(unchanged);
            unchanged.subtract(&progress.materialized.iter().map(|made| made.partition).collect());
            Record::ChunkProgress(ChunkProgress {
                inputs: progress
                    .materialized
                    .iter()
                    .map(|made| LineageInput {
                        version: made.version,
                        ..input(asset, (made.partition, made.partition), AssetId(outdated_asset), (0, 9))
                    })
                    .collect(),
                unchanged,
                skipped: set(skipped),
                failed: failed
                    .into_iter()
                    .map(|partition| failure(asset, partition, partition % 2 == 0))
                    .collect(),
                outdated: vec![(AssetId(outdated_asset), set(outdated))],
                state: if ends { ChunkState::Ended } else { ChunkState::Running },
                ..progress
            })
        },
    )
}

/// Of the first two incarnations, mostly of the first.
fn a_fence() -> impl Strategy<Value = u64> {
    let second = Incarnation(2).first_fence().0;
    prop_oneof![4 => 1..4_u64, 1 => second..second + 2]
}

fn a_record() -> impl Strategy<Value = Record> {
    let create = (1..6_u128, prop::option::of(0..3_u8)).prop_map(|(no, key)| {
        Record::RunCreated(RunRow {
            idempotency_key: key.map(|key| key.to_string()),
            ..run_row(run_id(no))
        })
    });
    let plan = (1..6_u128, any::<u8>()).prop_map(|(no, byte)| Record::RunPlanned {
        run: run_id(no),
        plan: vec![byte].into(),
    });
    let step = (1..6_u128, a_state()).prop_map(|(no, to)| moved(run_id(no), to));
    let claim =
        (a_run(), 0..ASSETS, 0..2_u64, a_fence(), some_partitions()).prop_map(|(run, asset, chunk, fence, steps)| {
            let mut record = claim(AssetId(asset), chunk, fence, set(steps));
            if let Record::ChunkClaimed(claim) = &mut record {
                claim.run = run;
            }
            record
        });
    let take = (1..6_u128, 0..4_u32).prop_map(|(no, incarnation)| Record::RunTaken {
        run: run_id(no),
        incarnation: Incarnation(incarnation),
    });
    prop_oneof![1 => create, 1 => plan, 1 => step, 1 => take, 5 => claim, 9 => a_progress()]
}

/// A group, and whether the store is opened anew before it.
fn a_group() -> impl Strategy<Value = (Vec<Record>, bool)> {
    (prop::collection::vec(a_record(), 1..8), prop::bool::weighted(0.15))
}

fn in_order(mut status: AssetStatus) -> AssetStatus {
    status.heads.sort_by_key(|head| (head.version, head.code_version));
    status
}

fn by_place(mut inputs: Vec<LineageInput>) -> Vec<LineageInput> {
    inputs.sort_by_key(|input| (input.asset, input.partitions, input.version, input.upstream));
    inputs
}

async fn compare(store: &SqliteStore, model: &MemoryStore) -> Result<(), TestCaseError> {
    let all = set(PARTITIONS);
    for asset in (0..ASSETS).map(AssetId) {
        let expected = in_order(model.status(asset).await.unwrap());
        prop_assert_eq!(in_order(store.status(asset).await.unwrap()), expected);
        prop_assert_eq!(
            store.heads(asset, &all).await.unwrap(),
            model.heads(asset, &all).await.unwrap()
        );
        for partition in PARTITIONS {
            for version in [None, Some(Version(1)), Some(Version(3))] {
                let expected = model.materialization(asset, partition, version).await.unwrap();
                prop_assert_eq!(
                    store.materialization(asset, partition, version).await.unwrap(),
                    expected
                );
                let expected = by_place(model.uses_of(asset, partition, version).await.unwrap());
                prop_assert_eq!(
                    by_place(store.uses_of(asset, partition, version).await.unwrap()),
                    expected
                );
            }
            let expected = by_place(model.inputs_of(asset, partition, Version(2)).await.unwrap());
            prop_assert_eq!(
                by_place(store.inputs_of(asset, partition, Version(2)).await.unwrap()),
                expected
            );
        }
    }
    for filter in [RunFilter::All, RunFilter::Open] {
        let expected = model.runs(filter, 100).await.unwrap();
        for row in &expected {
            prop_assert_eq!(
                store.chunks(row.run).await.unwrap(),
                model.chunks(row.run).await.unwrap()
            );
            prop_assert_eq!(
                store.failures(row.run).await.unwrap(),
                model.failures(row.run).await.unwrap()
            );
        }
        prop_assert_eq!(store.runs(filter, 100).await.unwrap(), expected);
    }
    prop_assert_eq!(
        store.events(0, 10_000).await.unwrap(),
        model.events(0, 10_000).await.unwrap()
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn it_answers_as_the_store_in_memory_does(groups in prop::collection::vec(a_group(), 1..10)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let state = tempfile::tempdir().unwrap();
            let mut store = SqliteStore::open(state.path()).await.unwrap();
            let model = MemoryStore::default();
            let first: Vec<_> = (1..4).map(|no| created(run_id(no))).collect();
            for each in [&store as &dyn Store, &model] {
                declare(each, ASSETS as usize).await;
                take(each, &first).await;
            }
            for (group, is_reopened) in &groups {
                if *is_reopened {
                    drop(store);
                    store = SqliteStore::open(state.path()).await.unwrap();
                }
                let verdicts = kinds(&store.commit(group).await.unwrap());
                let expected = kinds(&model.commit(group).await.unwrap());
                prop_assert_eq!(verdicts, expected);
            }
            compare(&store, &model).await
        })?;
    }
}
