//! Routes: how they are found, and what is told of one.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use flate2::read::GzDecoder;
use flowstone::prelude::*;
use flowstone::readers::Csv;
use serde::{Deserialize, Serialize};

use super::ranking::{Ranking, RouteStats};

/// Carriers whose systems are out at first.
const OUT: [&str; 3] = ["HA", "OO", "YV"];
/// The share of routes that may be missing.
const TOLERATED: f64 = 0.05;

/// A carrier between two airports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Route {
    pub(crate) carrier: String,
    pub(crate) origin: String,
    pub(crate) dest: String,
}

/// One row of the flights table, as far as it matters here.
#[derive(Debug, Deserialize)]
struct FlightRow {
    carrier: String,
    origin: String,
    dest: String,
    arr_delay: String,
}

/// The minutes by which each flight of a route was late, less than zero when it was early, `None` when it never arrived; by
/// the route's name.
pub(crate) type Delays = BTreeMap<String, Vec<Option<f64>>>;

impl Route {
    /// The route for people.
    pub(crate) fn name(&self) -> String {
        let Self { carrier, origin, dest } = self;
        format!("{carrier} {origin}-{dest}")
    }
}

/// Whether the systems of some carriers are out.
#[derive(Debug, Clone)]
pub(crate) struct Outage(Arc<AtomicBool>);

impl Outage {
    /// One that lasts until it [ends](Self::end).
    pub(crate) fn lasting() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }

    pub(crate) fn end(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    fn concerns(&self, route: &Route) -> bool {
        self.0.load(Ordering::Relaxed) && OUT.contains(&&*route.carrier)
    }
}

/// The asset that holds the delays on each route.
pub(crate) fn flights_by_route(flights: &Path) -> Asset {
    let flights = flights.to_owned();
    Asset::new("flights_by_route").run_blocking(move || read_delays(&flights))
}

fn read_delays(flights: &Path) -> Result<Delays> {
    let mut delays = Delays::new();
    for row in csv::Reader::from_reader(GzDecoder::new(File::open(flights)?)).into_deserialize() {
        let FlightRow {
            carrier,
            origin,
            dest,
            arr_delay,
        } = row?;
        let route = Route { carrier, origin, dest };
        // The source writes NA for flights that never arrived.
        delays.entry(route.name()).or_default().push(arr_delay.parse().ok());
    }
    Ok(delays)
}

/// The asset that ranks the routes. Each row of the table is an item that is named after its route, so however many flights a
/// route has, it is one item: the first that is read.
pub(crate) fn route_ranking(flights: &Path) -> Asset {
    let rows = Csv::file(flights).key("carrier").key("origin").key("dest");
    Scatter::read(rows)
        .each("flights_by_route", stats_of)
        .gather((), rank)
        .max_concurrent(16)
        .tolerate(TOLERATED)
        .asset("route_ranking")
}

async fn stats_of(route: Item<Route>, delays: Arc<Delays>, outage: Res<Outage>) -> Result<RouteStats> {
    if outage.concerns(&route) {
        let carrier = &route.carrier;
        return Err(Error::permanent(format!("the systems of {carrier} are out")).fix("redrive when they are back"));
    }
    let name = route.name();
    let delays = delays.get(&name);
    let delays = delays.ok_or_else(|| Error::permanent(format!("nobody flew {name}")))?;
    Ok(RouteStats::of(name, delays))
}

async fn rank(mut outcomes: Gather<RouteStats>) -> Result<Ranking> {
    let mut ranking = Ranking::default();
    while let Some(gathered) = outcomes.next().await? {
        let key = gathered.key.clone();
        match gathered.into_value() {
            Some(stats) => ranking.add(stats),
            None => ranking.miss(key),
        }
    }
    Ok(ranking.sorted())
}
