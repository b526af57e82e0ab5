//! A store that makes one wait, refuses, or fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use flowstone_core::ErrorKind;
use flowstone_core::asset::{Asset, AssetContext, In};
use flowstone_core::plan::RunRequest;
use flowstone_core::run::RunState;
use flowstone_core::store::Record;

use crate::doctored::{Fate, doctored, is_claim, is_progress};
use crate::support::{Count, GRACE, Gate, all_of, engine_on, forced, numbered, within};

fn counting(name: &str, count: &Count) -> Asset {
    let count = count.clone();
    Asset::new(name).run(move || {
        let count = count.clone();
        async move { count.add() as i64 }
    })
}

#[tokio::test(start_paused = true)]
async fn what_acts_outside_starts_when_everything_before_it_is_on_disk() {
    let store = doctored(|record| if is_claim(record) { Fate::Held } else { Fate::Taken });
    let (prepared, acted) = (Count::default(), Count::default());
    let acts = {
        let acted = acted.clone();
        Asset::new("acts")
            .upstream("prepares")
            .acts_outside()
            .run(move |In(_): In<i64>| {
                acted.add();
                async {}
            })
    };
    let engine = engine_on(Arc::clone(&store) as _, 2, [counting("prepares", &prepared), acts]).await;

    let run = engine.submit(all_of(&["prepares", "acts"])).await.unwrap();
    within(store.around().holds()).await;
    // With a paused clock, time passes only once nothing else can happen.
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    assert_eq!(
        (prepared.get(), acted.get()),
        (1, 0),
        "other code runs ahead of the disk"
    );
    store.around().release();

    assert_eq!(within(run.wait()).await.unwrap().counts.succeeded, 2);
    assert_eq!(acted.get(), 1);
}

