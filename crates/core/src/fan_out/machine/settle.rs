//! What follows when items ended, or their worker did.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{ChildState, FanOutEffect, FanOutMachine, ItemEnd, ItemEnded, SessionId};
use crate::fan_out::segment::SegmentBody;
use crate::partition::PartitionSet;
use crate::run::CRASHES_MAX;
use crate::store::{FanOutProgress, ItemClaim, ItemFailure, Segment};
use crate::{Error, ErrorKind, ErrorRecord, Fence, Result};

/// Items that were in flight at a death, and how often.
pub(super) struct Doubt {
    pub(super) items: PartitionSet,
    pub(super) crashes: u32,
}

impl FanOutMachine {
    /// Items of a claim ended. A claim of which none is left is over.
    pub(super) fn settle(
        &mut self,
        chunk: u64,
        fence: Fence,
        mut ended: Vec<ItemEnded>,
        now: Timestamp,
    ) -> Result<Vec<FanOutEffect>> {
        let claimed = self.held(chunk, fence)?;
        let all: PartitionSet = ended.iter().map(|item| item.index).collect();
        if all.len() != ended.len() as u64 || !all.is_subset(&claimed.left) {
            let strangers = all.difference(&claimed.left);
            return Err(Error::new(
                ErrorKind::IllegalTransition,
                format!("items {strangers} are not of claim {chunk}, or ended twice"),
            ));
        }
        let (page, seq) = (claimed.page, claimed.segments);
        let mut progress = self.progress(now);
        let (mut succeeded, mut skipped, mut back) = (PartitionSet::new(), PartitionSet::new(), PartitionSet::new());
        let mut failed = PartitionSet::new();
        let mut body = SegmentBody::default();
        let mut due = None;
        ended.sort_unstable_by_key(|item| item.index);
        for item in ended {
            let index = item.index;
            match item.end {
                ItemEnd::Succeeded(value) => {
                    succeeded.insert(index);
                    body.push(&value);
                }
                ItemEnd::Skipped(reason) => {
                    skipped.insert(index);
                    body.push_skipped(&reason);
                }
                ItemEnd::Released => drop(back.insert(index)),
                ItemEnd::Failed(error) => {
                    let next = self.next_attempt(index, item.attempt, &error, now);
                    match next {
                        None => drop(failed.insert(index)),
                        Some(next) => {
                            back.insert(index);
                            self.rest(index, item.attempt, next);
                            due = Some(due.map_or(next, |due: Timestamp| due.min(next)));
                        }
                    }
                    let failure = self.item_failure(index, item.key, (item.attempt, next.is_none()), error, now);
                    progress.failed.push(failure);
                }
            }
        }
        self.note_first_error(&progress.failed);
        for (to, items) in [
            (ChildState::Succeeded, &succeeded),
            (ChildState::Skipped, &skipped),
            (ChildState::Failed, &failed),
            (ChildState::Pending, &back),
        ] {
            self.barrier.shift(ChildState::Leased, to, items)?;
        }
        if !succeeded.is_empty() || !skipped.is_empty() {
            progress.segments.push(Segment {
                page,
                chunk,
                seq,
                succeeded,
                skipped,
                body: body.finish(),
            });
        }
        let has_segment = !progress.segments.is_empty();
        self.forget(chunk, &all, has_segment, &mut progress);
        self.clear(&all.difference(&back), &mut progress);
        let mut effects = self.conclude(progress)?;
        if !self.is_over() {
            effects.extend(due.map(FanOutEffect::WakeAt));
        }
        Ok(effects)
    }

    fn held(&self, chunk: u64, fence: Fence) -> Result<&super::Claimed> {
        let held = self.claimed.get(&chunk).filter(|claimed| claimed.fence == fence);
        held.ok_or_else(|| {
            Error::new(
                ErrorKind::Fenced,
                format!("claim {chunk} of items is not held under fence {fence}"),
            )
        })
    }

    /// Takes items off a claim; closes it when none is left.
    fn forget(&mut self, chunk: u64, ended: &PartitionSet, has_segment: bool, progress: &mut FanOutProgress) {
        if let Some(claimed) = self.claimed.get_mut(&chunk) {
            claimed.left.subtract(ended);
            claimed.segments += u32::from(has_segment);
            if claimed.left.is_empty() {
                self.claimed.remove(&chunk);
                progress.closed.push(chunk);
            }
        }
    }

    /// A failed item waits for its next attempt.
    pub(super) fn rest(&mut self, item: u64, attempt: u32, next: Timestamp) {
        self.attempts.insert(item, attempt);
        self.resting.insert(item);
        self.due.entry(next).or_default().push(item);
    }

