//! What follows the end of steps.

use std::mem;

use jiff::Timestamp;

use super::spread::News;
use super::{Claimed, Decision, RunEffect, RunMachine};
use crate::partition::PartitionSet;
use crate::run::lane::UpstreamEnd;
use crate::run::{ChunkId, RunState, StepEnd, StepEnded, StepState, lineage};
use crate::store::{ChunkProgress, ChunkState, Materialization, Record, StepFailure};
use crate::{AssetId, Error, ErrorKind, ErrorRecord, Fence, Result};

/// Steps of one lane that ended, by how.
#[derive(Default)]
struct Sorted {
    made: Vec<Materialization>,
    changed: PartitionSet,
    same: PartitionSet,
    skipped: PartitionSet,
    cancelled: PartitionSet,
    failed: PartitionSet,
    failures: Vec<StepFailure>,
    /// Failed attempts that are followed by another.
    waiting: Vec<(Timestamp, u64)>,
}

impl RunMachine {
    pub(super) fn settle(
        &mut self,
        chunk: ChunkId,
        fence: Fence,
        ended: Vec<StepEnded>,
        is_over: bool,
        now: Timestamp,
        decision: &mut Decision,
    ) -> Result<()> {
        self.check_claim(chunk, fence, &ended)?;
        let cancelling = self.state == RunState::Cancelling;
        let mut sorted = self.sort(chunk.lane, ended, cancelling, now);
        for (due, partition) in &sorted.waiting {
            self.rest(chunk.lane, *partition, *due);
        }
        let given_back = self.move_steps(chunk, &sorted, is_over)?;
        let progress = self.progress(chunk, fence, &mut sorted, is_over, now);
        decision.records.push(progress);
        if let Some(first) = self.due.keys().next().filter(|_| !sorted.waiting.is_empty()) {
            decision.effects.push(RunEffect::WakeAt(*first));
        }
        if cancelling {
            let left = given_back;
            self.lanes[chunk.lane]
                .steps
                .shift(StepState::Running, StepState::Cancelled, &left)?;
        } else {
            self.give_back(chunk.lane, &given_back)?;
        }
        let mut news = News::default();
        news.add(chunk.lane, UpstreamEnd::Failed, &sorted.failed);
        news.add(chunk.lane, UpstreamEnd::Skipped, &sorted.skipped);
        news.add(chunk.lane, UpstreamEnd::Changed, &sorted.changed);
        news.add(chunk.lane, UpstreamEnd::Unchanged, &sorted.same);
        self.spread(news)?;
        self.conclude(now, decision)
    }

    pub(super) fn check_claim(&self, chunk: ChunkId, fence: Fence, ended: &[StepEnded]) -> Result<()> {
        let fenced = |why: &str| {
            let run = self.run;
            Error::new(ErrorKind::Fenced, format!("{why} of chunk {chunk:?} of run {run}"))
        };
        match self.claimed.get(chunk) {
            Some(claimed) if claimed.fence == fence => {
                let steps: PartitionSet = ended.iter().map(|step| step.partition).collect();
                if steps.len() == ended.len() as u64 && steps.is_subset(&claimed.left) {
                    Ok(())
                } else {
                    Err(fenced("a step ended twice, or is none"))
                }
            }
            _ => Err(fenced("somebody else, or nobody, is the holder")),
        }
    }

    fn sort(&mut self, number: usize, ended: Vec<StepEnded>, cancelling: bool, now: Timestamp) -> Sorted {
        let mut sorted = Sorted {
            made: Vec::with_capacity(ended.len()),
            ..Sorted::default()
        };
        for step in ended {
            let partition = step.partition;
            if cancelling {
                // A cancelled run publishes nothing more, whatever its last steps still made.
                sorted.cancelled.insert(partition);
                continue;
            }
            match step.end {
                StepEnd::Made { stored, is_same } => {
                    let lane = &self.lanes[number];
                    let set = if is_same { &mut sorted.same } else { &mut sorted.changed };
                    set.insert(partition);
                    sorted.made.push(Materialization {
                        asset: lane.plan.id,
                        partition,
                        version: lane.plan.base.get(partition).next(),
                        run: self.run,
                        stored,
                        code_version: lane.plan.code_of(partition),
                        attempt: step.attempt,
                        started_at: step.started_at,
                        ended_at: step.ended_at,
                    });
                }
                StepEnd::Skipped => {
                    sorted.skipped.insert(partition);
                }
                StepEnd::Failed(error) => self.sort_failure(number, partition, step.attempt, error, now, &mut sorted),
                StepEnd::Cancelled => {
                    // Nobody asked this run to end, so the worker is being drained: another will try.
                }
            }
        }
        sorted
    }

