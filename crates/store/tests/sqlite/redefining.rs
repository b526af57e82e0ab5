//! Partitions that are defined anew: as in memory, and whole or not at all.

use std::collections::HashSet;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use flowstone_core::memory::MemoryStore;
use flowstone_core::partition::{Daily, PartitionMoves, PartitionSpace, Partitions};
use flowstone_core::store::{
    AssetRow, AssetStatus, ChunkProgress, LineageInput, Materialization, Record, Redefinition, Store,
};
use flowstone_core::{AssetId, AssetKey, Version};
use flowstone_store::SqliteStore;
use proptest::prelude::*;

use super::samples::*;

/// The partitions that anything is known of; more than one stored piece.
const LEN: u64 = 70_000;
const ASSETS: u32 = 3;
const VERSIONS: u64 = 3;

fn key(asset: u32) -> AssetKey {
    AssetKey::new(format!("asset-{asset}")).unwrap()
}

/// Days from the first of a year on; each is another space than those before.
fn days(year: i64) -> PartitionSpace {
    Partitions::from(Daily::from(format!("{year}-01-01"))).build().unwrap()
}

/// Places on both sides of the border between two pieces, and few enough to meet.
fn a_place() -> impl Strategy<Value = u64> {
    prop_oneof![3 => 0..12_u64, 2 => 65_530..65_542_u64, 1 => 0..LEN]
}

fn an_interval() -> impl Strategy<Value = (u64, u64)> {
    (a_place(), prop_oneof![0..4_u64, 0..LEN]).prop_map(|(first, len)| (first, (first + len).min(LEN - 1)))
}

fn an_input() -> impl Strategy<Value = LineageInput> {
    let ends = (an_interval(), an_interval(), any::<bool>());
    let versions = (1..=VERSIONS, 1..=VERSIONS);
    (0..ASSETS, 0..ASSETS, ends, versions).prop_map(|(asset, upstream, (mut made, mut from, one_to_one), versions)| {
        if one_to_one {
            let len = (made.1 - made.0).min(from.1 - from.0);
            made.1 = made.0 + len;
            from.1 = from.0 + len;
        }
        LineageInput {
            version: Version(versions.0),
            upstream_version: Version(versions.1),
            one_to_one,
            ..input(AssetId(asset), made, AssetId(upstream), from)
        }
    })
}

/// Stretches that change places, of which some stay.
fn a_move() -> impl Strategy<Value = PartitionMoves> {
    let cuts = prop::collection::btree_set(a_place(), 1..8);
    (
        cuts,
        Just((0..9_usize).collect::<Vec<_>>()).prop_shuffle(),
        prop::collection::vec(prop::bool::weighted(0.8), 9),
    )
        .prop_map(|(cuts, order, goes)| {
            let mut borders: Vec<u64> = cuts.into_iter().collect();
            borders.push(LEN);
            let stretches: Vec<(u64, u64)> = borders.windows(2).map(|pair| (pair[0], pair[1] - 1)).collect();
            let mut to = 0;
            let mut places = vec![0; stretches.len()];
            for stretch in order.into_iter().filter(|stretch| *stretch < stretches.len()) {
                places[stretch] = to;
                to += stretches[stretch].1 - stretches[stretch].0 + 1;
            }
            let mut moves = PartitionMoves::default();
            for (number, (first, last)) in stretches.into_iter().enumerate().filter(|(number, _)| goes[*number]) {
                moves.push(first, last, places[number]);
            }
            moves
        })
}

/// What was made of an asset, with what is wrong with it.
fn some_work() -> impl Strategy<Value = (u32, u64, Vec<u64>, Vec<u64>, Vec<u64>)> {
    let places = || prop::collection::vec(a_place(), 0..12);
    (0..ASSETS, 1..=VERSIONS, places(), places(), places())
}

fn in_order(mut status: AssetStatus) -> AssetStatus {
    status.heads.sort_by_key(|head| (head.version, head.code_version));
    status
}

/// Lineage is a set.
fn as_set(mut inputs: Vec<LineageInput>) -> Vec<LineageInput> {
    inputs.sort_by_key(|input| {
        let made = (input.asset, input.partitions, input.version, input.one_to_one);
        (made, input.upstream, input.from, input.upstream_version)
    });
    inputs.dedup();
    inputs
}

