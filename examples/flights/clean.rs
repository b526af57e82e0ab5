//! From the source's rows to flights: names looked up, clock times turned into instants, cancelled flights kept apart.
//!
//! Every raw row becomes a row of exactly one of the two assets.

use std::collections::HashMap;

use flowstone::prelude::*;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::ingest::{Airline, Airport, ClockTime, Plane, RawFlight, airlines, airports, planes, raw_flights};

/// A flight that left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct CleanFlight {
    pub(crate) carrier: String,
    pub(crate) airline: Option<String>,
    pub(crate) flight: i32,
    pub(crate) tailnum: Option<String>,
    pub(crate) plane_year: Option<i16>,
    pub(crate) origin: String,
    pub(crate) dest: String,
    pub(crate) dest_name: Option<String>,
    pub(crate) dest_zone: Option<String>,
    pub(crate) distance: i32,
    /// The hour of the scheduled departure, by which weather is found.
    pub(crate) time_hour: Timestamp,
    pub(crate) sched_dep: Timestamp,
    pub(crate) dep: Timestamp,
    pub(crate) dep_delay: i32,
    /// The local clock times as the source has them, for airports whose zone is unknown.
    pub(crate) sched_arr_time: ClockTime,
    pub(crate) arr_time: Option<ClockTime>,
    pub(crate) sched_arr: Option<Timestamp>,
    pub(crate) arr: Option<Timestamp>,
    pub(crate) arr_delay: Option<i32>,
    pub(crate) air_time: Option<i32>,
}

/// A flight that was to leave and did not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct CancelledFlight {
    pub(crate) carrier: String,
    pub(crate) airline: Option<String>,
    pub(crate) flight: i32,
    pub(crate) tailnum: Option<String>,
    pub(crate) origin: String,
    pub(crate) dest: String,
    pub(crate) dest_name: Option<String>,
    pub(crate) distance: i32,
    pub(crate) time_hour: Timestamp,
    pub(crate) sched_dep: Timestamp,
    pub(crate) sched_arr_time: ClockTime,
    pub(crate) sched_arr: Option<Timestamp>,
}

/// The flights that left on a day, with names instead of codes alone and instants instead of clock times.
#[asset(io = "parquet", group = "clean")]
pub(crate) fn clean_flights(
    raw_flights: Vec<RawFlight>,
    airlines: Vec<Airline>,
    airports: Vec<Airport>,
    planes: Vec<Plane>,
) -> Result<Vec<CleanFlight>> {
    let directory = Directory::new(&airlines, &airports, &planes);
    let mut flown = Vec::with_capacity(raw_flights.len());
    for raw in raw_flights {
        if let Some(dep_delay) = raw.dep_delay {
            flown.push(clean(raw, dep_delay, &directory)?);
        }
    }
    Ok(flown)
}

/// The flights of a day that never left.
#[asset(io = "parquet", group = "clean")]
pub(crate) fn cancelled_flights(
    raw_flights: Vec<RawFlight>,
    airlines: Vec<Airline>,
    airports: Vec<Airport>,
) -> Result<Vec<CancelledFlight>> {
    let directory = Directory::new(&airlines, &airports, &[]);
    let cancelled = raw_flights.into_iter().filter(|raw| raw.dep_delay.is_none());
    cancelled.map(|raw| cancel(raw, &directory)).collect()
}

fn clean(raw: RawFlight, dep_delay: i32, directory: &Directory<'_>) -> Result<CleanFlight> {
    let dest = directory.airport(&raw.dest)?;
    let sched_dep = scheduled_departure(&raw)?;
    let dep = sched_dep.checked_add(minutes(dep_delay))?;
    let sched_arr = dest.next_at(raw.sched_arr_time, sched_dep)?;
    let arr = match (sched_arr, raw.arr_delay, raw.arr_time) {
        (Some(sched_arr), Some(delay), _) => Some(sched_arr.checked_add(minutes(delay))?),
        // The source gives no delay for a flight that was diverted and landed elsewhere first.
        (Some(_), None, Some(clock)) => dest.next_at(clock, dep)?,
        _ => None,
    };
    Ok(CleanFlight {
        airline: directory.airline(&raw.carrier),
        plane_year: directory.plane_year(raw.tailnum.as_deref()),
        dest_name: dest.name,
        dest_zone: dest.zone_name,
        carrier: raw.carrier,
        flight: raw.flight,
        tailnum: raw.tailnum,
        origin: raw.origin,
        dest: raw.dest,
        distance: raw.distance,
        time_hour: raw.time_hour,
        sched_dep,
        dep,
        dep_delay,
        sched_arr_time: raw.sched_arr_time,
        arr_time: raw.arr_time,
        sched_arr,
        arr,
        arr_delay: raw.arr_delay,
        air_time: raw.air_time,
    })
}

