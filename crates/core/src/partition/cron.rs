//! When a cron expression fires, counted: the n-th time it does, and how often it has by some time.
//!
//! On the calendar, apart from any zone. Which days of a year match follows from whether it is a leap year and from the
//! weekday that it begins with, and the calendar repeats after 400 years; so a small table answers every question. What
//! an expression means is croner's business.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use croner::Cron;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

/// The years after which the calendar, weekdays included, repeats.
const CYCLE: i64 = 400;
/// The year with which a cycle begins here.
const CYCLE_START: i64 = 2000;
const YEAR_KINDS: usize = 14;
/// The longest expression, in bytes.
const TEXT_LEN_MAX: usize = 512;

/// A cron expression of five fields (minute, hour, day of month, month, day of week) or a name as `@daily`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CronRule {
    text: Arc<str>,
    table: Arc<Table>,
}

struct Table {
    /// The minutes of a matching day.
    minutes: Vec<u16>,
    /// The matching days by kind of year, from 0.
    days: [Vec<u16>; YEAR_KINDS],
    /// How many matching days of a cycle come before each of its years; last, how many there are.
    before: Vec<i64>,
}

impl CronRule {
    /// Reads an expression; refuses seconds and years, and one that never fires.
    pub fn new(text: &str) -> Result<Self> {
        let invalid = |message: String| {
            Error::new(ErrorKind::Invalid, message)
                .code("cron_invalid")
                .during("read cron expression")
                .about(format!("{:?}", text.chars().take(80).collect::<String>()))
                .fix("write minute, hour, day of month, month and day of week, as `0 6 * * MON-FRI`")
        };
        if text.len() > TEXT_LEN_MAX {
            return Err(invalid(format!("it is longer than {TEXT_LEN_MAX} bytes")));
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        if fields.len() != 5 && !(fields.len() == 1 && text.trim().starts_with('@')) {
            return Err(invalid(format!("it has {} fields and not five", fields.len())));
        }
        let cron = Cron::from_str(text).map_err(|error| invalid(error.to_string()))?;
        let table = Table::of(&cron).map_err(|error| invalid(error.to_string()))?;
        if table.minutes.is_empty() || table.in_cycle() == 0 {
            return Err(invalid("it never fires".to_owned()));
        }
        Ok(Self {
            text: fields.join(" ").into(),
            table: Arc::new(table),
        })
    }

    /// The expression.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The number of the last time that it fires at `civil` or before.
    pub(super) fn number_at(&self, civil: DateTime) -> i64 {
        let Table { minutes, days, before } = &*self.table;
        let (cycle, year) = cycle_of(civil.year().into());
        let day = civil.date().day_of_year() as u16 - 1;
        let matching = &days[kind_of(civil.year())];
        let days_before = matching.partition_point(|other| *other < day);
        let minute = civil.hour() as u16 * 60 + civil.minute() as u16;
        let today = match matching.get(days_before) {
            Some(other) if *other == day => minutes.partition_point(|other| *other <= minute),
            _ => 0,
        };
        let days = cycle * self.table.in_cycle() + before[year] + days_before as i64;
        days * minutes.len() as i64 + today as i64 - 1
    }

    /// When it fires for the time of this number; none outside the calendar.
    pub(super) fn civil(&self, number: i64) -> Option<DateTime> {
        let Table { minutes, days, before } = &*self.table;
        let per_day = minutes.len() as i64;
        let minute = minutes[number.rem_euclid(per_day) as usize];
        let (cycle, day) = {
            let day = number.div_euclid(per_day);
            (
                day.div_euclid(self.table.in_cycle()),
                day.rem_euclid(self.table.in_cycle()),
            )
        };
        let year = before.partition_point(|before| *before <= day) - 1;
        let year_no = i16::try_from(CYCLE_START + cycle * CYCLE + year as i64).ok()?;
        let first = Date::new(year_no, 1, 1).ok()?;
        let day_of_year = days[kind_of(year_no)][(day - before[year]) as usize];
        let date = first.checked_add(jiff::Span::new().days(day_of_year)).ok()?;
        let time = Time::new((minute / 60) as i8, (minute % 60) as i8, 0, 0).ok()?;
        Some(date.to_datetime(time))
    }

    /// The instant of the time of this number. One that the clocks skip counts as the moment of the change, each a
    /// nanosecond before the next, so that instants grow as numbers do; of one that comes twice the first counts.
    pub(super) fn instant(&self, number: i64, zone: &TimeZone) -> Option<Timestamp> {
        let at = |number| Some(zone.to_ambiguous_timestamp(self.civil(number)?));
        let found = at(number)?;
        if !is_gap(found.offset()) {
            return found.compatible().ok();
        }
        let after = found.later().ok()?.checked_add(SignedDuration::from_nanos(1)).ok()?;
        let change = zone.preceding(after).next()?.timestamp();
        let mut left = 1;
        while at(number + left).is_some_and(|next| is_gap(next.offset())) {
            left += 1;
        }
        change.checked_sub(SignedDuration::from_nanos(left)).ok()
    }
}

fn is_gap(offset: AmbiguousOffset) -> bool {
    matches!(offset, AmbiguousOffset::Gap { .. })
}

impl Table {
    fn of(cron: &Cron) -> std::result::Result<Self, croner::errors::CronError> {
        let mut minutes = Vec::new();
        for hour in 0..24_u16 {
            for minute in 0..60_u16 {
                if cron.pattern.hour_match(hour.into())? && cron.pattern.minute_match(minute.into())? {
                    minutes.push(hour * 60 + minute);
                }
            }
        }
        let first = minutes.first().copied().unwrap_or(0);
        let time = Time::constant((first / 60) as i8, (first % 60) as i8, 0, 0);
        let mut days: [Vec<u16>; YEAR_KINDS] = Default::default();
        let mut is_known = [false; YEAR_KINDS];
        let mut before = vec![0];
        for year in CYCLE_START..CYCLE_START + CYCLE {
            let first = Date::constant(year as i16, 1, 1);
            let kind = kind_of(first.year());
            if !std::mem::replace(&mut is_known[kind], true) {
                for (day, date) in (0..first.days_in_year() as u16).zip(first.series(jiff::Span::new().days(1))) {
                    if cron.is_time_matching(&date.to_datetime(time))? {
                        days[kind].push(day);
                    }
                }
            }
            before.push(before[before.len() - 1] + days[kind].len() as i64);
        }
        Ok(Self { minutes, days, before })
    }

