//! Rebuilds the machine of a fan-out from what the store has.
//!
//! What ended stays ended. What was in flight when the process died is tried again, with more care each time.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::settle::Doubt;
use super::{Barrier, BarrierState, ChildState, FanOutEffect, FanOutMachine, FanOutOptions, Schedule};
use crate::coordinator::Coordinator;
use crate::partition::PartitionSet;
use crate::store::{FanOutReopened, FanOutRow, ItemClaim, ItemEnds, ItemFailure, Lead, PageRow};
use crate::{ErrorKind, Result};

/// What the store has of a fan-out.
#[derive(Debug, Clone)]
pub struct RecordedFanOut {
    /// The fan-out.
    pub row: FanOutRow,
    /// Its pages; their bodies are not needed.
    pub pages: Vec<PageRow>,
    /// The claims that are not over.
    pub claims: Vec<ItemClaim>,
    /// How its items ended.
    pub ends: ItemEnds,
    /// The last failures of items.
    pub failures: Vec<ItemFailure>,
    /// The keys of claimed items that may have to be quarantined, by number (see [`suspicious`](Self::suspicious)).
    pub keys: BTreeMap<u64, String>,
}

impl RecordedFanOut {
    /// The items whose keys are asked for in [`keys`](Self::keys): another death on their account, and they are quarantined.
    pub fn suspicious(claims: &[ItemClaim]) -> PartitionSet {
        let suspicious = claims.iter().filter(|claim| claim.crashes > 0);
        suspicious.fold(PartitionSet::new(), |all, claim| all.union(&claim.items))
    }

    /// The items by how they ended in the current epoch.
    fn ended(&self) -> [(ChildState, PartitionSet); 4] {
        let done = self.ends.succeeded.union(&self.ends.skipped);
        let (mut failed, mut quarantined) = (PartitionSet::new(), PartitionSet::new());
        for failure in self.current_failures().filter(|failure| failure.is_final) {
            match failure.error.kind {
                ErrorKind::Quarantined => quarantined.insert(failure.item),
                _ => failed.insert(failure.item),
            };
        }
        [
            (ChildState::Succeeded, self.ends.succeeded.clone()),
            (ChildState::Skipped, self.ends.skipped.clone()),
            (ChildState::Failed, failed.difference(&done)),
            (ChildState::Quarantined, quarantined.difference(&done)),
        ]
    }

    fn current_failures(&self) -> impl Iterator<Item = &ItemFailure> {
        self.failures.iter().filter(|failure| failure.epoch == self.row.epoch)
    }
}

impl FanOutMachine {
    /// The machine of a fan-out that some process left, with the effects that bring the store up to date. If it had ended
    /// there are none, and nothing will happen any more.
    ///
    /// # Errors
    /// `Corrupt` when what is stored does not fit together.
    pub fn recover(
        recorded: &RecordedFanOut,
        lead: Lead,
        coordinator: Arc<dyn Coordinator>,
        now: Timestamp,
    ) -> Result<(Self, Vec<FanOutEffect>)> {
        let options = recorded.row.options.clone();
        let mut machine = Self::rebuilt(recorded, lead, (options, coordinator), recorded.row.state)?;
        if machine.is_over() {
            return Ok((machine, Vec::new()));
        }
        machine.take_up_failures(recorded, now);
        let mut progress = machine.progress(now);
        let ended = machine.ended();
        for claim in &recorded.claims {
            let items = claim.items.difference(&ended);
            let crashes = claim.crashes + u32::from(claim.is_held);
            if items.is_empty() {
                progress.closed.push(claim.chunk);
                continue;
            }
            let key = |item| recorded.keys.get(&item).cloned().unwrap_or_default();
            let doubt = Doubt { items, crashes };
            machine.blame(claim.chunk, doubt, ChildState::Pending, key, &mut progress)?;
        }
        let mut effects = machine.conclude(progress)?;
        if !machine.is_over() {
            effects.extend(machine.wake_at(now).map(FanOutEffect::WakeAt));
        }
        Ok((machine, effects))
    }

