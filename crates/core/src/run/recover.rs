//! Rebuilds the machine of an open run from what the store has.
//!
//! What ended stays ended. What was in flight when the process died is tried again, with more care each time: together
//! with others at first, then by itself, then alone, and after [`CRASHES_MAX`](super::CRASHES_MAX) deaths it is
//! quarantined.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use super::CRASHES_MAX;
use super::lane::UpstreamEnd;
use super::machine::{Decision, News, RunEffect, RunMachine, close, quarantine};
use super::state::{RunCounts, StepState};
use super::steps::StepSets;
use crate::graph::AssetGraph;
use crate::partition::PartitionSet;
use crate::plan::RunPlan;
use crate::store::{ChunkClaim, ChunkRow, ChunkState, Record, StepFailure};
use crate::{AssetId, ChunkNo, ErrorKind, Fence, Incarnation, Result, RunId};

/// What the store has of an open run.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Its chunks.
    pub chunks: Vec<ChunkRow>,
    /// Its failed attempts.
    pub failures: Vec<StepFailure>,
    /// The stale partitions of its assets: their upstream changed before the process died.
    pub stale: HashMap<AssetId, PartitionSet>,
    /// Steps that fan out whose items were at work when the process died: its death is on the account of the items, not on
    /// theirs.
    pub spared: HashMap<AssetId, PartitionSet>,
    /// True when somebody had paused it: then it waits still.
    pub is_paused: bool,
    /// Who takes it up. To drive it, this must have been committed as [`Record::RunTaken`] before the rest was read.
    pub incarnation: Incarnation,
}

impl RunMachine {
    /// The machine of a run that some process left open, with the decision that brings the store up to date.
    ///
    /// # Errors
    /// `Conflict` with code `code_changed` when the plan does not fit the graph.
    pub fn recover(
        run: RunId,
        plan: &RunPlan,
        graph: &AssetGraph,
        ids: &[AssetId],
        recorded: &Recorded,
        now: Timestamp,
    ) -> Result<(Self, Decision)> {
        let mut machine = Self::unstarted(run, plan, graph, ids)?;
        machine.follow(recorded.incarnation);
        machine.note_first_error(&recorded.failures);
        let fence = machine.take_fence();
        let mut decision = Decision::default();
        let mut news = News::default();
        // Every lane takes in what was recorded of it before any is told of its upstream.
        for number in 0..machine.lane_count() {
            let ended = machine.recover_lane(number, recorded, fence, &mut decision.records, now);
            ended.apply(&mut machine.lane_mut(number).steps)?;
            news.add(number, UpstreamEnd::Failed, &ended.failed.union(&ended.quarantined));
            news.add(number, UpstreamEnd::Skipped, &ended.skipped);
            // Whether a value was new is known by what it made stale.
            news.add(number, UpstreamEnd::Unchanged, &ended.succeeded);
        }
        machine.spread(news)?;
        machine.release_unhindered()?;
        decision.effects.extend(machine.first_due().map(RunEffect::WakeAt));
        if recorded.is_paused {
            machine.stay_paused();
        }
        machine.conclude(now, &mut decision)?;
        Ok((machine, decision))
    }

    /// The machine of a run that has ended with these counts, as far as the records tell.
    ///
    /// # Errors
    /// As [`recover`](Self::recover).
    pub fn ended(
        run: RunId,
        plan: &RunPlan,
        (graph, ids): (&AssetGraph, &[AssetId]),
        (mut recorded, counts): (Recorded, RunCounts),
        now: Timestamp,
    ) -> Result<Self> {
        let was_concluded = counts.cancelled == 0 && counts.ended() == plan.steps();
        if was_concluded {
            // What was wanted has ended, or was stopped by a failure. What went stale since then is not of this run.
            recorded.stale.clear();
        }
        let (machine, _) = Self::recover(run, plan, graph, ids, &recorded, now)?;
        Ok(machine)
    }

