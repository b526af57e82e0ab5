//! What workers do with their chunks: begin a step or a call, end it as its fate wants, report, die.

use std::time::Duration;

use flowstone_core::partition::PartitionSet;
use flowstone_core::run::{ChunkWork, RunEvent, RunState, StepEnd, StepEnded};

use super::broken::{hold, hold_eq};
use super::case::Fate;
use super::driver::Driver;
use super::planted::Planted;
use super::worker::{Attempt, Worker};

impl Driver<'_> {
    /// Begins a step, or all that are left where they are called for together.
    pub(super) fn begin(&mut self, number: usize) {
        let worker = self.workers[number]
            .as_mut()
            .expect("only offered to workers with a chunk");
        let (lane, left) = (worker.work.id.lane, worker.left.len());
        let count = if self.is_call(lane) { left } else { 1 };
        let worker = self.workers[number].as_mut().expect("the same worker");
        for partition in worker.left.split_off_first(count).iter() {
            self.begin_one(number, partition);
        }
    }

    fn is_call(&self, lane: usize) -> bool {
        self.case.sketch.assets[self.asset_of(lane)].batch.is_some()
    }

    fn begin_one(&mut self, number: usize, partition: u64) {
        let worker = self.workers[number].as_ref().expect("it has a chunk");
        let (lane, fence, attempt) = (worker.work.id.lane, worker.work.fence.0, worker.work.attempt(partition));
        let key = (self.case.place_of(self.plan.assets[lane].id), partition);
        hold_eq!(
            P5,
            worker.work.has_head.contains(partition),
            self.before.heads.contains_key(&key),
            "whether {key:?} has a head"
        );
        hold!(
            P6,
            self.slots.insert((key, fence, attempt)),
            "{key:?} is tried twice at one place"
        );
        let times = self.begun.entry(key).or_default();
        *times += 1;
        let fate = self.case.fate(key, self.run_number, *times);
        let content = self.read_inputs(lane, key);
        let is_same = self.before.heads.get(&key).is_some_and(|head| head.content == content);
        let address = format!("{}/{partition}/{}/{fence}/{attempt}", key.0, self.run_number);
        hold!(
            P6,
            !self.shelf.is_used(&address),
            "{key:?} is written where something lies: {address}"
        );
        let worker = self.workers[number].as_mut().expect("the same worker");
        worker.current.push(Attempt {
            address,
            partition,
            number: attempt,
            fate,
            content,
            is_same,
            started_at: self.now,
        });
    }

    pub(super) fn end(&mut self, number: usize) {
        self.now += Duration::from_millis(7);
        let worker = self.workers[number]
            .as_mut()
            .expect("only offered to workers with a chunk");
        let lane = worker.work.id.lane;
        let attempts = std::mem::take(&mut worker.current);
        let is_call = self.is_call(lane);
        let whole = attempts.iter().map(|attempt| attempt.fate);
        let whole = whole.filter(|fate| fate.is_of_all(is_call)).max();
        let is_blurred = is_call && attempts.len() > 1 && whole.is_some_and(Fate::is_failure);
        for attempt in &attempts {
            let fate = if is_blurred { Fate::Blurred } else { attempt.fate };
            let key = (self.asset_of(lane), attempt.partition);
            self.fates.insert((key, attempt.number), fate);
        }
        match whole {
            None => self.note_ends(number, &attempts),
            Some(Fate::Drained) => {
                if !is_call {
                    self.note_ends(number, &attempts);
                }
                self.report(number);
            }
            Some(Fate::KillsProcess) => {
                self.worker(number).current = attempts;
                self.poisonings += 1;
                self.crash("poison");
            }
            Some(fate) => {
                let first = attempts.iter().find(|attempt| attempt.fate == fate).cloned();
                if !is_call && self.draw.chance(500) {
                    self.worker(number).current.clone_from(&attempts);
                    self.report(number);
                }
                self.lose_worker(number, &first.expect("its fate is one of theirs"));
            }
        }
    }

    fn worker(&mut self, number: usize) -> &mut Worker {
        self.workers[number].as_mut().expect("it has a chunk")
    }

    fn note_ends(&mut self, number: usize, attempts: &[Attempt]) {
        for attempt in attempts {
            let end = attempt.end(self.now);
            self.worker(number).ended.push(end);
            if attempt.fate == Fate::Make {
                if self.doctor.has(Planted::HeadMovedBeforeDataVerified) {
                    self.shelf.promise(&attempt.address, attempt.content);
                } else {
                    self.shelf.write(&attempt.address, attempt.content);
                }
            }
        }
    }

    /// Reports some of what ended; sometimes hands the chunk back with steps left.
    pub(super) fn report(&mut self, number: usize) {
        let worker = self.workers[number]
            .as_mut()
            .expect("only offered to workers with a chunk");
        let is_drained = worker.ended.last().is_some_and(|step| step.end == StepEnd::Cancelled);
        let is_paused = self.machine.state() == RunState::Paused;
        let is_done = worker.current.is_empty() && (worker.left.is_empty() || is_paused);
        let count = if is_done || is_drained {
            worker.ended.len()
        } else {
            self.draw.below(worker.ended.len() + 1)
        };
        let ended = worker.report(count);
        let is_over = is_done || is_drained;
        let (chunk, fence) = (worker.work.id, worker.work.fence);
        if is_over {
            self.workers[number] = None;
        }
        if let Some(first) = ended.first() {
            let twice = ended.iter().chain([first]).cloned().collect();
            self.refuse(RunEvent::StepsEnded {
                chunk,
                fence,
                ended: twice,
                is_over,
            });
        }
        self.keep_late(RunEvent::StepsEnded {
            chunk,
            fence,
            ended: ended.clone(),
            is_over,
        });
        self.tell(RunEvent::StepsEnded {
            chunk,
            fence,
            ended,
            is_over,
        });
    }

    fn lose_worker(&mut self, number: usize, attempt: &Attempt) {
        // Its report may have been the end of the process.
        let Some(worker) = self.workers[number].take() else {
            return;
        };
        let (chunk, fence) = (worker.work.id, worker.work.fence);
        let event = if attempt.fate.is_failure() {
            let step = attempt.end(self.now);
            match step.end {
                StepEnd::Failed(_) if self.doctor.has(Planted::CallBlamedOnAll) => self.blame_all(&worker.work, &step),
                StepEnd::Failed(error) if self.is_call(chunk.lane) => RunEvent::CallFailed { chunk, fence, error },
                _ => RunEvent::Overdue { chunk, fence, step },
            }
        } else {
            let alone = worker.work.steps.len() == 1;
            for partition in worker.unreported.iter() {
                self.deaths
                    .entry((self.asset_of(chunk.lane), partition))
                    .or_default()
                    .push(alone);
            }
            RunEvent::WorkerDied { chunk, fence }
        };
        self.post.push(event);
    }

    /// A call that failed as a whole, told as if each of its partitions had.
    fn blame_all(&self, work: &ChunkWork, one: &StepEnded) -> RunEvent {
        let blamed = work.steps.iter().map(|partition| StepEnded {
            partition,
            attempt: work.attempt(partition),
            ..one.clone()
        });
        let is_call = self.is_call(work.id.lane);
        RunEvent::StepsEnded {
            chunk: work.id,
            fence: work.fence,
            ended: blamed
                .filter(|step| is_call || step.partition == one.partition)
                .collect(),
            is_over: true,
        }
    }

    /// What runs is asked to end: some do, some end as they would have, none begins another step.
    pub(super) fn stop_all(&mut self) {
        self.wake = None;
        for worker in self.workers.iter_mut().flatten() {
            worker.left = PartitionSet::new();
            let may_stop = worker.current.iter().all(|attempt| attempt.fate != Fate::KillsProcess);
            if may_stop && !worker.current.is_empty() && self.draw.chance(500) {
                worker
                    .current
                    .iter_mut()
                    .for_each(|attempt| attempt.fate = Fate::Drained);
            }
        }
    }
}