    /// The machine of a fan-out that has ended and is tried again: what did not succeed is pending, attempts start anew.
    ///
    /// # Errors
    /// As [`recover`](Self::recover).
    pub fn reopen(
        recorded: &RecordedFanOut,
        lead: Lead,
        (options, coordinator): (FanOutOptions, Arc<dyn Coordinator>),
        now: Timestamp,
    ) -> Result<(Self, FanOutReopened)> {
        let row = &recorded.row;
        let may_read_on = options.items_max.is_none_or(|max| max > row.counts.total);
        let is_sealed = row.is_sealed && !(row.has_more_to_read() && may_read_on);
        let state = if is_sealed {
            BarrierState::Sealed
        } else {
            BarrierState::Filling
        };
        let mut again = recorded.clone();
        again.row.epoch += 1;
        let machine = Self::rebuilt(&again, lead, (options, coordinator), state)?;
        let reopened = FanOutReopened {
            lead,
            fan_out: row.fan_out,
            is_sealed,
            counts: machine.counts(),
            at: now,
        };
        Ok((machine, reopened))
    }

    /// Begins with a fan-out that was opened, or opened again: it may be over already.
    ///
    /// # Errors
    /// `Internal` for a defect.
    pub fn begin(&mut self, now: Timestamp) -> Result<Vec<FanOutEffect>> {
        let mut progress = self.progress(now);
        progress.options = Some(self.options.clone());
        self.conclude(progress)
    }

    /// Remembers the key of an item that came before.
    pub fn remember(&mut self, key: &str) {
        if let Some(seen) = &mut self.seen {
            seen.insert(key);
        }
    }

    fn rebuilt(
        recorded: &RecordedFanOut,
        lead: Lead,
        (options, coordinator): (FanOutOptions, Arc<dyn Coordinator>),
        state: BarrierState,
    ) -> Result<Self> {
        let total = recorded.pages.iter().map(|page| page.len).sum();
        let mut sets: [PartitionSet; ChildState::ALL.len()] = Default::default();
        let mut left = PartitionSet::full(total);
        for (state, items) in recorded.ended() {
            left.subtract(&items);
            sets[state as usize] = items;
        }
        let rest = if state.is_terminal() {
            ChildState::Cancelled
        } else {
            ChildState::Pending
        };
        sets[rest as usize] = left;
        let mut machine = Self::new(recorded.row.fan_out, lead, options, coordinator);
        if state != BarrierState::Filling {
            machine.seen = None;
        }
        machine.barrier = Barrier::restore(state, sets)?;
        machine.epoch = recorded.row.epoch;
        machine.pages = recorded.pages.iter().map(|page| page.first).collect();
        for page in &recorded.pages {
            machine.batch_starts.union_with(&page.batch_starts);
        }
        machine.next_chunk = recorded.ends.next_chunk;
        machine.schedule = Schedule {
            on_schedule_at: recorded.row.on_schedule_at,
        };
        let failures: Vec<ItemFailure> = recorded.current_failures().cloned().collect();
        machine.note_first_error(&failures);
        machine.failure.clone_from(&recorded.row.error);
        machine.awaits_claims = true;
        Ok(machine)
    }

    fn take_up_failures(&mut self, recorded: &RecordedFanOut, now: Timestamp) {
        let ended = self.ended();
        for failure in recorded.current_failures().filter(|failure| !failure.is_final) {
            let (item, attempt) = (failure.item, failure.attempt);
            if ended.contains(item) {
                continue;
            }
            match self.next_attempt(item, attempt, &failure.error, failure.at) {
                Some(next) if next > now => self.rest(item, attempt, next),
                // With fewer attempts than when it failed it gets one more.
                _ => drop(self.attempts.insert(item, attempt)),
            }
        }
    }

    fn ended(&self) -> PartitionSet {
        let ended = ChildState::ALL.into_iter().filter(|state| state.is_terminal());
        ended.fold(PartitionSet::new(), |all, state| all.union(self.barrier.get(state)))
    }
}
