//! A stop leaves nothing behind, and the order in which runs begin.

use std::sync::Arc;

use flowstone_core::asset::{Asset, In};
use flowstone_core::memory::MemoryStore;
use flowstone_core::run::RunState;

use crate::support::{Gate, all_of, engine_on, forced, numbered, one_of, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_an_engine_that_was_shut_down_holds_the_store() {
    let mut store = Arc::new(MemoryStore::default());
    for round in 0..20 {
        let many = Asset::new("many").partitions(numbered(50)).run(|| async { 1_i64 });
        let engine = engine_on(store.clone(), 2, [many]).await;
        let report = within(engine.run(forced(&["many"]))).await.unwrap();
        assert_eq!(report.counts.succeeded, 50);

        within(engine.shutdown()).await.unwrap();

        let alone = Arc::into_inner(store);
        store = Arc::new(alone.unwrap_or_else(|| panic!("somebody has the store after round {round}")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_run_does_not_hold_the_store_either() {
    let store = Arc::new(MemoryStore::default());
    let gate = Gate::new();
    let at_gate = gate.clone();
    let waits = Asset::new("waits").partitions(numbered(3)).run(move || {
        let gate = at_gate.clone();
        async move { gate.pass().await }
    });
    let engine = engine_on(store.clone(), 1, [waits]).await;
    let run = engine.submit(all_of(&["waits"])).await.unwrap().run_id();
    let behind = engine.submit(all_of(&["waits"])).await.unwrap().run_id();
    gate.arrived().await;

    within(engine.shutdown()).await.unwrap();

    let store: Arc<dyn flowstone_core::store::Store> =
        Arc::new(Arc::into_inner(store).expect("nobody else has the store"));
    let state = async |run| store.run(run).await.unwrap().unwrap().state;
    assert_eq!(
        (state(run).await, state(behind).await),
        (RunState::Running, RunState::Queued)
    );
}

#[tokio::test]
async fn a_run_overtakes_those_that_it_does_not_disturb() {
    let gate = Gate::new();
    let at_gate = gate.clone();
    let engine = engine_on(
        Arc::new(MemoryStore::default()),
        2,
        [
            Asset::new("slow").partitions(numbered(3)).run(move || {
                let gate = at_gate.clone();
                async move { gate.pass().await }
            }),
            Asset::new("after")
                .partitions(numbered(3))
                .upstream("slow")
                .run(|In(()): In<()>| async { 1_i64 }),
            Asset::new("other").run(|| async { 2_i64 }),
        ],
    )
    .await;

    let first = engine.submit(one_of("slow", "0")).await.unwrap();
    gate.arrived().await;
    let waits = engine.submit(all_of(&["slow", "after"])).await.unwrap();
    let behind = engine.submit(one_of("slow", "2")).await.unwrap();
    let other = within(engine.run(all_of(&["other"]))).await.unwrap();

    assert_eq!(other.state, RunState::Succeeded);
    let state = |run: &flowstone_runtime::RunHandle| run.progress().state;
    assert_eq!(state(&first), RunState::Running);
    assert_eq!((state(&waits), state(&behind)), (RunState::Queued, RunState::Queued));
    gate.let_through(3);
    let (first, waits, behind) = within(async { tokio::join!(first.wait(), waits.wait(), behind.wait()) }).await;
    let steps = [first, waits, behind].map(|report| report.unwrap().counts.succeeded);
    assert_eq!(steps, [1, 5, 0], "what one run has made, the next does not make again");
}
