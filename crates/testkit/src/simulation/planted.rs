//! Bugs that are known from this field, planted on purpose: a simulation that does not find them proves nothing.
//!
//! They are planted in the seams of the simulation, between the decisions and what surrounds them; nothing of them is
//! in the engine.

use std::cell::RefCell;

use flowstone_core::plan::Redrive;
use flowstone_core::run::{ChunkWork, Recorded, RunEvent, RunMachine, StepEnd};
use flowstone_core::store::{ChunkProgress, ChunkState, Record, Store};
use flowstone_core::{Error, Result, Version};

/// A bug that is known from this field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// The store takes every failed attempt for a final failure.
    AttemptCountedAsFailure,
    /// A completion is applied twice, each time as a new version.
    CompletedTwice,
    /// After a crash, a step that waited for its next attempt counts as done.
    LostRetryCountedAsSuccess,
    /// Progress is taken whatever fence it carries.
    PublishedWithoutFenceCheck,
    /// The head moves before the data is on disk.
    HeadMovedBeforeDataVerified,
    /// The death of a worker is never told; its chunk stays claimed.
    SlotKeptByDeadHolder,
    /// A commit is acknowledged before it is on disk.
    AcknowledgedBeforeFsync,
    /// After a crash, what was in flight counts as done.
    InFlightCountedAsDone,
    /// The alarm for the next attempt is lost.
    AlarmLost,
    /// The next attempt does not wait for its time.
    BackoffIgnored,
    /// A permanent error is tried again.
    PermanentErrorRetried,
    /// A cancellation is recorded, and what runs is not told.
    CancelRecordedButNotTold,
    /// After a crash, a cancelled run goes on.
    CancelForgottenInCrash,
    /// What rests on a new value is not marked as stale.
    DownstreamNotMarkedStale,
    /// A value is committed without what it was made from.
    LineageLost,
    /// Head and lineage are committed one after the other, with a crash in between.
    HeadAndLineageApart,
    /// After a crash, fences start from where they started before.
    FenceReusedAfterCrash,
    /// After a crash, nobody remembers how often a step has killed its process.
    DeathsForgotten,
    /// After a crash, attempts are counted from one.
    AttemptsForgotten,
    /// A step reads the value from before the run instead of the one that the run made.
    StaleValueRead,
    /// What follows a refused record of a run is taken.
    RefusalIgnored,
    /// The counts that are stored with a run are off by one.
    CountsDrift,
    /// A pause is recorded, and the run is not told.
    PauseRecordedButNotTold,
    /// After a crash, a paused run goes on.
    PauseForgottenInCrash,
    /// A run that is found being cancelled is ended, and who holds a chunk of it is not fenced.
    CancelledWithoutFencing,
    /// A redrive asks for every step of the run.
    RedriveRerunsAll,
    /// A redrive leaves out what a failure stopped.
    RedriveLeavesOutStopped,
    /// A redrive asks for what has gone stale since the run ended, too.
    RedriveTakesWhatWentStale,
    /// Chunks are given out whether their slots are free or not.
    PoolLimitIgnored,
    /// A worker that dies keeps the slots of its chunk.
    SlotOutlivesHolder,
    /// A call that failed as a whole is taken for a failure of each of its partitions.
    CallBlamedOnAll,
}

impl Planted {
    /// All that can be planted now.
    pub const ALL: [Self; 31] = [
        Self::AttemptCountedAsFailure,
        Self::CompletedTwice,
        Self::LostRetryCountedAsSuccess,
        Self::PublishedWithoutFenceCheck,
        Self::HeadMovedBeforeDataVerified,
        Self::SlotKeptByDeadHolder,
        Self::AcknowledgedBeforeFsync,
        Self::InFlightCountedAsDone,
        Self::AlarmLost,
        Self::BackoffIgnored,
        Self::PermanentErrorRetried,
        Self::CancelRecordedButNotTold,
        Self::CancelForgottenInCrash,
        Self::DownstreamNotMarkedStale,
        Self::LineageLost,
        Self::HeadAndLineageApart,
        Self::FenceReusedAfterCrash,
        Self::DeathsForgotten,
        Self::AttemptsForgotten,
        Self::StaleValueRead,
        Self::RefusalIgnored,
        Self::CountsDrift,
        Self::PauseRecordedButNotTold,
        Self::PauseForgottenInCrash,
        Self::CancelledWithoutFencing,
        Self::RedriveRerunsAll,
        Self::RedriveLeavesOutStopped,
        Self::RedriveTakesWhatWentStale,
        Self::PoolLimitIgnored,
        Self::SlotOutlivesHolder,
        Self::CallBlamedOnAll,
    ];

