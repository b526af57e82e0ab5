//! The state machine of one fan-out: events in, effects out.
//!
//! It decides what is read, which items may start, what follows each end, when the whole is over and what must be
//! committed. It is total: an event that does not fit is refused and changes nothing. Items themselves it does not hold.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use jiff::Timestamp;

use super::barrier::{Barrier, BarrierCounts, BarrierState, ChildState};
use super::options::FanOutOptions;
use super::page::ItemPage;
use super::rate::Schedule;
use super::seen::SeenKeys;
use crate::asset::NextAttempt;
use crate::coordinator::{Coordinator, Verdict};
use crate::partition::PartitionSet;
use crate::reader::{Cursor, Item};
use crate::run::Suspects;
use crate::store::{FanOutProgress, Lead, PageRow};
use crate::{DataVersion, Error, ErrorKind, ErrorRecord, FanOutId, Fence, Result};

mod claim;
mod due;
mod event;
mod recover;
mod set;
mod settle;

pub use claim::next_claim_len;
pub use event::{FanOutEffect, FanOutEvent, ItemChunk, ItemEnd, ItemEnded, SessionId};
pub use recover::RecordedFanOut;

/// Pages that may wait to be worked at before no more are read.
const PAGES_AHEAD: u64 = 4;

/// Items that a worker has.
#[derive(Debug, Clone)]
struct Claimed {
    fence: Fence,
    session: SessionId,
    page: u64,
    left: PartitionSet,
    crashes: u32,
    segments: u32,
}

/// The calls of one session.
#[derive(Debug, Clone, Copy, Default)]
struct Calls {
    /// How many it may have at once.
    granted: u64,
    /// How many it may have running: more than granted while what it started before ends.
    running_max: u64,
}

/// The state machine of one fan-out.
#[derive(Clone)]
pub struct FanOutMachine {
    fan_out: FanOutId,
    lead: Lead,
    epoch: u32,
    coordinator: Arc<dyn Coordinator>,
    options: FanOutOptions,
    barrier: Barrier,
    /// The first item of each page.
    pages: Vec<u64>,
    /// The items that a batch starts with; empty when items are not taken in batches.
    batch_starts: PartitionSet,
    /// The keys so far; `None` when no two can be the same, or no more come.
    seen: Option<SeenKeys>,
    claimed: BTreeMap<u64, Claimed>,
    /// The calls of each session.
    sessions: BTreeMap<SessionId, Calls>,
    next_chunk: u64,
    fence: Fence,
    /// The attempts that failed so far, for items with any.
    attempts: BTreeMap<u64, u32>,
    /// Pending items whose next attempt is not due; no others.
    resting: PartitionSet,
    due: BTreeMap<Timestamp, Vec<u64>>,
    suspects: Suspects,
    /// Items that have not ended since they were in flight at a death, by the claim that remembers it.
    doubts: BTreeMap<u64, PartitionSet>,
    schedule: Schedule,
    /// The place in the schedule at which somebody was woken last: once is enough for each.
    woken_at: Option<Timestamp>,
    first_error: Option<ErrorRecord>,
    /// Why the whole failed.
    failure: Option<ErrorRecord>,
    /// A death may be some item's fault: none starts before its claim is on disk.
    awaits_claims: bool,
}

impl FanOutMachine {
    /// The machine of a fan-out that has just been opened.
    pub fn new(fan_out: FanOutId, lead: Lead, options: FanOutOptions, coordinator: Arc<dyn Coordinator>) -> Self {
        Self {
            fan_out,
            lead,
            epoch: 1,
            coordinator,
            options,
            barrier: Barrier::new(),
            pages: Vec::new(),
            batch_starts: PartitionSet::new(),
            seen: Some(SeenKeys::default()),
            claimed: BTreeMap::new(),
            sessions: BTreeMap::new(),
            next_chunk: 0,
            fence: lead.fence,
            attempts: BTreeMap::new(),
            resting: PartitionSet::new(),
            due: BTreeMap::new(),
            suspects: Suspects::default(),
            doubts: BTreeMap::new(),
            schedule: Schedule::default(),
            woken_at: None,
            first_error: None,
            failure: None,
            awaits_claims: false,
        }
    }

    /// The fan-out.
    pub fn fan_out(&self) -> FanOutId {
        self.fan_out
    }

    /// The state.
    pub fn state(&self) -> BarrierState {
        self.barrier.state()
    }

