//! Which steps a free worker gets.

use jiff::Timestamp;

use super::{Claimed, Decision, RunEffect, RunMachine};
use crate::Result;
use crate::partition::PartitionSet;
use crate::run::batch::Batch;
use crate::run::suspects::Care;
use crate::run::{ChunkId, ChunkWork, RunState, StepState};
use crate::store::{ChunkClaim, Record};

impl RunMachine {
    /// The number of chunks that could be given out now, at most `count_max`.
    pub fn wants(&self, count_max: usize) -> usize {
        if self.ready.is_empty() || self.state != RunState::Running || self.one_runs_alone() {
            return 0;
        }
        let mut wanted = 0;
        let mut must_run_alone = false;
        for number in self.ready.iter().filter(|number| !self.closed.contains(number)) {
            let lane = &self.lanes[*number];
            must_run_alone |= !lane
                .suspects
                .choose(lane.steps.get(StepState::Ready), Care::Alone)
                .is_empty();
            wanted += self.startable(*number, count_max as u64) as usize;
            if wanted >= count_max {
                return count_max;
            }
        }
        // What is left must run alone: one of it, once nothing else runs.
        if wanted == 0 && must_run_alone && self.claimed.is_empty() {
            count_max.min(1)
        } else {
            wanted
        }
    }

    /// True when a chunk of the lane could be given out, now or once nothing else runs.
    pub(super) fn has_startable(&self, number: usize) -> bool {
        let lane = &self.lanes[number];
        lane.batch.is_none()
            || self.startable(number, 1) > 0
            || !lane
                .suspects
                .choose(lane.steps.get(StepState::Ready), Care::Alone)
                .is_empty()
    }

    /// The number of chunks of the lane that could be given out beside others, at most `count_max`.
    fn startable(&self, number: usize, count_max: u64) -> u64 {
        let lane = &self.lanes[number];
        let ready = lane.steps.get(StepState::Ready);
        let Some(batch) = lane.batch else {
            return (ready.len() - lane.suspects.choose(ready, Care::Alone).len()).min(count_max);
        };
        let mut calls = 0;
        for care in [Care::None, Care::ByItself] {
            let steps = lane.suspects.choose(ready, care);
            for size in Care::ALL {
                let (steps, len) = (lane.blurred.choose(&steps, size).len(), batch.len(care.max(size)));
                let (full, rest) = (steps / len, steps % len);
                let waits = rest == 0 || self.is_filling(number, rest, care.max(size));
                calls += full + u64::from(!waits);
            }
        }
        calls.min(count_max)
    }

    /// True when a call for so many of the lane's steps would not be full, and what could fill it is being made.
    ///
    /// A step that waits for its next attempt fills nothing for now, so none is waited for.
    fn is_filling(&self, number: usize, steps: u64, size: Care) -> bool {
        let lane = &self.lanes[number];
        let is_short = size == Care::None && lane.batch.is_some_and(|batch| steps < batch.len(size));
        let expects_more = || lane.steps.get(StepState::Blocked).len() > lane.resting.len();
        let goes_on = |number: &usize| {
            let steps = &self.lanes[*number].steps;
            !steps.get(StepState::Running).is_empty() || !steps.get(StepState::Ready).is_empty()
        };
        is_short && expects_more() && lane.feeders.iter().any(goes_on)
    }

    /// Cuts a chunk off the lane that is furthest downstream, so that what was begun is finished first.
    pub(super) fn claim(&mut self, workers: usize, now: Timestamp, decision: &mut Decision) -> Result<()> {
        if self.state != RunState::Running || self.one_runs_alone() {
            return Ok(());
        }
        for care in [Care::None, Care::ByItself, Care::Alone] {
            if care == Care::Alone && !self.claimed.is_empty() {
                break;
            }
            let mut open = self.ready.iter().rev().filter(|number| !self.closed.contains(number));
            let found = open.find_map(|number| {
                let steps = self.cut(*number, care, workers);
                (!steps.is_empty()).then_some((*number, steps))
            });
            if let Some((number, steps)) = found {
                return self.give_out(number, steps, care, now, decision);
            }
        }
        Ok(())
    }

    fn one_runs_alone(&self) -> bool {
        self.claimed
            .values()
            .any(|claimed| Care::after(claimed.crashes) == Care::Alone)
    }

    /// A share of the lane's ready steps: smaller as fewer are left, so that workers end together. Of a lane that is
    /// called for many partitions at once, those of one call.
    fn cut(&self, number: usize, care: Care, workers: usize) -> PartitionSet {
        let lane = &self.lanes[number];
        let mut ready = lane.suspects.choose(lane.steps.get(StepState::Ready), care);
        if let Some(batch) = lane.batch {
            return self.cut_call(number, batch, care, &ready);
        }
        let share = match care {
            Care::None => {
                let share = ready.len().div_ceil(2 * workers.max(1) as u64);
                share.clamp(1, lane.chunk_len_max)
            }
            Care::ByItself | Care::Alone => 1,
        };
        ready.split_off_first(share)
    }

    fn cut_call(&self, number: usize, batch: Batch, care: Care, ready: &PartitionSet) -> PartitionSet {
        let blurred = &self.lanes[number].blurred;
        let mut calls = Care::ALL.into_iter().filter_map(|size| {
            let mut steps = blurred.choose(ready, size);
            let size = care.max(size);
            let waits = steps.is_empty() || self.is_filling(number, steps.len(), size);
            (!waits).then(|| steps.split_off_first(batch.len(size)))
        });
        calls.next().unwrap_or_default()
    }

    fn give_out(
        &mut self,
        number: usize,
        steps: PartitionSet,
        care: Care,
        now: Timestamp,
        decision: &mut Decision,
    ) -> Result<()> {
        let fence = self.take_fence();
        let lane = &mut self.lanes[number];
        lane.steps.shift(StepState::Ready, StepState::Running, &steps)?;
        if lane.steps.get(StepState::Ready).is_empty() {
            self.ready.remove(&number);
        }
        let id = ChunkId {
            lane: number,
            number: lane.take_chunk_number(),
        };
        let crashes = steps.min().map_or(0, |step| lane.suspects.crashes(step));
        let work = ChunkWork {
            id,
            fence,
            attempts: lane.next_attempts(&steps),
            has_head: lane.plan.base.partitions().intersect(&steps),
            after_commit: lane.acts_outside || self.is_recovered || care != Care::None,
            steps: steps.clone(),
        };
        let claim = ChunkClaim {
            run: self.run,
            asset: lane.plan.id,
            chunk: id.number,
            fence,
            steps: steps.clone(),
            crashes,
            at: now,
        };
        self.claimed.insert(
            id,
            Claimed {
                fence,
                left: steps,
                crashes,
            },
        );
        decision.records.push(Record::ChunkClaimed(claim));
        decision.effects.push(RunEffect::Start(work));
        Ok(())
    }
}
