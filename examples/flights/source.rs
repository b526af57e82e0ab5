//! The folder that the example reads: which tables it holds, and which days they reach over.
//!
//! Everything that touches the folder is behind the resource [`FlightsData`]; the assets take their rows from it and
//! know nothing of files. What the columns of a table mean stands where its rows are made.

use std::path::{Path, PathBuf};

use flowstone::prelude::*;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::csv_file::{CsvFile, CsvIndex, FromRow, Row};

/// The zone in which the source counts days.
pub(crate) const ZONE: &str = "America/New_York";

const FLIGHTS: &str = "flights.csv.gz";
const WEATHER: &str = "weather.csv.gz";
const AIRLINES: &str = "airlines.csv.gz";
const AIRPORTS: &str = "airports.csv.gz";
const PLANES: &str = "planes.csv.gz";

/// The five tables of one folder.
///
/// The two large ones are decompressed when the folder is opened and stay in memory as text: 31 MB for a year.
pub(crate) struct FlightsData {
    folder: PathBuf,
    flights: CsvIndex<Date>,
    weather: CsvIndex<Timestamp>,
    calendar: Calendar,
}

impl FlightsData {
    /// Opens `folder` and finds out which rows belong to which day.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let missing: Vec<&str> = [FLIGHTS, WEATHER, AIRLINES, AIRPORTS, PLANES]
            .into_iter()
            .filter(|file| !folder.join(file).is_file())
            .collect();
        if !missing.is_empty() {
            return Err(no_data(folder, &missing));
        }
        let flights = CsvIndex::build(CsvFile::open(&folder.join(FLIGHTS))?, day_of_flight)?;
        let weather = CsvIndex::build(CsvFile::open(&folder.join(WEATHER))?, |row| row.get("time_hour"))?;
        let calendar = Calendar::of(&flights, &weather)?;
        Ok(Self {
            folder: folder.to_owned(),
            flights,
            weather,
            calendar,
        })
    }

    /// The days, months and years that the tables reach over.
    pub(crate) fn calendar(&self) -> &Calendar {
        &self.calendar
    }

    /// What changes when the content of the tables does that are read as wholes.
    pub(crate) fn fingerprints(&self) -> Result<Fingerprints> {
        let mut small = String::new();
        for file in [AIRLINES, AIRPORTS, PLANES] {
            small.push_str(&format!("{:08x}", CsvFile::open(&self.folder.join(file))?.checksum()));
        }
        let weather = format!("{:08x}", self.weather.file().checksum());
        Ok(Fingerprints { small, weather })
    }

    /// What changes when the flights of a day do, by day.
    pub(crate) fn flights_by_day(&self) -> Vec<(Date, String)> {
        self.flights
            .checksums()
            .map(|(day, sum)| (day, format!("{sum:08x}")))
            .collect()
    }

    /// The flights that were to leave on `day`.
    pub(crate) fn flights_on<T: FromRow>(&self, day: Date) -> Result<Vec<T>> {
        self.flights.rows(day..=day)
    }

    /// What was observed from `start` up to `end`, which is not included.
    pub(crate) fn weather_between<T: FromRow>(&self, start: Timestamp, end: Timestamp) -> Result<Vec<T>> {
        self.weather.rows(start..end)
    }

    /// All carriers.
    pub(crate) fn airlines<T: FromRow>(&self) -> Result<Vec<T>> {
        CsvFile::open(&self.folder.join(AIRLINES))?.rows()
    }

    /// All airports.
    pub(crate) fn airports<T: FromRow>(&self) -> Result<Vec<T>> {
        CsvFile::open(&self.folder.join(AIRPORTS))?.rows()
    }

    /// All planes.
    pub(crate) fn planes<T: FromRow>(&self) -> Result<Vec<T>> {
        CsvFile::open(&self.folder.join(PLANES))?.rows()
    }
}

/// Texts that change when the content of a table does.
pub(crate) struct Fingerprints {
    /// Of the tables without time.
    pub(crate) small: String,
    pub(crate) weather: String,
}

/// The days that the data reach over, without gaps, and the partitions that follow from them.
pub(crate) struct Calendar {
    first: Date,
    /// The day after the last.
    end: Date,
}

impl Calendar {
    fn of(flights: &CsvIndex<Date>, weather: &CsvIndex<Timestamp>) -> Result<Self> {
        let zone = TimeZone::get(ZONE)?;
        let local = |instant: &Timestamp| instant.to_zoned(zone.clone()).date();
        let flown = flights.ends().map(|(first, last)| (*first, *last));
        let observed = weather.ends().map(|(first, last)| (local(first), local(last)));
        let ends = flown.into_iter().chain(observed);
        let (first, last) = ends
            .reduce(|(first, last), (start, end)| (first.min(start), last.max(end)))
            .ok_or_else(|| Error::permanent("flights and weather have no rows").fix("give tables with rows"))?;
        Ok(Self {
            first,
            end: last.checked_add(1.day())?,
        })
    }

    /// One partition an hour, from midnight to midnight in New York.
    pub(crate) fn hours(&self) -> Hourly {
        Hourly::from(self.first.to_string())
            .until(self.end.to_string())
            .zone(ZONE)
    }

    /// One partition a day.
    pub(crate) fn days(&self) -> Daily {
        Daily::from(self.first.to_string())
            .until(self.end.to_string())
            .zone(ZONE)
    }

    /// One partition a month, the last as far as the data reach.
    pub(crate) fn months(&self) -> Result<Monthly> {
        let end = self.last().last_of_month().checked_add(1.day())?;
        Ok(Monthly::from(self.first.first_of_month().to_string())
            .until(end.to_string())
            .zone(ZONE))
    }

    /// One partition a year, the last as far as the data reach.
    pub(crate) fn years(&self) -> Result<Yearly> {
        let end = self.last().last_of_year().checked_add(1.day())?;
        Ok(Yearly::from(self.first.first_of_year().to_string())
            .until(end.to_string())
            .zone(ZONE))
    }

    fn last(&self) -> Date {
        self.end.yesterday().unwrap_or(self.first)
    }
}

fn day_of_flight(row: &Row<'_>) -> Result<Date> {
    let (year, month, day): (i16, i8, i8) = (row.get("year")?, row.get("month")?, row.get("day")?);
    Date::new(year, month, day)
        .map_err(|_| row.refuse("day", &format!("{year}-{month}-{day}"), "a day of the calendar"))
}

fn no_data(folder: &Path, missing: &[&str]) -> Error {
    let what = match folder.is_dir() {
        true => format!("it does not hold {}", missing.join(", ")),
        false => "there is no such folder".to_owned(),
    };
    Error::new(ErrorKind::NotFound, what)
        .code("flights_data_missing")
        .during("open the flights data in")
        .about(folder.display())
        .fix("point FLIGHTS_DATA at a folder with the five nycflights13 tables, or unset it to use the January sample")
}
