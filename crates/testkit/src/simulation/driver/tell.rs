//! Tells the machine of a run what happened, and performs what it asks for.

use std::collections::BTreeSet;

use flowstone_core::run::{Decision, RunEffect, RunEvent, RunState};
use flowstone_core::store::Record;

use super::Driver;
use crate::simulation::Promise;
use crate::simulation::broken::{broken, hold, hold_eq, must};
use crate::simulation::planted::Planted;
use crate::simulation::worker::Worker;

impl Driver<'_> {
    /// Tells the run what happened, unless it is over: nothing is told then.
    pub(in crate::simulation) fn tell(&mut self, event: RunEvent) {
        if self.machine.is_over() {
            return;
        }
        // Whoever asks is told that the run is being ended.
        let turns = matches!(event, RunEvent::PauseAsked | RunEvent::ResumeAsked);
        if turns && self.machine.state() == RunState::Cancelling {
            return;
        }
        if event == RunEvent::CancelAsked && self.doctor.has(Planted::CancelRecordedButNotTold) {
            return self.record(RunState::Cancelling);
        }
        if event == RunEvent::PauseAsked && self.doctor.has(Planted::PauseRecordedButNotTold) {
            return self.record(RunState::Paused);
        }
        let work = match &event {
            RunEvent::StepsEnded { chunk, .. } => {
                let mut workers = self.workers.iter().flatten();
                workers
                    .find(|worker| worker.work.id == *chunk)
                    .map(|worker| &worker.work)
            }
            _ => None,
        };
        let Some(event) = self.doctor.told(event, work) else {
            return;
        };
        match &event {
            RunEvent::WorkerDied { .. } if self.doctor.has(Planted::SlotOutlivesHolder) => {}
            RunEvent::StepsEnded { is_over: false, .. } => {}
            RunEvent::StepsEnded { chunk, .. }
            | RunEvent::Overdue { chunk, .. }
            | RunEvent::CallFailed { chunk, .. }
            | RunEvent::WorkerDied { chunk, .. } => self.pools.give_back(*chunk),
            _ => {}
        }
        let decision = self.apply(event);
        self.perform(decision, None);
    }

    /// A move is recorded, and the machine does not hear of it.
    fn record(&mut self, to: RunState) {
        if self.live.state.to(to).is_err() {
            return;
        }
        let moved = vec![Record::RunMoved {
            run: self.run,
            to,
            at: self.now,
            counts: self.machine.counts(),
            error: None,
        }];
        self.live.note(&moved[0], self.case, &self.before);
        self.queued += 1;
        self.queue.push_back(moved);
    }

    pub(super) fn apply(&mut self, event: RunEvent) -> Decision {
        self.tell_tale(|| format!("{event:?}"));
        let mut decision = Decision::default();
        must(
            self.machine.apply(event, self.now, &mut decision),
            "an event is refused",
        );
        self.tell_tale(|| format!("  {decision:?}"));
        decision
    }

    pub(in crate::simulation) fn tell_tale(&mut self, tale: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push_str(&tale());
            trace.push('\n');
        }
    }

    /// `free` is the worker that takes work, and the lanes that had to wait.
    pub(in crate::simulation) fn perform(&mut self, decision: Decision, free: Option<(usize, &BTreeSet<usize>)>) {
        let Decision { records, effects } = decision;
        if !records.is_empty() {
            hold!(Sound, !self.has_ended, "something follows the end: {records:?}");
            if self.is_killed_now() {
                return;
            }
            for record in &records {
                self.check_record(record);
                self.live.note(record, self.case, &self.before);
            }
            self.queued += 1;
            self.queue.push_back(records);
        }
        for effect in effects {
            hold!(Sound, !self.has_ended, "something follows the end: {effect:?}");
            if self.is_killed_now() {
                return;
            }
            match effect {
                RunEffect::Start(work) => {
                    self.check_start(&work);
                    let starts_after = if work.after_commit { self.queued } else { 0 };
                    let Some((worker, closed)) = free else {
                        broken(Promise::Sound, "work is given out and nobody is free".to_owned())
                    };
                    self.pools.take(self.run, work.id, closed);
                    self.workers[worker] = Some(Worker::new(work, starts_after));
                }
                RunEffect::WakeAt(at) => self.wake = Some(at),
                RunEffect::StopAll => self.stop_all(),
                RunEffect::Ended(state) => {
                    hold_eq!(Sound, state, self.machine.state(), "the end that is told");
                    hold!(Sound, state.is_terminal(), "a run ends {state}");
                    self.has_ended = true;
                }
            }
        }
    }

    /// Kills the process, if its time has come, before it does the next thing that was decided.
    fn is_killed_now(&mut self) -> bool {
        let Some(left) = &mut self.dies_in else { return false };
        *left -= 1;
        if *left > 0 {
            return false;
        }
        self.dies_in = None;
        self.kills += 1;
        self.crash("kill between two effects");
        true
    }
}
