//! What must hold: at every step of a run, when a step begins, and when the run is over (`end`).

mod end;
mod reading;

use std::collections::BTreeSet;

use flowstone_core::ErrorKind;
use flowstone_core::partition::PartitionSet;
use flowstone_core::run::{ChunkWork, RunState, StepState};
use flowstone_core::store::{ChunkProgress, Record, StepFailure};

use super::broken::{broken, hold, hold_eq, must};
use super::case::Fate;
use super::driver::Driver;
use crate::simulation::Promise;

impl Driver<'_> {
    /// After every event.
    pub(super) fn check_counts(&self) {
        let counts = self.machine.counts();
        hold!(P18, counts.adds_up(), "{counts:?} do not add up");
        hold_eq!(P18, counts.total, self.steps_planned, "steps of {counts:?}");
    }

    /// Now and then, after every crash and at the end: what has ended never moves again, so nothing escapes.
    pub(super) fn check_sets(&self) {
        for (lane, (planned, steps)) in self.machine.assets().enumerate() {
            let asset = self.asset_of(lane);
            let succeeded = steps.get(StepState::Succeeded);
            hold_eq!(
                P2,
                *succeeded,
                self.live.made[asset],
                "steps of asset {asset} that succeeded"
            );
            let quarantined = steps.get(StepState::Quarantined);
            hold_eq!(
                P8,
                *quarantined,
                self.live.quarantined[asset],
                "quarantined steps of asset {asset}"
            );
            let failed = steps.get(StepState::Failed).difference(steps.dependency_failed());
            hold_eq!(
                P8,
                failed,
                self.live.failed[asset],
                "steps of asset {asset} that failed"
            );
            let skipped = &self.live.skipped[asset];
            hold!(
                P8,
                skipped.is_subset(steps.get(StepState::Skipped)),
                "of asset {asset} not all of {skipped:?} are skipped"
            );
            let all = StepState::ALL
                .iter()
                .fold(PartitionSet::new(), |all, state| all.union(steps.get(*state)));
            hold_eq!(P18, all, planned.steps, "the steps of asset {asset}");
        }
    }

    pub(super) fn check_start(&mut self, work: &ChunkWork) {
        hold!(P13, !self.is_cancelling(), "a cancelled run starts a step");
        hold!(
            Pause,
            self.live.state != RunState::Paused,
            "a paused run starts {:?}",
            work.id
        );
        hold!(P9, self.fences.insert(work.fence), "two claims have {:?}", work.fence);
        let asset = self.asset_of(work.id.lane);
        if let Some(batch) = self.case.sketch.assets[asset].batch {
            hold!(
                Sound,
                work.steps.len() <= batch,
                "a call for {} partitions, at most {batch} were wanted",
                work.steps.len()
            );
        }
        for partition in work.steps.iter() {
            let key = (asset, partition);
            hold!(
                P20,
                self.redriven.as_ref().is_none_or(|left| left.contains(&key)),
                "{key:?} had come to a good end and is redriven"
            );
            hold!(P10, !self.live.has_ended(key), "{key:?} has ended and starts again");
            let failed = self.live.failures.get(&key).copied().unwrap_or(0);
            hold_eq!(P12, work.attempt(partition), failed + 1, "the attempt at {key:?}");
            let attempts_max = self.case.sketch.assets[asset].attempts_max;
            hold!(
                P12,
                work.attempt(partition) <= attempts_max,
                "{key:?} is tried more than {attempts_max} times"
            );
            hold!(
                P12,
                self.live
                    .not_before
                    .get(&key)
                    .is_none_or(|due| *due <= self.latest.max(self.now)),
                "{key:?} starts too early"
            );
            hold!(
                P10,
                self.was_wanted(work.id.lane, key),
                "{key:?} starts and nothing that it reads has changed"
            );
        }
        if self.case.sketch.assets[asset].acts_outside {
            hold!(
                P1,
                work.after_commit,
                "what acts outside starts before its claim is on disk"
            );
        }
    }

    pub(super) fn check_record(&self, record: &Record) {
        match record {
            Record::ChunkProgress(progress) => self.check_progress(progress),
            Record::ChunkClaimed(claim) => {
                let chunk = (self.case.place_of(claim.asset), claim.chunk.0);
                hold!(
                    P9,
                    self.live.claims.get(&chunk).is_none_or(|fence| *fence < claim.fence.0),
                    "the fence of chunk {chunk:?} is not raised"
                );
            }
            Record::RunMoved { counts, to, .. } => {
                hold!(P18, counts.adds_up(), "{counts:?} do not add up");
                must(self.live.state.to(*to), "the run moves");
            }
            Record::RunCreated(_) | Record::RunPlanned { .. } | Record::RunTaken { .. } => {
                broken(Promise::Sound, "a machine makes or takes a run".to_owned())
            }
            Record::FanOutOpened(_) | Record::FanOutReopened(_) | Record::FanOutProgress(_) => broken(
                Promise::Sound,
                "a machine writes about a fan-out that it never heard of".to_owned(),
            ),
        }
    }

    fn check_progress(&self, progress: &ChunkProgress) {
        if self.is_cancelling() {
            hold!(
                P13,
                progress.materialized.is_empty() && progress.skipped.is_empty(),
                "a cancelled run publishes: {progress:?}"
            );
        }
        let asset = self.case.place_of(progress.asset);
        let made: PartitionSet = progress.materialized.iter().map(|made| made.partition).collect();
        for made in &progress.materialized {
            let key = (asset, made.partition);
            let base = self.before.heads.get(&key).map_or(0, |head| head.version);
            hold_eq!(P3, made.version.0, base + 1, "the version of {key:?}");
            let mut named = BTreeSet::new();
            for row in progress.inputs.iter().filter(|row| row.version == made.version) {
                if let Some((first, last)) = row.upstream_of(made.partition) {
                    let upstream = self.case.place_of(row.upstream);
                    named.extend((first..=last).map(|partition| (upstream, partition, row.upstream_version.0)));
                }
            }
            hold_eq!(P5, Some(&named), self.read.get(&key), "the lineage of {key:?}");
        }
        for row in &progress.inputs {
            hold!(
                P5,
                row.asset == progress.asset && made.contains_range(row.partitions.0..=row.partitions.1),
                "lineage of what was not made: {row:?}"
            );
        }
        for failure in &progress.failed {
            self.check_failure(asset, failure);
        }
    }

    /// A failure is final exactly if its error is no passing one, or it was the last attempt.
    fn check_failure(&self, asset: usize, failure: &StepFailure) {
        if failure.error.kind == ErrorKind::Quarantined {
            // It has no attempt that failed.
            return;
        }
        let key = (asset, failure.partition);
        let is_last = failure.attempt >= self.case.sketch.assets[asset].attempts_max;
        let should_be = match self.fates.get(&(key, failure.attempt)) {
            Some(Fate::FailForGood | Fate::SpoilForGood) => true,
            Some(Fate::FailForNow | Fate::SpoilForNow | Fate::Overdue) => is_last,
            // Nobody knows that it was to blame.
            Some(Fate::Blurred) => false,
            _ => failure.is_final,
        };
        hold_eq!(
            P12,
            failure.is_final,
            should_be,
            "whether attempt {} at {key:?} is final",
            failure.attempt
        );
    }
}
