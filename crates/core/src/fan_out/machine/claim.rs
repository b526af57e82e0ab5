//! Which items a free worker gets.

use std::time::Duration;

use jiff::Timestamp;

use super::{Calls, ChildState, Claimed, FanOutEffect, FanOutMachine, ItemChunk, SessionId};
use crate::Result;
use crate::fan_out::ITEM_CHUNK_LEN_MAX;
use crate::partition::PartitionSet;
use crate::run::Care;
use crate::store::ItemClaim;

/// A claim is to last about so long: what is claimed and has not started is lost time when the process dies…
const CLAIM_TIME: Duration = Duration::from_millis(20);
/// … but is not to be smaller than this, or than what runs at once.
const CLAIM_LEN_MIN: u64 = 16;

/// How many items a worker claims after `len` that it was busy with for `took`, if it had any: twice as many when they took
/// little time, half as many when they took long, and at least as many as it may run `at_once`.
pub fn next_claim_len(len: u64, took: Option<Duration>, at_once: u64) -> u64 {
    let len = match took {
        Some(took) if took < CLAIM_TIME => len.saturating_mul(2),
        Some(took) if took > 4 * CLAIM_TIME => len / 2,
        _ => len,
    };
    len.clamp(at_once.clamp(CLAIM_LEN_MIN, ITEM_CHUNK_LEN_MAX), ITEM_CHUNK_LEN_MAX)
}

impl FanOutMachine {
    /// The number of workers that would be of use besides those that work at it, at most `count_max`.
    pub fn wants(&self, count_max: usize, now: Timestamp) -> usize {
        if self.is_over() || self.one_runs_alone() || self.room(now) == 0 {
            return 0;
        }
        let free = self.budget_left();
        let ready = self.ready();
        let alone = self.suspects.choose(&ready, Care::Alone).len();
        let beside = ready.len() - alone;
        if beside == 0 && alone > 0 {
            return count_max.min(usize::from(self.claimed.is_empty()));
        }
        (beside.min(free) as usize).min(count_max)
    }

    /// How many calls a session may have at once; less than it has after the limit was lowered.
    pub fn at_once(&self, session: SessionId) -> u64 {
        self.sessions.get(&session).map_or(0, |calls| calls.granted)
    }

