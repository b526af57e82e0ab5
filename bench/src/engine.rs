//! Runs a pipeline once, in memory or durably, and takes the time.
//!
//! The time is that of `Engine::run` alone: planning, running, and the answer that the run ended; durably, the answer
//! comes when the end is on disk. Starting and stopping the engine are not in it. A run that does not end well is an
//! error, so nothing is ever measured that did not happen.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flowstone_core::io::IoEnv;
use flowstone_core::memory::MemoryStore;
use flowstone_core::pipeline::Pipeline;
use flowstone_core::plan::RunRequest;
use flowstone_core::run::RunState;
use flowstone_core::store::Store;
use flowstone_core::{AssetKey, Error, ErrorKind, Result};
use flowstone_io_object::Object;
use flowstone_runtime::{Engine, EngineOptions};
use flowstone_store::SqliteStore;

use crate::rounds::{Round, Stopwatch};

/// How long a stopped engine may hold its store.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(10);

/// Runs `work` as `#[tokio::main]` would.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

/// Makes every asset of `pipeline` in memory, on a new store.
pub(crate) async fn in_memory(pipeline: &Pipeline, steps: u64) -> Result<Round> {
    let store = Arc::new(MemoryStore::default());
    let engine = Engine::start(pipeline.clone(), store, EngineOptions::default()).await?;
    let round = timed_run(&engine, &all_assets(pipeline), steps).await?;
    engine.shutdown().await?;
    Ok(round)
}

/// Makes `assets` of `pipeline` durably, with the state in `folder`: SQLite, fsync on every commit, values as the
/// command line keeps them. Everything is on disk and closed when this returns.
pub(crate) async fn durable(pipeline: &Pipeline, assets: &[AssetKey], steps: u64, folder: &Path) -> Result<Round> {
    let store = Arc::new(SqliteStore::open(folder).await?);
    let options = EngineOptions {
        io: IoEnv {
            data_dir: Some(folder.join("data")),
        },
        default_io: Arc::new(Object::embedded()),
        ..EngineOptions::default()
    };
    let engine = Engine::start(pipeline.clone(), Arc::clone(&store) as Arc<dyn Store>, options).await?;
    let round = timed_run(&engine, assets, steps).await?;
    engine.shutdown().await?;
    given_back(store).await?.close().await?;
    Ok(round)
}

/// The store, once the last actor of a stopped engine has dropped it.
async fn given_back<T>(mut held: Arc<T>) -> Result<T> {
    let started = Instant::now();
    loop {
        held = match Arc::try_unwrap(held) {
            Ok(store) => return Ok(store),
            Err(held) => held,
        };
        if started.elapsed() > GIVEN_BACK_WITHIN {
            return Err(Error::new(
                ErrorKind::Internal,
                "a stopped engine still holds its store",
            ));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The names of all assets of `pipeline`.
pub(crate) fn all_assets(pipeline: &Pipeline) -> Vec<AssetKey> {
    pipeline.graph().nodes().map(|(_, node)| node.key().clone()).collect()
}

async fn timed_run(engine: &Engine, assets: &[AssetKey], steps: u64) -> Result<Round> {
    let request = RunRequest {
        assets: assets.to_vec(),
        ..RunRequest::default()
    };
    let watch = Stopwatch::start();
    let report = engine.run(request).await?;
    let round = watch.stop();
    if report.state == RunState::Succeeded && report.counts.succeeded == steps {
        return Ok(round);
    }
    let went = format!(
        "the run ended as {} with {} of {steps} steps made",
        report.state, report.counts.succeeded
    );
    Err(Error::new(ErrorKind::Internal, went))
}