fn cancel(raw: RawFlight, directory: &Directory<'_>) -> Result<CancelledFlight> {
    let dest = directory.airport(&raw.dest)?;
    let sched_dep = scheduled_departure(&raw)?;
    Ok(CancelledFlight {
        airline: directory.airline(&raw.carrier),
        sched_arr: dest.next_at(raw.sched_arr_time, sched_dep)?,
        dest_name: dest.name,
        carrier: raw.carrier,
        flight: raw.flight,
        tailnum: raw.tailnum,
        origin: raw.origin,
        dest: raw.dest,
        distance: raw.distance,
        time_hour: raw.time_hour,
        sched_dep,
        sched_arr_time: raw.sched_arr_time,
    })
}

/// The static tables, by their keys.
struct Directory<'a> {
    airlines: HashMap<&'a str, &'a Airline>,
    airports: HashMap<&'a str, &'a Airport>,
    planes: HashMap<&'a str, &'a Plane>,
}

/// What is known of an airport; nothing, if it is in no table.
struct Place {
    name: Option<String>,
    zone_name: Option<String>,
    zone: Option<TimeZone>,
}

impl<'a> Directory<'a> {
    fn new(airlines: &'a [Airline], airports: &'a [Airport], planes: &'a [Plane]) -> Self {
        Self {
            airlines: airlines.iter().map(|airline| (&*airline.carrier, airline)).collect(),
            airports: airports.iter().map(|airport| (&*airport.faa, airport)).collect(),
            planes: planes.iter().map(|plane| (&*plane.tailnum, plane)).collect(),
        }
    }

    fn airline(&self, carrier: &str) -> Option<String> {
        Some(self.airlines.get(carrier)?.name.clone())
    }

    fn airport(&self, faa: &str) -> Result<Place> {
        let airport = self.airports.get(faa);
        let zone_name = airport.and_then(|airport| airport.tzone.clone());
        Ok(Place {
            name: airport.map(|airport| airport.name.clone()),
            zone: zone_name.as_deref().map(TimeZone::get).transpose()?,
            zone_name,
        })
    }

    fn plane_year(&self, tailnum: Option<&str>) -> Option<i16> {
        self.planes.get(tailnum?)?.year
    }
}

impl Place {
    /// The first moment from `after` on at which clocks here show `clock`, if it is known what they show. No flight
    /// takes a day.
    fn next_at(&self, clock: ClockTime, after: Timestamp) -> Result<Option<Timestamp>> {
        let Some(zone) = &self.zone else { return Ok(None) };
        let (hour, minute) = clock.hour_and_minute();
        let time = Time::new(hour, minute, 0, 0)?;
        let today = after.to_zoned(zone.clone()).date();
        let on_that_day = zone.to_timestamp(today.to_datetime(time))?;
        if on_that_day >= after {
            return Ok(Some(on_that_day));
        }
        let tomorrow = today.tomorrow()?;
        Ok(Some(zone.to_timestamp(tomorrow.to_datetime(time))?))
    }
}

/// The source gives the hour as an instant, so that no clock change makes the departure ambiguous.
fn scheduled_departure(raw: &RawFlight) -> Result<Timestamp> {
    Ok(raw.time_hour.checked_add(minutes(raw.minute.into()))?)
}

fn minutes(count: i32) -> SignedDuration {
    SignedDuration::from_mins(count.into())
}
