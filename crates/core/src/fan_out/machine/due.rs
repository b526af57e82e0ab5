//! When something may start that may not start now: failed items wait for their next attempt, all for the rate limit.

use jiff::Timestamp;

use super::{ChildState, FanOutEffect, FanOutMachine};
use crate::Result;

impl FanOutMachine {
    pub(super) fn retry(&mut self, now: Timestamp) -> Result<Vec<FanOutEffect>> {
        while let Some(entry) = self.due.first_entry() {
            if *entry.key() > now {
                break;
            }
            for item in entry.remove() {
                self.resting.remove(item);
            }
        }
        let limit = self.options.rate_limit.as_ref();
        if limit.is_some_and(|limit| self.schedule.next_at(limit, now) <= now) {
            self.woken_at = self.schedule.on_schedule_at;
        }
        Ok(self.next_due(now).map(FanOutEffect::WakeAt).into_iter().collect())
    }

    /// When there will be something to start that may not start now.
    pub(super) fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let retry = self.due.keys().next().copied();
        let limit = self.options.rate_limit.as_ref();
        let on_schedule = limit.and_then(|limit| {
            let waits = self.barrier.get(ChildState::Pending).len() > self.resting.len();
            let next = self.schedule.next_at(limit, now);
            // The time may have come since somebody was refused, and nobody else would tell him.
            let is_news = next > now || self.woken_at != self.schedule.on_schedule_at;
            (waits && is_news).then_some(next)
        });
        retry.into_iter().chain(on_schedule).min()
    }
}
