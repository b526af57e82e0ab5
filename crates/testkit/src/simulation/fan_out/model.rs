//! What a fan-out should have come to, item by item, and the rules in their plainest form.

use std::collections::{BTreeMap, BTreeSet};

use flowstone_core::ErrorKind;
use flowstone_core::fan_out::{BarrierState, FanOutOptions, ItemPage, RateLimit, Tolerance};
use flowstone_core::store::{FanOutProgress, Record};
use jiff::Timestamp;

use super::case::key_of;
use crate::simulation::Promise;
use crate::simulation::broken::{broken, hold, must};

/// How an item ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Succeeded,
    Skipped,
    Failed,
    Quarantined,
}

/// A fan-out item by item: as the process knows it, or as it is on disk.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Model {
    pub(super) options: FanOutOptions,
    /// The keys of the items that came.
    pub(super) keys: Vec<u64>,
    /// The source has ended.
    pub(super) has_read_all: bool,
    /// As many came as may.
    pub(super) has_enough: bool,
    pub(super) ended: BTreeMap<u64, End>,
    /// The attempts that failed and were not the last.
    pub(super) attempts: BTreeMap<u64, u32>,
    /// It was ended from outside.
    pub(super) forced: Option<BarrierState>,
}

impl Model {
    pub(super) fn new(options: FanOutOptions) -> Self {
        Self {
            options,
            keys: Vec::new(),
            has_read_all: false,
            has_enough: false,
            ended: BTreeMap::new(),
            attempts: BTreeMap::new(),
            forced: None,
        }
    }

    pub(super) fn count(&self, end: End) -> u64 {
        self.ended.values().filter(|known| **known == end).count() as u64
    }

    /// The state that follows from what the items came to.
    pub(super) fn state(&self) -> BarrierState {
        let (bad, total) = (
            self.count(End::Failed) + self.count(End::Quarantined),
            self.keys.len() as u64,
        );
        let is_sealed = self.has_read_all || self.has_enough;
        let is_exceeded = match self.options.failure.tolerance() {
            Tolerance::Count(count) => bad > count,
            Tolerance::Share(share) => {
                let percent = (share * 100.0).round() as u64;
                let is_hopeless = is_sealed || percent == 0;
                is_hopeless && bad * 100 > percent * total
            }
        };
        match self.forced {
            Some(state) => state,
            None if is_exceeded => BarrierState::Failed,
            None if !is_sealed => BarrierState::Filling,
            None if (self.ended.len() as u64) < total => BarrierState::Sealed,
            None if bad > 0 => BarrierState::Partial,
            None => BarrierState::Complete,
        }
    }

    /// The same without what nobody can tell any more once it has failed or was cancelled.
    pub(super) fn in_the_end(&self) -> Self {
        let mut end = self.clone();
        if let state @ (BarrierState::Failed | BarrierState::Cancelled) = self.state() {
            end.forced = Some(state);
            end.has_enough = false;
        }
        end
    }

    /// Notes that an item has ended: it had not before.
    pub(super) fn end(&mut self, item: u64, end: End) {
        hold!(
            P8,
            item < self.keys.len() as u64,
            "item {item} never came and is {end:?}"
        );
        let before = self.ended.insert(item, end);
        hold!(P8, before.is_none(), "item {item} is {end:?} and was {before:?}");
    }

    /// Another epoch begins: what did not succeed is to be tried again.
    pub(super) fn begin_epoch(&mut self, is_sealed: bool) {
        self.ended.retain(|_, end| matches!(end, End::Succeeded | End::Skipped));
        self.attempts.clear();
        self.forced = None;
        hold!(
            P20,
            is_sealed || !self.has_read_all,
            "a source that has ended is read on"
        );
        hold!(
            P20,
            !is_sealed || self.has_read_all || self.has_enough,
            "a source that has not ended is left"
        );
        self.has_enough &= is_sealed;
    }

    /// Notes what is on disk now.
    pub(super) fn note(&mut self, record: &Record) {
        match record {
            Record::FanOutReopened(reopened) => self.begin_epoch(reopened.is_sealed),
            Record::FanOutProgress(progress) => self.progress(progress),
            _ => {}
        }
    }

    fn progress(&mut self, progress: &FanOutProgress) {
        if let Some(row) = &progress.page {
            let page = ItemPage::decode(row.first, row.batch_starts.clone(), &row.body);
            let page = must(page, "a page cannot be read");
            hold!(Items, row.first == self.keys.len() as u64, "a page leaves a gap");
            self.keys.extend(page.items.iter().map(key_of));
            self.has_read_all |= progress.cursor.is_none();
        }
        for segment in &progress.segments {
            for item in segment.succeeded.iter() {
                self.end(item, End::Succeeded);
            }
            for item in segment.skipped.iter() {
                self.end(item, End::Skipped);
            }
        }
        for failure in &progress.failed {
            if !failure.is_final {
                self.attempts.insert(failure.item, failure.attempt);
                continue;
            }
            let is_quarantined = failure.error.kind == ErrorKind::Quarantined;
            self.end(
                failure.item,
                if is_quarantined { End::Quarantined } else { End::Failed },
            );
        }
        if let Some(options) = &progress.options {
            self.options = options.clone();
        }
        match progress.state {
            BarrierState::Filling => {}
            BarrierState::Failed | BarrierState::Cancelled => {
                if self.state() != progress.state {
                    self.forced = Some(progress.state);
                }
            }
            _ => self.has_enough |= !self.has_read_all,
        }
    }
}

/// When calls were given out under one rate limit.
#[derive(Debug, Default)]
pub(super) struct Rate {
    /// How often somebody set another limit: what was given out before that is not judged by it.
    pub(super) era: u32,
    limit: Option<RateLimit>,
    starts: Vec<Timestamp>,
}

impl Rate {
    /// Somebody sets another limit.
    pub(super) fn change(&mut self) {
        self.era += 1;
        self.starts.clear();
    }

    /// A call starts that was given out at `at`: no stretch of time has more than the limit allows in it.
    pub(super) fn start(&mut self, limit: Option<RateLimit>, era: u32, at: Timestamp) {
        if self.era != era {
            return;
        }
        if self.limit != limit {
            self.limit = limit;
            self.starts.clear();
        }
        let Some(limit) = limit else { return };
        let place = self.starts.partition_point(|start| *start <= at);
        self.starts.insert(place, at);
        let interval = limit.per().as_nanos() / u128::from(limit.count());
        for first in 0..=place {
            for last in place..self.starts.len() {
                let time = self.starts[last].duration_since(self.starts[first]).as_nanos();
                let allowed = u128::from(limit.burst_len()) + time.unsigned_abs() / interval;
                let count = (last - first + 1) as u128;
                if count > allowed {
                    let what = format!("{count} calls in {time} ns, {allowed} may be, under {limit:?}");
                    broken(Promise::Limits, what);
                }
            }
        }
    }
}

/// Holds that `keys` are how the source begins, none lost and none twice.
pub(super) fn hold_keys(keys: &[u64], source: &[u64], has_read_all: bool) {
    let distinct: BTreeSet<&u64> = keys.iter().collect();
    hold!(Items, distinct.len() == keys.len(), "an item came twice: {keys:?}");
    hold!(Items, source.starts_with(keys), "{keys:?} is not how {source:?} begins");
    hold!(
        Items,
        !has_read_all || source.len() == keys.len(),
        "the source has ended, {keys:?} came of {source:?}"
    );
}
