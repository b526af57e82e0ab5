//! A space of time windows that follow each other without a gap, in one time zone.
//!
//! Both ways between key, index and instants are arithmetic: nothing is listed, and every question costs the same
//! whatever the length. Where windows begin is the grid's business; this adds the ends, the keys and the messages.

use std::fmt;
use std::ops::Range;

use jiff::Timestamp;
use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;

use super::cron::CronRule;
use super::granularity::Granularity;
use super::grid::Grid;
use super::key::PartitionKey;
use crate::{Error, ErrorKind, Result};

/// Windows of one granularity from a start on, in one time zone.
///
/// Window `i` covers the instants from its start to the start of window `i + 1`, which it does not include. A calendar
/// time that a clock change skips counts as the moment after the change; one that comes twice counts as the first. A
/// day that a zone left out altogether (Samoa, 2011-12-30) is a window that covers no time.
#[derive(Debug, Clone)]
pub struct WindowSpace {
    grid: Grid,
    end: Option<DateTime>,
    capacity: u64,
}

impl WindowSpace {
    /// Windows from `start` on, up to `end` (exclusive) if there is one; both are calendar time in `zone`.
    ///
    /// Refuses an unknown zone, a start that no month or year begins with, an end that is not after the start or cuts
    /// a window, and a length of minutes outside 1 to 10,080. Days and weeks may start at any time of day, which then
    /// is where every one of them starts. Windows by a cron expression start when it first fires from `start` on.
    pub fn new(granularity: Granularity, zone: &str, start: DateTime, end: Option<DateTime>) -> Result<Self> {
        let what = format!("{granularity} partitions from {start}");
        let about = |error: Error| error.during("define").about(&what);
        let found = TimeZone::get(zone).map_err(|_| about(unknown_zone(zone)))?;
        granularity.check_start(start).map_err(about)?;
        let (first, start) = match &granularity {
            Granularity::Cron(rule) => first_firing(rule, start).map_err(about)?,
            _ => (0, start),
        };
        let origin = found
            .to_timestamp(start)
            .map_err(|_| about(outside_calendar("start", start)))?;
        let zone_name = found.iana_name().unwrap_or(zone).to_owned();
        let grid = Grid {
            granularity,
            zone: found,
            zone_name,
            start,
            origin,
            first,
        };
        let capacity = match end {
            Some(end) => count_to(&grid, end).map_err(about)?,
            None => unsigned(grid.floor_index(Timestamp::MAX)),
        };
        Ok(Self { grid, end, capacity })
    }

    /// How long one window is.
    pub fn granularity(&self) -> &Granularity {
        &self.grid.granularity
    }

    /// The zone in which windows begin and end.
    pub fn zone(&self) -> &TimeZone {
        &self.grid.zone
    }

    /// The zone's IANA name.
    pub fn zone_name(&self) -> &str {
        &self.grid.zone_name
    }

    /// Where the first window begins, as calendar time.
    pub fn start(&self) -> DateTime {
        self.grid.start
    }

    /// Where the last window ends, as calendar time; none if the space grows with time.
    pub fn end(&self) -> Option<DateTime> {
        self.end
    }

    /// How many windows there will ever be; for a space without an end, those that the calendar has room for.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// How many windows there are at `now`: all if the space has an end, else those that are over.
    pub fn len_at(&self, now: Timestamp) -> u64 {
        match self.end {
            Some(_) => self.capacity,
            None => unsigned(self.grid.floor_index(now)).min(self.capacity),
        }
    }

    /// True if both have the same windows, wherever they end.
    fn starts_like(&self, other: &Self) -> bool {
        let (one, other) = (&self.grid, &other.grid);
        (&one.granularity, &one.zone_name, one.start) == (&other.granularity, &other.zone_name, other.start)
    }

