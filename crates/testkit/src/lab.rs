//! A whole pipeline on one thread, with time that only a test moves, and the same under seeded faults.
//!
//! Unlike [`simulation`](crate::simulation) this runs the pipeline's own functions in the real engine, actors included.

mod faults;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use flowstone_core::clock::Clock;
use flowstone_core::io::{IoEnv, IoFactory, IoManager};
use flowstone_core::memory::{MemoryIo, MemoryStore};
use flowstone_core::pipeline::Pipeline;
use flowstone_core::plan::RunRequest;
use flowstone_core::store::Store;
use flowstone_core::{AssetValue, DataVersion, Error, ErrorKind, Result, TypeInfo};
use flowstone_runtime::{Engine, EngineOptions, RunReport};
use jiff::Timestamp;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::time::Instant;

use crate::ManualClock;

pub use faults::Disturbed;

/// Steps that run at once.
const WORKERS: usize = 2;

/// A pipeline to be tried: the ledger in memory, values in memory or in a temporary folder, both gone when it is dropped.
///
/// Time stands still while anything can happen, and jumps to the next timer when nothing can: a retry after five minutes
/// takes no time at all. The wall clock that the engine sees is moved by [`clock`](Self::clock) besides.
///
/// ```
/// use flowstone_core::asset::{Asset, In};
/// use flowstone_core::pipeline::Pipeline;
/// use flowstone_testkit::Lab;
///
/// # fn main() -> flowstone_core::Result<()> {
/// let pipeline = Pipeline::builder("sums")
///     .asset(Asset::new("numbers").run(|| async { vec![1_i64, 2, 3] }))
///     .asset(Asset::new("total").upstream("numbers").run(|In(numbers): In<Vec<i64>>| async move {
///         numbers.iter().sum::<i64>()
///     }))
///     .build()?;
///
/// let mut calm = Lab::new(&pipeline)?;
/// assert_eq!(calm.run_all()?.counts.succeeded, 2);
/// assert_eq!(calm.value::<i64>("total", "")?, 6);
///
/// let mut disturbed = Lab::new(&pipeline)?;
/// disturbed.run_all_under_faults(7)?;
/// assert_eq!(disturbed.data_versions()?, calm.data_versions()?);
/// # Ok(())
/// # }
/// ```
pub struct Lab {
    pipeline: Pipeline,
    store: Arc<MemoryStore>,
    values: Arc<MemoryIo>,
    folder: TempDir,
    clock: ManualClock,
    started: Instant,
    /// Dropped last of those above: nothing runs without it.
    runtime: Runtime,
}

impl Lab {
    /// An empty ledger for `pipeline`, in the first second of 2024.
    ///
    /// # Errors
    /// `StorageFull`, `PermissionDenied` when there can be no temporary folder.
    pub fn new(pipeline: &Pipeline) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()?;
        let started = {
            let _entered = runtime.enter();
            Instant::now()
        };
        Ok(Self {
            pipeline: pipeline.clone(),
            store: Arc::default(),
            values: Arc::default(),
            folder: TempDir::new()?,
            clock: ManualClock::default(),
            started,
            runtime,
        })
    }

    /// The wall clock, to be moved; time that passes while the pipeline runs is added to it.
    pub fn clock(&self) -> &ManualClock {
        &self.clock
    }

    /// The ledger.
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Makes everything that is not current.
    ///
    /// # Errors
    /// As [`Engine::run`]. A run with failed steps is not an error: the report says so.
    pub fn run_all(&mut self) -> Result<RunReport> {
        let request = self.everything();
        self.run(request)
    }

    /// Carries out one request.
    ///
    /// # Errors
    /// As [`Engine::run`]. A run with failed steps is not an error: the report says so.
    pub fn run(&mut self, request: RunRequest) -> Result<RunReport> {
        self.with_engine(async move |engine| engine.run(request).await)
    }

    /// The current value of a partition, as [`Engine::load`] gives it.
    ///
    /// # Errors
    /// As [`Engine::load`].
    pub fn value<T: AssetValue>(&mut self, asset: &str, partition: &str) -> Result<T> {
        self.with_engine(async |engine| engine.load(asset, partition).await)
    }

    /// The fingerprint of every current value, by asset and partition: two labs that made the same have the same.
    ///
    /// # Errors
    /// None while the ledger is in memory.
    pub fn data_versions(&self) -> Result<BTreeMap<(String, String), DataVersion>> {
        self.runtime.block_on(async {
            let mut versions = BTreeMap::new();
            for row in self.store.assets().await? {
                let all = self.store.status(row.id).await?.materialized();
                for head in self.store.heads(row.id, &all).await? {
                    let place = (row.key.to_string(), row.space.label(head.partition));
                    versions.insert(place, head.stored.data_version);
                }
            }
            Ok(versions)
        })
    }

    /// A request for all partitions of all assets.
    pub fn everything(&self) -> RunRequest {
        let assets: Vec<_> = self
            .pipeline
            .graph()
            .nodes()
            .map(|(_, node)| node.key().clone())
            .collect();
        RunRequest {
            targets: assets.clone(),
            assets,
            ..RunRequest::default()
        }
    }

    fn with_engine<T>(&mut self, act: impl AsyncFnOnce(&Engine) -> Result<T>) -> Result<T> {
        let options = self.options();
        self.runtime.block_on(async {
            let engine = Engine::start(self.pipeline.clone(), Arc::clone(&self.store) as _, options).await?;
            let done = act(&engine).await;
            engine.shutdown().await?;
            done
        })
    }

    fn options(&self) -> EngineOptions {
        EngineOptions {
            workers: WORKERS,
            cancel_grace: Duration::from_secs(1),
            clock: Arc::new(LabClock {
                wall: self.clock.clone(),
                started: self.started,
            }),
            io: IoEnv {
                data_dir: Some(self.folder.path().to_owned()),
            },
            default_io: Arc::new(Kept(Arc::clone(&self.values))),
            ..EngineOptions::default()
        }
    }
}

impl fmt::Debug for Lab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lab")
            .field("pipeline", &self.pipeline.name())
            .finish_non_exhaustive()
    }
}

/// What a test has moved the wall clock to, and the time that has passed since.
struct LabClock {
    wall: ManualClock,
    started: Instant,
}

impl Clock for LabClock {
    fn now(&self) -> Timestamp {
        let now = self.wall.now();
        now.checked_add(self.started.elapsed()).unwrap_or(now)
    }
}

/// Values in memory that outlive an engine.
struct Kept(Arc<MemoryIo>);

impl IoFactory for Kept {
    fn accepts(&self, _: TypeInfo) -> Result<()> {
        Ok(())
    }

    fn open(&self, _: &IoEnv) -> Result<Arc<dyn IoManager>> {
        Ok(Arc::clone(&self.0) as _)
    }
}

/// What a run that should have come to its end says when it did not.
fn never_ends(starts: u32) -> Error {
    Error::new(
        ErrorKind::Internal,
        format!("the run has not ended after {starts} starts of the engine"),
    )
    .code("never_ends")
}
