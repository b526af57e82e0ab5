//! Groups: whole, in order, with a verdict on each record.

use flowstone_core::run::RunState;
use flowstone_core::store::{ChunkProgress, ChunkState, Record, RunFilter, Store};
use flowstone_core::{AssetId, ErrorKind, RunId, Version};
use futures::future::join_all;

use super::StoreUnderTest;
use super::fixture::{
    assets, claimed, commit, failure, made, many, moved, progress, refused, run_id, run_row, running, set, verdicts,
};

/// Committing nothing succeeds and changes nothing.
pub async fn an_empty_group_is_nothing<S: Store>(store: StoreUnderTest<S>) {
    assert!(verdicts(&*store, &[]).await.is_empty());
    assert!(store.events(0, 10).await.expect("events").is_empty());
}

/// A record may rest on the one before it, and is judged by what that one did.
pub async fn records_take_effect_in_order<S: Store>(store: StoreUnderTest<S>) {
    let [asset] = assets(&*store).await;
    let run = run_id(1);
    let end = ChunkProgress {
        materialized: vec![made(run, asset, 0, 1)],
        state: ChunkState::Ended,
        ..progress(run, asset, 0, 1)
    };
    let group = [
        Record::RunCreated(run_row(run)),
        moved(run, RunState::Running),
        claimed(run, asset, 0, 1, set([0])),
        Record::ChunkProgress(end),
        moved(run, RunState::Succeeded),
        moved(run, RunState::Failed),
    ];

    let verdicts = verdicts(&*store, &group).await;

    let taken: Vec<bool> = verdicts.iter().map(Result::is_ok).collect();
    assert_eq!(taken, [true, true, true, true, true, false]);
    let row = store.run(run).await.expect("a run").expect("it was created");
    assert_eq!(row.state, RunState::Succeeded);
    assert_eq!(store.status(asset).await.expect("a status").materialized(), set([0]));
}

/// What breaks a rule is refused; records of other runs are stored.
pub async fn a_refused_record_leaves_the_others<S: Store>(store: StoreUnderTest<S>) {
    let [asset] = assets(&*store).await;
    let (run, other) = (running(&*store, 1).await, running(&*store, 2).await);
    commit(
        &*store,
        &[
            claimed(run, asset, 0, 5, set([0])),
            claimed(other, asset, 0, 5, set([1])),
        ],
    )
    .await;
    let making = |run, partition, fence| {
        Record::ChunkProgress(ChunkProgress {
            materialized: vec![made(run, asset, partition, 1)],
            ..progress(run, asset, 0, fence)
        })
    };
    let group = [
        making(run, 0, 4),
        Record::RunCreated(run_row(run_id(3))),
        making(other, 1, 5),
        claimed(other, asset, 1, 1, set([2])),
        Record::RunCreated(run_row(other)),
    ];

    let kinds = kinds(&*store, &group).await;

    let (fenced, conflict) = (Err(ErrorKind::Fenced), Err(ErrorKind::Conflict));
    assert_eq!(kinds, [fenced, Ok(()), Ok(()), Ok(()), conflict]);
    assert_eq!(store.status(asset).await.expect("a status").materialized(), set([1]));
    assert_eq!(store.runs(RunFilter::All, 9).await.expect("runs").len(), 3);
    assert_eq!(store.chunks(other).await.expect("chunks").len(), 2);
}

/// Who wrote what follows of a run did not know that its earlier record is refused: a run must not be recorded as
/// succeeded when its last progress was not.
pub async fn what_follows_a_refused_record_of_a_run_is_refused<S: Store>(store: StoreUnderTest<S>) {
    let [asset] = assets(&*store).await;
    let run = running(&*store, 1).await;
    commit(&*store, &[claimed(run, asset, 0, 5, set([0]))]).await;
    let late = ChunkProgress {
        materialized: vec![made(run, asset, 0, 1)],
        state: ChunkState::Ended,
        ..progress(run, asset, 0, 4)
    };
    let group = [
        Record::ChunkProgress(late),
        claimed(run, asset, 1, 6, set([1])),
        Record::RunPlanned {
            run,
            plan: bytes::Bytes::from_static(b"another"),
        },
        moved(run, RunState::Succeeded),
    ];

    let kinds = kinds(&*store, &group).await;

    assert_eq!(kinds, [Err(ErrorKind::Fenced); 4]);
    let row = store.run(run).await.expect("a run").expect("it was created");
    assert_eq!((row.state, row.plan), (RunState::Running, None));
    assert_eq!(store.chunks(run).await.expect("chunks").len(), 1);
    // In a group of its own it is judged by itself.
    commit(&*store, &[moved(run, RunState::Failed)]).await;
}