    /// The index of the window that `key` names.
    pub fn index_of(&self, key: &PartitionKey) -> Result<u64> {
        let offset = self.grid.offset_of(key).ok_or_else(|| self.names_no_window(key))?;
        u64::try_from(offset)
            .ok()
            .filter(|&index| index < self.capacity)
            .ok_or_else(|| self.outside(key))
    }

    /// The window's key: its first day, its month, its year, or the instant at which it starts.
    ///
    /// An index beyond the calendar's end gives the last window's key.
    pub fn key_of(&self, index: u64) -> PartitionKey {
        let index = self.clamped(index);
        let civil = || self.grid.civil(index).unwrap_or(self.grid.start);
        match self.grid.granularity {
            Granularity::Minutes(_) | Granularity::Hourly | Granularity::Cron(_) => {
                PartitionKey::Instant(self.grid.boundary(index).unwrap_or(Timestamp::MAX))
            }
            Granularity::Daily | Granularity::Weekly => PartitionKey::Date(civil().date()),
            Granularity::Monthly => PartitionKey::Month {
                year: civil().year(),
                month: civil().month(),
            },
            Granularity::Yearly => PartitionKey::Year(civil().year()),
        }
    }

    /// The instants that the window covers: the first, and the one after the last.
    ///
    /// An index beyond the calendar's end gives the last window's interval.
    pub fn interval_of(&self, index: u64) -> (Timestamp, Timestamp) {
        let index = self.clamped(index);
        let at = |index| self.grid.boundary(index).unwrap_or(Timestamp::MAX);
        (at(index), at(index + 1))
    }

    /// The windows that share time with the instants from `from` up to `to`, which is not included.
    ///
    /// Two equal instants ask for the windows that hold that instant; a backwards pair asks for nothing.
    pub fn indices_overlapping(&self, from: Timestamp, to: Timestamp) -> Range<u64> {
        if from > to {
            return 0..0;
        }
        let first = self.grid.first_from(from);
        let lo = if self.grid.boundary(first) == Some(from) {
            first
        } else {
            first - 1
        };
        let hi = if from == to {
            self.grid.floor_index(to) + 1
        } else {
            self.grid.first_from(to)
        };
        let within = |index| unsigned(index).min(self.capacity);
        within(lo)..within(hi).max(within(lo))
    }

    /// Whether two spaces cut time at the same places; if so, what to add to an index here for the one in `other`.
    pub(super) fn shift_to(&self, other: &Self) -> Option<i64> {
        match (self.grid.granularity.step_nanos(), other.grid.granularity.step_nanos()) {
            (Some(step), Some(other_step)) if step == other_step => {}
            (None, None)
                if self.grid.granularity == other.grid.granularity && self.grid.zone_name == other.grid.zone_name => {}
            _ => return None,
        }
        let shift = other.grid.offset_of(&self.key_of(0))?;
        let same_time_of_day = self.grid.start.time() == other.grid.start.time();
        let says_the_time = matches!(self.grid.granularity, Granularity::Cron(_));
        (self.grid.granularity.step_nanos().is_some() || says_the_time || same_time_of_day).then_some(shift)
    }

    /// The first and the last window in words.
    pub(super) fn ends(&self) -> String {
        let first = self.label(0);
        match self.end {
            Some(_) => format!("{first} to {}", self.label(self.capacity.saturating_sub(1))),
            None => format!("{first} and later"),
        }
    }

    /// What people call the window.
    pub(super) fn label(&self, index: u64) -> String {
        let text = self.key_of(index).to_string();
        match text.strip_prefix('Y') {
            Some(year) => year.to_owned(),
            None => text,
        }
    }

    fn clamped(&self, index: u64) -> i64 {
        index.min(self.capacity.saturating_sub(1)) as i64
    }

