//! What others ask of a run: to pause, to end, to let a worker go.

use std::sync::atomic::Ordering;
use std::time::Instant;

use flowstone_core::run::{ChunkId, Decision, RunEvent, RunState};
use flowstone_core::{Error, ErrorKind, Result};
use tokio::sync::oneshot;

use super::{LiveRun, Running, Stage};
use crate::handle::RunProgress;
use crate::ledger::{Entry, Receipt};

impl LiveRun {
    /// Pauses the run, or resumes it; the receiver hears when that is on disk. Steps in flight end by themselves.
    pub(crate) async fn turn_to(&self, next: RunState, answer: oneshot::Sender<Result<()>>) {
        let Ok(permit) = self.shared.ledger.permit().await else {
            drop(answer.send(Err(self.shared.ledger.closed())));
            return;
        };
        let mut core = self.core();
        let state = core.machine.state();
        if state.is_terminal() || state == RunState::Cancelling {
            let ending = Error::new(ErrorKind::Conflict, format!("it is {state}")).code("run_ending");
            drop(answer.send(Err(ending)));
            return;
        }
        let event = match next {
            RunState::Paused => RunEvent::PauseAsked,
            _ => RunEvent::ResumeAsked,
        };
        let mut decision = Decision::default();
        self.decide(&mut core, event, self.shared.clock.now(), &mut decision);
        self.perform_but_commit(&mut core, &mut decision);
        let records = decision.records;
        let state = core.machine.state();
        self.holds_back.store(state == RunState::Paused, Ordering::Relaxed);
        core.fan_outs.iter().for_each(|fan_out| fan_out.look());
        permit.send(Entry {
            records,
            run: self.actor.get().cloned(),
            receipt: Receipt::Once(answer),
        });
        let counts = core.machine.counts();
        self.show(RunProgress { state, counts });
    }

    /// Asks for the end of the run; the receiver hears when that is on disk.
    pub(crate) async fn cancel(&self, answer: oneshot::Sender<Result<()>>) {
        let Ok(permit) = self.shared.ledger.permit().await else {
            drop(answer.send(Err(self.shared.ledger.closed())));
            return;
        };
        // The entry that says so comes first; whatever ends the run comes after it.
        let mut core = self.core();
        let mut decision = Decision::default();
        self.decide(&mut core, RunEvent::CancelAsked, self.shared.clock.now(), &mut decision);
        self.perform_but_commit(&mut core, &mut decision);
        let records = decision.records;
        let receipt = if core.machine.is_over() && !records.is_empty() {
            Receipt::EndAndOnce(core.machine.state(), answer)
        } else {
            Receipt::Once(answer)
        };
        permit.send(Entry {
            records,
            run: self.actor.get().cloned(),
            receipt,
        });
        self.publish(&mut core, Instant::now());
    }

    /// Starts nothing more.
    pub(crate) fn drain(&self) {
        let mut core = self.core();
        core.stage = Stage::Draining;
        // Fan-outs may take long; they go on where they are when the run is taken up again.
        let led = core.running.values().filter(|running| running.hand.is_led);
        led.for_each(|running| running.hand.cancel.cancel());
    }

    /// Asks what runs to end, and hears nothing of it any more.
    pub(crate) fn abandon(&self) {
        if !self.slots.is_empty() {
            self.shared.pools.leave(self.run);
        }
        let mut core = self.core();
        core.leases.clear();
        core.stage = Stage::Abandoned;
        core.stop_all();
    }

    /// True when the run was drained, nothing of it runs, and it stays open.
    pub(crate) fn is_drained(&self) -> bool {
        let core = self.core();
        core.stage == Stage::Draining && core.running.is_empty() && core.at_items == 0 && !core.machine.is_over()
    }

    /// What the workers have.
    pub(crate) fn running(&self) -> Vec<(ChunkId, Running)> {
        self.core()
            .running
            .iter()
            .map(|(chunk, running)| (chunk, running.clone()))
            .collect()
    }

    /// Takes a chunk from its worker, who is given up.
    pub(crate) fn give_up(&self, chunk: ChunkId) -> bool {
        let mut core = self.core();
        core.leases.remove(chunk);
        let removed = core.running.remove(chunk);
        removed.is_some_and(|running| {
            running.hand.cancel.cancel();
            !running.hand.given_up.swap(true, Ordering::AcqRel) && !running.hand.is_led
        })
    }
}