/// A record that names what there is not is refused, and leaves nothing behind that could be found later.
pub async fn what_names_an_unknown_asset_or_run_is_refused<S: Store>(store: StoreUnderTest<S>) {
    let [asset, upstream] = assets(&*store).await;
    let (run, stranger) = (running(&*store, 1).await, run_id(9));
    let unknown = AssetId(upstream.0 + 1);
    commit(&*store, &[claimed(run, asset, 0, 5, set([0]))]).await;
    let with = |change: fn(&mut ChunkProgress, RunId, AssetId, AssetId)| {
        let mut progress = progress(run, asset, 0, 5);
        change(&mut progress, run, asset, unknown);
        Record::ChunkProgress(progress)
    };

    for record in [
        claimed(stranger, asset, 0, 1, set([0])),
        claimed(run, unknown, 0, 1, set([0])),
        Record::RunPlanned {
            run: stranger,
            plan: bytes::Bytes::new(),
        },
        moved(stranger, RunState::Running),
        with(|progress, run, _, unknown| progress.materialized.push(made(run, unknown, 0, 1))),
        with(|progress, _, asset, unknown| progress.inputs.push(many((asset, (0, 0), 1), (unknown, (0, 0), 1)))),
        with(|progress, _, _, unknown| progress.failed.push(failure(unknown, 0, 1, true))),
        with(|progress, _, _, unknown| progress.outdated.push((unknown, set([0])))),
    ] {
        assert_eq!(refused(&*store, record).await, ErrorKind::NotFound);
    }

    assert_eq!(store.chunks(run).await.expect("chunks").len(), 1);
    assert!(store.chunks(stranger).await.expect("chunks").is_empty());
    assert!(store.failures(run).await.expect("failures").is_empty());
}

/// Somebody who reads meanwhile sees all of a group or nothing.
pub async fn a_group_is_seen_whole<S: Store>(store: StoreUnderTest<S>) {
    const GROUPS: u64 = 40;
    let [asset] = assets(&*store).await;
    let run = running(&*store, 1).await;
    commit(
        &*store,
        &[
            claimed(run, asset, 0, 1, set(0..8)),
            claimed(run, asset, 1, 1, set(8..16)),
        ],
    )
    .await;
    let writing = async {
        for version in 1..=GROUPS {
            let half = |chunk: u64| {
                let materialized = (8 * chunk..8 * chunk + 8).map(|partition| made(run, asset, partition, version));
                let progress = progress(run, asset, chunk, 1);
                Record::ChunkProgress(ChunkProgress {
                    materialized: materialized.collect(),
                    ..progress
                })
            };
            commit(&*store, &[half(0), half(1)]).await;
            tokio::task::yield_now().await;
        }
    };
    let reading = async {
        loop {
            let heads = store.heads(asset, &set(0..16)).await.expect("heads");
            let versions: Vec<u64> = heads.iter().map(|head| head.version.0).collect();
            assert!(
                versions.is_empty() || versions.len() == 16,
                "a part of a group is seen: {versions:?}"
            );
            assert!(
                versions.windows(2).all(|pair| pair[0] == pair[1]),
                "two groups are seen at once: {versions:?}"
            );
            let status = store.status(asset).await.expect("a status");
            assert!(
                status.heads.len() <= 1,
                "two groups are seen at once: {:?}",
                status.heads
            );
            if status.heads.first().is_some_and(|set| set.version == Version(GROUPS)) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    futures::join!(writing, reading);
}

/// Groups of several callers are all stored.
pub async fn many_may_commit_at_once<S: Store>(store: StoreUnderTest<S>) {
    let groups = (0..64).map(|number| {
        let store = &*store;
        async move { commit(store, &[Record::RunCreated(run_row(run_id(number)))]).await }
    });

    join_all(groups).await;

    assert_eq!(store.runs(RunFilter::Open, 100).await.expect("runs").len(), 64);
}

async fn kinds(store: &impl Store, group: &[Record]) -> Vec<Result<(), ErrorKind>> {
    let verdicts = verdicts(store, group).await.into_iter();
    verdicts.map(|verdict| verdict.map_err(|error| error.kind())).collect()
}
