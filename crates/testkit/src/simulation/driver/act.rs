//! What may happen next in a run, and lets it happen.

use std::collections::BTreeSet;
use std::time::Duration;

use flowstone_core::run::{Decision, RunEffect, RunEvent, RunState};

use super::Driver;
use crate::simulation::broken::{hold, hold_eq, must};
use crate::simulation::planted::Planted;

#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    Flush,
    Offer,
    Begin(usize),
    End(usize),
    Report(usize),
    Deliver(usize),
    Wake,
    SendLate,
    Ghost,
    Write,
    Resume,
    Rival,
}

impl Driver<'_> {
    pub(super) fn choose(&mut self) -> Act {
        let mut acts = Vec::new();
        self.slow_for = self.slow_for.saturating_sub(1);
        if !self.queue.is_empty() && self.slow_for == 0 {
            acts.push(Act::Flush);
        }
        if self.workers.iter().any(Option::is_none) {
            acts.extend([Act::Offer; 2]);
        }
        let holds_back = self.machine.state() == RunState::Paused;
        for (number, worker) in self.workers.iter().enumerate() {
            let Some(worker) = worker else { continue };
            match worker.current[..] {
                [_, ..] => acts.extend([Act::End(number); 3]),
                // A paused run takes back what was not begun.
                [] if worker.left.is_empty() || holds_back => acts.push(Act::Report(number)),
                [] => {
                    if worker.starts_after <= self.flushed {
                        acts.extend([Act::Begin(number); 3]);
                    }
                    if !worker.ended.is_empty() {
                        acts.push(Act::Report(number));
                    }
                }
            }
        }
        acts.extend(self.wake.map(|_| Act::Wake));
        acts.extend((0..self.post.len()).map(Act::Deliver));
        if !self.late.is_empty() && self.draw.chance(100) {
            acts.push(Act::SendLate);
        }
        if self.live.state == RunState::Paused {
            self.paused_for = self.paused_for.saturating_sub(1);
            acts.extend((self.paused_for == 0).then_some(Act::Resume));
        }
        if self.pools.is_rivalled() && (self.pools.rival_waits_or_holds() || self.draw.chance(50)) {
            acts.push(Act::Rival);
        }
        if self.ghost.is_some() && self.draw.chance(200) {
            acts.push(Act::Ghost);
        }
        if self.doctor.has(Planted::HeadMovedBeforeDataVerified) && self.draw.chance(100) {
            acts.push(Act::Write);
        }
        if acts.is_empty() && self.live.state == RunState::Paused {
            acts.push(Act::Resume);
        }
        hold!(
            Rest,
            !acts.is_empty() || self.slow_for > 0,
            "nothing can happen and the run is not over: {:?}",
            self.machine.counts()
        );
        if acts.is_empty() {
            // Only the disk is waited for.
            acts.push(Act::Flush);
            self.slow_for = 0;
        }
        *self.draw.pick(&acts)
    }

    pub(super) fn act(&mut self, act: Act) {
        match act {
            Act::Flush => {
                let count = 1 + self.draw.below(4);
                self.flush(count);
            }
            Act::Offer => self.offer(),
            Act::Begin(number) => self.begin(number),
            Act::End(number) => self.end(number),
            Act::Report(number) => self.report(number),
            Act::Deliver(number) => {
                let event = self.post.swap_remove(number);
                self.keep_late(event.clone());
                self.tell(event);
            }
            Act::Wake => self.wake_up(),
            Act::SendLate => self.send_late(),
            Act::Ghost => self.let_ghost_arrive(),
            Act::Write => self.shelf.keep_promises(),
            Act::Resume => self.tell(RunEvent::ResumeAsked),
            Act::Rival => self.pools.rival(&mut self.draw),
        }
    }

    fn wake_up(&mut self) {
        let Some(due) = self.wake.take() else { return };
        if self.doctor.has(Planted::AlarmLost) {
            return;
        }
        if self.draw.chance(900) {
            self.now = self.now.max(due);
        }
        let crashes = self.crashes;
        if self.doctor.has(Planted::BackoffIgnored) {
            let mut decision = Decision::default();
            let later = due + Duration::from_secs(9_000);
            let told = self.machine.apply(RunEvent::RetriesDue, later, &mut decision);
            must(told, "an alarm is refused");
            return self.perform(decision, None);
        }
        self.tell(RunEvent::RetriesDue);
        hold!(
            Rest,
            self.now < due || crashes < self.crashes || self.wake.is_none_or(|next| next > self.now),
            "a due retry is put off"
        );
    }

    fn offer(&mut self) {
        let closed = if self.doctor.has(Planted::PoolLimitIgnored) {
            BTreeSet::new()
        } else {
            self.pools.closed(self.run, &self.machine)
        };
        self.machine.close(closed.clone());
        let wanted = self.machine.wants(self.workers.len());
        let Some(slot) = self.workers.iter().position(Option::is_none) else {
            return;
        };
        let workers = self.workers.len();
        let decision = self.apply(RunEvent::SlotFree { workers });
        let starts = decision
            .effects
            .iter()
            .filter(|effect| matches!(effect, RunEffect::Start(_)));
        hold_eq!(Sound, starts.count(), wanted.min(1), "chunks that are given out");
        if wanted == 0 {
            self.pools.pass(self.run, &self.machine);
        }
        self.perform(decision, Some((slot, &closed)));
    }
}