    fn sort_failure(
        &mut self,
        number: usize,
        partition: u64,
        attempt: u32,
        error: ErrorRecord,
        now: Timestamp,
        sorted: &mut Sorted,
    ) {
        let lane = &mut self.lanes[number];
        lane.attempts.insert(partition, attempt);
        let due = lane.next_due(self.run, partition, attempt, &error, now);
        let is_final = due.is_none();
        match due {
            Some(due) => sorted.waiting.push((due, partition)),
            None => {
                sorted.failed.insert(partition);
                self.first_error.get_or_insert_with(|| error.clone());
            }
        }
        sorted.failures.push(StepFailure {
            asset: lane.plan.id,
            partition,
            attempt,
            is_final,
            error,
            at: now,
        });
    }

    /// Moves the steps that ended; says which ones the chunk gives back.
    fn move_steps(&mut self, chunk: ChunkId, sorted: &Sorted, is_over: bool) -> Result<PartitionSet> {
        let lane = &mut self.lanes[chunk.lane];
        let mut waiting = PartitionSet::new();
        for (_, partition) in &sorted.waiting {
            waiting.insert(*partition);
        }
        let claimed = self.claimed.get_mut(chunk).expect("the claim was checked");
        for (to, steps) in [
            (StepState::Succeeded, &sorted.changed),
            (StepState::Succeeded, &sorted.same),
            (StepState::Skipped, &sorted.skipped),
            (StepState::Failed, &sorted.failed),
            (StepState::Cancelled, &sorted.cancelled),
            (StepState::Blocked, &waiting),
        ] {
            lane.steps.shift(StepState::Running, to, steps)?;
            claimed.left.subtract(steps);
        }
        if !is_over {
            return Ok(PartitionSet::new());
        }
        Ok(self
            .claimed
            .remove(chunk)
            .map(|Claimed { left, .. }| left)
            .unwrap_or_default())
    }

    /// Lets a blocked step wait for its next attempt.
    pub(in crate::run) fn rest(&mut self, number: usize, partition: u64, due: Timestamp) {
        self.lanes[number].resting.insert(partition);
        self.due.entry(due).or_default().push((number, partition));
    }

    pub(super) fn give_back(&mut self, number: usize, steps: &PartitionSet) -> Result<()> {
        if steps.is_empty() {
            return Ok(());
        }
        self.ready.insert(number);
        self.lanes[number]
            .steps
            .shift(StepState::Running, StepState::Ready, steps)
    }

    /// What goes stale when `changed` steps of a lane have new values, planned or not.
    fn outdated(&self, number: usize, changed: &PartitionSet) -> Vec<(AssetId, PartitionSet)> {
        let (readers, onlookers) = (self.wiring.readers.get(number), self.wiring.onlookers.get(number));
        let planned = readers.iter().map(|(reader, edge)| {
            let mapping = &self.wiring.edges.get(*reader)[*edge].mapping;
            (self.lanes[*reader].plan.id, mapping)
        });
        let others = onlookers.iter().map(|(asset, mapping)| (*asset, mapping));
        let mut outdated = Vec::with_capacity(readers.len() + onlookers.len());
        for (asset, mapping) in planned.chain(others) {
            let partitions = mapping.downstream_of(changed);
            if !partitions.is_empty() {
                outdated.push((asset, partitions));
            }
        }
        outdated
    }

    /// The record of what ended; takes from `sorted` what only the record needs.
    fn progress(&self, chunk: ChunkId, fence: Fence, sorted: &mut Sorted, is_over: bool, at: Timestamp) -> Record {
        let lane = &self.lanes[chunk.lane];
        let made = sorted.changed.union(&sorted.same);
        Record::ChunkProgress(ChunkProgress {
            run: self.run,
            asset: lane.plan.id,
            chunk: chunk.number,
            fence,
            inputs: lineage::inputs(&self.lanes, &self.wiring.edges, chunk.lane, &made),
            outdated: self.outdated(chunk.lane, &sorted.changed),
            materialized: mem::take(&mut sorted.made),
            unchanged: PartitionSet::new(),
            skipped: sorted.skipped.clone(),
            failed: mem::take(&mut sorted.failures),
            state: if is_over {
                ChunkState::Ended
            } else {
                ChunkState::Running
            },
            at,
        })
    }
}
