//! The fan-outs of a run: which workers come to their items, and how many of its steps may fan out at a time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use flowstone_core::fan_out::SessionId;
use flowstone_core::run::{ChunkId, RunEvent, RunState};
use flowstone_core::{Error, FanOutId};

use super::{Core, LiveRun, Stage};
use crate::dispatcher::DispatcherMessage;
use crate::fan_out::{LiveFanOut, Session};
use crate::run_actor::RunMessage;

/// A fan-out that workers may come to.
pub(crate) struct Enlisted {
    live: Arc<LiveRun>,
    fan_out: FanOutId,
}

impl Drop for Enlisted {
    fn drop(&mut self) {
        self.live.shared.fan_outs.remove(self.fan_out);
        let mut core = self.live.core();
        core.fan_outs.retain(|fan_out| fan_out.fan_out != self.fan_out);
    }
}

impl LiveRun {
    /// A session at the fan-out whose items go first, of those that want a worker.
    pub(super) fn session(&self, core: &mut Core, given_up: &Arc<AtomicBool>) -> Option<Session> {
        if core.fan_outs.is_empty() || core.machine.state() != RunState::Running {
            return None;
        }
        let wanting = core.fan_outs.iter().filter(|fan_out| fan_out.wants(1) > 0);
        let fan_out = Arc::clone(wanting.max_by_key(|fan_out| fan_out.rank())?);
        core.at_items += 1;
        let id = SessionId(self.sessions.fetch_add(1, Ordering::Relaxed) + 1);
        Some(Session::new(fan_out, id, self.in_flight_max, given_up))
    }

    /// The step of a chunk that fanned out has ended, in this way.
    pub(crate) async fn led(&self, chunk: ChunkId, event: RunEvent) {
        let Ok(permit) = self.shared.ledger.permit().await else {
            return;
        };
        let mut core = self.core();
        core.running.remove(chunk);
        core.leases.remove(chunk);
        self.reopen(&mut core);
        self.apply(&mut core, event, permit);
        if core.stage == Stage::Draining {
            // The actor looks whether anything is left.
            self.tell(&mut core, RunMessage::Left);
        }
    }

    /// Lets workers come to the items of a fan-out, until what is given back is dropped.
    pub(crate) fn enlist(self: &Arc<Self>, fan_out: &Arc<LiveFanOut>) -> Enlisted {
        self.shared.fan_outs.add(fan_out);
        self.core().fan_outs.push(Arc::clone(fan_out));
        Enlisted {
            live: Arc::clone(self),
            fan_out: fan_out.fan_out,
        }
    }

    /// Lets the actor ask for workers when items wait for them.
    pub(crate) fn nudge_for_items(&self) {
        let mut core = self.core();
        self.nudge(&mut core);
    }

    /// True while a worker at items may take more of them. The lead of a fan-out is nowhere else wanted.
    pub(crate) fn may_take_items(&self, is_worker: bool) -> bool {
        !self.holds_back.load(Ordering::Relaxed)
            && (!is_worker || self.shared.dispatcher.may_keep(self.run, self.priority))
    }

    /// True when somebody has asked for the end of the run.
    pub(crate) fn is_cancelling(&self) -> bool {
        self.core().machine.state() == RunState::Cancelling
    }

    /// A worker at items was given up: another takes its place.
    pub(crate) fn replace_worker_at_items(&self) {
        self.left_items();
        drop(self.shared.dispatcher.actor.cast(DispatcherMessage::Replace));
    }

    /// A worker at items is gone.
    pub(crate) fn left_items(&self) {
        let mut core = self.core();
        core.at_items = core.at_items.saturating_sub(1);
    }

    /// Tells the actor that its view of the run is wrong.
    pub(crate) fn refuse(&self, error: Error) {
        let mut core = self.core();
        self.tell(&mut core, RunMessage::Refused(error));
    }

    /// The lanes of which no more steps may fan out for now.
    pub(super) fn led_enough(&self, core: &Core) -> BTreeSet<usize> {
        if self.fanning.is_empty() || core.led() < self.in_flight_max {
            return BTreeSet::new();
        }
        self.fanning.clone()
    }

    /// How many workers the items of fan-outs want, at most `count_max`.
    pub(super) fn wanted_for_items(&self, core: &Core, count_max: usize) -> usize {
        if core.machine.state() != RunState::Running {
            return 0;
        }
        let wants = core.fan_outs.iter().map(|fan_out| fan_out.wants(count_max));
        wants.sum::<usize>().min(count_max)
    }
}
