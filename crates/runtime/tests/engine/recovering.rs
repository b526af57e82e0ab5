//! Stops, and goes on with the next engine on the same store.

use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};

use flowstone_core::Error;
use flowstone_core::asset::{Asset, AssetContext, PartitionStream};
use flowstone_core::memory::{MemoryIo, MemoryStore};
use flowstone_core::partition::Partitions;
use flowstone_core::run::RunState;
use flowstone_core::store::{ChunkRow, ChunkState, Record, RunFilter, Store};
use flowstone_runtime::{Engine, EngineOptions};

use crate::doctored::{Fate, doctored_on};
use crate::support::{Count, Gate, Kept, all_of, engine_on, eventually, numbered, options, pipeline, within};

/// A process may end here, and the next one begin.
struct World {
    store: Arc<MemoryStore>,
    values: Arc<MemoryIo>,
}

impl World {
    fn new() -> Self {
        Self {
            store: Arc::default(),
            values: Arc::default(),
        }
    }

    async fn engine(&self, assets: impl IntoIterator<Item = Asset>) -> Engine {
        let options = EngineOptions {
            default_io: Arc::new(Kept(Arc::clone(&self.values))),
            ..options(1)
        };
        within(Engine::start(pipeline(assets), Arc::clone(&self.store) as _, options))
            .await
            .unwrap()
    }
}

/// Twenty steps that note what they do, and wait at a gate.
fn gated(gate: &Gate, done: &Arc<Mutex<Vec<String>>>) -> Asset {
    let (gate, done) = (gate.clone(), Arc::clone(done));
    Asset::new("steps")
        .partitions(numbered(20))
        .run(move |context: AssetContext| {
            let (gate, done) = (gate.clone(), Arc::clone(&done));
            async move {
                gate.pass().await;
                done.lock().unwrap().push(context.partition_label());
                context.partition_label()
            }
        })
}

#[tokio::test]
async fn a_stop_lets_steps_in_flight_end_and_the_next_engine_does_the_rest() {
    let (world, gate, done) = (World::new(), Gate::new(), Arc::default());
    let engine = world.engine([gated(&gate, &done)]).await;
    let run = engine.submit(all_of(&["steps"])).await.unwrap();
    for _ in 0..6 {
        gate.arrived().await;
        gate.let_through(1);
    }
    gate.arrived().await;

    let (stopped, ()) = within(async {
        tokio::join!(engine.shutdown(), async {
            tokio::task::yield_now().await;
            // The chunk that is under way, to its end.
            gate.let_through(20);
        })
    })
    .await;
    stopped.unwrap();
    let left = 20 - done.lock().unwrap().len();
    if left > 0 {
        assert_eq!(within(run.wait()).await.unwrap_err().stable_code(), "engine_stopped");
        assert_eq!(world.store.runs(RunFilter::Open, 9).await.unwrap().len(), 1);
    }
    gate.let_through(40);
    let engine = world.engine([gated(&gate, &done)]).await;
    assert_eq!(engine.recovered().len(), usize::from(left > 0));
    for run in engine.recovered() {
        let report = within(run.wait()).await.unwrap();
        assert_eq!((report.state, report.counts.succeeded), (RunState::Succeeded, 20));
    }

    let mut done = done.lock().unwrap().clone();
    done.sort_by_key(|label| label.parse::<u32>().unwrap());
    assert_eq!(
        done,
        (0..20).map(|number| number.to_string()).collect::<Vec<_>>(),
        "each was done once"
    );
    assert_eq!(engine.load::<String>("steps", "19").await.unwrap(), "19");
}

#[tokio::test]
async fn what_does_not_end_within_the_grace_is_done_again_by_the_next_engine_and_nothing_else() {
    let (world, gate, done) = (World::new(), Gate::new(), Arc::default());
    let engine = world.engine([gated(&gate, &done)]).await;
    engine.submit(all_of(&["steps"])).await.unwrap();
    for _ in 0..6 {
        gate.arrived().await;
        gate.let_through(1);
    }
    gate.arrived().await;

    within(engine.shutdown()).await.unwrap();
    assert_eq!(done.lock().unwrap().len(), 6);
    gate.let_through(40);
    let engine = world.engine([gated(&gate, &done)]).await;
    let report = within(engine.recovered()[0].wait()).await.unwrap();

    assert_eq!(report.counts.succeeded, 20);
    assert_eq!(done.lock().unwrap().len(), 20, "what was on disk was not done again");
}