async fn compare(store: &SqliteStore, model: &MemoryStore, places: &[u64]) -> Result<(), TestCaseError> {
    let rows = model.assets().await.unwrap();
    prop_assert_eq!(store.assets().await.unwrap(), rows.clone());
    let all = set(places.iter().copied());
    for asset in rows.iter().map(|row| row.id) {
        let expected = in_order(model.status(asset).await.unwrap());
        prop_assert_eq!(in_order(store.status(asset).await.unwrap()), expected);
        prop_assert_eq!(
            store.history(asset, &all).await.unwrap(),
            model.history(asset, &all).await.unwrap()
        );
        for place in places {
            let expected = as_set(model.uses_of(asset, *place, None).await.unwrap());
            prop_assert_eq!(as_set(store.uses_of(asset, *place, None).await.unwrap()), expected);
            for version in (1..=VERSIONS).map(Version) {
                let expected = as_set(model.inputs_of(asset, *place, version).await.unwrap());
                prop_assert_eq!(as_set(store.inputs_of(asset, *place, version).await.unwrap()), expected);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn it_moves_what_the_store_in_memory_moves(
        work in prop::collection::vec(some_work(), 1..8),
        inputs in prop::collection::vec(an_input(), 0..12),
        changes in prop::collection::vec((0..ASSETS, a_move()), 1..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (_state, store) = fresh().await;
            let model = MemoryStore::default();
            let mut places: Vec<u64> = (0..12).chain(65_530..65_542).collect();
            for each in [&store as &dyn Store, &model] {
                let declared: Vec<_> = (0..ASSETS).map(|asset| (key(asset), days(2013))).collect();
                each.declare_assets(&declared).await.unwrap();
                take(each, &[created(RUN)]).await;
                let mut inputs = inputs.clone();
                let mut has_failed = HashSet::new();
                for (chunk, (asset, version, made, failed, stale)) in (0..).zip(&work) {
                    let asset = AssetId(*asset);
                    let heads = each.status(asset).await.unwrap().versions_of(&set(made.iter().copied()));
                    let made = set(made.iter().copied().filter(|place| heads.get(*place) < Version(*version)));
                    let failed = failed.iter().filter(|place| has_failed.insert((asset, **place)));
                    let progress = ChunkProgress {
                        inputs: std::mem::take(&mut inputs),
                        failed: failed.map(|place| failure(asset, *place, true)).collect(),
                        outdated: vec![(asset, set(stale.iter().copied()))],
                        ..making(asset, (chunk, 1), &made, *version)
                    };
                    take(each, &[claim(asset, chunk, 1, made), Record::ChunkProgress(progress)]).await;
                }
            }
            for (number, (asset, moves)) in (0..).zip(&changes) {
                let current = model.assets().await.unwrap();
                let of = current.iter().find(|row| row.key == key(*asset) && !row.is_former).unwrap().id;
                let change = Redefinition {
                    key: key(*asset),
                    of,
                    space: days(2012 - number),
                    moves: vec![(of, moves.clone())],
                    outdated: Vec::new(),
                };
                let ids = store.redefine(std::slice::from_ref(&change)).await.unwrap();
                prop_assert_eq!(ids, model.redefine(&[change]).await.unwrap());
                let images: Vec<u64> = places.iter().filter_map(|place| moves.find(*place)).collect();
                places.extend(images);
                places.sort_unstable();
                places.dedup();
                compare(&store, &model, &places).await?;
            }
            // Work goes on at the new places.
            let last = AssetId(ASSETS + changes.len() as u32 - 1);
            let progress = making(last, (100, 1), &set([3, 65_536]), VERSIONS + 1);
            let more = [claim(last, 100, 1, set([3, 65_536])), Record::ChunkProgress(progress)];
            for each in [&store as &dyn Store, &model] {
                take(each, &more).await;
            }
            compare(&store, &model, &places).await
        })?;
    }
}

/// Drives `future`, and drops it before it is asked once more than `polls` times.
async fn give_up_after<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

type Everything = (
    Vec<AssetRow>,
    Vec<AssetStatus>,
    Vec<Vec<Materialization>>,
    Vec<Vec<LineageInput>>,
);

async fn everything(store: &SqliteStore) -> Everything {
    let rows = store.assets().await.unwrap();
    let (mut statuses, mut histories, mut inputs) = (Vec::new(), Vec::new(), Vec::new());
    for row in &rows {
        statuses.push(in_order(store.status(row.id).await.unwrap()));
        histories.push(store.history(row.id, &set(0..20)).await.unwrap());
        for place in 0..20 {
            inputs.push(as_set(store.inputs_of(row.id, place, Version(1)).await.unwrap()));
        }
    }
    (rows, statuses, histories, inputs)
}

/// A store with ten days, each made of the day before, and a change that moves all but two of them.
async fn ten_days() -> (tempfile::TempDir, SqliteStore, Redefinition) {
    let (state, store) = fresh().await;
    store.declare_assets(&[(key(0), days(2013))]).await.unwrap();
    let progress = ChunkProgress {
        inputs: vec![LineageInput {
            one_to_one: true,
            ..input(AssetId(0), (1, 9), AssetId(0), (0, 8))
        }],
        ..making(AssetId(0), (0, 1), &set(0..10), 1)
    };
    let records = [
        created(RUN),
        claim(AssetId(0), 0, 1, set(0..10)),
        Record::ChunkProgress(progress),
    ];
    take(&store, &records).await;
    let mut moves = PartitionMoves::default();
    moves.push(0, 4, 7);
    moves.push(7, 9, 0);
    let change = Redefinition {
        key: key(0),
        of: AssetId(0),
        space: days(2012),
        moves: vec![(AssetId(0), moves)],
        outdated: Vec::new(),
    };
    (state, store, change)
}

#[tokio::test]
async fn an_interrupted_change_is_whole_or_nothing() {
    let (_state, store, change) = ten_days().await;
    let before = everything(&store).await;
    let (_other_state, other, same) = ten_days().await;
    other.redefine(&[same]).await.unwrap();
    let after = everything(&other).await;
    let mut interrupted = 0;

    for polls in 0.. {
        let ended = give_up_after(polls, store.redefine(std::slice::from_ref(&change))).await;

        // What the writer was left with is put in order by whoever comes next.
        store
            .commit(&[moved(RUN, flowstone_core::run::RunState::Running)])
            .await
            .unwrap();
        let now = everything(&store).await;
        if now != before {
            assert_eq!(now, after, "after {polls} polls");
            break;
        }
        assert!(ended.is_none(), "after {polls} polls");
        interrupted += 1;
    }

    assert!(interrupted > 5, "it was interrupted {interrupted} times");
}
