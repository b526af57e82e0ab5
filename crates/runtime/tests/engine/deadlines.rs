//! Deadlines hold whatever the code does.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use flowstone_core::asset::{Asset, AssetContext, Retry};
use flowstone_core::io::{Address, IoEnv, IoFactory, IoManager, Slot, Stored};
use flowstone_core::memory::MemoryStore;
use flowstone_core::run::RunState;
use flowstone_core::{Error, ErrorKind, Result, TypeInfo, Value};
use flowstone_runtime::{Engine, EngineOptions, RunReport};
use tokio::time::Instant;

use crate::doctored::{Fate, doctored, is_claim};
use crate::support::{
    Count, GRACE, all_of, engine, engine_on, eventually, forced, numbered, options, pipeline, within,
};

fn timed(name: &str, deadline: Duration) -> Asset {
    Asset::new(name).deadline(deadline).retry(Retry::never())
}

fn assert_timed_out(report: &RunReport) {
    assert_eq!(
        (report.state, report.failures.len()),
        (RunState::Failed, 1),
        "{report:?}"
    );
    assert_eq!(report.failures[0].error.kind, ErrorKind::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn code_that_listens_ends_at_its_deadline() {
    let heard = Count::default();
    let counting = heard.clone();
    let engine = engine([
        timed("listens", Duration::from_secs(10)).run(move |context: AssetContext| {
            let heard = counting.clone();
            async move {
                context.cancelled().await;
                heard.add();
            }
        }),
    ])
    .await;
    let started = Instant::now();

    let report = within(engine.run(all_of(&["listens"]))).await.unwrap();

    assert_timed_out(&report);
    assert_eq!(heard.get(), 1, "it was asked to end");
    let took = started.elapsed();
    assert!(
        took >= Duration::from_secs(10) && took < Duration::from_secs(11),
        "{took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn code_that_does_not_listen_is_dropped_after_the_grace() {
    let dropped = Count::default();
    let counting = dropped.clone();
    let engine = engine([timed("deaf", Duration::from_secs(10)).run(move || {
        let guard = OnDrop(counting.clone());
        async move {
            std::future::pending::<()>().await;
            drop(guard);
        }
    })])
    .await;
    let started = Instant::now();

    let report = within(engine.run(all_of(&["deaf"]))).await.unwrap();

    assert_timed_out(&report);
    assert_eq!(dropped.get(), 1);
    assert!(started.elapsed() < Duration::from_secs(11));
}

struct OnDrop(Count);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.add();
    }
}

/// A receiver that several steps may wait at, and its other end.
fn barrier() -> (SyncSender<()>, Arc<Mutex<Receiver<()>>>) {
    let (sender, receiver) = sync_channel(0);
    (sender, Arc::new(Mutex::new(receiver)))
}

#[tokio::test]
async fn code_that_blocks_does_not_hold_up_the_run() {
    let (release, barrier) = barrier();
    let engine = engine_on(
        Arc::new(MemoryStore::default()),
        1,
        [
            timed("blocks", Duration::from_millis(30)).run_blocking(move || {
                // Ends when the test drops the other end.
                let _ = barrier.lock().unwrap().recv();
            }),
            Asset::new("other").run(|| async { 1_i64 }),
        ],
    )
    .await;

    let report = within(engine.run(all_of(&["blocks", "other"]))).await.unwrap();

    assert_timed_out(&report);
    assert_eq!(report.counts.succeeded, 1);
    drop(release);
    within(engine.shutdown()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_worker_whose_thread_hangs_is_given_up_and_replaced() {
    let (release, barrier) = barrier();
    let left = Count::default();
    let counting = left.clone();
    let engine = engine_on(
        Arc::new(MemoryStore::default()),
        1,
        [
            timed("hangs", Duration::from_millis(30)).run(move || {
                let (barrier, left) = (Arc::clone(&barrier), counting.clone());
                async move {
                    let _ = barrier.lock().unwrap().recv();
                    left.add();
                }
            }),
            Asset::new("other").run(|| async { 1_i64 }),
        ],
    )
    .await;

    let report = within(engine.run(all_of(&["hangs", "other"]))).await.unwrap();
    assert_timed_out(&report);
    assert_eq!(report.counts.succeeded, 1);

    drop(release);
    eventually(|| left.get() == 1).await;
    let again = within(engine.run(forced(&["other"]))).await.unwrap();
    assert_eq!(again.counts.succeeded, 1, "the worker that came back late does no harm");
    assert_eq!(
        engine.load::<()>("hangs", "").await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

#[tokio::test(start_paused = true)]
async fn each_step_has_its_own_deadline_however_many_a_worker_does_in_a_row() {
    let slow = |context: AssetContext| async move {
        let is_too_slow = context.partition_label().ends_with('7');
        tokio::time::sleep(Duration::from_millis(if is_too_slow { 10_500 } else { 9_500 })).await;
    };
    let engine = engine([timed("slow", Duration::from_secs(10))
        .partitions(numbered(80))
        .run(slow)])
    .await;
    let started = Instant::now();

    let report = within(engine.run(all_of(&["slow"]))).await.unwrap();

    assert_eq!((report.counts.succeeded, report.counts.failed), (72, 8));
    assert!(
        report.failures.iter().all(|failed| failed.label.ends_with('7')),
        "{report:?}"
    );
    assert!(started.elapsed() < Duration::from_secs(500));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_holds_for_a_step_that_had_to_wait_for_its_claim() {
    let store = doctored(|record| if is_claim(record) { Fate::Held } else { Fate::Taken });
    let acts = timed("acts", Duration::from_secs(10))
        .acts_outside()
        .run(|| async { std::future::pending::<()>().await });
    let engine = engine_on(Arc::clone(&store) as _, 1, [acts]).await;

    let run = engine.submit(all_of(&["acts"])).await.unwrap();
    within(store.around().holds()).await;
    tokio::time::advance(Duration::from_secs(25)).await;
    tokio::time::sleep(GRACE).await;
    store.around().release();

    assert_timed_out(&within(run.wait()).await.unwrap());
}

/// A medium that takes values and never says that it has them.
#[derive(Debug)]
struct Silent;

#[async_trait]
impl IoManager for Silent {
    fn accepts(&self, _: TypeInfo) -> Result<()> {
        Ok(())
    }

    async fn store(&self, _: Slot, _: &Value) -> Result<Stored> {
        std::future::pending().await
    }

    async fn load(&self, _: &Stored, _: TypeInfo) -> Result<Value> {
        Err(Error::new(ErrorKind::NotFound, "it keeps nothing"))
    }

    async fn delete(&self, _: &Address) -> Result<()> {
        Ok(())
    }
}

impl IoFactory for Silent {
    fn accepts(&self, _: TypeInfo) -> Result<()> {
        Ok(())
    }

    fn open(&self, _: &IoEnv) -> Result<Arc<dyn IoManager>> {
        Ok(Arc::new(Self))
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_holds_for_a_value_that_is_not_stored() {
    let pipeline = pipeline([timed("value", Duration::from_secs(10)).run(|| async { 1_u8 })]);
    let options = EngineOptions {
        default_io: Arc::new(Silent),
        ..options(1)
    };
    let engine = within(Engine::start(pipeline, Arc::new(MemoryStore::default()), options))
        .await
        .unwrap();
    let started = Instant::now();

    let report = within(engine.run(all_of(&["value"]))).await.unwrap();

    assert_timed_out(&report);
    assert!(started.elapsed() < Duration::from_secs(10) + 2 * GRACE);
}
