//! How a fan-out goes about its items: how many at once, how often, and how many may fail.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::barrier::{Barrier, BarrierCounts};
use crate::asset::Retry;
use crate::coordinator::{Coordinator, Verdict};
use crate::{Error, ErrorKind, ErrorRecord, FanOutId, Result};

/// How many items may fail before the whole does. Quarantined items count as failed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tolerance {
    /// So many; one more fails the whole.
    Count(u64),
    /// Such a share of all items, from 0 to 1, judged when all items are known; more than it fails the whole, equal to it
    /// passes.
    Share(f64),
}

/// When a fan-out fails, and what becomes of the items that have not started then.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FailurePolicy {
    tolerance: Tolerance,
}

impl Default for FailurePolicy {
    fn default() -> Self {
        Self::all_or_nothing()
    }
}

impl FailurePolicy {
    /// The first item that fails for good fails the whole; what has not started is cancelled.
    pub const fn all_or_nothing() -> Self {
        Self {
            tolerance: Tolerance::Count(0),
        }
    }

    /// At most `count` items may fail.
    pub const fn tolerate_count(count: u64) -> Self {
        Self {
            tolerance: Tolerance::Count(count),
        }
    }

    /// At most this share of all items may fail, from 0 to 1.
    ///
    /// # Errors
    /// `OutOfRange` for anything else.
    pub fn tolerate_share(share: f64) -> Result<Self> {
        if !(0.0..=1.0).contains(&share) {
            return Err(Error::new(
                ErrorKind::OutOfRange,
                format!("the tolerated share of failures is {share}, it must be from 0 to 1"),
            )
            .code("tolerance_range")
            .fix("write 0.05 for five percent"));
        }
        Ok(Self {
            tolerance: Tolerance::Share(share),
        })
    }

    /// How many may fail.
    pub const fn tolerance(&self) -> Tolerance {
        self.tolerance
    }

    /// True when so many failures are too many, whatever else comes.
    ///
    /// A share is exact: `bad / total > share` is decided without rounding the quotient, so that 5 of 100 passes 0.05.
    fn is_exceeded(&self, bad: u64, total: u64, is_sealed: bool) -> bool {
        match self.tolerance {
            Tolerance::Count(count) => bad > count,
            // Until all items are known there may always come enough good ones, unless no share is enough.
            Tolerance::Share(share) if !is_sealed => bad > 0 && share == 0.0,
            Tolerance::Share(share) => bad > allowed(share, total),
        }
    }
}

/// The most failures among `total` that do not exceed `share`.
///
/// The share was written as a decimal and is stored as the nearest binary number, so a product that misses a whole number
/// by less than that rounding can make is taken as the whole number.
fn allowed(share: f64, total: u64) -> u64 {
    let product = share * total as f64;
    let whole = product.round();
    if (product - whole).abs() <= whole.max(1.0) * 4.0 * f64::EPSILON {
        whole as u64
    } else {
        product.floor() as u64
    }
}

impl Coordinator for FailurePolicy {
    fn tolerating(&self, failure: FailurePolicy) -> Option<Arc<dyn Coordinator>> {
        Some(Arc::new(failure))
    }

    fn verdict(&self, barrier: &Barrier, first_error: Option<&ErrorRecord>) -> Verdict {
        let counts = barrier.counts();
        if self.is_exceeded(counts.bad(), counts.total, barrier.is_sealed()) {
            return Verdict::Fail(self.exceeded(&counts, first_error).to_record());
        }
        let is_over = barrier.is_sealed() && counts.pending + counts.leased == 0;
        if is_over { Verdict::Gather } else { Verdict::Wait }
    }
}

impl FailurePolicy {
    fn exceeded(&self, counts: &BarrierCounts, first_error: Option<&ErrorRecord>) -> Error {
        let BarrierCounts { total, .. } = counts;
        let bad = counts.bad();
        let tolerated = match self.tolerance {
            Tolerance::Count(0) => "none may".to_owned(),
            Tolerance::Count(count) => format!("{count} may"),
            Tolerance::Share(share) => format!("a share of {share} may"),
        };
        let first = first_error.map_or_else(String::new, |error| format!("; the first: {error}"));
        Error::new(
            ErrorKind::User,
            format!("{bad} of {total} items failed, {tolerated}{first}"),
        )
        .code("too_many_items_failed")
        .fix("mend the cause and redrive the run: items that succeeded are not run again; or tolerate more failures")
    }
}

/// How often items may start: at most `count` in each `per`, and up to `burst` at once after a quiet time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimit {
    count: NonZeroU32,
    per: Duration,
    burst: NonZeroU32,
}

