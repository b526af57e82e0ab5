//! Bugs of fan-outs that are known from this field, planted between the machine and what surrounds it.

use std::sync::Arc;

use flowstone_core::ErrorRecord;
use flowstone_core::coordinator::{Coordinator, Verdict};
use flowstone_core::fan_out::{Barrier, BarrierState, FailurePolicy, FanOutEvent, ItemEnd, RecordedFanOut, Tolerance};
use flowstone_core::partition::PartitionSet;
use flowstone_core::run::Recorded;
use flowstone_core::store::{FanOutProgress, Record};

/// A bug of fan-outs that is known from this field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FanOutBug {
    /// An empty page is taken for the end of the source: the barrier fires between two pages.
    EmptyPageTakenForEnd,
    /// Cursor and items are committed apart, the cursor first.
    CursorCommittedBeforeItems,
    /// After a crash, nobody remembers the keys that came before.
    KeysForgottenInCrash,
    /// The store takes every failed attempt for a final failure, so that an item that is retried counts twice.
    AttemptCountedAsFailure,
    /// As many failures as are tolerated fail the whole.
    ToleranceReached,
    /// The alarm for the next attempt is lost: items that wait for it are forgotten.
    RetryAlarmLost,
    /// What a worker gives back counts as done.
    ReleasedCountedAsDone,
    /// After a crash, nobody remembers how often an item has killed its process.
    DeathsForgotten,
    /// After a crash, attempts are counted from one.
    AttemptsForgotten,
    /// After a crash, what was in flight counts as done.
    InFlightCountedAsDone,
    /// After a crash, what has ended ends again.
    EndedTwice,
    /// After a crash, the rate limit begins with a fresh burst.
    ScheduleForgottenInCrash,
    /// Items start before their claim is on disk.
    ClaimNotAwaited,
    /// A worker starts one more call than it may have at once.
    OneCallTooMany,
    /// Whoever reports is taken for the holder, also after others took over.
    LateReportTaken,
    /// A redrive tries every item.
    RedriveRerunsAll,
    /// After a crash, nobody remembers how often the step has killed its process.
    DeathsOfStepForgotten,
    /// The step answers for what its items did.
    StepBlamedForItems,
    /// After a crash, the source is opened before it is on disk that no item is at work any more.
    SourceOpenedFirst,
    /// After a death before anything of the fan-out was on disk, items start ahead of the disk again.
    RunsAheadAgain,
}

impl FanOutBug {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::EmptyPageTakenForEnd,
        Self::CursorCommittedBeforeItems,
        Self::KeysForgottenInCrash,
        Self::AttemptCountedAsFailure,
        Self::ToleranceReached,
        Self::RetryAlarmLost,
        Self::ReleasedCountedAsDone,
        Self::DeathsForgotten,
        Self::AttemptsForgotten,
        Self::InFlightCountedAsDone,
        Self::EndedTwice,
        Self::ScheduleForgottenInCrash,
        Self::ClaimNotAwaited,
        Self::OneCallTooMany,
        Self::LateReportTaken,
        Self::RedriveRerunsAll,
        Self::DeathsOfStepForgotten,
        Self::StepBlamedForItems,
        Self::SourceOpenedFirst,
        Self::RunsAheadAgain,
    ];
}

/// Does to what passes through it what the planted bug would do; without one, nothing.
#[derive(Debug)]
pub(super) struct Doctor {
    planted: Option<FanOutBug>,
}

impl Doctor {
    pub(super) fn new(planted: Option<FanOutBug>) -> Self {
        Self { planted }
    }

    pub(super) fn has(&self, planted: FanOutBug) -> bool {
        self.planted == Some(planted)
    }

    /// Decides when the fan-out has failed.
    pub(super) fn coordinator(&self, policy: FailurePolicy) -> Arc<dyn Coordinator> {
        if self.has(FanOutBug::ToleranceReached) {
            Arc::new(Strict(policy))
        } else {
            Arc::new(policy)
        }
    }

