//! Every route that anybody flew out of New York becomes an item: found while the file is read, counted by itself, ranked
//! with the others.
//!
//! Without arguments it makes the ranking twice. At first the carriers' own systems are out for a few carriers, so their
//! routes fail; few enough, so the rest is ranked without them. Then they are back, and only those routes are redriven. With
//! arguments it is Flowstone's command line over the same pipeline: `cargo run --release --example scatter_routes -- scatter
//! show`. It reads the January sample of the flights example; `FLIGHTS_DATA=<folder>` points it at another folder.

mod ranking;
mod routes;

use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use flowstone::fan_out::BarrierState;
use flowstone::prelude::*;
use flowstone::store::FanOutFilter;

pub(crate) use ranking::Ranking;
pub(crate) use routes::Outage;

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/flights/data");

fn main() -> ExitCode {
    if std::env::args_os().len() > 1 {
        return flowstone::cli::main(|| pipeline(Outage::lasting()));
    }
    match make_twice() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error:?}");
            ExitCode::FAILURE
        }
    }
}

/// The pipeline over the folder that the environment names.
fn pipeline(outage: Outage) -> Result<Pipeline> {
    let folder = std::env::var_os("FLIGHTS_DATA").map_or_else(|| PathBuf::from(SAMPLE), PathBuf::from);
    pipeline_over(&folder, outage)
}

/// The pipeline over the tables in `folder`.
pub(crate) fn pipeline_over(folder: &Path, outage: Outage) -> Result<Pipeline> {
    let flights = folder.join("flights.csv.gz");
    Pipeline::builder("routes")
        .assets([routes::flights_by_route(&flights), routes::route_ranking(&flights)])
        .resource(outage)
        .build()
}

#[tokio::main]
async fn make_twice() -> Result<()> {
    let outage = Outage::lasting();
    let engine = flowstone::open(pipeline(outage.clone())?, &flowstone::cli::state_dir()?).await?;
    let mut out = stdout().lock();
    let assets = vec!["flights_by_route".parse()?, "route_ranking".parse()?];
    let request = RunRequest {
        targets: assets.clone(),
        assets,
        force: Force::All,
        ..RunRequest::default()
    };
    let report = engine.run(request).await?;
    let fan_out = engine.store().fan_outs(FanOutFilter::OfRun(report.run)).await?.pop();
    let Some(fan_out) = fan_out else {
        return Err(Error::permanent(format!(
            "nothing was scattered: the run {}",
            report.state
        )));
    };
    let counts = fan_out.counts;
    writeln!(
        out,
        "{} routes, {} of them failed while their carriers were out:",
        counts.total,
        counts.bad()
    )?;
    engine.load::<Ranking>("route_ranking", "").await?.write(&mut out)?;
    if fan_out.state == BarrierState::Partial {
        outage.end();
        engine.redrive_fan_out(fan_out.fan_out).await?.wait().await?;
        writeln!(
            out,
            "\nOnly those {} routes run again, and all are ranked:",
            counts.bad()
        )?;
        engine.load::<Ranking>("route_ranking", "").await?.write(&mut out)?;
    }
    engine.shutdown().await
}
