//! Drives one run to its end: workers, the disk, the clock and their accidents, in an order drawn from the seed.
//!
//! What happens next is chosen in `act`, the machine hears of it in `tell`.

mod act;
mod tell;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use flowstone_core::plan::RunPlan;
use flowstone_core::run::{Decision, RunEvent, RunMachine, RunState};
use flowstone_core::store::Record;
use flowstone_core::{Fence, RunId};
use jiff::{SignedDuration, Timestamp};

use super::broken::{broken, hold, must};
use super::case::{Case, Fate};
use super::fault::Fault;
use super::model::{Ledger, RunLog};
use super::planted::Doctor;
use super::pooling::Pooling;
use super::shelf::Shelf;
use super::worker::Worker;
use super::world::World;
use crate::Draw;
use crate::simulation::Promise;
use crate::sketch::{Key, now};

/// More events than any run of this size needs; a run that takes more never comes to rest.
const EVENTS_MAX: usize = 40_000;

/// What one run hands to the next of its seed.
#[derive(Debug, Clone, Default)]
pub(super) struct Legacy {
    /// The ledger as it is on disk.
    pub(super) ledger: Ledger,
    pub(super) shelf: Shelf,
    /// The last event that the store has told.
    pub(super) told: u64,
}

/// One run on its way.
pub(super) struct Driver<'a> {
    pub(super) case: &'a Case,
    pub(super) world: &'a World,
    pub(super) doctor: &'a Doctor,
    pub(super) run: RunId,
    pub(super) run_number: u64,
    pub(super) plan: &'a RunPlan,
    pub(super) steps_planned: u64,
    pub(super) machine: RunMachine,
    /// The ledger when the run was planned.
    pub(super) before: Ledger,
    /// The ledger as it is on disk.
    pub(super) ledger: Ledger,
    pub(super) told: u64,
    /// The values, those of earlier runs included.
    pub(super) shelf: Shelf,
    /// What the machine has said, on disk or not.
    pub(super) live: RunLog,
    /// What of it is on disk.
    pub(super) durable: RunLog,
    /// What each step that runs, or ran last, has read: asset, partition, version.
    pub(super) read: BTreeMap<Key, BTreeSet<(usize, u64, u64)>>,
    /// How often each step was begun.
    pub(super) begun: BTreeMap<Key, u32>,
    /// How each attempt ended, in truth.
    pub(super) fates: BTreeMap<(Key, u32), Fate>,
    /// For each step, whether it was by itself at each death that it was in flight at.
    pub(super) deaths: BTreeMap<Key, Vec<bool>>,
    /// What happened, if anybody wants to know.
    pub(super) trace: Option<String>,
    /// Faults that are still to come, with the event at which they strike.
    pub(super) faults: Vec<(usize, Fault)>,
    pub(super) kills: usize,
    pub(super) crashes: usize,
    /// Those of them that a step brought about.
    pub(super) poisonings: usize,
    pub(super) events: usize,
    pub(super) draw: Draw,
    pub(super) now: Timestamp,
    /// The latest time that there was; the clock may jump back.
    pub(super) latest: Timestamp,
    pub(super) wake: Option<Timestamp>,
    pub(super) queue: VecDeque<Vec<Record>>,
    pub(super) queued: u64,
    pub(super) flushed: u64,
    /// Messages on their way to the run.
    pub(super) post: Vec<RunEvent>,
    pub(super) workers: Vec<Option<Worker>>,
    pub(super) slots: BTreeSet<(Key, u64, u32)>,
    /// Under which chunks were given out, by whatever process.
    pub(super) fences: BTreeSet<Fence>,
    pub(super) pools: Pooling,
    /// What may run, if this is a redrive.
    pub(super) redriven: Option<BTreeSet<Key>>,
    /// For how many events a pause lasts.
    pub(super) paused_for: u8,
    pub(super) late: Vec<RunEvent>,
    /// How often the next commit fails.
    pub(super) commit_fails: u8,
    pub(super) ack_lost: bool,
    /// For how many events the store takes nothing.
    pub(super) slow_for: u8,
    /// The process dies before it performs so many effects.
    pub(super) dies_in: Option<u8>,
    /// What is on its way when the process dies arrives later.
    pub(super) arrives_late: bool,
    pub(super) ghost: Option<Vec<Record>>,
    pub(super) has_ended: bool,
    /// It was found being cancelled after a crash.
    pub(super) was_given_up: bool,
    /// It was found to have ended after a crash.
    pub(super) was_found_ended: bool,
}

