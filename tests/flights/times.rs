//! Clock times become the instants that were meant. An asset's function is a function: the tests just call it.

use std::path::Path;

use jiff::civil::date;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use crate::SAMPLE;
use crate::example::clean::{CleanFlight, cancelled_flights, clean_flights};
use crate::example::ingest::{Airport, RawFlight};
use crate::example::source::FlightsData;

#[test]
fn every_row_of_january_becomes_one_flight_whose_instants_show_the_clock_times_of_the_source() {
    let data = FlightsData::open(Path::new(SAMPLE)).unwrap();
    let airports: Vec<Airport> = data.airports().unwrap();

    for day in date(2013, 1, 1).series(1.day()).take(31) {
        let raw: Vec<RawFlight> = data.flights_on(day).unwrap();
        let clean = clean_flights(raw.clone(), vec![], airports.clone(), vec![]).unwrap();
        let cancelled = cancelled_flights(raw.clone(), vec![], airports.clone()).unwrap();

        assert_eq!(raw.len(), clean.len() + cancelled.len());
        let flown = raw.iter().filter(|raw| raw.dep_time.is_some());
        for (raw, clean) in flown.zip(&clean) {
            assert_eq!(
                clock(clean.dep, "America/New_York"),
                minute_of_day(&raw.dep_time),
                "{raw:?}"
            );
            if let (Some(arr), Some(zone)) = (clean.arr, &clean.dest_zone) {
                assert_eq!(clock(arr, zone), minute_of_day(&raw.arr_time), "{raw:?}");
                assert!(clean.dep < arr && arr < clean.dep + 24.hours(), "{raw:?}");
            }
        }
    }
}

#[test]
fn a_flight_to_the_west_lands_by_the_clocks_there() {
    let flight = clean(&json!({ "dest": "SEA" }), "America/Los_Angeles");

    assert_eq!(flight.sched_dep.to_string(), "2013-03-10T02:45:00Z");
    assert_eq!(flight.dep.to_string(), "2013-03-10T04:06:00Z");
    assert_eq!(flight.sched_arr.unwrap().to_string(), "2013-03-10T08:34:00Z");
}

#[test]
fn minutes_late_are_counted_across_a_clock_change() {
    let flight = clean(&json!({}), "America/New_York");

    // 00:34 and 89 minutes: 02:03 was skipped that night, the clocks showed 03:03.
    assert_eq!(flight.sched_arr.unwrap().to_string(), "2013-03-10T05:34:00Z");
    assert_eq!(flight.arr.unwrap().to_string(), "2013-03-10T07:03:00Z");
}

#[test]
fn a_flight_that_was_diverted_lands_when_the_clocks_next_show_its_arrival() {
    let flight = clean(&json!({ "arr_delay": null }), "America/Phoenix");

    assert_eq!(flight.arr.unwrap().to_string(), "2013-03-10T09:03:00Z");
}

#[test]
fn where_the_zone_is_unknown_the_clock_times_stay() {
    let flight = clean(&json!({ "dest": "SJU" }), "America/New_York");

    assert_eq!((flight.sched_arr, flight.arr), (None, None));
    assert_eq!(json!([flight.sched_arr_time, flight.arr_time]), json!([34, 203]));
}

/// A flight of the night in which the clocks went forward, with some of its columns changed.
fn clean(changes: &Value, zone: &str) -> CleanFlight {
    let mut flight = json!({
        "year": 2013, "month": 3, "day": 9, "dep_time": 2306, "sched_dep_time": 2145, "dep_delay": 81, "arr_time": 203,
        "sched_arr_time": 34, "arr_delay": 89, "carrier": "B6", "flight": 35, "tailnum": "N658JB", "origin": "JFK",
        "dest": "PBI", "air_time": 141, "distance": 1028, "hour": 21, "minute": 45, "time_hour": "2013-03-10T02:00:00Z",
    });
    for (column, value) in changes.as_object().unwrap() {
        flight[column] = value.clone();
    }
    let airport = |faa: &str| json!({ "faa": faa, "name": faa, "lat": 0, "lon": 0, "alt": 0, "tz": 0, "dst": "A", "tzone": zone });
    let raw: RawFlight = serde_json::from_value(flight).unwrap();
    let airports: Vec<Airport> = serde_json::from_value(json!([airport("PBI"), airport("SEA")])).unwrap();
    clean_flights(vec![raw], vec![], airports, vec![]).unwrap().remove(0)
}

/// The minute of the day that clocks in `zone` show.
fn clock(instant: Timestamp, zone: &str) -> i64 {
    let local = instant.in_tz(zone).unwrap();
    i64::from(local.hour()) * 60 + i64::from(local.minute())
}

/// The same of the source's 517 for 05:17.
fn minute_of_day(clock: &impl serde::Serialize) -> i64 {
    let digits = json!(clock).as_i64().unwrap();
    digits / 100 % 24 * 60 + digits % 100
}
