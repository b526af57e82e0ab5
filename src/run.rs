//! Makes one asset in memory, inside any program or test.

use std::sync::Arc;

use flowstone_core::memory::MemoryStore;
use flowstone_core::pipeline::Pipeline;
use flowstone_core::plan::RunRequest;
use flowstone_core::run::RunState;
use flowstone_core::{AssetValue, Error, ErrorKind, Result};
use flowstone_runtime::{Engine, EngineOptions};

/// Makes `asset` and everything upstream of it in memory, all partitions, and gives the value.
///
/// Nothing is written anywhere; for a durable run use `cli::main` or [`Engine`].
///
/// # Errors
/// The first failure, if a step failed; `NotFound` for an unknown asset; `TypeMismatch` when the asset's value is no
/// `T`; `OutOfRange` when the asset has partitions, since then there is more than one value.
pub async fn run<T: AssetValue>(pipeline: &Pipeline, asset: &str) -> Result<T> {
    let graph = pipeline.graph();
    let target = graph.find(asset)?;
    if !graph.node(target).space().is_unit() {
        return Err(Error::new(
            ErrorKind::OutOfRange,
            "it has partitions, so it has more than one value",
        )
        .code("asset_is_partitioned")
        .during("run")
        .about(format!("asset {asset}"))
        .fix("start an `Engine`, run what you need, and load one partition"));
    }
    let needed = graph.upstream_of(target, usize::MAX).into_iter().chain([target]);
    let assets = needed.map(|node| graph.node(node).key().clone()).collect();
    let targets = vec![graph.node(target).key().clone()];
    let engine = Engine::start(
        pipeline.clone(),
        Arc::new(MemoryStore::default()),
        EngineOptions::default(),
    )
    .await?;
    let report = engine
        .run(RunRequest {
            assets,
            targets,
            ..RunRequest::default()
        })
        .await?;
    let value = match (report.state, report.error) {
        (RunState::Succeeded, _) => engine.load(asset, "").await,
        (_, Some(record)) => Err(record.into_error()),
        (state, None) => Err(Error::new(ErrorKind::Cancelled, format!("the run ended as {state}"))),
    };
    engine.shutdown().await?;
    value
}
