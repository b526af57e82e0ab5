//! Runs that wait on request, share the workers by priority, and are asked for again where they did not go well.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use flowstone_core::asset::{Asset, AssetContext, In, Outcome};
use flowstone_core::memory::MemoryStore;
use flowstone_core::plan::{Pace, RunRequest};
use flowstone_core::run::RunState;
use flowstone_core::{Error, ErrorKind};
use flowstone_runtime::RunHandle;

use crate::support::{Count, Gate, all_of, engine_on, eventually, forced, numbered, one_of, within};

fn gated(name: &str, count: i64, gate: &Gate, made: &Count) -> Asset {
    let (gate, made) = (gate.clone(), made.clone());
    Asset::new(name).partitions(numbered(count)).run(move || {
        let (gate, made) = (gate.clone(), made.clone());
        async move {
            gate.pass().await;
            made.add() as i64
        }
    })
}

async fn rest(run: &RunHandle) {
    eventually(|| run.progress().state == RunState::Paused && run.progress().counts.running == 0).await;
}

#[tokio::test]
async fn a_paused_run_ends_what_runs_and_starts_nothing_more_until_it_is_resumed() {
    let (gate, made) = (Gate::new(), Count::default());
    let engine = engine_on(Arc::new(MemoryStore::default()), 1, [gated("slow", 10, &gate, &made)]).await;
    let run = engine.submit(all_of(&["slow"])).await.unwrap();
    gate.arrived().await;

    within(run.pause()).await.unwrap();
    within(run.pause()).await.unwrap();
    gate.let_through(100);
    rest(&run).await;

    assert_eq!(
        made.get(),
        1,
        "the step that ran has ended, and no other of its chunk began"
    );
    let counts = run.progress().counts;
    assert_eq!((counts.succeeded, counts.ready, counts.adds_up()), (1, 9, true));
    let state = engine.store().run(run.run_id()).await.unwrap().unwrap().state;
    assert_eq!(state, RunState::Paused);
    within(run.resume()).await.unwrap();
    let report = within(run.wait()).await.unwrap();
    assert_eq!(
        (report.state, report.counts.succeeded, made.get()),
        (RunState::Succeeded, 10, 10)
    );
    assert_eq!(run.pause().await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_pause_survives_its_engine_and_a_paused_run_can_be_cancelled() {
    let store = Arc::new(MemoryStore::default());
    let (gate, made) = (Gate::new(), Count::default());
    let engine = engine_on(store.clone(), 2, [gated("slow", 6, &gate, &made)]).await;
    let run = engine.submit(all_of(&["slow"])).await.unwrap();
    gate.arrived().await;
    within(run.pause()).await.unwrap();
    gate.let_through(100);
    rest(&run).await;
    within(engine.shutdown()).await.unwrap();
    let before = made.get();

    let engine = engine_on(store.clone(), 2, [gated("slow", 6, &gate, &made)]).await;
    let run = engine.recovered()[0].clone();
    assert_eq!(run.progress().state, RunState::Paused);
    let other = engine.submit(all_of(&["slow"])).await.unwrap();
    assert_eq!(
        other.progress().state,
        RunState::Queued,
        "a paused run keeps what it holds"
    );
    assert_eq!(made.get(), before);

    within(run.cancel()).await.unwrap();
    let report = within(run.wait()).await.unwrap();
    assert_eq!(report.state, RunState::Cancelled);
    assert!(report.counts.adds_up());
    assert_eq!(within(other.wait()).await.unwrap().state, RunState::Succeeded);
    assert_eq!(made.get(), 6);
}

#[tokio::test]
async fn a_run_that_waits_and_is_paused_lets_others_go_first() {
    let (gate, made) = (Gate::new(), Count::default());
    let engine = engine_on(Arc::new(MemoryStore::default()), 2, [gated("slow", 3, &gate, &made)]).await;
    let first = engine.submit(one_of("slow", "0")).await.unwrap();
    gate.arrived().await;
    let paused = engine.submit(all_of(&["slow"])).await.unwrap();
    let behind = engine.submit(one_of("slow", "2")).await.unwrap();
    assert_eq!(behind.progress().state, RunState::Queued);

    within(paused.pause()).await.unwrap();
    gate.let_through(100);
    assert_eq!(within(behind.wait()).await.unwrap().counts.succeeded, 1);
    assert_eq!(within(first.wait()).await.unwrap().counts.succeeded, 1);
    assert_eq!(paused.progress().state, RunState::Paused);
    within(paused.resume()).await.unwrap();

    assert_eq!(
        within(paused.wait()).await.unwrap().counts.succeeded,
        1,
        "only what is left"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_steps_run_at_once_than_were_asked_for() {
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, max) = (running.clone(), most.clone());
    let asset = Asset::new("many").partitions(numbered(200)).run(move || {
        let (now, max) = (now.clone(), max.clone());
        async move {
            max.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            now.fetch_sub(1, Ordering::SeqCst);
            1_i64
        }
    });
    let engine = engine_on(Arc::new(MemoryStore::default()), 8, [asset]).await;
    for concurrency in [1, 3] {
        most.store(0, Ordering::SeqCst);
        let request = RunRequest {
            pace: Pace {
                concurrency: std::num::NonZeroU32::new(concurrency),
                priority: 0,
            },
            ..forced(&["many"])
        };

        let report = within(engine.run(request)).await.unwrap();

        assert_eq!(report.counts.succeeded, 200);
        let most = most.load(Ordering::SeqCst);
        assert!((1..=concurrency as usize).contains(&most), "{most} of {concurrency}");
    }
}

#[tokio::test]
async fn a_higher_priority_goes_first_and_the_lower_one_is_not_forgotten() {
    let (gate, log) = (Gate::new(), Arc::new(Mutex::new(Vec::new())));
    let logged = |name: &'static str, count: i64| {
        let (gate, log) = (gate.clone(), Arc::clone(&log));
        Asset::new(name).partitions(numbered(count)).run(move || {
            let (gate, log) = (gate.clone(), Arc::clone(&log));
            async move {
                gate.pass().await;
                log.lock().unwrap().push(name);
            }
        })
    };
    let engine = engine_on(
        Arc::new(MemoryStore::default()),
        1,
        [logged("low", 64), logged("high", 16)],
    )
    .await;
    let low = engine.submit(all_of(&["low"])).await.unwrap();
    gate.arrived().await;
    let urgent = RunRequest {
        pace: Pace {
            concurrency: None,
            priority: 7,
        },
        ..all_of(&["high"])
    };
    let high = engine.submit(urgent).await.unwrap();
    tokio::task::yield_now().await;

    gate.let_through(1_000);
    let (low, high) = within(async { tokio::join!(low.wait(), high.wait()) }).await;

    assert_eq!(
        (low.unwrap().counts.succeeded, high.unwrap().counts.succeeded),
        (64, 16)
    );
    let log = log.lock().unwrap();
    let first = log.iter().position(|name| *name == "high").unwrap();
    assert!(log[first..first + 16].iter().all(|name| *name == "high"), "{log:?}");
    assert!(
        first + 16 < log.len(),
        "the low one was first, and goes on behind: {log:?}"
    );
}

#[tokio::test]
async fn a_redrive_makes_what_did_not_succeed_and_nothing_else() {
    let (is_mended, made) = (Arc::new(AtomicBool::new(false)), Count::default());
    let (mended, counting) = (Arc::clone(&is_mended), made.clone());
    let engine = engine_on(
        Arc::new(MemoryStore::default()),
        2,
        [
            Asset::new("first")
                .partitions(numbered(10))
                .run(move |context: AssetContext| {
                    let is_broken = context.partition_label() == "3" && !mended.load(Ordering::SeqCst);
                    counting.add();
                    async move {
                        if is_broken {
                            return Err(Error::permanent("broken"));
                        }
                        Ok(1_i64)
                    }
                }),
            Asset::new("second")
                .partitions(numbered(10))
                .upstream("first")
                .run(|In(first): In<i64>| async move { first }),
        ],
    )
    .await;
    let request = all_of(&["first", "second"]);
    let run = within(engine.run(request.clone())).await.unwrap();
    assert_eq!(
        (run.counts.succeeded, run.counts.failed, run.counts.dependency_failed),
        (18, 1, 1)
    );
    is_mended.store(true, Ordering::SeqCst);

    let again = engine.redrive(run.run).await.unwrap();
    let again = within(again.wait()).await.unwrap();

    assert_eq!(
        (again.state, again.counts.total, again.counts.succeeded),
        (RunState::Succeeded, 2, 2)
    );
    assert_eq!(made.get(), 11);
    let row = engine.store().run(again.run).await.unwrap().unwrap();
    let asked = RunRequest::decode(&row.request).unwrap();
    assert_eq!(asked.redrive.map(|redrive| redrive.of), Some(run.run));
    let old = engine.store().run(run.run).await.unwrap().unwrap();
    assert_eq!(old.state, RunState::Failed, "a terminal state is final");
    let twice = within(engine.redrive(run.run).await.unwrap().wait()).await.unwrap();
    assert_eq!(twice.counts.total, 0, "it has been made by now");
    let refused = engine.redrive(again.run).await.unwrap_err();
    assert_eq!(refused.stable_code(), "nothing_to_redrive");
}

#[tokio::test]
async fn a_cancelled_run_is_redriven_from_where_it_was() {
    let (gate, made) = (Gate::new(), Count::default());
    let engine = engine_on(Arc::new(MemoryStore::default()), 1, [gated("slow", 8, &gate, &made)]).await;
    let run = engine.submit(forced(&["slow"])).await.unwrap();
    gate.arrived().await;
    let refused = engine.redrive(run.run_id()).await.unwrap_err();
    assert_eq!(refused.stable_code(), "run_open");
    gate.let_through(2);
    eventually(|| made.get() == 2).await;
    within(run.cancel()).await.unwrap();
    let cancelled = within(run.wait()).await.unwrap();
    assert_eq!(cancelled.state, RunState::Cancelled);

    gate.let_through(100);
    let left = within(engine.redrive(run.run_id()).await.unwrap().wait())
        .await
        .unwrap();

    assert_eq!(left.state, RunState::Succeeded);
    assert_eq!(left.counts.total, 8 - cancelled.counts.succeeded);
}

/// What needs the value of a step that found nothing to make could not be planned without that step.
#[tokio::test]
async fn a_redrive_asks_again_for_what_found_nothing_to_make_and_is_needed() {
    let is_mended = Arc::new(AtomicBool::new(false));
    let (there, mended) = (Arc::clone(&is_mended), Arc::clone(&is_mended));
    let engine = engine_on(
        Arc::new(MemoryStore::default()),
        2,
        [
            Asset::new("sparse").run(move || {
                let is_there = there.load(Ordering::SeqCst);
                async move {
                    match is_there {
                        true => Outcome::Value(1_i64),
                        false => Outcome::skip("a holiday"),
                    }
                }
            }),
            Asset::new("broken").run(move || {
                let is_mended = mended.load(Ordering::SeqCst);
                async move {
                    match is_mended {
                        true => Ok(2_i64),
                        false => Err(Error::permanent("broken")),
                    }
                }
            }),
            Asset::new("sum")
                .upstream("sparse")
                .upstream("broken")
                .run(|In(one): In<i64>, In(other): In<i64>| async move { one + other }),
        ],
    )
    .await;
    let run = within(engine.run(all_of(&["sparse", "broken", "sum"]))).await.unwrap();
    assert_eq!((run.counts.skipped, run.counts.failed), (1, 1));
    is_mended.store(true, Ordering::SeqCst);

    let again = engine.redrive(run.run).await.unwrap();
    let again = within(again.wait()).await.unwrap();

    assert_eq!(
        (again.state, again.counts.total, again.counts.succeeded),
        (RunState::Succeeded, 3, 3)
    );
    assert_eq!(engine.load::<i64>("sum", "").await.unwrap(), 3);
}
