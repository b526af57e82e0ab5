//! Events, written in the transaction that they describe.

use flowstone_core::run::RunState;
use flowstone_core::store::{ChunkProgress, Event, EventKind, Record, Store};

use super::StoreUnderTest;
use super::fixture::{assets, claimed, commit, failure, made, moved, progress, refused, run_id, run_row, set};

/// Creation, moves, values and failures, each once, in order and after any point.
pub async fn events_tell_what_was_committed_in_order<S: Store>(store: StoreUnderTest<S>) {
    let [asset] = assets(&*store).await;
    let run = run_id(1);
    let progress = ChunkProgress {
        materialized: vec![made(run, asset, 0, 1), made(run, asset, 2, 1)],
        failed: vec![failure(asset, 1, 3, true)],
        ..progress(run, asset, 0, 1)
    };
    commit(
        &*store,
        &[Record::RunCreated(run_row(run)), moved(run, RunState::Running)],
    )
    .await;
    commit(
        &*store,
        &[claimed(run, asset, 0, 1, set(0..3)), Record::ChunkProgress(progress)],
    )
    .await;
    commit(&*store, &[moved(run, RunState::Failed)]).await;

    let events = all(&*store).await;

    let kinds: Vec<EventKind> = events.iter().map(|event| event.kind.clone()).collect();
    let expected = [
        EventKind::RunCreated,
        EventKind::RunMoved { to: RunState::Running },
        EventKind::Materialized {
            asset,
            partitions: set([0, 2]),
        },
        EventKind::StepFailed {
            asset,
            partition: 1,
            attempt: 3,
            is_final: true,
            code: "user".to_owned(),
        },
        EventKind::RunMoved { to: RunState::Failed },
    ];
    assert_eq!(kinds, expected);
    assert!(events.iter().all(|event| event.run == run));
    assert!(events.windows(2).all(|pair| pair[0].sequence < pair[1].sequence));
    assert!(events[0].sequence > 0, "all events come after 0");
    for (number, event) in events.iter().enumerate() {
        let after = store.events(event.sequence, 2).await.expect("events");
        assert_eq!(
            after,
            events[number + 1..].iter().take(2).cloned().collect::<Vec<Event>>()
        );
    }
}

/// Nothing is told of what did not happen.
pub async fn a_refused_record_leaves_no_event<S: Store>(store: StoreUnderTest<S>) {
    let [asset] = assets(&*store).await;
    let run = run_id(1);
    commit(
        &*store,
        &[Record::RunCreated(run_row(run)), moved(run, RunState::Running)],
    )
    .await;
    commit(
        &*store,
        &[claimed(run, asset, 0, 2, set([0])), moved(run, RunState::Cancelled)],
    )
    .await;
    let before = all(&*store).await;
    let late = ChunkProgress {
        materialized: vec![made(run, asset, 0, 1)],
        failed: vec![failure(asset, 0, 1, true)],
        ..progress(run, asset, 0, 1)
    };

    for record in [
        Record::ChunkProgress(late),
        moved(run, RunState::Failed),
        Record::RunCreated(run_row(run)),
    ] {
        refused(&*store, record).await;
    }

    assert_eq!(all(&*store).await, before);
}

async fn all(store: &impl Store) -> Vec<Event> {
    store.events(0, 1000).await.expect("events")
}
