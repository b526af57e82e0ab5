//! The example that scatters routes finds every route once, ranks what it can, and redrives only the rest.
//!
//! The example is compiled in whole, so that its own types read its values back.

#![cfg(all(feature = "cli", feature = "readers-csv", feature = "scatter"))]

#[path = "../examples/scatter_routes/main.rs"]
#[expect(dead_code, reason = "what the example prints is not called here")]
mod example;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use flate2::read::GzDecoder;
use flowstone::fan_out::BarrierState;
use flowstone::prelude::*;
use flowstone::store::{FanOutFilter, FanOutRow};
use flowstone::{RunId, fan_out};

use example::{Outage, Ranking, pipeline_over};

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/flights/data");

/// Flights and those that arrived, by carrier, origin and destination, counted from the table itself.
fn counted() -> BTreeMap<String, (usize, usize)> {
    let table = File::open(Path::new(SAMPLE).join("flights.csv.gz")).unwrap();
    let mut rows = csv::Reader::from_reader(GzDecoder::new(table));
    let headers = rows.headers().unwrap().clone();
    let column = |name| headers.iter().position(|header| header == name).unwrap();
    let (carrier, origin, dest) = (column("carrier"), column("origin"), column("dest"));
    let arr_delay = column("arr_delay");
    let mut counted: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for row in rows.records() {
        let row = row.unwrap();
        let route = format!("{} {}-{}", &row[carrier], &row[origin], &row[dest]);
        let (flights, arrived) = counted.entry(route).or_default();
        *flights += 1;
        *arrived += usize::from(&row[arr_delay] != "NA");
    }
    counted
}

async fn scattered(engine: &Engine, run: RunId) -> FanOutRow {
    let found = engine.store().fan_outs(FanOutFilter::OfRun(run)).await.unwrap();
    found.into_iter().next().expect("the run scattered")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_is_ranked_once_the_outage_is_over() {
    let counted = counted();
    let concerned = |route: &String| ["HA ", "OO ", "YV "].iter().any(|carrier| route.starts_with(carrier));
    let out = counted.keys().filter(|route| concerned(route)).count();
    let state = tempfile::tempdir().unwrap();
    let outage = Outage::lasting();
    let pipeline = pipeline_over(Path::new(SAMPLE), outage.clone()).unwrap();
    let engine = flowstone::open(pipeline, state.path()).await.unwrap();
    let assets = vec!["flights_by_route".parse().unwrap(), "route_ranking".parse().unwrap()];
    let request = RunRequest {
        assets,
        ..RunRequest::default()
    };

    let first = engine.run(request).await.unwrap();

    let before = scattered(&engine, first.run).await;
    assert_eq!(before.state, BarrierState::Partial);
    let expected = fan_out::BarrierCounts {
        total: counted.len() as u64,
        succeeded: (counted.len() - out) as u64,
        failed: out as u64,
        ..fan_out::BarrierCounts::default()
    };
    assert_eq!(before.counts, expected);
    let ranking: Ranking = engine.load("route_ranking", "").await.unwrap();
    assert_eq!(
        (ranking.routes.len(), ranking.missing.len()),
        (counted.len() - out, out)
    );

    outage.end();
    let second = engine
        .redrive_fan_out(before.fan_out)
        .await
        .unwrap()
        .wait()
        .await
        .unwrap();

    let after = scattered(&engine, second.run).await;
    assert_eq!((after.state, after.epoch), (BarrierState::Complete, 2));
    let ranking: Ranking = engine.load("route_ranking", "").await.unwrap();
    assert!(ranking.missing.is_empty());
    let ranked = ranking
        .routes
        .iter()
        .map(|stats| (stats.route.clone(), (stats.flights, stats.arrived)));
    assert_eq!(ranked.collect::<BTreeMap<_, _>>(), counted);
    assert!(
        ranking
            .routes
            .is_sorted_by(|a, b| a.mean_delay >= b.mean_delay || b.mean_delay.is_none())
    );
    engine.shutdown().await.unwrap();
}