    /// How it goes about its items.
    pub fn options(&self) -> &FanOutOptions {
        &self.options
    }

    /// The items by state.
    pub fn counts(&self) -> BarrierCounts {
        self.barrier.counts()
    }

    /// The items, each in one state.
    pub fn barrier(&self) -> &Barrier {
        &self.barrier
    }

    /// How the first item failed that did.
    pub fn first_error(&self) -> Option<&ErrorRecord> {
        self.first_error.as_ref()
    }

    /// Why the whole failed, if it did.
    pub fn failure(&self) -> Option<&ErrorRecord> {
        self.failure.as_ref()
    }

    /// True when nothing will happen any more.
    pub fn is_over(&self) -> bool {
        self.state().is_terminal()
    }

    /// True when the keys of items must be remembered.
    pub fn remembers_keys(&self) -> bool {
        self.seen.is_some()
    }

    /// True when no item starts before its claim is on disk, whatever is known of it.
    pub fn awaits_claims(&self) -> bool {
        self.awaits_claims
    }

    /// Lets no item start before its claim is on disk, so that a death is on the account of those that were at work. A fan-out
    /// that was recovered or reopened does so anyway; a new one runs ahead of the disk.
    pub fn await_claims(&mut self) {
        self.awaits_claims = true;
    }

    /// No two items can have the same key, so none is remembered.
    pub fn forget_keys(&mut self) {
        self.seen = None;
    }

    /// True while items of this range run, or may start without waiting for their next attempt.
    pub fn works_at(&self, items: &Range<u64>) -> bool {
        let count = |set: &PartitionSet| set.count_in(items.clone());
        let pending = count(self.barrier.get(ChildState::Pending)) - count(&self.resting);
        !self.is_over() && pending + count(self.barrier.get(ChildState::Leased)) > 0
    }

    /// Drops the items that came before, by their keys, and remembers the others.
    pub fn keep_new(&mut self, items: &mut Vec<Item>) {
        if let Some(seen) = &mut self.seen {
            seen.keep_new(items);
        }
    }

    /// How many items to read now; `None` while enough wait to be worked at and when all is over, zero when no more may come.
    pub fn to_read(&self) -> Option<usize> {
        if self.is_over() {
            return None;
        }
        let page_len = u64::from(self.options.page_len.get());
        let waiting = self.barrier.get(ChildState::Pending).len() - self.resting.len();
        let left = self
            .options
            .items_max
            .map_or(u64::MAX, |max| max.saturating_sub(self.barrier.total()));
        if left > 0 && waiting >= PAGES_AHEAD * page_len {
            return None;
        }
        Some(page_len.min(left) as usize)
    }

    /// Takes in what happened at `now` and says what to do.
    ///
    /// # Errors
    /// `Fenced` for a claim that is not, or no longer, held under that fence; `IllegalTransition` for anything else that
    /// does not fit. Nothing has changed then.
    pub fn apply(&mut self, event: FanOutEvent, now: Timestamp) -> Result<Vec<FanOutEffect>> {
        if self.is_over() {
            let kind = match event {
                // Whoever is late learns why nothing moves any more.
                FanOutEvent::ItemsEnded { .. } => ErrorKind::Fenced,
                _ => ErrorKind::IllegalTransition,
            };
            let (fan_out, state) = (self.fan_out, self.state());
            return Err(Error::new(kind, format!("fan-out {fan_out} is {state}")).code("fan_out_over"));
        }
        match event {
            FanOutEvent::PageRead { page, next } => self.admit(page, next, now),
            FanOutEvent::EnoughRead => self.seal(now),
            FanOutEvent::Failed(error) => self.fail(error, self.progress(now)),
            FanOutEvent::WorkerFree {
                session,
                workers,
                items_max,
                running,
            } => {
                self.grant(session, workers, running);
                self.claim(session, workers, (items_max, running), now)
            }
            FanOutEvent::ItemsEnded { chunk, fence, ended } => self.settle(chunk, fence, ended, now),
            FanOutEvent::SessionOver(session) => self.release(session, now),
            FanOutEvent::SessionDied { session, keys } => self.bury(session, &keys, now),
            FanOutEvent::RetriesDue => self.retry(now),
            FanOutEvent::OptionsSet(change) => self.set(&change, now),
            FanOutEvent::CancelAsked => self.end(BarrierState::Cancelled, None, self.progress(now)),
        }
    }

