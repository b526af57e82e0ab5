//! Where the windows of a space begin: index to instant and back, before the space's start and after its end too.
//!
//! Days, weeks, months and years are steps on the calendar of a time zone, hours and minutes are steps of elapsed time.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::granularity::Granularity;
use super::key::PartitionKey;

/// An endless row of windows; window 0 starts at `start`.
#[derive(Debug, Clone)]
pub(super) struct Grid {
    pub(super) granularity: Granularity,
    pub(super) zone: TimeZone,
    pub(super) zone_name: String,
    pub(super) start: DateTime,
    /// The instant of `start`.
    pub(super) origin: Timestamp,
    /// The number of window 0 among all times at which a cron expression fires; else 0.
    pub(super) first: i64,
}

impl Grid {
    /// How many windows after the first the key's window starts, if it names the start of one.
    pub(super) fn offset_of(&self, key: &PartitionKey) -> Option<i64> {
        match (&self.granularity, key) {
            (Granularity::Daily, PartitionKey::Date(date)) => Some(self.days_to(*date)),
            (Granularity::Weekly, PartitionKey::Date(date)) => {
                let days = self.days_to(*date);
                (days % 7 == 0).then_some(days / 7)
            }
            (Granularity::Monthly, PartitionKey::Month { year, month }) => Some(self.months_to(*year, *month)),
            (Granularity::Yearly, PartitionKey::Year(year)) => Some(i64::from(*year) - i64::from(self.start.year())),
            (Granularity::Cron(_), PartitionKey::Instant(instant)) => {
                let index = self.floor_index(*instant);
                (self.boundary(index) == Some(*instant)).then_some(index)
            }
            (Granularity::Minutes(_) | Granularity::Hourly, PartitionKey::Instant(instant)) => {
                let step = self.granularity.step_nanos()?;
                let elapsed = instant.as_nanosecond() - self.origin.as_nanosecond();
                (elapsed % step == 0).then(|| (elapsed / step) as i64)
            }
            _ => None,
        }
    }

    pub(super) fn days_to(&self, date: Date) -> i64 {
        self.start
            .date()
            .until(date)
            .map_or(0, |span| i64::from(span.get_days()))
    }

    fn months_to(&self, year: i16, month: i8) -> i64 {
        (i64::from(year) - i64::from(self.start.year())) * 12 + i64::from(month) - i64::from(self.start.month())
    }

    /// The calendar time at which window `index` starts; the index may lie before the first window.
    pub(super) fn civil(&self, index: i64) -> Option<DateTime> {
        let date = match &self.granularity {
            Granularity::Cron(rule) => return rule.civil(self.first.checked_add(index)?),
            Granularity::Daily => add_days(self.start.date(), index)?,
            Granularity::Weekly => add_days(self.start.date(), index.checked_mul(7)?)?,
            Granularity::Monthly => {
                let months =
                    (i64::from(self.start.year()) * 12 + i64::from(self.start.month()) - 1).checked_add(index)?;
                Date::new(
                    i16::try_from(months.div_euclid(12)).ok()?,
                    months.rem_euclid(12) as i8 + 1,
                    1,
                )
                .ok()?
            }
            Granularity::Yearly => Date::new(
                i16::try_from(i64::from(self.start.year()).checked_add(index)?).ok()?,
                1,
                1,
            )
            .ok()?,
            Granularity::Minutes(_) | Granularity::Hourly => return None,
        };
        Some(date.to_datetime(self.start.time()))
    }

    /// The instant at which window `index` starts; none outside the calendar.
    pub(super) fn boundary(&self, index: i64) -> Option<Timestamp> {
        match (self.granularity.step_nanos(), &self.granularity) {
            (Some(step), _) => Timestamp::from_nanosecond(self.origin.as_nanosecond() + i128::from(index) * step).ok(),
            (None, Granularity::Cron(rule)) => rule.instant(self.first.checked_add(index)?, &self.zone),
            (None, _) => self.zone.to_timestamp(self.civil(index)?).ok(),
        }
    }

    /// The last window that starts at `instant` or before; may lie before the first.
    pub(super) fn floor_index(&self, instant: Timestamp) -> i64 {
        if let Some(step) = self.granularity.step_nanos() {
            return (instant.as_nanosecond() - self.origin.as_nanosecond()).div_euclid(step) as i64;
        }
        let local = self.zone.to_datetime(instant);
        let mut index = match &self.granularity {
            Granularity::Cron(rule) => rule.number_at(local) - self.first,
            Granularity::Weekly => self.days_to(local.date()).div_euclid(7),
            Granularity::Monthly => self.months_to(local.year(), local.month()),
            Granularity::Yearly => i64::from(local.year()) - i64::from(self.start.year()),
            Granularity::Daily | Granularity::Minutes(_) | Granularity::Hourly => self.days_to(local.date()),
        };
        // The calendar's answer is right but for the time of day and clock changes: at most a window or two.
        while self.boundary(index).is_none_or(|start| start > instant) && self.civil(index - 1).is_some() {
            index -= 1;
        }
        while self.boundary(index + 1).is_some_and(|start| start <= instant) {
            index += 1;
        }
        index
    }

    /// The first window that starts at `instant` or after.
    pub(super) fn first_from(&self, instant: Timestamp) -> i64 {
        match instant.checked_sub(SignedDuration::from_nanos(1)) {
            Ok(before) => self.floor_index(before) + 1,
            Err(_) => self.floor_index(instant),
        }
    }
}

fn add_days(date: Date, days: i64) -> Option<Date> {
    date.checked_add(jiff::Span::new().try_days(days).ok()?).ok()
}