impl<'a> Driver<'a> {
    pub(super) fn new(
        (case, world, doctor): (&'a Case, &'a World, &'a Doctor),
        (run, run_number): (RunId, u64),
        plan: &'a RunPlan,
        faults: Vec<(usize, Fault)>,
        legacy: Legacy,
        mut draw: Draw,
    ) -> Self {
        let machine = must(
            RunMachine::new(run, plan, case.graph(), &case.ids),
            "the run cannot be started",
        );
        let workers = 1 + draw.below(4);
        let assets = case.ids.len();
        Self {
            case,
            world,
            doctor,
            run,
            run_number,
            plan,
            steps_planned: plan.steps(),
            machine,
            before: legacy.ledger.clone(),
            ledger: legacy.ledger,
            told: legacy.told,
            shelf: legacy.shelf,
            live: RunLog::new(assets),
            durable: RunLog::new(assets),
            read: BTreeMap::new(),
            begun: BTreeMap::new(),
            fates: BTreeMap::new(),
            deaths: BTreeMap::new(),
            trace: None,
            faults,
            kills: 0,
            crashes: 0,
            poisonings: 0,
            events: 0,
            draw,
            now: now(),
            latest: now(),
            wake: None,
            queue: VecDeque::new(),
            queued: 0,
            flushed: 0,
            post: Vec::new(),
            workers: std::iter::repeat_with(|| None).take(workers).collect(),
            slots: BTreeSet::new(),
            fences: BTreeSet::new(),
            pools: Pooling::new(case, plan),
            redriven: None,
            paused_for: 0,
            late: Vec::new(),
            commit_fails: 0,
            ack_lost: false,
            slow_for: 0,
            dies_in: None,
            arrives_late: false,
            ghost: None,
            has_ended: false,
            was_given_up: false,
            was_found_ended: false,
        }
    }

    /// Lets things happen until the run is over and everything is on disk.
    pub(super) fn drive(&mut self) {
        let mut decision = Decision::default();
        must(
            self.machine.conclude(self.now, &mut decision),
            "a new run cannot be concluded",
        );
        self.perform(decision, None);
        while self.events < EVENTS_MAX {
            if self.was_given_up || self.was_found_ended {
                return;
            }
            if self.machine.is_over() {
                hold!(Rest, self.has_ended, "the run is over and nobody was told");
                if self.is_killed_at_end() {
                    continue;
                }
                self.flush(usize::MAX);
                if self.machine.is_over() && self.queue.is_empty() {
                    self.shelf.keep_promises();
                    return;
                }
                continue;
            }
            self.strike();
            if self.machine.is_over() || self.was_given_up || self.was_found_ended {
                continue;
            }
            let act = self.choose();
            self.act(act);
            self.latest = self.latest.max(self.now);
            self.events += 1;
            if !self.was_given_up && !self.was_found_ended {
                self.check_counts();
                self.pools.check(self.case, &self.live.open);
                if self.events.is_multiple_of(16) {
                    self.check_sets();
                }
            }
        }
        broken(
            Promise::Rest,
            format!("the run does not come to rest: {:?}", self.machine.counts()),
        );
    }

    /// What this run hands to the next.
    pub(super) fn legacy(self) -> Legacy {
        Legacy {
            ledger: self.ledger,
            shelf: self.shelf,
            told: self.told,
        }
    }

    fn is_killed_at_end(&mut self) -> bool {
        let at_end = self.faults.iter().position(|(_, fault)| *fault == Fault::KillAtEnd);
        let Some(place) = at_end else { return false };
        self.faults.remove(place);
        self.kill();
        true
    }

    /// Lets the faults come whose time it is.
    fn strike(&mut self) {
        let due = |(event, fault): &mut (usize, Fault)| *event <= self.events && *fault != Fault::KillAtEnd;
        let due: Vec<_> = self.faults.extract_if(.., due).collect();
        for (_, fault) in due {
            if self.was_given_up || self.was_found_ended {
                return;
            }
            self.tell_tale(|| format!("fault: {fault:?}"));
            match fault {
                Fault::Kill => self.kill(),
                Fault::KillBeforeEffect(count) => self.dies_in = Some(count),
                Fault::KillAndArriveLate => {
                    self.arrives_late = true;
                    self.kill();
                }
                Fault::KillAtEnd => {}
                Fault::CommitFails(times) => self.commit_fails = times,
                Fault::AckLost => self.ack_lost = true,
                Fault::StoreSlow(events) => self.slow_for = events,
                Fault::Cancel => self.post.push(RunEvent::CancelAsked),
                Fault::Pause(events) => {
                    self.paused_for = events;
                    self.post.push(RunEvent::PauseAsked);
                }
                Fault::ClockJumps(seconds) => {
                    let jump = SignedDuration::from_secs(seconds.into());
                    self.now = self.now.checked_add(jump).unwrap_or(self.now);
                }
            }
        }
    }

    fn kill(&mut self) {
        self.kills += 1;
        self.crash("kill");
    }

    /// The place in the sketch of the asset in a lane.
    pub(super) fn asset_of(&self, lane: usize) -> usize {
        self.case.place_of(self.plan.assets[lane].id)
    }

    pub(super) fn is_cancelling(&self) -> bool {
        self.live.state == RunState::Cancelling
    }
}
