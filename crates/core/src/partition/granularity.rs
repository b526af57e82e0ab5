//! How long the windows of a space are, and where they may start.

use std::fmt;

use jiff::civil::{DateTime, Time};
use serde::{Deserialize, Serialize};

use super::cron::CronRule;
use crate::{Error, ErrorKind, Result};

/// The longest window that is counted in minutes: a week.
const MINUTES_MAX: u32 = 7 * 24 * 60;
const NANOS_PER_MINUTE: i128 = 60_000_000_000;

/// How long one window is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Granularity {
    /// So many minutes of elapsed time, from 1 to 10,080.
    Minutes(u32),
    /// An hour of elapsed time.
    Hourly,
    /// A calendar day.
    Daily,
    /// Seven calendar days, from the weekday on which the space starts.
    Weekly,
    /// A calendar month.
    Monthly,
    /// A calendar year.
    Yearly,
    /// From each time at which a cron expression fires to the next.
    Cron(CronRule),
}

impl Granularity {
    /// The length in elapsed time, for those that have one.
    pub(super) fn step_nanos(&self) -> Option<i128> {
        match self {
            Self::Minutes(minutes) => Some(i128::from(*minutes) * NANOS_PER_MINUTE),
            Self::Hourly => Some(60 * NANOS_PER_MINUTE),
            Self::Daily | Self::Weekly | Self::Monthly | Self::Yearly | Self::Cron(_) => None,
        }
    }

    /// Refuses a start with which no window of this length begins.
    pub(super) fn check_start(&self, start: DateTime) -> Result<()> {
        let begins_at = |what: &str, right: bool, fix: String| match right {
            true => Ok(()),
            false => Err(
                Error::new(ErrorKind::Invalid, format!("{start} is not the start of a {what}"))
                    .code("partition_space_misaligned")
                    .fix(fix),
            ),
        };
        let midnight = start.time() == Time::midnight();
        match self {
            Self::Minutes(minutes) if !(1..=MINUTES_MAX).contains(minutes) => Err(Error::new(
                ErrorKind::OutOfRange,
                format!("a window of {minutes} minutes lies outside 1 to {MINUTES_MAX} minutes"),
            )
            .code("partition_space_out_of_range")
            .fix("use days, weeks or months for longer windows")),
            Self::Monthly => {
                let (year, month) = (start.year(), start.month());
                let fix =
                    format!("start at {year:04}-{month:02}; for months that begin otherwise, as on the 5th, use Cron");
                begins_at("month", midnight && start.day() == 1, fix)
            }
            Self::Yearly => begins_at(
                "year",
                midnight && start.day_of_year() == 1,
                format!("start at {:04}; for years that begin otherwise use Cron", start.year()),
            ),
            Self::Minutes(_) | Self::Hourly | Self::Daily | Self::Weekly | Self::Cron(_) => Ok(()),
        }
    }

    /// How a key of such a space looks, for messages.
    pub(super) fn example(&self) -> &'static str {
        match self {
            Self::Minutes(_) | Self::Hourly | Self::Cron(_) => "an instant as 2013-01-01T05:00:00Z",
            Self::Daily => "a day as 2013-01-01",
            Self::Weekly => "the first day of a week as 2013-01-07",
            Self::Monthly => "a month as 2013-01",
            Self::Yearly => "a year as 2013",
        }
    }
}

impl fmt::Display for Granularity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Minutes(minutes) => write!(f, "{minutes}-minute"),
            Self::Hourly => f.write_str("hourly"),
            Self::Daily => f.write_str("daily"),
            Self::Weekly => f.write_str("weekly"),
            Self::Monthly => f.write_str("monthly"),
            Self::Yearly => f.write_str("yearly"),
            Self::Cron(rule) => write!(f, "cron {}", rule.as_str()),
        }
    }
}