    /// Takes in what was recorded of one asset, closes the chunks that were in flight, and says what has ended.
    fn recover_lane(
        &mut self,
        number: usize,
        recorded: &Recorded,
        fence: Fence,
        records: &mut Vec<Record>,
        now: Timestamp,
    ) -> Ended {
        let run = self.run();
        let lane = self.lane_mut(number);
        let asset = lane.plan.id;
        if let Some(stale) = recorded.stale.get(&asset) {
            lane.certain.union_with(&stale.intersect(&lane.plan.steps));
        }
        let failures = recorded.failures.iter().filter(|failure| failure.asset == asset);
        lane.attempts
            .extend(failures.map(|failure| (failure.partition, failure.attempt)));
        let mut ended = Ended::of(asset, recorded);
        let all_ended = ended.all();
        let mut found_out = Vec::new();
        for row in recorded.chunks.iter().filter(|row| row.claim.asset == asset) {
            lane.next_chunk = lane.next_chunk.max(ChunkNo(row.claim.chunk.0 + 1));
            let left = row.claim.steps.difference(&all_ended);
            if row.state == ChunkState::Ended {
                lane.suspects.note(&left, row.claim.crashes);
                continue;
            }
            let is_spared = recorded.spared.get(&asset).is_some_and(|spared| left.is_subset(spared));
            let crashes = row.claim.crashes + u32::from(!is_spared);
            lane.suspects.note(&left, crashes);
            let mut failed = Vec::new();
            if crashes >= CRASHES_MAX {
                failed = quarantine(lane, &left, crashes, now);
                found_out.extend_from_slice(&failed);
                ended.quarantined.union_with(&left);
            }
            records.extend(close(
                ChunkClaim {
                    fence,
                    crashes,
                    at: now,
                    ..row.claim.clone()
                },
                failed,
            ));
        }
        let mut due = BTreeMap::new();
        for failure in recorded.failures.iter().filter(|failure| failure.asset == asset) {
            let StepFailure {
                partition,
                attempt,
                ref error,
                at,
                ..
            } = *failure;
            due.insert(partition, lane.next_due(run, partition, attempt, error, at));
        }
        for (partition, next) in due {
            if let Some(next) = next.filter(|next| *next > now && !all_ended.contains(partition)) {
                self.rest(number, partition, next);
            }
        }
        self.note_first_error(&found_out);
        ended
    }
}

/// The steps of one asset that are recorded to have ended.
#[derive(Default)]
struct Ended {
    succeeded: PartitionSet,
    skipped: PartitionSet,
    failed: PartitionSet,
    quarantined: PartitionSet,
}

impl Ended {
    fn of(asset: AssetId, recorded: &Recorded) -> Self {
        let mut ended = Self::default();
        for row in recorded.chunks.iter().filter(|row| row.claim.asset == asset) {
            ended.succeeded.union_with(&row.succeeded);
            ended.skipped.union_with(&row.skipped);
        }
        for failure in recorded
            .failures
            .iter()
            .filter(|failure| failure.asset == asset && failure.is_final)
        {
            match failure.error.kind {
                ErrorKind::Quarantined => ended.quarantined.insert(failure.partition),
                _ => ended.failed.insert(failure.partition),
            };
        }
        ended
    }

    fn all(&self) -> PartitionSet {
        self.succeeded
            .union(&self.skipped)
            .union(&self.failed)
            .union(&self.quarantined)
    }

    fn apply(&self, steps: &mut StepSets) -> Result<()> {
        for (ended, to) in [
            (&self.succeeded, StepState::Succeeded),
            (&self.skipped, StepState::Skipped),
            (&self.failed, StepState::Failed),
            (&self.quarantined, StepState::Quarantined),
        ] {
            steps.shift(StepState::Blocked, StepState::Ready, ended)?;
            steps.shift(StepState::Ready, StepState::Running, ended)?;
            steps.shift(StepState::Running, to, ended)?;
        }
        Ok(())
    }
}
