//! Which chunk a worker is given, and how many workers would be of use: what pools and fan-outs leave open.

use std::collections::BTreeSet;
use std::sync::Arc;

use flowstone_core::pool::Slots;
use flowstone_core::run::{Decision, RunEffect, RunEvent, RunState};

use super::{Claimed, Core, Hand, LiveRun, Moment, Running, Stage};
use crate::engine::Shared;
use crate::lanes::{Lane, Lanes};
use crate::pools::Table;
use crate::run_actor::RunMessage;

impl LiveRun {
    /// Claims a chunk of an asset whose slots can be had, and takes them.
    pub(super) fn claim(
        &self,
        core: &mut Core,
        decision: &mut Decision,
        hand: &Arc<Hand>,
        moment: Moment,
    ) -> Option<Claimed> {
        if self.slots.is_empty() {
            core.machine.close(self.led_enough(core));
            return self.claim_any(core, decision, hand, moment);
        }
        let mut table = self.shared.pools.lock();
        let waited_for = self.close_lanes(core, &mut table);
        let claimed = self.claim_any(core, decision, hand, moment);
        let lane = claimed.as_ref().map(|claimed| claimed.work.id.lane);
        // Who could have had its slots and took something else lets the others pass.
        table.pass(|(run, other)| run == self.run && Some(other) != lane && !waited_for.contains(&other));
        if let Some(work) = claimed.as_ref().map(|claimed| &claimed.work) {
            let slots = &self.slots[work.id.lane];
            if !slots.is_none() {
                let is_taken = table.pools.take((self.run, work.id.lane), slots);
                debug_assert!(is_taken, "a lane is open and its slots cannot be had");
                let lease = is_taken.then(|| self.shared.pools.lease(slots.clone()));
                if let Some(lease) = lease {
                    core.leases.insert(work.id, lease);
                }
            }
        }
        claimed
    }

    /// Closes the lanes whose slots cannot be had, and waits for them.
    fn close_lanes(&self, core: &mut Core, table: &mut Table) -> BTreeSet<usize> {
        let wanted = self.slots.iter().enumerate();
        let wanted: Vec<_> = wanted
            .filter(|(lane, slots)| !slots.is_none() && core.machine.has_ready(*lane))
            .collect();
        let closed = table.pools.refused(self.run, &wanted);
        let mut shut = self.led_enough(core);
        shut.extend(&closed);
        core.machine.close(shut);
        closed
    }

    /// Looks anew which lanes are closed.
    pub(super) fn reopen(&self, core: &mut Core) {
        if self.slots.is_empty() {
            core.machine.close(self.led_enough(core));
        } else {
            self.close_lanes(core, &mut self.shared.pools.lock());
        }
    }

    fn claim_any(&self, core: &mut Core, decision: &mut Decision, hand: &Arc<Hand>, moment: Moment) -> Option<Claimed> {
        let event = RunEvent::SlotFree {
            workers: self.in_flight_max,
        };
        let mut claimed = None;
        self.decide(core, event, moment.now, decision)?;
        let mut effects = std::mem::take(&mut decision.effects);
        for effect in effects.drain(..) {
            match effect {
                RunEffect::Start(work) => {
                    let is_led = self.fanning.contains(&work.id.lane);
                    let running = Running {
                        fence: work.fence,
                        hand: if is_led {
                            Arc::new(Hand::leading())
                        } else {
                            Arc::clone(hand)
                        },
                    };
                    if let Some(deadline) = self.lanes.get(work.id.lane).deadline() {
                        self.tell(core, RunMessage::LookAtDeadlinesAfter(deadline));
                    }
                    core.running.insert(work.id, running.clone());
                    claimed = Some(Claimed {
                        work,
                        running,
                        at: moment.at,
                        committed: None,
                        has_woken: false,
                    });
                }
                other => self.perform_one(core, &other),
            }
        }
        decision.effects = effects;
        claimed
    }

    /// How many workers would be of use besides those that work, at most as many as there are.
    pub(crate) fn wants(&self) -> usize {
        let mut core = self.core();
        core.has_nudged = false;
        let room = self.in_flight_max.saturating_sub(core.busy());
        if core.stage != Stage::Going || room == 0 || core.machine.state() != RunState::Running {
            self.want_no_slots();
            return 0;
        }
        self.reopen(&mut core);
        if !self.slots.is_empty() {
            let mut table = self.shared.pools.lock();
            table.pass(|(run, lane)| run == self.run && !core.machine.has_ready(lane));
        }
        let for_items = self.wanted_for_items(&core, room);
        (for_items + core.machine.wants(self.in_flight_max)).min(room)
    }

    /// Lets others have the slots that this run waits for.
    pub(crate) fn want_no_slots(&self) {
        if !self.slots.is_empty() {
            self.shared.pools.forget(self.run);
        }
    }
}

/// What a step of each lane takes; empty when none takes anything.
pub(super) fn slots_of(lanes: &Lanes, shared: &Shared) -> Vec<Slots> {
    let uses = |lane: &Lane| lane.node().slot_uses();
    if lanes.iter().all(|lane| uses(lane).is_empty()) {
        return Vec::new();
    }
    let table = shared.pools.lock();
    lanes.iter().map(|lane| table.pools.slots(&uses(lane))).collect()
}
