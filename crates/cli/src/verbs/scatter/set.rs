//! `scatter set`: changes how a fan-out goes about its items, in the process that runs it.

use std::num::{NonZeroU32, NonZeroU64};
use std::str::FromStr;
use std::time::Duration;

use flowstone_core::fan_out::{FailurePolicy, OptionsChange, RateLimit};
use flowstone_core::{Error, ErrorKind, FanOutId, Result};
use jiff::SignedDuration;
use serde::Serialize;

use super::super::backfill::going_on::other_answer;
use super::describe::OptionsJson;
use super::going_on::{named, there};
use crate::args::SetArgs;
use crate::control::{Answer, Ask};
use crate::entry::Context;
use crate::exit::{Exit, Failure, OrUsage as _};

#[derive(Serialize)]
struct Changed {
    fan_out: FanOutId,
    options: OptionsJson,
}

/// What is to change. How often is tried is only a part of an option, so the rest of that one is needed.
struct Asked {
    change: OptionsChange,
    attempts: Option<NonZeroU32>,
}

pub(super) async fn perform(context: &Context, args: &SetArgs) -> std::result::Result<Exit, Failure> {
    let Asked { change, attempts } = parse(args).or_usage()?;
    let row = named(context, &args.of).await?;
    let change = OptionsChange {
        retry: attempts.map(|attempts| row.options.retry.at_most(attempts.get())),
        ..change
    };
    let ask = Ask::ChangeFanOut(row.fan_out, change);
    let Answer::FanOutChanged(options) = there(context, &row, &ask, "change").await? else {
        return Err(other_answer());
    };
    let changed = Changed {
        fan_out: row.fan_out,
        options: (&*options).into(),
    };
    context.out.data("flowstone.scatter.set/1", &changed, |changed| {
        format!("fan-out {} goes on with {}", changed.fan_out, changed.options.to_text())
    })?;
    Ok(Exit::Done)
}

fn parse(args: &SetArgs) -> Result<Asked> {
    let SetArgs {
        of: _,
        max_concurrent,
        rate_limit,
        tolerate,
        attempts,
        item_timeout,
        priority,
        items_max,
    } = args;
    let change = OptionsChange {
        max_concurrent: of("--max-concurrent", max_concurrent, |text| {
            counted(text, "`backfill pause` lets the run wait")
        })?,
        rate_limit: of("--rate-limit", rate_limit, |text| or_none(text, rate))?,
        failure: of("--tolerate", tolerate, tolerance)?,
        retry: None,
        item_timeout: of("--item-timeout", item_timeout, |text| or_none(text, timeout))?,
        priority: *priority,
        items_max: of("--items-max", items_max, |text| or_none(text, most))?,
    };
    let attempts = of("--attempts", attempts, |text| {
        counted(text, "1 tries each item once, and never again")
    })?;
    Ok(Asked { change, attempts })
}

/// What an option says, if it was given.
fn of<T>(option: &'static str, given: &Option<String>, parse: impl FnOnce(&str) -> Result<T>) -> Result<Option<T>> {
    let parsed = given.as_deref().map(|text| parse(text.trim()));
    parsed
        .transpose()
        .map_err(|error| error.code("usage").during("read").about(option))
}

fn or_none<T>(text: &str, parse: impl FnOnce(&str) -> Result<T>) -> Result<Option<T>> {
    match text {
        "none" => Ok(None),
        _ => parse(text).map(Some),
    }
}

fn invalid(text: &str, what: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("{text:?} is no {what}"))
}

fn counted(text: &str, instead_of_zero: &str) -> Result<NonZeroU32> {
    let count: u32 = text
        .parse()
        .map_err(|_| invalid(text, "number of items").fix("give a whole number from 1 on"))?;
    NonZeroU32::new(count)
        .ok_or_else(|| Error::new(ErrorKind::OutOfRange, "zero lets nothing run, ever").fix(instead_of_zero))
}

fn most(text: &str) -> Result<u64> {
    let count: u64 = text
        .parse()
        .map_err(|_| invalid(text, "number of items").fix("give a whole number from 1 on, or `none` for no limit"))?;
    NonZeroU64::new(count).map(NonZeroU64::get).ok_or_else(|| {
        Error::new(ErrorKind::OutOfRange, "zero lets no item come")
            .fix("`scatter cancel` ends the fan-out; `none` takes the limit away")
    })
}

