//! `plan_chain_us`, `plan_mesh_us`: what one asset, or one edge, costs to plan in a large graph.
//!
//! A chain of 100,000 assets, each made from the one before, and 20 layers of 100 assets, each made from all 100 of the
//! layer before: 190,000 edges. Nothing is made yet, so everything is planned; statuses are at hand. Planning is linear
//! if half of the graph takes half of the time, which the note tells. Each graph is planned in a process of its own, this
//! program again, so that the note can tell the memory too.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use flowstone_core::asset::{Argument, Asset, FromStep, Handler, In, Outcome, Step};
use flowstone_core::pipeline::Pipeline;
use flowstone_core::plan::{Planner, RunRequest};
use flowstone_core::store::AssetStatus;
use flowstone_core::{AssetId, BoxFuture, Error, ErrorKind, Result, Value};

use super::{Figure, Measured, Setup};
use crate::{child, engine, rounds};

const CHAIN_LEN: usize = 100_000;
const LAYERS: usize = 20;
const WIDTH: usize = 100;
const ROUNDS: usize = 5;

/// Makes this program be the process that is measured.
pub(crate) const CHILD_ARGUMENT: &str = "__shapes";

pub(crate) const CHAIN: Figure = Figure {
    name: "plan_chain_us",
    unit: "µs/asset",
    what: "planning a chain of 100,000 assets, by asset",
    measure: |setup| measure(setup, "chain", CHAIN_LEN),
};

pub(crate) const MESH: Figure = Figure {
    name: "plan_mesh_us",
    unit: "µs/edge",
    what: "planning 20 layers of 100 assets, each made from all of the layer before, by edge",
    measure: |setup| measure(setup, "mesh", LAYERS),
};

fn measure(_: &Setup, shape: &str, size: usize) -> Result<Measured> {
    let (mut whole, mut half, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let [per_part_us, rss_mb] = look(shape, size)?;
        whole.push(per_part_us);
        memory.push(rss_mb);
        half.push(look(shape, size / 2)?[0]);
    }
    let (half, memory) = (rounds::median(half), rounds::median(memory));
    Ok(Measured {
        value: Some(rounds::median(whole)),
        rounds: ROUNDS,
        doubt: None,
        note: format!("half of the graph {half:.2} µs; the process, graph included, holds {memory:.0} MB at most"),
    })
}

/// Microseconds for each asset or edge, and the most memory that the process held.
fn look(shape: &str, size: usize) -> Result<[f64; 2]> {
    child::ask([CHILD_ARGUMENT, shape, &size.to_string()])
}

/// The process that is measured.
pub(crate) fn child() -> ExitCode {
    let told = (|| {
        let mut arguments = std::env::args().skip(2);
        let (shape, size) = (arguments.next()?, arguments.next()?.parse().ok()?);
        let (pipeline, parts) = match shape.as_str() {
            "chain" => (chain(size).ok()?, size),
            _ => (mesh(size).ok()?, (size - 1) * WIDTH * WIDTH),
        };
        let planned_us = plan(&pipeline).ok()?;
        Some([planned_us / parts as f64, crate::machine::memory_most_mb()?])
    })();
    told.map_or(ExitCode::FAILURE, |numbers| child::tell(&numbers))
}

/// Microseconds to plan everything.
fn plan(pipeline: &Pipeline) -> Result<f64> {
    let graph = pipeline.graph();
    let statuses = vec![AssetStatus::default(); graph.len()];
    let ids: Vec<AssetId> = (0..graph.len()).map(|number| AssetId(number as u32)).collect();
    let request = RunRequest {
        assets: engine::all_assets(pipeline),
        ..RunRequest::default()
    };
    let planner = Planner {
        graph,
        ids: &ids,
        statuses: &statuses,
        now: "2024-01-01T00:00:00Z".parse()?,
        sets: None,
    };
    let started = Instant::now();
    let plan = planner.plan(&request)?;
    let taken = started.elapsed();
    match plan.steps() == graph.len() as u64 {
        true => Ok(taken.as_secs_f64() * 1e6),
        false => Err(Error::new(ErrorKind::Internal, "not everything was planned")),
    }
}

fn chain(len: usize) -> Result<Pipeline> {
    let first = Asset::new("link_0").run(|| async { 0_u64 });
    let others = (1..len).map(|no| {
        Asset::new(format!("link_{no}"))
            .upstream(format!("link_{}", no - 1))
            .run(|In(before): In<u64>| async move { before })
    });
    Pipeline::builder("chain").asset(first).assets(others).build()
}

fn mesh(layers: usize) -> Result<Pipeline> {
    let name = |layer: usize, no: usize| format!("layer_{layer}_{no}");
    let first = (0..WIDTH).map(|no| Asset::new(name(0, no)).run(|| async { 0_u64 }));
    let others = (1..layers).flat_map(|layer| {
        (0..WIDTH).map(move |no| {
            let asset = (0..WIDTH).fold(Asset::new(name(layer, no)), |asset, upstream| {
                asset.upstream(name(layer - 1, upstream))
            });
            asset.run(ReadsAll)
        })
    });
    Pipeline::builder("mesh").assets(first).assets(others).build()
}

/// A function of more arguments than one can write down.
struct ReadsAll;

impl Handler<ReadsAll> for ReadsAll {
    type Output = u64;

    fn arguments() -> Vec<Argument> {
        vec![In::<u64>::argument(); WIDTH]
    }

    fn into_body(self) -> Arc<dyn Fn(Step) -> BoxFuture<'static, Result<Outcome<Value>>> + Send + Sync> {
        Arc::new(|step| {
            Box::pin(async move {
                let mut sum = 0;
                for input in 0..WIDTH {
                    sum += In::<u64>::from_step(&step, input).await?.0 % 1_000;
                }
                Ok(Outcome::Value(Value::new(sum)))
            })
        })
    }
}
