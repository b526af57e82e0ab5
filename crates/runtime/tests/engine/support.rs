//! Engines for tests, and gates at which their steps wait to be let through.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use flowstone_core::asset::Asset;
use flowstone_core::clock::Clock;
use flowstone_core::io::{IoEnv, IoFactory, IoManager};
use flowstone_core::memory::{MemoryIo, MemoryStore};
use flowstone_core::partition::{PartitionSelector, Partitions};
use flowstone_core::pipeline::Pipeline;
use flowstone_core::plan::{Force, RunRequest};
use flowstone_core::store::Store;
use flowstone_core::{Result, TypeInfo};
use flowstone_runtime::{Engine, EngineOptions};
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// How long a step that is asked to end gets in these tests.
pub(crate) const GRACE: Duration = Duration::from_millis(20);

/// Longer than the retries of any test take.
const DEADLINE: Duration = Duration::from_secs(600);

/// A clock that goes with tokio's, paused or not.
struct TokioClock {
    start: Instant,
    origin: Timestamp,
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        self.origin + self.start.elapsed()
    }
}

/// Values that outlive an engine.
#[derive(Clone, Default)]
pub(crate) struct Kept(pub(crate) Arc<MemoryIo>);

impl IoFactory for Kept {
    fn accepts(&self, _: TypeInfo) -> Result<()> {
        Ok(())
    }

    fn open(&self, _: &IoEnv) -> Result<Arc<dyn IoManager>> {
        Ok(Arc::clone(&self.0) as _)
    }
}

pub(crate) fn options(workers: usize) -> EngineOptions {
    let clock = TokioClock {
        start: Instant::now(),
        origin: Timestamp::constant(1_704_067_200, 0),
    };
    EngineOptions {
        workers,
        cancel_grace: GRACE,
        clock: Arc::new(clock),
        ..EngineOptions::default()
    }
}

pub(crate) fn pipeline(assets: impl IntoIterator<Item = Asset>) -> Pipeline {
    Pipeline::builder("test").assets(assets).build().unwrap()
}

/// An engine with two workers on a store of its own.
pub(crate) async fn engine(assets: impl IntoIterator<Item = Asset>) -> Engine {
    engine_on(Arc::new(MemoryStore::default()), 2, assets).await
}

pub(crate) async fn engine_on(
    store: Arc<dyn Store>,
    workers: usize,
    assets: impl IntoIterator<Item = Asset>,
) -> Engine {
    within(Engine::start(pipeline(assets), store, options(workers)))
        .await
        .unwrap()
}

/// All partitions of these assets, each of them asked for by itself.
pub(crate) fn all_of(names: &[&str]) -> RunRequest {
    let assets: Vec<_> = names.iter().map(|name| name.parse().unwrap()).collect();
    RunRequest {
        targets: assets.clone(),
        assets,
        ..RunRequest::default()
    }
}

pub(crate) fn one_of(name: &str, partition: &str) -> RunRequest {
    RunRequest {
        partitions: PartitionSelector::Key(partition.to_owned()),
        ..all_of(&[name])
    }
}

pub(crate) fn forced(names: &[&str]) -> RunRequest {
    RunRequest {
        force: Force::All,
        ..all_of(names)
    }
}

/// `count` partitions that are named by number.
pub(crate) fn numbered(count: i64) -> Partitions {
    Partitions::keys(0..count)
}

/// What `future` gives. Nothing takes this long, however busy the machine is; with a paused clock it is over as soon as
/// nothing can happen any more.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("it hangs")
}

/// Waits until `is_so`, which nobody tells of.
pub(crate) async fn eventually(is_so: impl Fn() -> bool) {
    within(async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Where steps wait until the test lets them through.
#[derive(Clone)]
pub(crate) struct Gate(Arc<(Semaphore, Semaphore)>);

impl Gate {
    pub(crate) fn new() -> Self {
        Self(Arc::new((Semaphore::new(0), Semaphore::new(0))))
    }

    /// A step is here and waits.
    pub(crate) async fn pass(&self) {
        self.0.0.add_permits(1);
        self.0.1.acquire().await.unwrap().forget();
    }

    /// Waits until one more step is here.
    pub(crate) async fn arrived(&self) {
        within(self.0.0.acquire()).await.unwrap().forget();
    }

    pub(crate) fn let_through(&self, count: usize) {
        self.0.1.add_permits(count);
    }
}

/// Counts what happens.
#[derive(Clone, Default)]
pub(crate) struct Count(Arc<AtomicUsize>);

impl Count {
    pub(crate) fn add(&self) -> usize {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}