    fn in_cycle(&self) -> i64 {
        self.before[CYCLE as usize]
    }
}

/// Which cycle a year is in, and its place there.
fn cycle_of(year: i64) -> (i64, usize) {
    let years = year - CYCLE_START;
    (years.div_euclid(CYCLE), years.rem_euclid(CYCLE) as usize)
}

/// What the days of a year depend on: the weekday that it begins with, and whether it is a leap year.
fn kind_of(year: i16) -> usize {
    let first = Date::constant(year, 1, 1);
    first.weekday().to_monday_zero_offset() as usize * 2 + usize::from(first.in_leap_year())
}

impl PartialEq for CronRule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for CronRule {}

impl std::hash::Hash for CronRule {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Debug for CronRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CronRule").field(&self.text).finish()
    }
}

impl TryFrom<String> for CronRule {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Self::new(&text)
    }
}

impl From<CronRule> for String {
    fn from(rule: CronRule) -> Self {
        rule.text.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn civil(text: &str) -> DateTime {
        text.parse().unwrap()
    }

    /// From one firing to the next, as croner finds them.
    #[test]
    fn counting_agrees_with_looking_for_one_after_the_other() {
        for text in [
            "* * * * *",
            "*/7 3-5 * * *",
            "0 6 * * MON-FRI",
            "30 23 L * *",
            "0 0 29 2 *",
            "15 12 13 * FRI",
            "0 0 * * SUN#2",
            "0 9 1W * *",
            "@daily",
            "@yearly",
        ] {
            let (rule, cron) = (CronRule::new(text).unwrap(), Cron::from_str(text).unwrap());
            for start in ["1999-12-31T23:59:00", "2024-02-27T00:00:00", "2100-02-28T12:00:00"] {
                let mut at = civil(start);
                let mut number = rule.number_at(at);
                for _ in 0..40 {
                    at = cron.find_next_occurrence(&at, false).unwrap();
                    number += 1;

                    assert_eq!(rule.civil(number), Some(at), "{text} after {start}");
                    assert_eq!(rule.number_at(at), number, "{text} at {at}");
                }
            }
        }
    }

    #[test]
    fn numbers_lead_to_times_and_back_on_the_whole_calendar() {
        let rule = CronRule::new("0 6,18 * * MON-FRI").unwrap();

        for year in (-9990..9990).step_by(37) {
            let number = rule.number_at(DateTime::constant(year, 7, 3, 12, 0, 0, 0));

            let at = rule.civil(number).unwrap();
            assert_eq!(rule.number_at(at), number);
            assert!(rule.civil(number + 1).unwrap() > at);
        }
    }

    #[test]
    fn instants_grow_also_where_the_clocks_skip_and_repeat() {
        let zone = TimeZone::get("America/New_York").unwrap();
        let rule = CronRule::new("*/30 * * * *").unwrap();

        for day in ["2024-03-10T00:00:00", "2024-11-03T00:00:00"] {
            let first = rule.number_at(civil(day));
            let instants: Vec<_> = (first..first + 60)
                .map(|number| rule.instant(number, &zone).unwrap())
                .collect();

            assert!(instants.is_sorted_by(|one, next| one < next), "{instants:?}");
        }
        let skipped = rule.number_at(civil("2024-03-10T02:30:00"));
        assert_eq!(
            rule.instant(skipped, &zone).unwrap().to_string(),
            "2024-03-10T06:59:59.999999999Z"
        );
    }

    #[test]
    fn what_is_no_expression_of_five_fields_is_refused() {
        for text in [
            "",
            "* * * *",
            "* * * * * *",
            "0 0 30 2 *",
            "61 * * * *",
            "daily",
            "@reboot",
        ] {
            assert_eq!(CronRule::new(text).unwrap_err().stable_code(), "cron_invalid", "{text}");
        }
    }
}
