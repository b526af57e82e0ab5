//! Runs: created once, moved until they end, listed in order.

use flowstone_core::run::{RunCounts, RunState};
use flowstone_core::store::{ChunkProgress, Record, RunFilter, RunRow, Store};
use flowstone_core::{ErrorKind, Incarnation, RunId};

use super::StoreUnderTest;
use super::fixture::{
    assets, at, claimed, commit, error, failure, moved, progress, refused, run_id, run_row, set, taken,
};

/// Everything that a run says is kept, plan and all.
pub async fn a_run_comes_back_as_it_was<S: Store>(store: StoreUnderTest<S>) {
    let counts = RunCounts {
        total: 6,
        blocked: 1,
        ready: 1,
        running: 1,
        succeeded: 1,
        skipped: 1,
        failed: 1,
        ..Default::default()
    };
    let created = RunRow {
        idempotency_key: Some("a key".to_owned()),
        request: bytes::Bytes::from_static(&[0, 1, 255]),
        counts,
        created_at: at(-5),
        moved_at: at(5),
        ..run_row(run_id(7))
    };
    let run = created.run;
    commit(&*store, &[Record::RunCreated(created.clone())]).await;
    assert_eq!(row(&*store, run).await, created);

    let plan = bytes::Bytes::from_static(&[b'R', 1, 0, 200]);
    let error = Some(error("it did not go well"));
    let move_to = |to, at, error| Record::RunMoved {
        run,
        to,
        at,
        counts,
        error,
    };
    commit(
        &*store,
        &[
            Record::RunPlanned {
                run,
                plan: plan.clone(),
            },
            move_to(RunState::Running, at(8), None),
        ],
    )
    .await;
    let planned = RunRow {
        plan: Some(plan),
        state: RunState::Running,
        moved_at: at(8),
        ..created
    };
    assert_eq!(row(&*store, run).await, planned);
    commit(&*store, &[move_to(RunState::Failed, at(9), error.clone())]).await;
    assert_eq!(
        row(&*store, run).await,
        RunRow {
            state: RunState::Failed,
            moved_at: at(9),
            error,
            ..planned
        }
    );
    assert_eq!(store.run(run_id(8)).await.expect("an answer"), None);
}

/// A second run under a key, or an id, is refused; any number of runs have no key.
pub async fn a_key_names_one_run<S: Store>(store: StoreUnderTest<S>) {
    let keyed = |number| RunRow {
        idempotency_key: Some("once".to_owned()),
        ..run_row(run_id(number))
    };
    commit(
        &*store,
        &[Record::RunCreated(keyed(1)), Record::RunCreated(run_row(run_id(2)))],
    )
    .await;
    commit(&*store, &[Record::RunCreated(run_row(run_id(3)))]).await;

    assert_eq!(
        refused(&*store, Record::RunCreated(keyed(4))).await,
        ErrorKind::Conflict
    );
    assert_eq!(
        refused(&*store, Record::RunCreated(run_row(run_id(2)))).await,
        ErrorKind::Conflict
    );
    assert_eq!(
        store.run_by_key("once").await.expect("an answer").map(|row| row.run),
        Some(run_id(1))
    );
    assert_eq!(store.run_by_key("never").await.expect("an answer"), None);
    assert_eq!(store.run(run_id(4)).await.expect("an answer"), None);
}

/// A run is taken under a greater number each time, and not after its end; the number comes back.
pub async fn a_run_is_taken_by_one_after_the_other<S: Store>(store: StoreUnderTest<S>) {
    let run = run_id(1);
    let first = Incarnation::NONE.next();
    assert_eq!(refused(&*store, taken(run, first)).await, ErrorKind::NotFound);
    commit(&*store, &[Record::RunCreated(run_row(run)), taken(run, first)]).await;

    for late in [Incarnation::NONE, first] {
        assert_eq!(refused(&*store, taken(run, late)).await, ErrorKind::Fenced);
    }
    commit(&*store, &[taken(run, first.next()), moved(run, RunState::Running)]).await;
    assert_eq!(row(&*store, run).await.incarnation, first.next());
    commit(&*store, &[moved(run, RunState::Failed)]).await;
    let late = taken(run, first.next().next());
    assert_eq!(refused(&*store, late).await, ErrorKind::Conflict);
    assert_eq!(row(&*store, run).await.incarnation, first.next());
}