/// A count in a time, and how many at once after a rest, as `10/s:5`.
fn rate(text: &str) -> Result<RateLimit> {
    const FIX: &str =
        "write it as `10/s`, `600/min`, `5/30s` or, with 5 at once after a rest, `10/s:5`; `none` for no limit";
    let wrong = || invalid(text, "rate").fix(FIX);
    let (rate, burst) = match text.split_once(':') {
        Some((rate, burst)) => (rate, Some(burst)),
        None => (text, None),
    };
    let (count, per) = rate.split_once('/').ok_or_else(wrong)?;
    let count: u32 = count.trim().parse().map_err(|_| wrong())?;
    let per = per.trim();
    let per = if per.starts_with(|c: char| c.is_ascii_digit()) {
        duration(per)
    } else {
        duration(&format!("1{per}"))
    };
    let per = per.ok_or_else(wrong)?;
    if count == 0 || per.is_zero() {
        return Err(
            Error::new(ErrorKind::OutOfRange, "a rate limit of zero lets nothing start, ever")
                .fix("`backfill pause` lets the run wait; `none` takes the limit away"),
        );
    }
    let limit = RateLimit::new(count, per)?;
    let Some(burst) = burst else { return Ok(limit) };
    let burst: u32 = burst.trim().parse().map_err(|_| wrong())?;
    let burst = NonZeroU32::new(burst).ok_or_else(|| {
        Error::new(ErrorKind::OutOfRange, "a burst of zero lets nothing start, ever")
            .fix("leave the burst out: items then start evenly")
    })?;
    Ok(limit.burst(burst))
}

fn tolerance(text: &str) -> Result<FailurePolicy> {
    const FIX: &str = "write 0.05 or 5% for a share, `count:3` for a number, `none` for none";
    if text == "none" {
        return Ok(FailurePolicy::all_or_nothing());
    }
    if let Some(count) = text.strip_prefix("count:") {
        let count = count
            .trim()
            .parse()
            .map_err(|_| invalid(text, "number of items").fix(FIX))?;
        return Ok(FailurePolicy::tolerate_count(count));
    }
    let share: f64 = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|percent| percent / 100.0),
        None => text.parse(),
    }
    .map_err(|_| invalid(text, "share of items").fix(FIX))?;
    FailurePolicy::tolerate_share(share).map_err(|error| error.fix(FIX))
}

fn timeout(text: &str) -> Result<Duration> {
    let timeout = duration(text)
        .ok_or_else(|| invalid(text, "duration").fix("write it as `30s`, `500ms` or `2m`; `none` for no limit"))?;
    if timeout.is_zero() {
        return Err(Error::new(ErrorKind::OutOfRange, "in no time no item can end").fix("`none` takes the limit away"));
    }
    Ok(timeout)
}

fn duration(text: &str) -> Option<Duration> {
    Duration::try_from(SignedDuration::from_str(text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use flowstone_core::fan_out::Tolerance;

    use super::*;

    #[test]
    fn a_rate_says_how_many_in_which_time() {
        let read = |text| {
            let limit = rate(text).unwrap();
            (limit.count(), limit.per().as_secs(), limit.burst_len())
        };

        assert_eq!(read("10/s"), (10, 1, 1));
        assert_eq!(read("10/s:5"), (10, 1, 5));
        assert_eq!(read("600/min"), (600, 60, 1));
        assert_eq!(read("5 / 30s : 2"), (5, 30, 2));
        assert_eq!(read("7/h"), (7, 3600, 1));
    }

    #[test]
    fn failures_are_tolerated_by_share_or_by_count() {
        let read = |text| tolerance(text).unwrap().tolerance();

        assert_eq!(read("0.05"), Tolerance::Share(0.05));
        assert_eq!(read("5%"), Tolerance::Share(0.05));
        assert_eq!(read("count:3"), Tolerance::Count(3));
        assert_eq!(read("none"), Tolerance::Count(0));
    }

    #[test]
    fn what_lets_nothing_run_and_what_cannot_be_read_says_how_to_mend_it() {
        let refused = [
            rate("0/s").map(drop),
            rate("10/0s").map(drop),
            rate("10/s:0").map(drop),
            rate("10").map(drop),
            rate("10/fortnight").map(drop),
            rate("-1/s").map(drop),
            tolerance("3").map(drop),
            tolerance("count:x").map(drop),
            tolerance("NaN").map(drop),
            tolerance("much").map(drop),
            timeout("0s").map(drop),
            timeout("-3s").map(drop),
            timeout("soon").map(drop),
            counted("0", "so").map(drop),
            counted("-1", "so").map(drop),
            most("0").map(drop),
            most("all").map(drop),
        ];

        for error in refused {
            let error = error.unwrap_err();
            assert!(error.advice().is_some(), "{error}");
        }
    }
}
