//! Months, years, and everything: what carriers and routes come to.
//!
//! Reports hold sums and counts, never means, so that they add up exactly; `screen` divides. Rows are ordered, so that
//! the same data give the same bytes.

use std::collections::BTreeMap;

use flowstone::prelude::*;
use serde::{Deserialize, Serialize};

use super::clean::{CancelledFlight, cancelled_flights};
use super::join::{Delay, delays};

/// A flight is on time if it arrives less than so many minutes late.
const LATE_MINUTES: i32 = 15;

/// A carrier's flights in a month.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CarrierRow {
    pub(crate) carrier: String,
    pub(crate) name: Option<String>,
    pub(crate) scheduled: u64,
    pub(crate) cancelled: u64,
    pub(crate) flown: u64,
    pub(crate) dep_delay_sum: i64,
    pub(crate) arr_delay_n: u64,
    pub(crate) arr_delay_sum: i64,
    pub(crate) on_time: u64,
}

/// A route's flown flights in a month.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RouteRow {
    pub(crate) origin: String,
    pub(crate) dest: String,
    pub(crate) dest_name: Option<String>,
    pub(crate) distance: i32,
    pub(crate) flown: u64,
    pub(crate) arr_delay_n: u64,
    pub(crate) arr_delay_sum: i64,
    pub(crate) air_time_n: u64,
    pub(crate) air_time_sum: i64,
}

/// A carrier's place in a year.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PunctualityRow {
    pub(crate) rank: u32,
    pub(crate) carrier: String,
    pub(crate) name: Option<String>,
    pub(crate) scheduled: u64,
    pub(crate) cancelled: u64,
    pub(crate) flown: u64,
    pub(crate) arr_delay_n: u64,
    pub(crate) on_time: u64,
}

/// What a month was like for each carrier.
#[asset(io = "parquet", group = "reports")]
pub(crate) async fn carrier_report(
    mut delays: PartitionStream<Vec<Delay>>,
    mut cancelled_flights: PartitionStream<Vec<CancelledFlight>>,
) -> Result<Vec<CarrierRow>> {
    let mut carriers = BTreeMap::new();
    while let Some(day) = delays.next().await? {
        for delay in day {
            carrier_row(&mut carriers, delay.carrier, delay.airline).add_flown(delay.dep_delay, delay.arr_delay);
        }
    }
    while let Some(day) = cancelled_flights.next().await? {
        for flight in day {
            carrier_row(&mut carriers, flight.carrier, flight.airline).add_cancelled();
        }
    }
    Ok(carriers.into_values().collect())
}

/// What a month was like on each route.
#[asset(io = "parquet", group = "reports")]
pub(crate) async fn route_report(mut delays: PartitionStream<Vec<Delay>>) -> Result<Vec<RouteRow>> {
    let mut routes: BTreeMap<(String, String), RouteRow> = BTreeMap::new();
    while let Some(day) = delays.next().await? {
        for delay in day {
            let route = (delay.origin.clone(), delay.dest.clone());
            routes
                .entry(route)
                .or_insert_with(|| RouteRow::starting_with(&delay))
                .add(&delay);
        }
    }
    Ok(routes.into_values().collect())
}

/// The carriers of a year in order of the share of their flights that arrived on time.
#[asset(io = "parquet", group = "reports")]
pub(crate) async fn punctuality(mut carrier_report: PartitionStream<Vec<CarrierRow>>) -> Result<Vec<PunctualityRow>> {
    let mut carriers = BTreeMap::new();
    while let Some(month) = carrier_report.next().await? {
        for row in month {
            carrier_row(&mut carriers, row.carrier.clone(), row.name.clone()).add_month(&row);
        }
    }
    Ok(rank(carriers.into_values().collect()))
}

/// The row of a carrier, made when it is first met.
fn carrier_row(carriers: &mut BTreeMap<String, CarrierRow>, carrier: String, name: Option<String>) -> &mut CarrierRow {
    carriers.entry(carrier).or_insert_with_key(|carrier| CarrierRow {
        carrier: carrier.clone(),
        name,
        ..CarrierRow::default()
    })
}

impl CarrierRow {
    fn add_flown(&mut self, dep_delay: i32, arr_delay: Option<i32>) {
        self.scheduled += 1;
        self.flown += 1;
        self.dep_delay_sum += i64::from(dep_delay);
        if let Some(arr_delay) = arr_delay {
            self.arr_delay_n += 1;
            self.arr_delay_sum += i64::from(arr_delay);
            self.on_time += u64::from(arr_delay < LATE_MINUTES);
        }
    }

    fn add_cancelled(&mut self) {
        self.scheduled += 1;
        self.cancelled += 1;
    }

    fn add_month(&mut self, month: &Self) {
        self.scheduled += month.scheduled;
        self.cancelled += month.cancelled;
        self.flown += month.flown;
        self.dep_delay_sum += month.dep_delay_sum;
        self.arr_delay_n += month.arr_delay_n;
        self.arr_delay_sum += month.arr_delay_sum;
        self.on_time += month.on_time;
    }
}

impl RouteRow {
    fn starting_with(delay: &Delay) -> Self {
        Self {
            origin: delay.origin.clone(),
            dest: delay.dest.clone(),
            dest_name: delay.dest_name.clone(),
            distance: delay.distance,
            ..Self::default()
        }
    }

    fn add(&mut self, delay: &Delay) {
        self.flown += 1;
        self.distance = self.distance.min(delay.distance);
        if let Some(arr_delay) = delay.arr_delay {
            self.arr_delay_n += 1;
            self.arr_delay_sum += i64::from(arr_delay);
        }
        if let Some(air_time) = delay.air_time {
            self.air_time_n += 1;
            self.air_time_sum += i64::from(air_time);
        }
    }
}

/// Best share first, equal shares by code, carriers without an arrival last. Shares are compared as fractions, exactly.
fn rank(mut carriers: Vec<CarrierRow>) -> Vec<PunctualityRow> {
    carriers.sort_by(|a, b| {
        let shares = (b.on_time * a.arr_delay_n).cmp(&(a.on_time * b.arr_delay_n));
        let arrived = (b.arr_delay_n > 0).cmp(&(a.arr_delay_n > 0));
        arrived.then(shares).then_with(|| a.carrier.cmp(&b.carrier))
    });
    let ranked = carriers.into_iter().zip(1..).map(|(carrier, rank)| PunctualityRow {
        rank,
        carrier: carrier.carrier,
        name: carrier.name,
        scheduled: carrier.scheduled,
        cancelled: carrier.cancelled,
        flown: carrier.flown,
        arr_delay_n: carrier.arr_delay_n,
        on_time: carrier.on_time,
    });
    ranked.collect()
}