#[tokio::test]
async fn an_engine_that_is_dropped_loses_only_what_was_in_flight() {
    let (world, gate, done) = (World::new(), Gate::new(), Arc::default());
    let engine = world.engine([gated(&gate, &done)]).await;
    let run = engine.submit(all_of(&["steps"])).await.unwrap();
    for _ in 0..6 {
        gate.arrived().await;
        gate.let_through(1);
    }
    gate.arrived().await;

    drop(engine);
    assert!(within(run.wait()).await.is_err());
    gate.let_through(40);
    let engine = world.engine([gated(&gate, &done)]).await;
    let report = within(engine.recovered()[0].wait()).await.unwrap();

    assert_eq!((report.state, report.counts.succeeded), (RunState::Succeeded, 20));
    let status = world.store.status(engine.asset_ids()[0]).await.unwrap();
    assert_eq!(
        (status.heads.len(), status.materialized().len()),
        (1, 20),
        "one version of each"
    );
}

/// Two orders, and their sum, which waits at the gate.
fn orders_and_income(gate: &Gate) -> [Asset; 2] {
    let orders = Asset::new("orders")
        .partitions(Partitions::dynamic("customers"))
        .run(|context: AssetContext| async move { context.partition_label().len() as i64 });
    let gate = gate.clone();
    let income = Asset::new("income")
        .upstream("orders")
        .run(move |orders: PartitionStream<i64>| {
            let gate = gate.clone();
            async move {
                gate.pass().await;
                Ok::<i64, Error>(orders.collect().await?.iter().sum())
            }
        });
    [orders, income]
}

#[tokio::test]
async fn a_run_keeps_to_the_dynamic_partitions_that_it_was_planned_with() {
    let (world, gate) = (World::new(), Gate::new());
    let engine = world.engine(orders_and_income(&gate)).await;
    let customers = ["ann", "robert", "jo"];
    engine.add_partitions("customers", customers).await.unwrap();
    engine.retire_partitions("customers", ["jo"]).await.unwrap();
    let run = engine.submit(all_of(&["orders", "income"])).await.unwrap();
    gate.arrived().await;

    // The set changes in every way that there is; then the process ends.
    engine.add_partitions("customers", ["jo", "kim"]).await.unwrap();
    engine.retire_partitions("customers", ["ann"]).await.unwrap();
    within(engine.shutdown()).await.unwrap();
    gate.let_through(2);
    let engine = world.engine(orders_and_income(&gate)).await;
    let report = within(engine.recovered()[0].wait()).await.unwrap();

    assert_eq!((report.run, report.state), (run.run_id(), RunState::Succeeded));
    assert_eq!(report.counts.total, 3, "two orders and their sum");
    assert_eq!(engine.load::<i64>("income", "").await.unwrap(), 9);
    let plan = engine.plan(&all_of(&["orders", "income"])).await.unwrap();
    assert_eq!(plan.assets[0].steps.to_string(), "2-3", "jo and kim are missing now");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stop_does_not_wait_for_a_thread_that_hangs() {
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
    let engine = engine_on(Arc::new(MemoryStore::default()), 1, [hangs]).await;

    let run = engine.submit(all_of(&["hangs"])).await.unwrap();
    eventually(|| arrived.get() == 1).await;
    within(engine.shutdown()).await.unwrap();

    assert_eq!(within(run.wait()).await.unwrap_err().stable_code(), "engine_stopped");
    drop(release);
}

#[tokio::test]
async fn a_run_that_was_being_cancelled_is_cancelled_by_the_next_engine() {
    let (world, gate, done) = (World::new(), Gate::new(), Arc::default());
    // The record that ends it never comes to disk.
    let ends = |record: &Record| {
        matches!(
            record,
            Record::RunMoved {
                to: RunState::Cancelled,
                ..
            }
        )
    };
    let held = doctored_on(Arc::clone(&world.store), move |record| {
        if ends(record) { Fate::Held } else { Fate::Taken }
    });
    let engine = engine_on(Arc::clone(&held) as _, 1, [gated(&gate, &done)]).await;
    let run = engine.submit(all_of(&["steps"])).await.unwrap();
    gate.arrived().await;
    within(run.cancel()).await.unwrap();
    within(held.around().holds()).await;
    drop(engine);

    let engine = world.engine([gated(&gate, &done)]).await;
    let report = within(engine.recovered()[0].wait()).await.unwrap();

    assert_eq!(
        (report.state, report.counts.cancelled),
        (RunState::Cancelled, 20),
        "{report:?}"
    );
    assert!(report.counts.adds_up());
    assert!(done.lock().unwrap().is_empty());
    assert!(world.store.runs(RunFilter::Open, 9).await.unwrap().is_empty());
    let chunks = world.store.chunks(run.run_id()).await.unwrap();
    let is_over = |chunk: &ChunkRow| chunk.state == ChunkState::Ended && chunk.claim.fence.incarnation().0 > 1;
    assert!(
        !chunks.is_empty() && chunks.iter().all(is_over),
        "its holder is not refused: {chunks:?}"
    );
}
