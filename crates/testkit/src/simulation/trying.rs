//! What workers do with their chunks: begin a step, end it as its fate wants, report, die.

use std::time::Duration;

use flowstone_core::partition::PartitionSet;
use flowstone_core::run::{RunEvent, RunState, StepEnd};

use super::broken::{hold, hold_eq};
use super::case::Fate;
use super::driver::Driver;
use super::planted::Planted;
use super::worker::Attempt;

impl Driver<'_> {
    pub(super) fn begin(&mut self, number: usize) {
        let worker = self.workers[number]
            .as_mut()
            .expect("only offered to workers with a chunk");
        let partition = worker
            .left
            .split_off_first(1)
            .min()
            .expect("only offered with steps left");
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
        worker.current = Some(Attempt {
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
        let attempt = worker.current.take().expect("only offered while something runs");
        let key = (
            self.case.place_of(self.plan.assets[worker.work.id.lane].id),
            attempt.partition,
        );
        self.fates.insert((key, attempt.number), attempt.fate);
        match attempt.fate {
            Fate::KillsProcess => {
                worker.current = Some(attempt);
                self.poisonings += 1;
                self.crash("poison");
            }
            Fate::KillsWorker | Fate::Overdue => {
                worker.current = Some(attempt.clone());
                if self.draw.chance(500) {
                    self.report(number);
                }
                self.lose_worker(number, &attempt);
            }
            _ => {
                worker.ended.push(attempt.end(self.now));
                if attempt.fate == Fate::Make {
                    if self.doctor.has(Planted::HeadMovedBeforeDataVerified) {
                        self.shelf.promise(&attempt.address, attempt.content);
                    } else {
                        self.shelf.write(&attempt.address, attempt.content);
                    }
                }
                if attempt.fate == Fate::Drained {
                    self.report(number);
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
        let is_done = worker.current.is_none() && (worker.left.is_empty() || is_paused);
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
        let event = if attempt.fate == Fate::Overdue {
            RunEvent::Overdue {
                chunk,
                fence,
                step: attempt.end(self.now),
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

    /// What runs is asked to end: some do, some end as they would have, none begins another step.
    pub(super) fn stop_all(&mut self) {
        self.wake = None;
        for worker in self.workers.iter_mut().flatten() {
            worker.left = PartitionSet::new();
            let may_stop = worker
                .current
                .as_mut()
                .filter(|attempt| attempt.fate != Fate::KillsProcess);
            if let Some(attempt) = may_stop.filter(|_| self.draw.chance(500)) {
                attempt.fate = Fate::Drained;
            }
        }
    }
}
