//! A year of flights out of New York, from CSV files to reports.
//!
//! Without arguments it makes everything and prints what came out. With arguments it is Flowstone's command line over
//! the same pipeline: `cargo run --release --example flights -- list`. It reads the January sample beside this file;
//! `FLIGHTS_DATA=<folder>` points it at another folder with the same tables.

pub(crate) mod clean;
mod csv_file;
pub(crate) mod ingest;
pub(crate) mod join;
pub(crate) mod overview;
pub(crate) mod reports;
mod screen;
pub(crate) mod source;

use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use flowstone::prelude::*;

use clean::{cancelled_flights, clean_flights};
use ingest::{airlines, airports, planes, raw_flights, weather, weather_hourly};
use join::{day_report, delays};
use overview::{Summary, summary};
use reports::{PunctualityRow, carrier_report, punctuality, route_report};
use source::FlightsData;

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/flights/data");

fn main() -> ExitCode {
    if std::env::args_os().len() > 1 {
        return flowstone::cli::main(pipeline);
    }
    let made = flowstone::cli::main_with(pipeline, ["flights", "run", "*", "--all"].map(String::from));
    if made != ExitCode::SUCCESS {
        return made;
    }
    match print_reports() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error:?}");
            ExitCode::FAILURE
        }
    }
}

/// The pipeline over the folder that the environment names.
fn pipeline() -> Result<Pipeline> {
    pipeline_over(&std::env::var_os("FLIGHTS_DATA").map_or_else(|| PathBuf::from(SAMPLE), PathBuf::from))
}

/// The pipeline over the tables in `folder`. How many partitions there are follows from the days that they reach over.
pub(crate) fn pipeline_over(folder: &Path) -> Result<Pipeline> {
    let data = FlightsData::open(folder)?;
    let tables = data.fingerprints()?;
    let flights = data.flights_by_day();
    let calendar = data.calendar();
    let (hours, days, months, years) = (calendar.hours(), calendar.days(), calendar.months()?, calendar.years()?);
    Pipeline::builder("flights")
        .assets(reading(&tables.small, assets![airlines, airports, planes]))
        .assets(
            by(days.clone(), assets![raw_flights])
                .into_iter()
                .map(|raw| raw.source_versions(flights.clone())),
        )
        .assets(by(hours, reading(&tables.weather, assets![weather_hourly])))
        .assets(by(days.clone(), assets![weather, clean_flights, cancelled_flights]))
        .assets(by(days, assets![delays, day_report]))
        .assets(by(months, assets![carrier_report, route_report]))
        .assets(by(years, assets![punctuality]))
        .assets(assets![summary])
        .plugin(Parquet::default())
        .resource(data)
        .build()
}

/// The same assets, partitioned.
fn by(partitions: impl Into<Partitions>, assets: Vec<Asset>) -> Vec<Asset> {
    let partitions = partitions.into();
    assets
        .into_iter()
        .map(|asset| asset.partitions(partitions.clone()))
        .collect()
}

/// The same assets, made again when the content of the files changes: Flowstone sees what an asset reads of other
/// assets, but not what it reads of the world.
fn reading(content: &str, assets: Vec<Asset>) -> Vec<Asset> {
    assets
        .into_iter()
        .map(|asset| asset.code_version(format!("1 {content}")))
        .collect()
}

#[tokio::main]
async fn print_reports() -> Result<()> {
    let engine = flowstone::open(pipeline()?, &flowstone::cli::state_dir()?).await?;
    let summary: Summary = engine.load("summary", "").await?;
    let mut out = stdout().lock();
    screen::write_summary(&mut out, &summary)?;
    for year in summary.years()? {
        let carriers: Vec<PunctualityRow> = engine.load("punctuality", &year).await?;
        screen::write_punctuality(&mut out, &year, &carriers)?;
    }
    screen::write_next(&mut out, &summary, std::env::var("FLIGHTS_DATA").ok().as_deref())?;
    engine.shutdown().await
}
