//! When the next item may start.
//!
//! The generic cell rate algorithm (ITU-T I.371, "virtual scheduling"): one instant, the time at which the next item would
//! be on schedule, is all that must be kept. It is stored with every claim, so a crash gives no fresh burst.

use jiff::{SignedDuration, Timestamp};

use super::options::RateLimit;

/// The schedule of one fan-out's items under a rate limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Schedule {
    /// When the next item would be on schedule; `None` before the first.
    pub(super) on_schedule_at: Option<Timestamp>,
}

impl Schedule {
    /// How many items may start at `now`, at most `count_max`.
    pub(super) fn room(&self, limit: &RateLimit, now: Timestamp, count_max: u64) -> u64 {
        let Some(ahead) = self.on_schedule_at.map(|at| at.duration_since(now).as_nanos()) else {
            return count_max.min(u64::from(limit.burst_len()));
        };
        let (interval, burst) = (interval_ns(limit), i128::from(limit.burst_len()));
        // An item may start when it is at most burst - 1 intervals ahead of its schedule.
        let room = (burst * interval - ahead.max(0)).div_euclid(interval).max(0);
        count_max.min(u64::try_from(room).unwrap_or(u64::MAX))
    }

    /// Notes that `count` items start at `now`.
    pub(super) fn take(&mut self, limit: &RateLimit, now: Timestamp, count: u64) {
        let from = self.on_schedule_at.map_or(now, |at| at.max(now));
        self.on_schedule_at = Some(later(from, interval_ns(limit) * i128::from(count)));
    }

    /// Goes on under another limit: what was taken ahead of the old schedule is ahead of the new one by as many items, and at
    /// most by a whole burst.
    pub(super) fn change(&mut self, from: &RateLimit, to: &RateLimit, now: Timestamp) {
        let Some(at) = self.on_schedule_at.filter(|at| *at > now) else {
            return;
        };
        let ahead = at.duration_since(now).as_nanos();
        let taken = ahead.unsigned_abs().div_ceil(interval_ns(from).unsigned_abs());
        let taken = i128::try_from(taken)
            .unwrap_or(i128::MAX)
            .min(i128::from(to.burst_len()));
        self.on_schedule_at = Some(later(now, interval_ns(to).saturating_mul(taken)));
    }

    /// When at least one item may start.
    pub(super) fn next_at(&self, limit: &RateLimit, now: Timestamp) -> Timestamp {
        let slack = interval_ns(limit) * i128::from(limit.burst_len() - 1);
        self.on_schedule_at.map_or(now, |at| later(at, -slack).max(now))
    }
}

fn interval_ns(limit: &RateLimit) -> i128 {
    let per = i128::try_from(limit.per().as_nanos()).unwrap_or(i128::MAX);
    (per / i128::from(limit.count())).max(1)
}

fn later(at: Timestamp, ns: i128) -> Timestamp {
    let by = SignedDuration::from_nanos(i64::try_from(ns).unwrap_or(i64::MAX));
    at.saturating_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("in range")
    }

    #[test]
    fn one_a_minute_is_one_a_minute() {
        let limit = RateLimit::per_minute(1).expect("not zero");
        let mut schedule = Schedule::default();

        assert_eq!(schedule.room(&limit, at(0), 10), 1);
        schedule.take(&limit, at(0), 1);

        assert_eq!(schedule.room(&limit, at(59), 10), 0);
        assert_eq!(schedule.next_at(&limit, at(1)), at(60));
        assert_eq!(schedule.room(&limit, at(60), 10), 1);
    }

    #[test]
    fn a_quiet_time_saves_up_no_more_than_the_burst() {
        let limit = RateLimit::per_second(10).expect("not zero");
        let limit = limit.burst(NonZeroU32::new(5).expect("not zero"));
        let mut schedule = Schedule::default();
        schedule.take(&limit, at(0), 1);

        assert_eq!(schedule.room(&limit, at(1_000), 100), 5);
        schedule.take(&limit, at(1_000), 5);
        assert_eq!(schedule.room(&limit, at(1_000), 100), 0);
        assert_eq!(schedule.room(&limit, at(1_001), 100), 5);
    }

    #[test]
    fn another_limit_is_not_held_up_by_the_schedule_of_the_old_one() {
        let slow = RateLimit::per_minute(1).expect("not zero");
        let slow = slow.burst(NonZeroU32::new(30).expect("not zero"));
        let fast = RateLimit::per_second(2).expect("not zero");
        let mut schedule = Schedule::default();
        schedule.take(&slow, at(0), 30);

        schedule.change(&slow, &fast, at(0));

        assert_eq!(schedule.room(&fast, at(0), 10), 0, "the burst is used up");
        assert_eq!(schedule.room(&fast, at(1), 10), 1);
        schedule.change(&fast, &slow, at(1));
        assert_eq!(schedule.room(&slow, at(1), 100), 30);
    }

    #[test]
    fn over_a_long_time_no_more_start_than_the_limit_says() {
        let limit = RateLimit::per_second(7).expect("not zero");
        let limit = limit.burst(NonZeroU32::new(3).expect("not zero"));
        let mut schedule = Schedule::default();
        let mut started = 0;

        for tenth in 0..1_000_i64 {
            let now = Timestamp::from_millisecond(tenth * 100).expect("in range");
            let room = schedule.room(&limit, now, u64::MAX);
            schedule.take(&limit, now, room);
            started += room;
        }

        assert!((700..=703).contains(&started), "{started}");
    }
}