impl RateLimit {
    /// `count` items in each `per`, evenly.
    ///
    /// # Errors
    /// `OutOfRange` when either is zero.
    pub fn new(count: u32, per: Duration) -> Result<Self> {
        let count = NonZeroU32::new(count).filter(|_| !per.is_zero());
        let count = count.ok_or_else(|| {
            Error::new(ErrorKind::OutOfRange, "a rate limit of zero lets nothing start, ever")
                .code("rate_limit_zero")
                .fix("leave the rate limit out, or pause the run instead")
        })?;
        Ok(Self {
            count,
            per,
            burst: NonZeroU32::MIN,
        })
    }

    /// `count` items a second.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn per_second(count: u32) -> Result<Self> {
        Self::new(count, Duration::from_secs(1))
    }

    /// `count` items a minute.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn per_minute(count: u32) -> Result<Self> {
        Self::new(count, Duration::from_secs(60))
    }

    /// Lets up to `items` start at once after a time in which none did; 1 unless given.
    #[must_use]
    pub fn burst(mut self, items: NonZeroU32) -> Self {
        self.burst = items;
        self
    }

    /// How many items may start in each [`per`](Self::per).
    pub fn count(&self) -> u32 {
        self.count.get()
    }

    /// The time in which so many items may start.
    pub fn per(&self) -> Duration {
        self.per
    }

    /// How many may start at once after a quiet time.
    pub fn burst_len(&self) -> u32 {
        self.burst.get()
    }
}

/// Which items go first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemOrder {
    /// As they came.
    #[default]
    Breadth,
    /// Items of fan-outs that stand deeper go first, and of those the ones that were opened last, so that what was begun
    /// is finished before more is begun.
    Depth,
}

/// How a fan-out goes about its items. May be changed while it runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FanOutOptions {
    /// How many items may run at once, over all workers.
    pub max_concurrent: NonZeroU32,
    /// How often items may start.
    pub rate_limit: Option<RateLimit>,
    /// How many may fail.
    pub failure: FailurePolicy,
    /// When a failed attempt at an item is followed by another.
    pub retry: Retry,
    /// How long one attempt at an item may take.
    pub item_timeout: Option<Duration>,
    /// Which items go first.
    pub order: ItemOrder,
    /// Among fan-outs of one run, items of those with the greater number go first.
    pub priority: i32,
    /// The most items that are taken from the source.
    pub items_max: Option<u64>,
    /// How many items are read at once.
    pub page_len: NonZeroU32,
}

/// What [`FanOutOptions::max_concurrent`] is unless given.
const MAX_CONCURRENT: NonZeroU32 = NonZeroU32::new(64).expect("it is not zero");
/// What [`FanOutOptions::page_len`] is unless given.
const PAGE_LEN: NonZeroU32 = NonZeroU32::new(crate::reader::PAGE_LEN as u32).expect("it is not zero");
/// The first wait before an item is tried again, at most.
const ITEM_RETRY_BASE: Duration = Duration::from_secs(5);
/// The longest wait before an item is tried again.
const ITEM_RETRY_CAP: Duration = Duration::from_secs(60);

impl Default for FanOutOptions {
    fn default() -> Self {
        Self {
            max_concurrent: MAX_CONCURRENT,
            rate_limit: None,
            failure: FailurePolicy::default(),
            retry: Retry::exponential(3).between(ITEM_RETRY_BASE, ITEM_RETRY_CAP),
            item_timeout: None,
            order: ItemOrder::default(),
            priority: 0,
            items_max: None,
            page_len: PAGE_LEN,
        }
    }
}

impl FanOutOptions {
    /// Which of several fan-outs goes first, when this one stands so deep in others: that with the greatest rank. Ids grow
    /// with the time at which they were made.
    pub fn rank(&self, fan_out: FanOutId, depth: usize) -> (i32, usize, i128) {
        let opened = i128::from_be_bytes(fan_out.0.into_bytes()) & i128::MAX;
        match self.order {
            ItemOrder::Breadth => (self.priority, 0, -opened),
            ItemOrder::Depth => (self.priority, depth + 1, opened),
        }
    }
}

/// What somebody wants changed while a fan-out runs; what is `None` stays. In JSON, too: there, `null` takes a limit away.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OptionsChange {
    /// How many items may run at once.
    pub max_concurrent: Option<NonZeroU32>,
    /// How often items may start; `Some(None)` takes the limit away.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub rate_limit: Option<Option<RateLimit>>,
    /// How many may fail.
    pub failure: Option<FailurePolicy>,
    /// When a failed attempt is followed by another.
    pub retry: Option<Retry>,
    /// How long one attempt may take; `Some(None)` takes the limit away.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub item_timeout: Option<Option<Duration>>,
    /// Items of fan-outs with the greater number go first.
    pub priority: Option<i32>,
    /// The most items that are taken; `Some(None)` takes the limit away.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub items_max: Option<Option<u64>>,
}