    fn admit(&mut self, page: ItemPage, next: Option<Cursor>, now: Timestamp) -> Result<Vec<FanOutEffect>> {
        let (first, len) = (page.first, page.items.len() as u64);
        if first != self.barrier.total() {
            let total = self.barrier.total();
            return Err(Error::new(
                ErrorKind::IllegalTransition,
                format!("a page from item {first} on does not follow {total} items"),
            ));
        }
        self.barrier.admit(len)?;
        if next.is_none() {
            self.barrier.seal()?;
            self.seen = None;
        }
        let mut progress = self.progress(now);
        progress.cursor = next;
        if len > 0 {
            self.pages.push(first);
            self.batch_starts.union_with(&page.batch_starts);
        }
        progress.page = Some(PageRow {
            first,
            len,
            body: page.encode(),
            batch_starts: page.batch_starts,
        });
        self.conclude(progress)
    }

    fn seal(&mut self, now: Timestamp) -> Result<Vec<FanOutEffect>> {
        self.barrier.seal()?;
        self.conclude(self.progress(now))
    }

    /// What has changed by `now`; the caller says what else.
    fn progress(&self, now: Timestamp) -> FanOutProgress {
        FanOutProgress::empty(self.lead, self.fan_out, now)
    }

    /// Queues `progress`, and ends the whole if that is what the counts amount to.
    fn conclude(&mut self, progress: FanOutProgress) -> Result<Vec<FanOutEffect>> {
        match self.coordinator.verdict(&self.barrier, self.first_error.as_ref()) {
            Verdict::Wait => Ok(vec![self.commit(progress)]),
            Verdict::Fail(error) => self.fail(error, progress),
            Verdict::Gather => {
                let has_failures = self.counts().bad() > 0;
                let end = if has_failures {
                    BarrierState::Partial
                } else {
                    BarrierState::Complete
                };
                self.end(end, None, progress)
            }
        }
    }

    fn fail(&mut self, error: ErrorRecord, progress: FanOutProgress) -> Result<Vec<FanOutEffect>> {
        self.end(BarrierState::Failed, Some(error), progress)
    }

    /// Ends the whole. What runs is asked to end, and what it says does not count any more.
    fn end(
        &mut self,
        state: BarrierState,
        error: Option<ErrorRecord>,
        mut progress: FanOutProgress,
    ) -> Result<Vec<FanOutEffect>> {
        self.barrier.close(state)?;
        let claimed = std::mem::take(&mut self.claimed);
        progress.closed.extend(claimed.keys().chain(self.doubts.keys()));
        self.doubts.clear();
        progress.error.clone_from(&error);
        self.failure = error;
        self.sessions.clear();
        self.due.clear();
        self.resting = PartitionSet::new();
        let mut effects = vec![self.commit(progress)];
        if !claimed.is_empty() {
            effects.push(FanOutEffect::StopAll);
        }
        effects.push(FanOutEffect::Over(state));
        Ok(effects)
    }

    fn commit(&self, progress: FanOutProgress) -> FanOutEffect {
        FanOutEffect::Commit(Box::new(FanOutProgress {
            state: self.state(),
            counts: self.counts(),
            on_schedule_at: self.schedule.on_schedule_at,
            ..progress
        }))
    }

    /// When a failed item is tried again; `None` when it is not.
    fn next_attempt(&self, item: u64, attempt: u32, error: &ErrorRecord, at: Timestamp) -> Option<Timestamp> {
        let jitter = jitter(self.fan_out, self.epoch, item, attempt);
        match self.options.retry.after(attempt, error.kind, error.class, jitter) {
            NextAttempt::Never => None,
            NextAttempt::After(wait) => Some(at.saturating_add(wait).unwrap_or(Timestamp::MAX)),
        }
    }
}

impl fmt::Debug for FanOutMachine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FanOutMachine")
            .field("fan_out", &self.fan_out)
            .field("epoch", &self.epoch)
            .field("state", &self.state())
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

/// A number from 0 to 1 that is the same whenever the decision is taken again.
fn jitter(fan_out: FanOutId, epoch: u32, item: u64, attempt: u32) -> f64 {
    let draw = DataVersion::of(format!("{fan_out}/{epoch}/{item}/{attempt}").as_bytes());
    (draw.0 as u64) as f64 / u64::MAX as f64
}