    pub(super) fn note_first_error(&mut self, failures: &[ItemFailure]) {
        if self.first_error.is_none() {
            let first = failures.iter().find(|failure| failure.is_final);
            self.first_error = first.map(|failure| failure.error.clone());
        }
    }

    pub(super) fn item_failure(
        &self,
        item: u64,
        key: String,
        (attempt, is_final): (u32, bool),
        error: ErrorRecord,
        at: Timestamp,
    ) -> ItemFailure {
        ItemFailure {
            item,
            key,
            epoch: self.epoch,
            attempt,
            is_final,
            error,
            at,
        }
    }

    /// A worker is done: what is left of its claims is for others.
    pub(super) fn release(&mut self, session: SessionId, now: Timestamp) -> Result<Vec<FanOutEffect>> {
        self.sessions.remove(&session);
        let chunks = self.chunks_of(session);
        if chunks.is_empty() {
            return Ok(Vec::new());
        }
        let mut progress = self.progress(now);
        for chunk in chunks {
            if let Some(claimed) = self.claimed.remove(&chunk) {
                self.barrier
                    .shift(ChildState::Leased, ChildState::Pending, &claimed.left)?;
                progress.closed.push(chunk);
            }
        }
        self.conclude(progress)
    }

    /// The items of a session that were in flight at deaths before, each by the first item of its page: another one, and
    /// they may have to be quarantined.
    pub fn suspicious_of(&self, session: SessionId) -> Vec<(u64, PartitionSet)> {
        let of_session = self.claimed.values().filter(|claimed| claimed.session == session);
        let suspicious = of_session.filter(|claimed| claimed.crashes > 0);
        suspicious.map(|claimed| (claimed.page, claimed.left.clone())).collect()
    }

    /// A worker died: what it had is tried with more care, until it is found out.
    pub(super) fn bury(
        &mut self,
        session: SessionId,
        keys: &BTreeMap<u64, String>,
        now: Timestamp,
    ) -> Result<Vec<FanOutEffect>> {
        self.sessions.remove(&session);
        let mut progress = self.progress(now);
        for chunk in self.chunks_of(session) {
            let Some(claimed) = self.claimed.remove(&chunk) else {
                continue;
            };
            let crashes = claimed.crashes + 1;
            let doubt = Doubt {
                items: claimed.left,
                crashes,
            };
            let key = |item| keys.get(&item).cloned().unwrap_or_default();
            self.blame(chunk, doubt, ChildState::Leased, key, &mut progress)?;
        }
        self.conclude(progress)
    }

    /// Items of a claim were in flight at a death. What is known of them outlives the next death.
    pub(super) fn blame(
        &mut self,
        chunk: u64,
        Doubt { items, crashes }: Doubt,
        from: ChildState,
        key: impl Fn(u64) -> String,
        progress: &mut FanOutProgress,
    ) -> Result<()> {
        self.suspects.note(&items, crashes);
        if crashes < CRASHES_MAX {
            if from != ChildState::Pending {
                self.barrier.shift(from, ChildState::Pending, &items)?;
            }
            progress.claimed.push(ItemClaim {
                chunk,
                items: items.clone(),
                crashes,
                is_held: false,
            });
            self.doubts.insert(chunk, items);
            return Ok(());
        }
        for item in items.iter() {
            let attempt = self.attempts.get(&item).map_or(1, |failed| failed + 1);
            let error = Error::new(
                ErrorKind::Quarantined,
                format!("its process died {crashes} times while it ran"),
            )
            .code("item_quarantined")
            .fix("look for an abort, a stack overflow or a lack of memory, mend it, and redrive");
            let failure = self.item_failure(item, key(item), (attempt, true), error.to_record(), progress.at);
            progress.failed.push(failure);
        }
        self.note_first_error(&progress.failed);
        progress.closed.push(chunk);
        self.barrier.shift(from, ChildState::Quarantined, &items)?;
        self.resting.subtract(&items);
        self.due.retain(|_, resting| {
            resting.retain(|item| !items.contains(*item));
            !resting.is_empty()
        });
        self.clear(&items, progress);
        Ok(())
    }

    /// Items that have ended are under no suspicion any more.
    fn clear(&mut self, ended: &PartitionSet, progress: &mut FanOutProgress) {
        self.doubts.retain(|chunk, items| {
            items.subtract(ended);
            if items.is_empty() {
                progress.closed.push(*chunk);
            }
            !items.is_empty()
        });
    }

    fn chunks_of(&self, session: SessionId) -> Vec<u64> {
        let of_session = self.claimed.iter().filter(|(_, claimed)| claimed.session == session);
        of_session.map(|(chunk, _)| *chunk).collect()
    }
}