#[tokio::test]
async fn a_store_that_fails_for_good_is_told_to_everybody_and_nothing_hangs() {
    let store = doctored(|record| match is_progress(record) {
        true => Fate::Fails(ErrorKind::PermissionDenied),
        false => Fate::Taken,
    });
    let (quick_gate, slow_gate) = (Gate::new(), Gate::new());
    let waiting = |name: &str, gate: &Gate| {
        let gate = gate.clone();
        Asset::new(name).run(move || {
            let gate = gate.clone();
            async move { gate.pass().await }
        })
    };
    let engine = engine_on(store, 2, [waiting("quick", &quick_gate), waiting("slow", &slow_gate)]).await;

    let quick = engine.submit(all_of(&["quick"])).await.unwrap();
    let slow = engine.submit(all_of(&["slow"])).await.unwrap();
    let waits = engine.submit(all_of(&["slow"])).await.unwrap();
    quick_gate.arrived().await;
    slow_gate.arrived().await;
    quick_gate.let_through(1);

    for run in [&quick, &slow, &waits] {
        assert_eq!(
            within(run.wait()).await.unwrap_err().kind(),
            ErrorKind::PermissionDenied
        );
    }
    assert_eq!(
        within(slow.cancel()).await.unwrap_err().kind(),
        ErrorKind::PermissionDenied
    );
    assert_eq!(
        within(waits.cancel()).await.unwrap_err().kind(),
        ErrorKind::PermissionDenied
    );
    let refused = within(engine.submit(all_of(&["quick"]))).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    assert_eq!(
        within(engine.shutdown()).await.unwrap_err().kind(),
        ErrorKind::PermissionDenied
    );
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_for_a_while_is_tried_again() {
    let failures = AtomicU32::new(0);
    let store = doctored(move |record| {
        if is_progress(record) && failures.fetch_add(1, Ordering::SeqCst) < 3 {
            return Fate::Fails(ErrorKind::Unavailable);
        }
        Fate::Taken
    });
    let made = Count::default();
    let engine = engine_on(store, 2, [counting("made", &made)]).await;

    let report = within(engine.run(all_of(&["made"]))).await.unwrap();

    assert_eq!((report.counts.succeeded, made.get()), (1, 1));
}

/// The answer to the commit that creates, or begins, a run is lost, and the commit tried again.
#[tokio::test(start_paused = true)]
async fn a_run_of_which_nobody_heard_that_it_began_goes_on_all_the_same() {
    let is_created: fn(&Record) -> bool = |record| matches!(record, Record::RunCreated(_));
    let is_begun: fn(&Record) -> bool = |record| {
        matches!(
            record,
            Record::RunMoved {
                to: RunState::Running,
                ..
            }
        )
    };
    for is_meant in [is_created, is_begun] {
        let lost = AtomicU32::new(0);
        // The first run goes through; the second waits for it.
        let store = doctored(move |record| {
            if is_meant(record) && lost.fetch_add(1, Ordering::SeqCst) == 1 {
                return Fate::AnswerLost;
            }
            Fate::Taken
        });
        let (gate, made) = (Gate::new(), Count::default());
        let steps = {
            let (gate, made) = (gate.clone(), made.clone());
            // Its claim is on disk when it starts, so it shares no commit with the second run.
            Asset::new("made").acts_outside().run(move || {
                let (gate, made) = (gate.clone(), made.clone());
                async move {
                    gate.pass().await;
                    made.add() as i64
                }
            })
        };
        let engine = engine_on(Arc::clone(&store) as _, 2, [steps]).await;
        let first = engine.submit(all_of(&["made"])).await.unwrap();
        gate.arrived().await;
        let request = RunRequest {
            idempotency_key: Some("once".to_owned()),
            ..forced(&["made"])
        };

        let second = within(engine.submit(request.clone())).await.unwrap();
        let again = within(engine.submit(request)).await.unwrap();
        gate.let_through(9);

        assert_eq!(second.run_id(), again.run_id());
        for run in [first, second, again] {
            let report = within(run.wait()).await.unwrap();
            assert_eq!(
                (report.state, report.counts.succeeded),
                (RunState::Succeeded, 1),
                "{report:?}"
            );
        }
        assert_eq!(made.get(), 2);
        within(engine.shutdown()).await.unwrap();
    }
}

/// Refuses the first record of each kind that comes during a run.
#[tokio::test]
async fn a_run_whose_record_was_refused_is_rebuilt_from_the_store() {
    let kinds: [fn(&Record) -> bool; 3] = [
        is_claim,
        is_progress,
        |record| matches!(record, Record::RunMoved { to, .. } if to.is_terminal()),
    ];
    for is_meant in kinds {
        let refusals = AtomicU32::new(0);
        let store = doctored(move |record| {
            if is_meant(record) && refusals.fetch_add(1, Ordering::SeqCst) == 0 {
                return Fate::Refused;
            }
            Fate::Taken
        });
        let engine = engine_on(
            store,
            2,
            [
                Asset::new("many").partitions(numbered(300)).run(|| async { 1_i64 }),
                Asset::new("more")
                    .partitions(numbered(300))
                    .upstream("many")
                    .run(|In(one): In<i64>| async move { one }),
            ],
        )
        .await;

        let report = within(engine.run(all_of(&["many", "more"]))).await.unwrap();

        assert_eq!(
            (report.state, report.counts.succeeded),
            (RunState::Succeeded, 600),
            "{report:?}"
        );
        for id in engine.asset_ids() {
            let status = engine.store().status(*id).await.unwrap();
            assert_eq!(
                (status.heads.len(), status.materialized().len()),
                (1, 300),
                "one version of each"
            );
        }
        within(engine.shutdown()).await.unwrap();
    }
}

/// The last progress of a run comes, with its end, while an earlier one is on its way to be refused.
#[tokio::test(start_paused = true)]
async fn what_was_queued_behind_a_refused_record_is_not_recorded() {
    let refusals = AtomicU32::new(0);
    let store = doctored(move |record| {
        if is_progress(record) && refusals.fetch_add(1, Ordering::SeqCst) == 0 {
            return Fate::HeldAndRefused;
        }
        Fate::Taken
    });
    let gate = Gate::new();
    let waiting = gate.clone();
    let steps = Asset::new("steps")
        .partitions(numbered(2))
        .run(move |context: AssetContext| {
            let gate = waiting.clone();
            async move {
                if context.partition_label() == "1" && context.attempt() == 1 {
                    gate.pass().await;
                }
                1_i64
            }
        });
    let engine = engine_on(Arc::clone(&store) as _, 2, [steps]).await;
    let run = engine.submit(all_of(&["steps"])).await.unwrap();
    within(store.around().holds()).await;
    gate.let_through(9);
    // By then the other step has ended, and the end of the run waits behind the refused record.
    tokio::time::sleep(GRACE).await;
    store.around().release();

    let report = within(run.wait()).await.unwrap();

    assert_eq!((report.state, report.counts.succeeded), (RunState::Succeeded, 2));
    let status = engine.store().status(engine.asset_ids()[0]).await.unwrap();
    assert_eq!(status.materialized().len(), 2, "a run succeeded without its values");
}

#[tokio::test]
async fn a_run_that_cannot_be_put_back_is_left_open_and_others_go_on() {
    // The end of a run of two steps never comes to disk.
    let store = doctored(|record| match record {
        Record::RunMoved { to, counts, .. } if to.is_terminal() && counts.total == 2 => Fate::Refused,
        _ => Fate::Taken,
    });
    let cursed = Asset::new("cursed").partitions(numbered(2)).run(|| async { 1_i64 });
    let engine = engine_on(store, 2, [cursed, counting("blessed", &Count::default())]).await;

    let cursed = engine.submit(all_of(&["cursed"])).await.unwrap();
    let waits = engine.submit(all_of(&["cursed", "blessed"])).await.unwrap();
    assert_eq!(within(cursed.wait()).await.unwrap_err().stable_code(), "engine_stopped");

    assert_eq!(within(waits.wait()).await.unwrap().counts.succeeded, 1);
    let report = within(engine.run(forced(&["blessed"]))).await.unwrap();
    assert_eq!(report.counts.succeeded, 1);
    within(engine.shutdown()).await.unwrap();
}
