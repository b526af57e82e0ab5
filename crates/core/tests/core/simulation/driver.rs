//! Drives one run to its end: workers, the disk, the clock and their accidents, in an order drawn from the seed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use flowstone_core::RunId;
use flowstone_core::memory::MemoryStore;
use flowstone_core::plan::RunPlan;
use flowstone_core::run::{RunEffect, RunEvent, RunMachine, RunState};
use flowstone_core::store::Record;
use jiff::Timestamp;

use super::case::Case;
use super::ledger::{Ledger, RunLog};
use super::worker::Worker;
use crate::draw::Draw;
use crate::sketch::{Key, now};

/// More events than any run of this size needs; a run that takes more never comes to rest.
const EVENTS_MAX: usize = 60_000;

/// One run on its way.
pub(super) struct Driver<'a> {
    pub(super) case: &'a Case,
    pub(super) store: &'a MemoryStore,
    pub(super) run: RunId,
    pub(super) run_number: u64,
    pub(super) plan: &'a RunPlan,
    pub(super) steps_planned: u64,
    pub(super) machine: RunMachine,
    /// The ledger when the run was planned.
    pub(super) before: Ledger,
    /// The ledger as it is on disk.
    pub(super) ledger: Ledger,
    /// What the machine has said, on disk or not.
    pub(super) live: RunLog,
    /// What of it is on disk.
    pub(super) durable: RunLog,
    /// What each step that runs, or ran last, has read: asset, partition, version.
    pub(super) read: BTreeMap<Key, BTreeSet<(usize, u64, u64)>>,
    /// How often each step was begun.
    pub(super) begun: BTreeMap<Key, u32>,
    /// For each step, whether it was by itself at each death that it was in flight at.
    pub(super) deaths: BTreeMap<Key, Vec<bool>>,
    /// What happened, if anybody wants to know.
    pub(super) trace: Option<String>,
    pub(super) kills: usize,
    pub(super) crashes: usize,
    pub(super) draw: Draw,
    pub(super) now: Timestamp,
    pub(super) wake: Option<Timestamp>,
    pub(super) queue: VecDeque<Vec<Record>>,
    pub(super) queued: u64,
    pub(super) flushed: u64,
    pub(super) workers: Vec<Option<Worker>>,
    pub(super) slots: BTreeSet<(Key, u64, u32)>,
    pub(super) late: Vec<RunEvent>,
    pub(super) has_ended: bool,
    /// It was found being cancelled after a crash.
    pub(super) was_given_up: bool,
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Flush,
    Offer,
    Begin(usize),
    End(usize),
    Report(usize),
    Wake,
    Cancel,
    Kill,
    SendLate,
}

impl<'a> Driver<'a> {
    pub(super) fn new(
        case: &'a Case,
        store: &'a MemoryStore,
        (run, run_number): (RunId, u64),
        plan: &'a RunPlan,
        ledger: Ledger,
        mut draw: Draw,
    ) -> Self {
        let machine = RunMachine::new(run, plan, case.graph(), &case.ids).expect("the plan fits the graph");
        let workers = 1 + draw.below(4);
        let assets = case.ids.len();
        Self {
            case,
            store,
            run,
            run_number,
            plan,
            steps_planned: plan.steps(),
            machine,
            before: ledger.clone(),
            ledger,
            live: RunLog::new(assets),
            durable: RunLog::new(assets),
            read: BTreeMap::new(),
            begun: BTreeMap::new(),
            deaths: BTreeMap::new(),
            trace: None,
            kills: 0,
            crashes: 0,
            draw,
            now: now(),
            wake: None,
            queue: VecDeque::new(),
            queued: 0,
            flushed: 0,
            workers: std::iter::repeat_with(|| None).take(workers).collect(),
            slots: BTreeSet::new(),
            late: Vec::new(),
            has_ended: false,
            was_given_up: false,
        }
    }

    /// Lets things happen until the run is over and everything is on disk.
    pub(super) fn drive(&mut self) {
        let effects = self.machine.conclude(self.now).expect("a new run may be concluded");
        self.perform(effects, None);
        for number in 0..EVENTS_MAX {
            if self.was_given_up {
                return;
            }
            if self.machine.is_over() {
                assert!(self.has_ended, "the run is over and nobody was told");
                // Sometimes the end itself is lost.
                if self.kills < self.case.weather.kills_max && self.draw.chance(200) {
                    self.kills += 1;
                    self.crash("kill");
                    continue;
                }
                self.flush(usize::MAX);
                return;
            }
            let act = self.choose();
            self.act(act);
            if !self.was_given_up {
                self.check_counts();
                if number % 16 == 0 {
                    self.check_sets();
                }
            }
        }
        panic!("the run does not come to rest: {:?}", self.machine.counts());
    }