    /// What a message says when it arrives; `None` when it does not.
    pub(super) fn told(&self, mut event: FanOutEvent) -> Option<FanOutEvent> {
        match &mut event {
            FanOutEvent::PageRead { page, next } if self.has(FanOutBug::EmptyPageTakenForEnd) => {
                next.take_if(|_| page.items.is_empty());
            }
            FanOutEvent::ItemsEnded { ended, .. } if self.has(FanOutBug::ReleasedCountedAsDone) => {
                for item in ended.iter_mut().filter(|item| item.end == ItemEnd::Released) {
                    item.end = ItemEnd::Skipped("planted".to_owned());
                }
            }
            FanOutEvent::RetriesDue if self.has(FanOutBug::RetryAlarmLost) => return None,
            _ => {}
        }
        Some(event)
    }

    /// What is queued for commit, by entry.
    pub(super) fn queued(&self, mut progress: FanOutProgress) -> Vec<FanOutProgress> {
        if self.has(FanOutBug::AttemptCountedAsFailure) {
            progress.failed.iter_mut().for_each(|failure| failure.is_final = true);
        }
        let is_torn = self.has(FanOutBug::CursorCommittedBeforeItems) && progress.cursor.is_some();
        if !is_torn {
            return vec![progress];
        }
        let cursor = FanOutProgress {
            cursor: progress.cursor.clone(),
            on_schedule_at: progress.on_schedule_at,
            ..FanOutProgress::empty(progress.lead, progress.fan_out, progress.at)
        };
        vec![cursor, progress]
    }

    /// What another process finds of the step that leads.
    pub(super) fn led(&self, mut recorded: Recorded) -> Recorded {
        match self.planted {
            Some(FanOutBug::DeathsOfStepForgotten) => {
                recorded.chunks.iter_mut().for_each(|row| row.claim.crashes = 0);
            }
            Some(FanOutBug::StepBlamedForItems) => recorded.spared.clear(),
            _ => {}
        }
        recorded
    }

    /// What another process finds in the store.
    pub(super) fn recorded(&self, mut recorded: RecordedFanOut) -> RecordedFanOut {
        match self.planted {
            Some(FanOutBug::DeathsForgotten) => recorded.claims.iter_mut().for_each(|claim| claim.crashes = 0),
            Some(FanOutBug::AttemptsForgotten) => recorded.failures.retain(|failure| failure.is_final),
            Some(FanOutBug::ScheduleForgottenInCrash) => recorded.row.on_schedule_at = None,
            Some(FanOutBug::InFlightCountedAsDone) => {
                for claim in recorded.claims.iter().filter(|claim| claim.is_held) {
                    let left = claim.items.difference(&recorded.ends.skipped);
                    recorded.ends.succeeded.union_with(&left);
                }
            }
            Some(FanOutBug::EndedTwice) if recorded.row.state.is_open() => recorded.row.state = BarrierState::Sealed,
            _ => {}
        }
        recorded
    }

    /// What a redrive finds in the store.
    pub(super) fn ended(&self, mut recorded: RecordedFanOut) -> RecordedFanOut {
        if self.has(FanOutBug::RedriveRerunsAll) {
            recorded.ends.succeeded = PartitionSet::new();
        }
        recorded
    }
}

/// Fails at as many failures as the policy tolerates.
struct Strict(FailurePolicy);

impl Coordinator for Strict {
    fn tolerating(&self, failure: FailurePolicy) -> Option<Arc<dyn Coordinator>> {
        Some(Arc::new(Self(failure)))
    }

    fn verdict(&self, barrier: &Barrier, first_error: Option<&ErrorRecord>) -> Verdict {
        let counts = barrier.counts();
        let is_reached = match self.0.tolerance() {
            Tolerance::Count(count) => counts.bad() >= count,
            Tolerance::Share(share) => barrier.is_sealed() && counts.bad() as f64 >= share * counts.total as f64,
        };
        match first_error {
            Some(error) if is_reached && counts.bad() > 0 => Verdict::Fail(error.clone()),
            _ => self.0.verdict(barrier, first_error),
        }
    }
}

/// The records that lie in an entry of the queue.
pub(super) fn entry(progress: FanOutProgress) -> Vec<Record> {
    vec![Record::FanOutProgress(Box::new(progress))]
}
