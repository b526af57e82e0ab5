//! From the files to assets: the source's rows as they are, with types.
//!
//! Times stay the local clock times that the source gives; what they mean as instants is decided in `clean`.

use flowstone::prelude::*;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::csv_file::{FromField, FromRow, Row};
use super::source::FlightsData;

/// A line of `flights.csv.gz`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RawFlight {
    pub(crate) year: i16,
    pub(crate) month: i8,
    pub(crate) day: i8,
    pub(crate) dep_time: Option<ClockTime>,
    pub(crate) sched_dep_time: ClockTime,
    pub(crate) dep_delay: Option<i32>,
    pub(crate) arr_time: Option<ClockTime>,
    pub(crate) sched_arr_time: ClockTime,
    pub(crate) arr_delay: Option<i32>,
    pub(crate) carrier: String,
    pub(crate) flight: i32,
    pub(crate) tailnum: Option<String>,
    pub(crate) origin: String,
    pub(crate) dest: String,
    pub(crate) air_time: Option<i32>,
    pub(crate) distance: i32,
    pub(crate) hour: i8,
    pub(crate) minute: i8,
    pub(crate) time_hour: Timestamp,
}

/// A local time of day as the source writes it: 517 is 05:17, 2400 is the midnight at which a day ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct ClockTime(i16);

/// An hour's weather at one airport.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Observation {
    pub(crate) origin: String,
    pub(crate) temp: Option<f64>,
    pub(crate) dewp: Option<f64>,
    pub(crate) humid: Option<f64>,
    pub(crate) wind_dir: Option<f64>,
    pub(crate) wind_speed: Option<f64>,
    pub(crate) wind_gust: Option<f64>,
    pub(crate) precip: Option<f64>,
    pub(crate) pressure: Option<f64>,
    pub(crate) visib: Option<f64>,
    pub(crate) time_hour: Timestamp,
}

/// A carrier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Airline {
    pub(crate) carrier: String,
    pub(crate) name: String,
}

/// An airport, with the name of its time zone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Airport {
    pub(crate) faa: String,
    pub(crate) name: String,
    pub(crate) lat: f64,
    pub(crate) lon: f64,
    pub(crate) alt: i32,
    pub(crate) tz: i8,
    pub(crate) dst: String,
    pub(crate) tzone: Option<String>,
}

/// A plane.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plane {
    pub(crate) tailnum: String,
    pub(crate) year: Option<i16>,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) manufacturer: String,
    pub(crate) model: String,
    pub(crate) engines: i16,
    pub(crate) seats: i16,
    pub(crate) speed: Option<i16>,
    pub(crate) engine: String,
}

/// The flights that were to leave New York on a day, as the source has them.
#[asset(io = "parquet", group = "ingest")]
pub(crate) fn raw_flights(ctx: AssetContext, data: Res<FlightsData>) -> Result<Vec<RawFlight>> {
    data.flights_on(ctx.partition_label().parse()?)
}

/// An hour's weather at the three airports. So small that the values lie in the ledger itself.
#[asset(group = "ingest")]
pub(crate) async fn weather_hourly(ctx: AssetContext, data: Res<FlightsData>) -> Result<Vec<Observation>> {
    let (start, end) = ctx.window().expect("the asset is partitioned by hours");
    data.weather_between(start, end)
}

/// A day's weather, put together from its 23, 24 or 25 hours.
#[asset(io = "parquet", group = "ingest")]
pub(crate) async fn weather(mut weather_hourly: PartitionStream<Vec<Observation>>) -> Result<Vec<Observation>> {
    let mut day = Vec::new();
    while let Some(hour) = weather_hourly.next().await? {
        day.extend(hour);
    }
    Ok(day)
}

/// The carriers, by code.
#[asset(group = "ingest")]
pub(crate) fn airlines(data: Res<FlightsData>) -> Result<Vec<Airline>> {
    data.airlines()
}

/// The airports, by FAA code.
#[asset(io = "parquet", group = "ingest")]
pub(crate) fn airports(data: Res<FlightsData>) -> Result<Vec<Airport>> {
    data.airports()
}

/// The planes, by tail number.
#[asset(io = "parquet", group = "ingest")]
pub(crate) fn planes(data: Res<FlightsData>) -> Result<Vec<Plane>> {
    data.planes()
}

impl ClockTime {
    /// Hour and minute; the end of a day reads as the start of the next.
    pub(crate) fn hour_and_minute(self) -> (i8, i8) {
        ((self.0 / 100 % 24) as i8, (self.0 % 100) as i8)
    }
}

impl FromField for ClockTime {
    const WANTED: &'static str = "a clock time from 0 to 2400, as 517 for 05:17";

    fn from_field(text: &str) -> Option<Self> {
        let time: i16 = text.parse().ok()?;
        ((0..=2400).contains(&time) && time % 100 < 60).then_some(Self(time))
    }
}

impl FromRow for RawFlight {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        let flight = Self {
            year: row.get("year")?,
            month: row.get("month")?,
            day: row.get("day")?,
            dep_time: row.optional("dep_time")?,
            sched_dep_time: row.get("sched_dep_time")?,
            dep_delay: row.optional("dep_delay")?,
            arr_time: row.optional("arr_time")?,
            sched_arr_time: row.get("sched_arr_time")?,
            arr_delay: row.optional("arr_delay")?,
            carrier: row.get("carrier")?,
            flight: row.get("flight")?,
            tailnum: row.optional("tailnum")?,
            origin: row.get("origin")?,
            dest: row.get("dest")?,
            air_time: row.optional("air_time")?,
            distance: row.get("distance")?,
            hour: row.get("hour")?,
            minute: row.get("minute")?,
            time_hour: row.get("time_hour")?,
        };
        // Later stages take a flight with a departure delay for one that flew.
        match (flight.dep_time, flight.dep_delay) {
            (Some(_), None) => Err(row.refuse("dep_delay", "NA", "a delay, though dep_time is given")),
            (None, Some(delay)) => Err(row.refuse("dep_delay", &delay.to_string(), "NA, though dep_time is")),
            _ => Ok(flight),
        }
    }
}

impl FromRow for Observation {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            origin: row.get("origin")?,
            temp: row.optional("temp")?,
            dewp: row.optional("dewp")?,
            humid: row.optional("humid")?,
            wind_dir: row.optional("wind_dir")?,
            wind_speed: row.optional("wind_speed")?,
            wind_gust: row.optional("wind_gust")?,
            precip: row.optional("precip")?,
            pressure: row.optional("pressure")?,
            visib: row.optional("visib")?,
            time_hour: row.get("time_hour")?,
        })
    }
}

impl FromRow for Airline {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            carrier: row.get("carrier")?,
            name: row.get("name")?,
        })
    }
}

impl FromRow for Airport {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            faa: row.get("faa")?,
            name: row.get("name")?,
            lat: row.get("lat")?,
            lon: row.get("lon")?,
            alt: row.get("alt")?,
            tz: row.get("tz")?,
            dst: row.get("dst")?,
            tzone: row.optional("tzone")?,
        })
    }
}

impl FromRow for Plane {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            tailnum: row.get("tailnum")?,
            year: row.optional("year")?,
            kind: row.get("type")?,
            manufacturer: row.get("manufacturer")?,
            model: row.get("model")?,
            engines: row.get("engines")?,
            seats: row.get("seats")?,
            speed: row.optional("speed")?,
            engine: row.get("engine")?,
        })
    }
}
