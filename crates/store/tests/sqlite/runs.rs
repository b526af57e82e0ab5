//! The rules of runs, and the events that tell of them.

use flowstone_core::run::RunState;
use flowstone_core::store::{ChunkProgress, EventKind, Record, RunFilter, RunRow, Store};
use flowstone_core::{Error, ErrorKind};
use flowstone_store::SqliteStore;

use super::samples::*;

#[tokio::test]
async fn a_terminal_run_is_final_also_after_a_restart() {
    let (state, store) = fresh().await;
    take(
        &store,
        &[
            created(RUN),
            moved(RUN, RunState::Running),
            moved(RUN, RunState::Failed),
        ],
    )
    .await;

    let in_memory = store.commit(&[moved(RUN, RunState::Running)]).await.unwrap();
    drop(store);
    let store = SqliteStore::open(state.path()).await.unwrap();
    let reloaded = store
        .commit(&[moved(RUN, RunState::Succeeded), created(run_id(2))])
        .await
        .unwrap();

    assert_eq!(kinds(&in_memory), [Some(ErrorKind::Conflict)]);
    assert_eq!(kinds(&reloaded), [Some(ErrorKind::Conflict), None]);
    assert_eq!(store.run(RUN).await.unwrap().unwrap().state, RunState::Failed);
}

#[tokio::test]
async fn ids_and_idempotency_keys_are_unique() {
    let (state, store) = fresh().await;
    let keyed = |no, key: &str| {
        Record::RunCreated(RunRow {
            idempotency_key: Some(key.into()),
            ..run_row(run_id(no))
        })
    };
    take(&store, &[keyed(1, "a")]).await;

    let in_memory = store
        .commit(&[keyed(2, "a"), keyed(1, "b"), keyed(3, "c"), keyed(4, "c")])
        .await
        .unwrap();
    drop(store);
    let store = SqliteStore::open(state.path()).await.unwrap();
    let reloaded = store
        .commit(&[keyed(5, "c"), keyed(3, "d"), keyed(6, "e")])
        .await
        .unwrap();

    let conflict = Some(ErrorKind::Conflict);
    assert_eq!(kinds(&in_memory), [conflict, conflict, None, conflict]);
    assert_eq!(kinds(&reloaded), [conflict, conflict, None]);
    assert_eq!(store.run_by_key("c").await.unwrap().unwrap().run, run_id(3));
    assert_eq!(store.run_by_key("d").await.unwrap(), None);
}

#[tokio::test]
async fn runs_come_newest_first_and_open_ones_oldest_first() {
    let (_state, store) = fresh().await;
    for no in 1..=4 {
        take(&store, &[created(run_id(no))]).await;
    }
    take(&store, &[moved(run_id(2), RunState::Cancelled)]).await;

    let ids = |rows: Vec<RunRow>| rows.iter().map(|row| row.run.0.as_u128()).collect::<Vec<_>>();
    let all = ids(store.runs(RunFilter::All, 3).await.unwrap());
    let open = ids(store.runs(RunFilter::Open, 100).await.unwrap());

    assert_eq!((all, open), (vec![4, 3, 2], vec![1, 3, 4]));
}

#[tokio::test]
async fn events_tell_what_happened_in_order() {
    let (_state, store) = fresh().await;
    let assets = declare(&store, 1).await;
    let failed = vec![failure(assets[0], 7, true)];
    let made = ChunkProgress {
        failed,
        ..making(assets[0], (0, 1), &set([0, 1]), 1)
    };
    take(
        &store,
        &[
            created(RUN),
            claim(assets[0], 0, 1, set(0..9)),
            Record::ChunkProgress(made),
        ],
    )
    .await;
    take(&store, &[moved(RUN, RunState::Running)]).await;

    let events = store.events(0, 100).await.unwrap();
    let rest = store.events(events[1].sequence, 1).await.unwrap();

    let code = Error::permanent("").stable_code().to_owned();
    let kinds: Vec<_> = events.iter().map(|event| event.kind.clone()).collect();
    assert_eq!(
        kinds,
        [
            EventKind::RunCreated,
            EventKind::Materialized {
                asset: assets[0],
                partitions: set([0, 1])
            },
            EventKind::StepFailed {
                asset: assets[0],
                partition: 7,
                attempt: 1,
                is_final: true,
                code
            },
            EventKind::RunMoved { to: RunState::Running },
        ]
    );
    assert!(events.is_sorted_by_key(|event| event.sequence));
    assert_eq!(rest, events[2..3]);
}
