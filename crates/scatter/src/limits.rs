//! How a scatter goes about its items, as it was written down: nothing is refused before the pipeline is built.

use std::num::NonZeroU32;
use std::time::Duration;

use flowstone_core::asset::Retry;
use flowstone_core::fan_out::{FailurePolicy, FanOutOptions, ItemOrder, RateLimit};
use flowstone_core::{Error, ErrorKind, Result};

#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) max_concurrent: u32,
    pub(crate) rate: Option<(u32, Duration)>,
    pub(crate) burst: Option<u32>,
    pub(crate) tolerated: Tolerated,
    pub(crate) retry: Retry,
    pub(crate) item_timeout: Option<Duration>,
    pub(crate) order: ItemOrder,
    pub(crate) priority: i32,
    pub(crate) items_max: Option<u64>,
    pub(crate) page_len: u32,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Tolerated {
    Count(u64),
    Share(f64),
}

impl Default for Limits {
    fn default() -> Self {
        let defaults = FanOutOptions::default();
        Self {
            max_concurrent: defaults.max_concurrent.get(),
            rate: None,
            burst: None,
            tolerated: Tolerated::Count(0),
            retry: defaults.retry,
            item_timeout: None,
            order: defaults.order,
            priority: defaults.priority,
            items_max: None,
            page_len: defaults.page_len.get(),
        }
    }
}

impl Limits {
    /// The options, or everything that is wrong with them.
    pub(crate) fn options(&self) -> Result<FanOutOptions, Vec<Error>> {
        let mut complaints = Vec::new();
        let max_concurrent = not_zero(self.max_concurrent, "max_concurrent", &mut complaints);
        let page_len = not_zero(self.page_len, "page_len", &mut complaints);
        let rate_limit = self.rate_limit(&mut complaints);
        let failure = match self.tolerated {
            Tolerated::Count(count) => FailurePolicy::tolerate_count(count),
            Tolerated::Share(share) => FailurePolicy::tolerate_share(share).unwrap_or_else(|error| {
                complaints.push(error);
                FailurePolicy::default()
            }),
        };
        if self.item_timeout.is_some_and(|timeout| timeout.is_zero()) {
            complaints.push(zero("item_timeout", "no attempt can end in no time"));
        }
        if self.retry.attempts_max() == 0 {
            complaints.push(zero("retry", "at least one attempt is made at each item"));
        }
        if !complaints.is_empty() {
            return Err(complaints);
        }
        Ok(FanOutOptions {
            max_concurrent,
            rate_limit,
            failure,
            retry: self.retry,
            item_timeout: self.item_timeout,
            order: self.order,
            priority: self.priority,
            items_max: self.items_max,
            page_len,
        })
    }

    fn rate_limit(&self, complaints: &mut Vec<Error>) -> Option<RateLimit> {
        let burst = self.burst.map(|burst| not_zero(burst, "burst", complaints));
        let Some((count, per)) = self.rate else {
            if burst.is_some() {
                complaints.push(
                    Error::new(
                        ErrorKind::Invalid,
                        "a burst is given, and no rate limit that it is an exception to",
                    )
                    .code("burst_without_rate")
                    .fix("give `.rate_limit(count, per)` too, or leave the burst out"),
                );
            }
            return None;
        };
        match RateLimit::new(count, per) {
            Ok(limit) => Some(burst.map_or(limit, |burst| limit.burst(burst))),
            Err(error) => {
                complaints.push(error);
                None
            }
        }
    }
}

fn not_zero(number: u32, option: &'static str, complaints: &mut Vec<Error>) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap_or_else(|| {
        complaints.push(zero(option, "nothing would ever start"));
        NonZeroU32::MIN
    })
}

pub(crate) fn zero(option: &str, why: &str) -> Error {
    Error::new(ErrorKind::OutOfRange, format!("`{option}` is zero: {why}"))
        .code("scatter_option_zero")
        .fix(format!("give `{option}` at least 1, or leave it out"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unless_told_otherwise_the_options_are_the_engines_own() {
        assert_eq!(Limits::default().options().unwrap(), FanOutOptions::default());
    }

    #[test]
    fn everything_out_of_range_is_told_at_once() {
        let wrong = Limits {
            max_concurrent: 0,
            rate: Some((0, Duration::ZERO)),
            burst: Some(0),
            tolerated: Tolerated::Share(1.1),
            retry: Retry::exponential(0),
            item_timeout: Some(Duration::ZERO),
            page_len: 0,
            ..Limits::default()
        };
        let burst_alone = Limits {
            burst: Some(5),
            ..Limits::default()
        };

        assert_eq!(wrong.options().unwrap_err().len(), 7);
        assert_eq!(
            burst_alone.options().unwrap_err()[0].stable_code(),
            "burst_without_rate"
        );
        for error in wrong.options().unwrap_err() {
            assert!(error.advice().is_some(), "{error}");
        }
    }
}