    fn choose(&mut self) -> Act {
        let mut acts = Vec::new();
        if !self.queue.is_empty() {
            acts.push(Act::Flush);
        }
        if self.workers.iter().any(Option::is_none) {
            acts.extend([Act::Offer; 2]);
        }
        for (number, worker) in self.workers.iter().enumerate() {
            let Some(worker) = worker else { continue };
            match worker.current {
                Some(_) => acts.extend([Act::End(number); 3]),
                None if worker.left.is_empty() => acts.push(Act::Report(number)),
                None => {
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
        if !self.late.is_empty() && self.draw.chance(100) {
            acts.push(Act::SendLate);
        }
        let weather = &self.case.weather;
        if weather.cancel > 0 && self.draw.chance(weather.cancel) {
            acts.push(Act::Cancel);
        }
        if self.kills < weather.kills_max && self.draw.chance(60) {
            acts.push(Act::Kill);
        }
        assert!(
            !acts.is_empty(),
            "nothing can happen and the run is not over: {:?}",
            self.machine.counts()
        );
        *self.draw.pick(&acts)
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Flush => {
                let count = 1 + self.draw.below(4);
                self.flush(count);
            }
            Act::Offer => self.offer(),
            Act::Begin(number) => self.begin(number),
            Act::End(number) => self.end(number),
            Act::Report(number) => self.report(number),
            Act::Wake => {
                let due = self.wake.take().expect("only offered when set");
                if self.draw.chance(900) {
                    self.now = self.now.max(due);
                }
                self.tell(RunEvent::RetriesDue);
                assert!(
                    self.now < due || self.wake.is_none_or(|next| next > self.now),
                    "a due retry is put off"
                );
            }
            Act::Cancel => self.tell(RunEvent::CancelAsked),
            Act::Kill => {
                self.kills += 1;
                self.crash("kill");
            }
            Act::SendLate => self.send_late(),
        }
    }

    fn offer(&mut self) {
        let wanted = self.machine.wants(self.workers.len());
        let slot = self
            .workers
            .iter()
            .position(Option::is_none)
            .expect("only offered with a free worker");
        let effects = self.apply(RunEvent::SlotFree {
            workers: self.workers.len(),
        });
        let starts = effects
            .iter()
            .filter(|effect| matches!(effect, RunEffect::Start(_)))
            .count();
        assert_eq!(starts, wanted.min(1), "what is wanted is what is given");
        self.perform(effects, Some(slot));
    }

    pub(super) fn tell(&mut self, event: RunEvent) {
        let effects = self.apply(event);
        self.perform(effects, None);
    }

    fn apply(&mut self, event: RunEvent) -> Vec<RunEffect> {
        self.tell_tale(|| format!("{event:?}"));
        let effects = self.machine.apply(event, self.now).expect("the event fits");
        self.tell_tale(|| format!("  {effects:?}"));
        effects
    }

    pub(super) fn tell_tale(&mut self, tale: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push_str(&tale());
            trace.push('\n');
        }
    }

    pub(super) fn perform(&mut self, effects: Vec<RunEffect>, slot: Option<usize>) {
        for effect in effects {
            assert!(!self.has_ended, "something follows the end: {effect:?}");
            match effect {
                RunEffect::Commit(records) => {
                    for record in &records {
                        self.check_record(record);
                        self.live.note(record, self.case, &self.before);
                    }
                    self.queued += 1;
                    self.queue.push_back(records);
                }
                RunEffect::Start(work) => {
                    self.check_start(&work);
                    let starts_after = if work.after_commit { self.queued } else { 0 };
                    let slot = slot.expect("only a free worker is given work");
                    self.workers[slot] = Some(Worker::new(work, starts_after));
                }
                RunEffect::WakeAt(at) => self.wake = Some(at),
                RunEffect::StopAll => self.stop_all(),
                RunEffect::Ended(state) => {
                    assert_eq!(state, self.machine.state());
                    assert!(state.is_terminal());
                    self.has_ended = true;
                }
            }
        }
    }

    /// The place in the sketch of the asset in a lane.
    pub(super) fn asset_of(&self, lane: usize) -> usize {
        self.case.place_of(self.plan.assets[lane].id)
    }

    pub(super) fn is_cancelling(&self) -> bool {
        self.live.state == RunState::Cancelling
    }
}