    /// Bugs that wait for the feature that they would be in: the bug and the feature.
    pub const WAITING: [(&'static str, &'static str); 2] = [
        ("a merge reads the value of a branch that was not taken", "routing"),
        ("two signals resolve one wait", "waits and signals"),
    ];
}

/// Does to what passes through it what the planted bug would do; without one, nothing.
#[derive(Debug, Default)]
pub(super) struct Doctor {
    planted: Option<Planted>,
    /// Acknowledged, and only in memory.
    in_memory: RefCell<Vec<Record>>,
}

impl Doctor {
    pub(super) fn new(planted: Option<Planted>) -> Self {
        Self {
            planted,
            in_memory: RefCell::default(),
        }
    }

    pub(super) fn has(&self, planted: Planted) -> bool {
        self.planted == Some(planted)
    }

    /// The process dies, and its memory with it.
    pub(super) fn forget(&self) {
        self.in_memory.take();
    }

    pub(super) async fn commit(&self, store: &dyn Store, group: &[Record]) -> Result<Vec<Result<()>>> {
        match self.planted {
            Some(Planted::AttemptCountedAsFailure) => {
                let all_final = |progress: &mut ChunkProgress| {
                    progress.failed.iter_mut().for_each(|failure| failure.is_final = true);
                };
                store.commit(&changed(group, all_final)).await
            }
            Some(Planted::DownstreamNotMarkedStale) => {
                store
                    .commit(&changed(group, |progress| progress.outdated.clear()))
                    .await
            }
            Some(Planted::LineageLost) => store.commit(&changed(group, |progress| progress.inputs.clear())).await,
            Some(Planted::CompletedTwice) => twice(store, group).await,
            Some(Planted::PublishedWithoutFenceCheck) => unfenced(store, group).await,
            Some(Planted::RefusalIgnored) => one_by_one(store, group).await,
            Some(Planted::CountsDrift) => {
                let mut group = group.to_vec();
                for record in &mut group {
                    if let Record::RunMoved { counts, .. } = record {
                        counts.succeeded += 1;
                    }
                }
                store.commit(&group).await
            }
            Some(Planted::AcknowledgedBeforeFsync) => {
                let before = self.in_memory.replace(group.to_vec());
                store.commit(&before).await?;
                Ok(group.iter().map(|_| Ok(())).collect())
            }
            _ => store.commit(group).await,
        }
    }

    /// What is left of a group that was under way when the process died; nothing, if commits are atomic.
    pub(super) fn torn(&self, group: &[Record]) -> Vec<Record> {
        let is_value =
            |record: &&Record| matches!(record, Record::ChunkProgress(progress) if !progress.materialized.is_empty());
        let first = group
            .iter()
            .find(is_value)
            .filter(|_| self.has(Planted::HeadAndLineageApart));
        let alone = |progress: &mut ChunkProgress| {
            progress.inputs.clear();
            progress.outdated.clear();
            progress.failed.clear();
            progress.state = ChunkState::Running;
        };
        first.map_or_else(Vec::new, |record| changed(std::slice::from_ref(record), alone))
    }

