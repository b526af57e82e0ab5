//! The rules of chunks and of what they make.

use std::time::Duration;

use flowstone_core::run::RunState;
use flowstone_core::store::{AssetStatus, ChunkProgress, ChunkState, HeadSet, Record, Store};
use flowstone_core::{ErrorKind, Result, Version};
use flowstone_store::SqliteStore;

use super::samples::*;

#[tokio::test]
async fn a_fenced_record_leaves_no_trace_and_its_neighbors_stay() {
    let (_state, store) = fresh().await;
    let assets = declare(&store, 2).await;
    take(
        &store,
        &[
            created(RUN),
            claim(assets[0], 0, 5, set(0..4)),
            claim(assets[1], 0, 1, set(0..4)),
        ],
    )
    .await;

    let late = ChunkProgress {
        inputs: vec![input(assets[0], (0, 1), assets[1], (0, 0))],
        outdated: vec![(assets[1], set([0]))],
        failed: vec![failure(assets[0], 3, true)],
        ..making(assets[0], (0, 4), &set([0, 1]), 1)
    };
    let verdicts = each_by_itself(
        &store,
        &[
            Record::ChunkProgress(making(assets[1], (0, 1), &set([0]), 1)),
            Record::ChunkProgress(late),
            claim(assets[0], 0, 5, set([2])),
            Record::ChunkProgress(making(assets[0], (0, 5), &set([2]), 1)),
        ],
    )
    .await;

    let fenced = Some(ErrorKind::Fenced);
    assert_eq!(kinds(&verdicts), [None, fenced, fenced, None]);
    assert_eq!(store.status(assets[0]).await.unwrap().materialized(), set([2]));
    assert_eq!(store.status(assets[1]).await.unwrap().stale, set([]));
    assert!(store.uses_of(assets[1], 0, None).await.unwrap().is_empty());
    assert!(store.failures(RUN).await.unwrap().is_empty());
    assert_eq!(store.chunks(RUN).await.unwrap()[0].claim.steps, set(0..4));
    assert_eq!(store.events(0, 100).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_new_claim_fences_the_old_one_and_keeps_what_was_done() {
    let (_state, store) = fresh().await;
    let assets = declare(&store, 1).await;
    let ended = ChunkProgress {
        state: ChunkState::Ended,
        ..making(assets[0], (0, 1), &set([0]), 1)
    };
    take(
        &store,
        &[
            created(RUN),
            claim(assets[0], 0, 1, set(0..4)),
            Record::ChunkProgress(ended),
        ],
    )
    .await;

    let again = making(assets[0], (0, 1), &set([1]), 1);
    let after_end = store.commit(&[Record::ChunkProgress(again)]).await.unwrap();
    take(&store, &[claim(assets[0], 0, 2, set(1..4))]).await;
    let by_the_old = store
        .commit(&[Record::ChunkProgress(making(assets[0], (0, 1), &set([1]), 1))])
        .await
        .unwrap();
    take(
        &store,
        &[Record::ChunkProgress(making(assets[0], (0, 2), &set([1]), 1))],
    )
    .await;

    assert_eq!(kinds(&after_end), [Some(ErrorKind::Fenced)]);
    assert_eq!(kinds(&by_the_old), [Some(ErrorKind::Fenced)]);
    assert_eq!(store.chunks(RUN).await.unwrap()[0].succeeded, set([0, 1]));
}

#[tokio::test]
async fn a_fence_holds_across_a_restart() {
    let (state, store) = fresh().await;
    let assets = declare(&store, 1).await;
    let ended = ChunkProgress {
        state: ChunkState::Ended,
        ..progress(assets[0], 1, 9)
    };
    take(
        &store,
        &[
            created(RUN),
            claim(assets[0], 0, 7, set([0])),
            claim(assets[0], 1, 9, set([1])),
        ],
    )
    .await;
    take(&store, &[Record::ChunkProgress(ended)]).await;
    drop(store);
    let store = SqliteStore::open(state.path()).await.unwrap();

    let verdicts = each_by_itself(
        &store,
        &[
            claim(assets[0], 0, 7, set([0])),
            Record::ChunkProgress(making(assets[0], (0, 7), &set([0]), 1)),
            claim(assets[0], 1, 9, set([1])),
            claim(assets[0], 1, 10, set([1])),
            claim(assets[0], 2, 1, set([2])),
        ],
    )
    .await;

    let fenced = Some(ErrorKind::Fenced);
    assert_eq!(kinds(&verdicts), [fenced, None, fenced, None, None]);
}

#[tokio::test]
async fn versions_only_grow() {
    let (_state, store) = fresh().await;
    let assets = declare(&store, 1).await;
    take(&store, &[created(RUN), claim(assets[0], 0, 1, set(0..9))]).await;
    take(
        &store,
        &[Record::ChunkProgress(making(assets[0], (0, 1), &set(0..3), 2))],
    )
    .await;

    let verdicts = each_by_itself(
        &store,
        &[
            Record::ChunkProgress(making(assets[0], (0, 1), &set([2, 3]), 2)),
            Record::ChunkProgress(making(assets[0], (0, 1), &set([0]), 1)),
            Record::ChunkProgress(making(assets[0], (0, 1), &set([0]), 3)),
        ],
    )
    .await;

    let conflict = Some(ErrorKind::Conflict);
    assert_eq!(kinds(&verdicts), [conflict, conflict, None]);
    assert_eq!(store.status(assets[0]).await.unwrap().materialized(), set(0..3));
    let head = store.materialization(assets[0], 0, None).await.unwrap().unwrap();
    let past = store
        .materialization(assets[0], 0, Some(Version(2)))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((head.version, past), (Version(3), made(assets[0], 0, 2)));
    assert_eq!(store.materialization(assets[0], 3, None).await.unwrap(), None);
}

#[tokio::test]
async fn heads_stand_in_one_set_by_version_and_code() {
    let (_state, store) = fresh().await;
    let assets = declare(&store, 1).await;
    let far = 3 << 16;
    take(&store, &[created(RUN), claim(assets[0], 0, 1, set(0..9))]).await;
    take(
        &store,
        &[Record::ChunkProgress(making(assets[0], (0, 1), &set([0, 1, far]), 1))],
    )
    .await;

    let mut newer = making(assets[0], (0, 1), &set([1]), 2);
    newer.materialized[0].code_version = NEW_CODE;
    take(&store, &[Record::ChunkProgress(newer)]).await;

    let expected = [
        HeadSet {
            version: Version(1),
            code_version: OLD_CODE,
            partitions: set([0, far]),
        },
        HeadSet {
            version: Version(2),
            code_version: NEW_CODE,
            partitions: set([1]),
        },
    ];
    assert_eq!(store.status(assets[0]).await.unwrap().heads, expected);
    let versions: Vec<_> = store
        .heads(assets[0], &set([0, 1, 2, far]))
        .await
        .unwrap()
        .iter()
        .map(|made| (made.partition, made.version.0))
        .collect();
    assert_eq!(versions, [(0, 1), (1, 2), (far, 1)]);
}

#[tokio::test]
async fn stale_and_failed_follow_what_happens() {
    let (_state, store) = fresh().await;
    let assets = declare(&store, 2).await;
    take(
        &store,
        &[
            created(RUN),
            claim(assets[0], 0, 1, set(0..9)),
            claim(assets[1], 0, 1, set(0..9)),
        ],
    )
    .await;
    take(
        &store,
        &[Record::ChunkProgress(making(assets[0], (0, 1), &set(0..4), 1))],
    )
    .await;

    let failed = vec![failure(assets[0], 2, true), failure(assets[0], 3, false)];
    take(
        &store,
        &[Record::ChunkProgress(ChunkProgress {
            failed,
            ..progress(assets[0], 0, 1)
        })],
    )
    .await;
    let outdated = vec![(assets[0], set(1..100))];
    take(
        &store,
        &[Record::ChunkProgress(ChunkProgress {
            outdated,
            ..making(assets[1], (0, 1), &set([0]), 1)
        })],
    )
    .await;
    let marked = store.status(assets[0]).await.unwrap();
    let unchanged = set([1]);
    take(
        &store,
        &[Record::ChunkProgress(ChunkProgress {
            unchanged,
            ..making(assets[0], (0, 1), &set([2]), 2)
        })],
    )
    .await;
    let mended = store.status(assets[0]).await.unwrap();

    assert_eq!((marked.failed, marked.stale), (set([2]), set([1, 2, 3])));
    assert_eq!((mended.failed, mended.stale), (set([]), set([3])));
}

#[tokio::test]
async fn what_was_never_declared_is_not_found() {
    let (_state, store) = fresh().await;
    let assets = declare(&store, 1).await;
    let unknown = flowstone_core::AssetId(1);
    take(&store, &[created(RUN), claim(assets[0], 0, 1, set([0]))]).await;

    let mut elsewhere = claim(assets[0], 0, 2, set([0]));
    if let Record::ChunkClaimed(claim) = &mut elsewhere {
        claim.run = run_id(9);
    }
    let stray = ChunkProgress {
        materialized: vec![made(unknown, 0, 1)],
        ..progress(assets[0], 0, 1)
    };
    let verdicts = each_by_itself(
        &store,
        &[
            claim(unknown, 0, 1, set([0])),
            elsewhere,
            Record::ChunkProgress(stray),
            moved(run_id(9), RunState::Running),
        ],
    )
    .await;

    let missing = Some(ErrorKind::NotFound);
    assert_eq!(kinds(&verdicts), [missing, missing, missing, missing]);
    assert_eq!(store.status(unknown).await.unwrap(), AssetStatus::default());
}

#[tokio::test]
async fn a_commit_that_nobody_waits_for_is_whole_or_absent() {
    let (state, store) = fresh().await;
    let assets = declare(&store, 1).await;
    take(&store, &[created(RUN), claim(assets[0], 0, 1, set(0..1_000))]).await;
    for round in 0..40_u64 {
        let steps = set(round * 10..round * 10 + 10);
        let group = [
            Record::ChunkProgress(making(assets[0], (0, 1), &steps, 1)),
            Record::ChunkProgress(ChunkProgress {
                skipped: set([900 + round]),
                ..progress(assets[0], 0, 1)
            }),
        ];

        // Each round gives the commit a little longer before its future is dropped.
        let patience = Duration::from_micros(round * 25);
        let _ = tokio::time::timeout(patience, store.commit(&group)).await;
        let again = kinds(&store.commit(&group).await.unwrap());

        // What follows a refused record of a run is refused with it.
        let was_there = again == [Some(ErrorKind::Conflict); 2];
        assert!(was_there || again == [None, None], "round {round}: {again:?}");
    }
    drop(store);
    let store = SqliteStore::open(state.path()).await.unwrap();

    assert_eq!(store.chunks(RUN).await.unwrap()[0].succeeded, set(0..400));
    assert_eq!(store.status(assets[0]).await.unwrap().materialized(), set(0..400));
    assert_eq!(store.heads(assets[0], &set(0..1_000)).await.unwrap().len(), 400);
    assert_eq!(store.events(0, 1_000).await.unwrap().len(), 41);
}

/// A group for each record, so that none is refused for another.
async fn each_by_itself(store: &SqliteStore, records: &[Record]) -> Vec<Result<()>> {
    let mut verdicts = Vec::new();
    for record in records {
        verdicts.append(&mut store.commit(std::slice::from_ref(record)).await.unwrap());
    }
    verdicts
}