    fn names_no_window(&self, key: &PartitionKey) -> Error {
        let nearest = match (&self.grid.granularity, key) {
            (Granularity::Weekly, PartitionKey::Date(date)) => {
                Some(("the first day of a week", self.grid.days_to(*date).div_euclid(7)))
            }
            (Granularity::Minutes(_) | Granularity::Hourly | Granularity::Cron(_), PartitionKey::Instant(instant)) => {
                Some(("the start of a window", self.grid.floor_index(*instant)))
            }
            _ => None,
        };
        let error = match nearest {
            Some((what, index)) => {
                let error = Error::new(ErrorKind::Invalid, format!("it is not {what}"));
                match self
                    .grid
                    .civil(index)
                    .map(|civil| civil.date().to_string())
                    .or_else(|| Some(self.grid.boundary(index)?.to_string()))
                {
                    Some(start) => error.fix(format!("the window that holds it starts at {start}")),
                    None => error,
                }
            }
            None => {
                let message = format!("it is {}, and the space is {}", key.kind_name(), self.grid.granularity);
                Error::new(ErrorKind::Invalid, message).fix(format!("give {}", self.grid.granularity.example()))
            }
        };
        error.code("partition_key_mismatch").during("find partition").about(key)
    }

    pub(super) fn outside(&self, what: impl fmt::Display) -> Error {
        Error::new(ErrorKind::OutOfRange, format!("the space holds {}", self.ends()))
            .code("partition_out_of_space")
            .during("find partition")
            .about(what)
            .fix("choose a partition within the space, or widen the asset's partitions")
    }
}

/// Spaces are equal if they were defined alike.
impl PartialEq for WindowSpace {
    fn eq(&self, other: &Self) -> bool {
        self.starts_like(other) && self.end == other.end
    }
}

impl Eq for WindowSpace {}

/// The first time at which the rule fires from `start` on, and its number.
fn first_firing(rule: &CronRule, start: DateTime) -> Result<(i64, DateTime)> {
    let last = rule.number_at(start);
    let numbers = last..=last + 1;
    let mut firings = numbers.filter_map(|number| Some((number, rule.civil(number)?)));
    firings
        .find(|(_, at)| *at >= start)
        .ok_or_else(|| outside_calendar("start", start))
}

/// How many windows there are up to `end`, which must be where one ends.
fn count_to(grid: &Grid, end: DateTime) -> Result<u64> {
    let instant = grid.zone.to_timestamp(end).map_err(|_| outside_calendar("end", end))?;
    if end <= grid.start || instant <= grid.origin {
        return Err(
            Error::new(ErrorKind::Invalid, format!("the end {end} is not after the start"))
                .code("partition_space_empty")
                .fix("give an end after the start; the end itself is not included"),
        );
    }
    let last = grid.floor_index(instant);
    // Two windows may begin at one instant, of which the calendar knows the right one.
    let count = match grid.civil(last) {
        Some(_) => (last - 2..=last).find(|&index| grid.civil(index) == Some(end)),
        None => (grid.boundary(last) == Some(instant)).then_some(last),
    };
    count.map(unsigned).ok_or_else(|| {
        Error::new(ErrorKind::Invalid, format!("the end {end} cuts a window in two"))
            .code("partition_space_cut")
            .fix(format!(
                "end at {} or {}",
                start_text(grid, last),
                start_text(grid, last + 1)
            ))
    })
}

fn start_text(grid: &Grid, index: i64) -> String {
    let instant = grid.boundary(index).unwrap_or(Timestamp::MAX);
    let civil = grid.zone.to_datetime(instant);
    if civil.time() == Time::midnight() {
        civil.date().to_string()
    } else {
        civil.to_string()
    }
}

fn unsigned(index: i64) -> u64 {
    u64::try_from(index).unwrap_or(0)
}

fn unknown_zone(zone: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no time zone {zone:?}"))
        .code("time_zone_unknown")
        .fix("use an IANA name as America/New_York or UTC; the machine's time zone data must be installed")
}

fn outside_calendar(what: &str, civil: DateTime) -> Error {
    Error::new(
        ErrorKind::OutOfRange,
        format!("the {what} {civil} lies outside the calendar"),
    )
    .code("partition_space_out_of_range")
    .fix("use years from -9998 to 9998")
}