/// What is there was asked for: `null` takes a limit away, and only what is left out stays.
fn given<'de, D, T>(deserializer: D) -> std::result::Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

impl FanOutOptions {
    /// The options with what `change` asks for.
    #[must_use]
    pub fn changed(&self, change: &OptionsChange) -> Self {
        Self {
            max_concurrent: change.max_concurrent.unwrap_or(self.max_concurrent),
            rate_limit: change.rate_limit.unwrap_or(self.rate_limit),
            failure: change.failure.unwrap_or(self.failure),
            retry: change.retry.unwrap_or(self.retry),
            item_timeout: change.item_timeout.unwrap_or(self.item_timeout),
            priority: change.priority.unwrap_or(self.priority),
            items_max: change.items_max.unwrap_or(self.items_max),
            order: self.order,
            page_len: self.page_len,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(policy: FailurePolicy, bad: u64, total: u64) -> bool {
        !policy.is_exceeded(bad, total, true)
    }

    #[test]
    fn equal_to_the_tolerated_share_passes_and_one_more_does_not() {
        let none = FailurePolicy::tolerate_share(0.0).expect("in range");
        let some = FailurePolicy::tolerate_share(0.05).expect("in range");
        let all = FailurePolicy::tolerate_share(1.0).expect("in range");

        for total in [1, 19, 20, 21, 100] {
            assert!(passes(none, 0, total) && !passes(none, 1, total), "{total}");
            assert!(passes(all, total, total), "{total}");
            let allowed = total / 20;
            assert!(
                passes(some, allowed, total) && !passes(some, allowed + 1, total),
                "{total}"
            );
        }
    }

    #[test]
    fn any_share_with_two_places_is_exact() {
        for percent in 0..=100_u64 {
            let policy = FailurePolicy::tolerate_share(percent as f64 / 100.0).expect("in range");
            for total in 0..=400_u64 {
                let allowed = percent * total / 100;
                assert!(passes(policy, allowed, total), "{percent} % of {total}");
                assert!(!passes(policy, allowed + 1, total), "{percent} % of {total}");
            }
        }
    }

    #[test]
    fn a_share_is_not_judged_before_all_items_are_known() {
        let policy = FailurePolicy::tolerate_share(0.05).expect("in range");

        assert!(!policy.is_exceeded(10, 10, false));
        assert!(policy.is_exceeded(10, 10, true));
        assert!(FailurePolicy::tolerate_count(2).is_exceeded(3, 3, false));
    }

    #[test]
    fn a_limit_that_is_taken_away_is_still_so_after_a_way_through_json() {
        let changes = [
            OptionsChange::default(),
            OptionsChange {
                rate_limit: Some(None),
                item_timeout: Some(None),
                items_max: Some(None),
                ..OptionsChange::default()
            },
            OptionsChange {
                max_concurrent: NonZeroU32::new(3),
                rate_limit: Some(RateLimit::per_second(2).ok()),
                failure: Some(FailurePolicy::tolerate_count(1)),
                retry: Some(Retry::never()),
                item_timeout: Some(Some(Duration::from_millis(5))),
                priority: Some(-1),
                items_max: Some(Some(9)),
            },
        ];

        for change in changes {
            let text = serde_json::to_string(&change).expect("it is plain data");

            assert_eq!(
                serde_json::from_str::<OptionsChange>(&text).expect("it was just written"),
                change
            );
        }
    }

    #[test]
    fn priority_goes_before_order_and_order_before_age() {
        let of = |priority, order| FanOutOptions {
            priority,
            order,
            ..FanOutOptions::default()
        };
        let rank = |options: FanOutOptions, id, depth| options.rank(FanOutId(uuid::Uuid::from_u128(id)), depth);
        let greatest_first = [
            rank(of(1, ItemOrder::Breadth), 9, 0),
            rank(of(0, ItemOrder::Depth), 1, 2),
            rank(of(0, ItemOrder::Depth), 3, 1),
            rank(of(0, ItemOrder::Depth), 2, 1),
            rank(of(0, ItemOrder::Breadth), 1, 5),
            rank(of(0, ItemOrder::Breadth), u128::MAX, 5),
            rank(of(-1, ItemOrder::Depth), 1, 9),
        ];

        assert!(
            greatest_first.is_sorted_by(|before, after| before > after),
            "{greatest_first:?}"
        );
    }

    #[test]
    fn limits_out_of_range_are_refused_with_a_fix() {
        for error in [
            FailurePolicy::tolerate_share(1.5).unwrap_err(),
            FailurePolicy::tolerate_share(f64::NAN).unwrap_err(),
            RateLimit::per_second(0).unwrap_err(),
            RateLimit::new(1, Duration::ZERO).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::OutOfRange);
        }
    }
}