    /// When items that may not start now may.
    pub fn wake_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.next_due(now)
    }

    /// Pending items that wait for nothing.
    fn ready(&self) -> PartitionSet {
        self.coordinator.startable(&self.barrier).difference(&self.resting)
    }

    /// How many calls may start now under the rate limit.
    fn room(&self, now: Timestamp) -> u64 {
        let limit = self.options.rate_limit.as_ref();
        limit.map_or(u64::MAX, |limit| self.schedule.room(limit, now, ITEM_CHUNK_LEN_MAX))
    }

    /// How many calls may run besides those that the sessions may have running.
    fn budget_left(&self) -> u64 {
        let running: u64 = self.sessions.values().map(|calls| calls.running_max).sum();
        u64::from(self.options.max_concurrent.get()).saturating_sub(running)
    }

    pub(super) fn one_runs_alone(&self) -> bool {
        self.claimed
            .values()
            .any(|claimed| Care::after(claimed.crashes) == Care::Alone)
    }

    /// Gives a session its share of the calls that may run at once, as far as others leave it. It has `running`: while that
    /// is more than its share, others do not get what it is to give up.
    pub(super) fn grant(&mut self, session: SessionId, workers: usize, running: u64) {
        self.sessions.remove(&session);
        let all = u64::from(self.options.max_concurrent.get());
        let share = all.div_ceil(all.min(workers.max(1) as u64));
        let granted = share.min(self.budget_left());
        let running_max = granted.max(running);
        if running_max > 0 {
            self.sessions.insert(session, Calls { granted, running_max });
        }
    }

    /// Cuts a claim of at most `items_max` items off what is ready, for a session that has `running` calls.
    pub(super) fn claim(
        &mut self,
        session: SessionId,
        workers: usize,
        (items_max, running): (u64, u64),
        now: Timestamp,
    ) -> Result<Vec<FanOutEffect>> {
        let at_once = self.at_once(session);
        if self.one_runs_alone() || at_once == 0 {
            return Ok(Vec::new());
        }
        let room = match self.options.rate_limit {
            None => u64::MAX,
            // What is claimed on schedule starts at once: kept for later it would start in a burst.
            Some(_) => self.room(now).min(at_once.saturating_sub(running)),
        };
        let ready = self.ready();
        let share = ready.len().div_ceil(2 * workers.max(1) as u64);
        for care in Care::ALL {
            if care == Care::Alone && !self.claimed.is_empty() {
                break;
            }
            let len_max = match care {
                Care::None => share.min(items_max).clamp(1, ITEM_CHUNK_LEN_MAX),
                Care::ByItself | Care::Alone => 1,
            };
            let items = self.cut(&self.suspects.choose(&ready, care), care, len_max, room);
            if !items.is_empty() {
                return self.give_out(session, items, care, now);
            }
        }
        Ok(Vec::new())
    }

    /// The first of `ready`, about `len_max` of one page and in whole batches, for at most `room` calls.
    fn cut(&self, ready: &PartitionSet, care: Care, len_max: u64, room: u64) -> PartitionSet {
        let Some(first) = ready.min().filter(|_| room > 0) else {
            return PartitionSet::new();
        };
        let next_page = self.pages.partition_point(|start| *start <= first);
        let page_end = self.pages.get(next_page).copied().unwrap_or(self.barrier.total());
        let mut items = PartitionSet::from_range(first..page_end);
        items.intersect_with(ready);
        if self.batch_starts.is_empty() || care != Care::None {
            return items.split_off_first(len_max.min(room));
        }
        let mut cut = PartitionSet::new();
        let mut calls = 0;
        while calls < room && (calls == 0 || cut.len() < len_max) {
            let Some(start) = items.min() else { break };
            let len = items.count_in(start..self.batch_end(start, page_end));
            cut.union_with(&items.split_off_first(len));
            calls += 1;
        }
        cut
    }

    /// The end of the batch that an item is of.
    fn batch_end(&self, item: u64, page_end: u64) -> u64 {
        self.batch_starts
            .nth(self.batch_starts.rank(item + 1))
            .map_or(page_end, |next| next.min(page_end))
    }

    /// How many calls some items are for.
    fn calls(&self, items: &PartitionSet) -> u64 {
        if self.batch_starts.is_empty() {
            return items.len();
        }
        let mut calls = 0;
        let mut end = 0;
        for item in items.iter() {
            if item >= end {
                calls += 1;
                end = self.batch_end(item, u64::MAX);
            }
        }
        calls
    }

    fn give_out(
        &mut self,
        session: SessionId,
        items: PartitionSet,
        care: Care,
        now: Timestamp,
    ) -> Result<Vec<FanOutEffect>> {
        self.barrier.shift(ChildState::Pending, ChildState::Leased, &items)?;
        let (chunk, fence) = (self.next_chunk, self.fence);
        self.next_chunk += 1;
        self.fence = fence.next();
        if let Some(limit) = &self.options.rate_limit {
            let calls = self.calls(&items);
            self.schedule.take(limit, now, calls);
        }
        let first = items.min().unwrap_or_default();
        let page = self.pages[self.pages.partition_point(|start| *start <= first) - 1];
        let crashes = self.suspects.crashes(first);
        let attempts = items
            .iter()
            .filter_map(|item| self.attempts.get(&item).map(|failed| (item, failed + 1)));
        let work = ItemChunk {
            chunk,
            fence,
            page,
            attempts: attempts.collect(),
            // The schedule must outlive a crash with the claim.
            after_commit: self.awaits_claims || care != Care::None || self.options.rate_limit.is_some(),
            items: items.clone(),
        };
        self.claimed.insert(
            chunk,
            Claimed {
                fence,
                session,
                page,
                left: items.clone(),
                crashes,
                segments: 0,
            },
        );
        let mut progress = self.progress(now);
        progress.claimed.push(ItemClaim {
            chunk,
            items,
            crashes,
            is_held: true,
        });
        Ok(vec![self.commit(progress), FanOutEffect::Start(work)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_grow_while_items_are_fast_and_shrink_while_they_are_slow() {
        let (fast, fair, slow) = (CLAIM_TIME / 2, 2 * CLAIM_TIME, 5 * CLAIM_TIME);

        assert_eq!(next_claim_len(0, None, 1), CLAIM_LEN_MIN);
        assert_eq!(next_claim_len(100, Some(fast), 1), 200);
        assert_eq!(next_claim_len(100, Some(fair), 1), 100);
        assert_eq!(next_claim_len(100, Some(slow), 1), 50);
        assert_eq!(next_claim_len(100, Some(slow), 80), 80);
        assert_eq!(next_claim_len(900, Some(fast), 5_000), ITEM_CHUNK_LEN_MAX);
    }
}