/// Nothing follows a terminal state.
pub async fn a_terminal_run_is_final<S: Store>(store: StoreUnderTest<S>) {
    let ends = RunState::ALL.into_iter().filter(|state| state.is_terminal());
    for (number, end) in (1..).zip(ends) {
        let run = run_id(number);
        commit(
            &*store,
            &[
                Record::RunCreated(run_row(run)),
                moved(run, RunState::Running),
                moved(run, end),
            ],
        )
        .await;
        let ended = row(&*store, run).await;

        for next in RunState::ALL {
            assert_eq!(
                refused(&*store, moved(run, next)).await,
                ErrorKind::Conflict,
                "from {end} to {next}"
            );
        }
        assert_eq!(row(&*store, run).await, ended);
    }
    assert!(store.runs(RunFilter::Open, 9).await.expect("runs").is_empty());
}

/// A run that was never created has no state and no plan.
pub async fn an_unknown_run_is_not_moved<S: Store>(store: StoreUnderTest<S>) {
    let run = run_id(1);

    assert_eq!(
        refused(&*store, moved(run, RunState::Running)).await,
        ErrorKind::NotFound
    );
    assert_eq!(
        refused(
            &*store,
            Record::RunPlanned {
                run,
                plan: bytes::Bytes::new()
            }
        )
        .await,
        ErrorKind::NotFound
    );
    assert_eq!(store.run(run).await.expect("an answer"), None);
}

/// All runs come newest first, open ones oldest first, and no more than were asked for.
pub async fn runs_are_listed_in_order<S: Store>(store: StoreUnderTest<S>) {
    // Ids sort by time, whatever the order in which they arrive.
    for number in [3, 1, 5, 2, 4] {
        commit(&*store, &[Record::RunCreated(run_row(run_id(number)))]).await;
    }
    commit(
        &*store,
        &[
            moved(run_id(2), RunState::Cancelled),
            moved(run_id(4), RunState::Running),
        ],
    )
    .await;

    assert_eq!(listed(&*store, RunFilter::All, 9).await, [5, 4, 3, 2, 1].map(run_id));
    assert_eq!(listed(&*store, RunFilter::All, 2).await, [5, 4].map(run_id));
    assert_eq!(listed(&*store, RunFilter::Open, 9).await, [1, 3, 4, 5].map(run_id));
    assert_eq!(listed(&*store, RunFilter::Open, 3).await, [1, 3, 4].map(run_id));
    assert!(listed(&*store, RunFilter::All, 0).await.is_empty());
}

/// Every failed attempt of a run once, in the order in which they were committed.
pub async fn failed_attempts_are_kept_in_order<S: Store>(store: StoreUnderTest<S>) {
    let [first, second] = assets(&*store).await;
    let (run, other) = (run_id(1), run_id(2));
    let attempts = [
        failure(second, 9, 1, false),
        failure(first, 3, 1, false),
        failure(second, 9, 2, true),
    ];
    for run in [run, other] {
        commit(
            &*store,
            &[Record::RunCreated(run_row(run)), moved(run, RunState::Running)],
        )
        .await;
        commit(
            &*store,
            &[
                claimed(run, first, 0, 1, set([3])),
                claimed(run, second, 0, 1, set([9])),
            ],
        )
        .await;
    }
    for attempt in &attempts {
        let failed = ChunkProgress {
            failed: vec![attempt.clone()],
            ..progress(run, attempt.asset, 0, 1)
        };
        commit(&*store, &[Record::ChunkProgress(failed)]).await;
    }

    // A group whose answer was lost is committed again.
    for attempt in &attempts {
        let again = ChunkProgress {
            failed: vec![attempt.clone()],
            skipped: set([attempt.partition]),
            ..progress(run, attempt.asset, 0, 1)
        };
        assert_eq!(
            refused(&*store, Record::ChunkProgress(again)).await,
            ErrorKind::Conflict
        );
    }
    let twice = ChunkProgress {
        failed: vec![failure(first, 3, 2, false), failure(first, 3, 2, true)],
        ..progress(run, first, 0, 1)
    };
    assert_eq!(
        refused(&*store, Record::ChunkProgress(twice)).await,
        ErrorKind::Conflict
    );

    assert_eq!(store.failures(run).await.expect("failures"), attempts);
    let chunks = store.chunks(run).await.expect("chunks");
    assert!(chunks.iter().all(|chunk| chunk.skipped.is_empty()), "{chunks:?}");
    assert!(store.failures(other).await.expect("failures").is_empty());
}

async fn row(store: &impl Store, run: RunId) -> RunRow {
    store.run(run).await.expect("an answer").expect("the run was created")
}

async fn listed(store: &impl Store, filter: RunFilter, count_max: usize) -> Vec<RunId> {
    store
        .runs(filter, count_max)
        .await
        .expect("runs")
        .into_iter()
        .map(|row| row.run)
        .collect()
}
