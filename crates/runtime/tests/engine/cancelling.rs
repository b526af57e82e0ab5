//! Ends runs on request, whatever they are at.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::mpsc::sync_channel;

use flowstone_core::asset::{Asset, AssetContext};
use flowstone_core::memory::MemoryStore;
use flowstone_core::run::RunState;
use flowstone_core::store::RunFilter;
use flowstone_core::{Error, ErrorKind};
use flowstone_runtime::RunReport;
use tokio::sync::Notify;

use crate::support::{Count, Gate, all_of, engine, engine_on, eventually, numbered, one_of, within};

fn assert_cancelled(report: &RunReport) {
    assert_eq!(report.state, RunState::Cancelled, "{report:?}");
    assert_eq!(report.counts.cancelled, report.counts.total);
}

/// Waits to be asked to end, and then gives a value all the same.
fn listens(arrived: &Gate, heard: &Count) -> Asset {
    let (arrived, heard) = (arrived.clone(), heard.clone());
    Asset::new("listens").run(move |context: AssetContext| {
        let (arrived, heard) = (arrived.clone(), heard.clone());
        async move {
            arrived.let_through(1);
            arrived.pass().await;
            context.cancelled().await;
            heard.add() as i64
        }
    })
}

#[tokio::test]
async fn a_running_step_hears_of_it_and_publishes_nothing() {
    let (gate, heard) = (Gate::new(), Count::default());
    let engine = engine([
        listens(&gate, &heard),
        Asset::new("after")
            .upstream("listens")
            .run(|_: flowstone_core::asset::In<i64>| async { 1_i64 }),
    ])
    .await;

    let run = engine.submit(all_of(&["listens", "after"])).await.unwrap();
    gate.arrived().await;
    within(run.cancel()).await.unwrap();
    let report = within(run.wait()).await.unwrap();

    assert_cancelled(&report);
    assert_eq!((report.counts.total, heard.get()), (2, 1));
    assert_eq!(
        engine.load::<i64>("listens", "").await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert!(engine.store().runs(RunFilter::Open, 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn asking_twice_or_after_the_end_changes_nothing() {
    let (gate, heard) = (Gate::new(), Count::default());
    let engine = engine([listens(&gate, &heard), Asset::new("quick").run(|| async { 1_i64 })]).await;

    let run = engine.submit(all_of(&["listens"])).await.unwrap();
    gate.arrived().await;
    let (first, second) = within(async { tokio::join!(run.cancel(), run.cancel()) }).await;
    first.unwrap();
    second.unwrap();
    assert_cancelled(&within(run.wait()).await.unwrap());
    within(run.cancel()).await.unwrap();

    let done = engine.submit(all_of(&["quick"])).await.unwrap();
    within(done.wait()).await.unwrap();
    within(done.cancel()).await.unwrap();
    assert_eq!(within(done.wait()).await.unwrap().state, RunState::Succeeded);
}

#[tokio::test]
async fn a_run_that_waits_for_its_turn_ends_at_once_and_lets_others_pass() {
    let gate = Gate::new();
    let at_gate = gate.clone();
    let engine = engine([
        Asset::new("slow").partitions(numbered(2)).run(move |_: AssetContext| {
            let gate = at_gate.clone();
            async move { gate.pass().await }
        }),
        Asset::new("apart").run(|| async { 1_i64 }),
    ])
    .await;

    let first = engine.submit(one_of("slow", "0")).await.unwrap();
    gate.arrived().await;
    let second = engine.submit(one_of("slow", "0")).await.unwrap();
    let third = engine.submit(all_of(&["apart"])).await.unwrap();
    within(second.cancel()).await.unwrap();

    assert_cancelled(&within(second.wait()).await.unwrap());
    assert_eq!(within(third.wait()).await.unwrap().counts.succeeded, 1);
    assert_eq!(first.progress().state, RunState::Running);
    gate.let_through(1);
    assert_eq!(within(first.wait()).await.unwrap().counts.succeeded, 1);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_waits_for_another_attempt_ends_at_once() {
    let failed = Arc::new(Notify::new());
    let telling = Arc::clone(&failed);
    let engine = engine([Asset::new("flaky").run(move || {
        telling.notify_one();
        async { Err::<i64, _>(Error::transient("not yet")) }
    })])
    .await;

    let run = engine.submit(all_of(&["flaky"])).await.unwrap();
    within(failed.notified()).await;
    within(run.cancel()).await.unwrap();

    assert_cancelled(&within(run.wait()).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thread_that_hangs_does_not_keep_a_cancelled_run_open() {
    let (release, barrier) = sync_channel::<()>(0);
    let (barrier, arrived) = (Arc::new(Mutex::new(barrier)), Count::default());
    let counting = arrived.clone();
    let hangs = Asset::new("hangs").run(move || {
        let (barrier, arrived) = (Arc::clone(&barrier), counting.clone());
        async move {
            arrived.add();
            let _ = barrier.lock().unwrap().recv();
        }
    });
    let engine = engine_on(
        Arc::new(MemoryStore::default()),
        1,
        [hangs, Asset::new("other").run(|| async { 1_i64 })],
    )
    .await;

    let run = engine.submit(all_of(&["hangs"])).await.unwrap();
    eventually(|| arrived.get() == 1).await;
    within(run.cancel()).await.unwrap();
    assert_cancelled(&within(run.wait()).await.unwrap());

    assert_eq!(
        within(engine.run(all_of(&["other"]))).await.unwrap().counts.succeeded,
        1
    );
    drop(release);
}

#[tokio::test]
async fn dropping_the_engine_asks_what_runs_to_end() {
    let (gate, heard) = (Gate::new(), Count::default());
    let engine = engine([listens(&gate, &heard)]).await;

    let run = engine.submit(all_of(&["listens"])).await.unwrap();
    gate.arrived().await;
    drop(engine);

    eventually(|| heard.get() == 1).await;
    assert_eq!(within(run.wait()).await.unwrap_err().stable_code(), "engine_stopped");
}
