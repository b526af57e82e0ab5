//! Flights and the weather that they left in, and what a day comes to.

use std::collections::HashMap;

use flowstone::prelude::*;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::clean::{CleanFlight, clean_flights};
use super::ingest::{Observation, weather};
use super::source::ZONE;

/// A flight that left, how late, and in which weather.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Delay {
    pub(crate) carrier: String,
    pub(crate) airline: Option<String>,
    pub(crate) origin: String,
    pub(crate) dest: String,
    pub(crate) dest_name: Option<String>,
    pub(crate) distance: i32,
    pub(crate) dep_delay: i32,
    pub(crate) arr_delay: Option<i32>,
    pub(crate) air_time: Option<i32>,
    /// The age of the plane in years, by the calendar year.
    pub(crate) plane_age: Option<i16>,
    /// None where nothing was observed in that hour.
    pub(crate) weather: Option<Conditions>,
}

/// The part of an observation that delays depend on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Conditions {
    pub(crate) temp: Option<f64>,
    pub(crate) wind_speed: Option<f64>,
    pub(crate) precip: Option<f64>,
    pub(crate) visib: Option<f64>,
}

/// What a day's flown flights come to: sums and counts, so that days add up to months exactly.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DayReport {
    pub(crate) day: String,
    pub(crate) flown: u64,
    pub(crate) with_weather: u64,
    pub(crate) dep_delay_sum: i64,
    pub(crate) arr_delay_n: u64,
    pub(crate) arr_delay_sum: i64,
    pub(crate) wet_n: u64,
    pub(crate) wet_dep_delay_sum: i64,
    pub(crate) dry_n: u64,
    pub(crate) dry_dep_delay_sum: i64,
    pub(crate) plane_age_n: u64,
    pub(crate) plane_age_sum: i64,
}

/// The flown flights of a day, each with the weather at its airport in the hour in which it was to leave.
#[asset(io = "parquet", group = "delays")]
pub(crate) fn delays(clean_flights: Vec<CleanFlight>, weather: Vec<Observation>) -> Result<Vec<Delay>> {
    let zone = TimeZone::get(ZONE)?;
    let observed: HashMap<(&str, Timestamp), &Observation> = weather
        .iter()
        .map(|observation| ((&*observation.origin, observation.time_hour), observation))
        .collect();
    let joined = clean_flights.into_iter().map(|flight| {
        let conditions = observed
            .get(&(&*flight.origin, flight.time_hour))
            .map(|found| Conditions::of(found));
        let year = flight.time_hour.to_zoned(zone.clone()).year();
        Delay {
            plane_age: flight.plane_year.map(|built| year - built),
            weather: conditions,
            carrier: flight.carrier,
            airline: flight.airline,
            origin: flight.origin,
            dest: flight.dest,
            dest_name: flight.dest_name,
            distance: flight.distance,
            dep_delay: flight.dep_delay,
            arr_delay: flight.arr_delay,
            air_time: flight.air_time,
        }
    });
    Ok(joined.collect())
}

/// A day in twelve numbers.
#[asset(group = "delays")]
pub(crate) fn day_report(ctx: AssetContext, delays: Vec<Delay>) -> DayReport {
    let mut report = DayReport {
        day: ctx.partition_label(),
        ..DayReport::default()
    };
    for delay in &delays {
        report.add(delay);
    }
    report
}

impl Conditions {
    fn of(observation: &Observation) -> Self {
        let Observation {
            temp,
            wind_speed,
            precip,
            visib,
            ..
        } = *observation;
        Self {
            temp,
            wind_speed,
            precip,
            visib,
        }
    }
}

impl DayReport {
    fn add(&mut self, delay: &Delay) {
        let dep_delay = i64::from(delay.dep_delay);
        self.flown += 1;
        self.dep_delay_sum += dep_delay;
        if let Some(arr_delay) = delay.arr_delay {
            self.arr_delay_n += 1;
            self.arr_delay_sum += i64::from(arr_delay);
        }
        if let Some(conditions) = delay.weather {
            self.with_weather += 1;
            match conditions.precip {
                Some(precip) if precip > 0.0 => {
                    self.wet_n += 1;
                    self.wet_dep_delay_sum += dep_delay;
                }
                Some(_) => {
                    self.dry_n += 1;
                    self.dry_dep_delay_sum += dep_delay;
                }
                None => {}
            }
        }
        if let Some(age) = delay.plane_age {
            self.plane_age_n += 1;
            self.plane_age_sum += i64::from(age);
        }
    }
}
