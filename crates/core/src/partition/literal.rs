//! Time as a person writes it: `2013`, `2013-01`, `2013-01-01`, `2013-01-01T05`, `2013-01-01T05:30`, or an instant.
//!
//! All but an instant are calendar time, which a space places in its own zone.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

use super::key::PartitionKey;
use super::key_text::{parse_date, parse_instant, parse_month, parse_year};
use super::window::WindowSpace;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimeLiteral {
    Year(i16),
    Month {
        year: i16,
        month: i8,
    },
    Day(Date),
    /// An hour of the calendar.
    Hour(DateTime),
    /// A minute of the calendar.
    Minute(DateTime),
    Instant(Timestamp),
}

impl TimeLiteral {
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Some(year) = parse_year(text.strip_prefix('Y').unwrap_or(text)) {
            return Some(Self::Year(year));
        }
        if let Some((year, month)) = parse_month(text) {
            return Some(Self::Month { year, month });
        }
        if let Some(date) = parse_date(text) {
            return Some(Self::Day(date));
        }
        let (date, time) = text.split_once('T')?;
        if time.contains(['Z', '+', '-']) {
            return parse_instant(text).ok().map(Self::Instant);
        }
        let date = parse_date(date)?;
        let two_digits = |text: &str| (text.len() == 2).then(|| text.parse::<i8>().ok()).flatten();
        match time.split(':').collect::<Vec<_>>().as_slice() {
            [hour] => Some(Self::Hour(
                date.to_datetime(Time::new(two_digits(hour)?, 0, 0, 0).ok()?),
            )),
            [hour, minute] | [hour, minute, "00"] => Some(Self::Minute(
                date.to_datetime(Time::new(two_digits(hour)?, two_digits(minute)?, 0, 0).ok()?),
            )),
            _ => None,
        }
    }

    /// Where the literal begins on the calendar; an instant stands on no calendar.
    pub(super) fn civil_start(&self) -> Option<DateTime> {
        match *self {
            Self::Year(year) => Date::new(year, 1, 1).ok().map(midnight),
            Self::Month { year, month } => Date::new(year, month, 1).ok().map(midnight),
            Self::Day(date) => Some(midnight(date)),
            Self::Hour(start) | Self::Minute(start) => Some(start),
            Self::Instant(_) => None,
        }
    }

    fn civil_end(&self) -> Option<DateTime> {
        match *self {
            Self::Year(year) => Date::new(year.checked_add(1)?, 1, 1).ok().map(midnight),
            Self::Month { year, month: 12 } => Date::new(year.checked_add(1)?, 1, 1).ok().map(midnight),
            Self::Month { year, month } => Date::new(year, month + 1, 1).ok().map(midnight),
            Self::Day(date) => date.tomorrow().ok().map(midnight),
            Self::Hour(start) => start.checked_add(jiff::SignedDuration::from_hours(1)).ok(),
            Self::Minute(start) => start.checked_add(jiff::SignedDuration::from_mins(1)).ok(),
            Self::Instant(_) => None,
        }
    }

    /// The time it covers in `zone`, end exclusive. An instant covers itself: both ends are the same.
    pub(super) fn interval(&self, zone: &TimeZone) -> (Timestamp, Timestamp) {
        if let Self::Instant(instant) = *self {
            return (instant, instant);
        }
        let place = |civil: DateTime| zone.to_timestamp(civil).ok();
        let from = self.civil_start().and_then(place).unwrap_or(Timestamp::MIN);
        let to = self.civil_end().and_then(place).unwrap_or(Timestamp::MAX);
        (from, to)
    }

    /// The key that it reads as in `space`, which may be one that the space refuses.
    pub(super) fn key_in(&self, space: &WindowSpace) -> PartitionKey {
        match *self {
            Self::Year(year) => PartitionKey::Year(year),
            Self::Month { year, month } => PartitionKey::Month { year, month },
            Self::Day(date) => PartitionKey::Date(date),
            Self::Hour(_) | Self::Minute(_) | Self::Instant(_) => PartitionKey::Instant(self.interval(space.zone()).0),
        }
    }
}

fn midnight(date: Date) -> DateTime {
    date.to_datetime(Time::midnight())
}