    /// What another process finds in the store.
    pub(super) fn recorded(&self, mut recorded: Recorded) -> Recorded {
        let failures = &recorded.failures;
        for row in &mut recorded.chunks {
            match self.planted {
                Some(Planted::LostRetryCountedAsSuccess) => {
                    let waits = failures.iter().filter(|failure| failure.asset == row.claim.asset);
                    let waits = waits.map(|failure| failure.partition).collect();
                    row.succeeded.union_with(&row.claim.steps.intersect(&waits));
                }
                Some(Planted::InFlightCountedAsDone) if row.state == ChunkState::Running => {
                    row.succeeded.union_with(&row.claim.steps);
                }
                Some(Planted::DeathsForgotten) => row.claim.crashes = 0,
                _ => {}
            }
        }
        recorded.is_paused &= !self.has(Planted::PauseForgottenInCrash);
        if self.has(Planted::AttemptsForgotten) {
            recorded.failures.retain(|failure| failure.is_final);
        }
        recorded
    }

    /// What a redrive of `ended` asks for.
    pub(super) fn redrive(&self, mut redrive: Redrive, ended: &RunMachine) -> Redrive {
        for (planned, steps) in ended.assets() {
            match self.planted {
                Some(Planted::RedriveRerunsAll) => {
                    redrive.steps.insert(planned.key.clone(), planned.steps.clone());
                }
                Some(Planted::RedriveLeavesOutStopped) => {
                    if let Some(asked) = redrive.steps.get_mut(&planned.key) {
                        asked.subtract(steps.dependency_failed());
                    }
                }
                _ => {}
            }
        }
        redrive
    }

    /// What a message says when it arrives; `None` when it does not.
    pub(super) fn told(&self, mut event: RunEvent, work: Option<&ChunkWork>) -> Option<RunEvent> {
        match &mut event {
            RunEvent::WorkerDied { .. } if self.has(Planted::SlotKeptByDeadHolder) => return None,
            RunEvent::StepsEnded { ended, .. } if self.has(Planted::PermanentErrorRetried) => {
                let is_first = |partition| work.is_none_or(|work| work.attempt(partition) == 1);
                for step in ended.iter_mut().filter(|step| is_first(step.partition)) {
                    if let StepEnd::Failed(error) = &mut step.end {
                        *error = Error::transient(error.message.clone()).to_record();
                    }
                }
            }
            _ => {}
        }
        Some(event)
    }
}

fn changed(group: &[Record], change: impl Fn(&mut ChunkProgress)) -> Vec<Record> {
    let mut group = group.to_vec();
    for record in &mut group {
        if let Record::ChunkProgress(progress) = record {
            change(progress);
        }
    }
    group
}

/// Every completion is committed a second time, after the first.
async fn twice(store: &dyn Store, group: &[Record]) -> Result<Vec<Result<()>>> {
    let mut verdicts = Vec::new();
    for record in group {
        if let Record::ChunkProgress(progress) = record {
            let open = changed(std::slice::from_ref(record), |first| first.state = ChunkState::Running);
            let again = changed(std::slice::from_ref(record), |second| {
                for made in &mut second.materialized {
                    made.version = Version(made.version.0 + 1);
                }
                second.failed.clear();
            });
            if !progress.materialized.is_empty() {
                verdicts.append(&mut store.commit(&open).await?);
                store.commit(&again).await?;
                continue;
            }
        }
        verdicts.append(&mut store.commit(std::slice::from_ref(record)).await?);
    }
    Ok(verdicts)
}

/// Whoever reports is taken for the holder.
async fn unfenced(store: &dyn Store, group: &[Record]) -> Result<Vec<Result<()>>> {
    let mut group = group.to_vec();
    for record in &mut group {
        let Record::ChunkProgress(progress) = record else {
            continue;
        };
        let chunks = store.chunks(progress.run).await?;
        let held = chunks
            .iter()
            .find(|row| (row.claim.asset, row.claim.chunk) == (progress.asset, progress.chunk));
        if let Some(held) = held.filter(|row| row.claim.fence > progress.fence) {
            let mut claim = held.claim.clone();
            claim.fence = claim.fence.next();
            progress.fence = claim.fence;
            store.commit(&[Record::ChunkClaimed(claim)]).await?;
        }
    }
    store.commit(&group).await
}

async fn one_by_one(store: &dyn Store, group: &[Record]) -> Result<Vec<Result<()>>> {
    let mut verdicts = Vec::with_capacity(group.len());
    for record in group {
        verdicts.append(&mut store.commit(std::slice::from_ref(record)).await?);
    }
    Ok(verdicts)
}
