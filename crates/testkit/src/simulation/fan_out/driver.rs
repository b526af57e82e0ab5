//! Plays one seed: draws what happens next, tells the machine, and checks.

use std::collections::{BTreeMap, VecDeque};

use flowstone_core::fan_out::{
    BarrierState, FanOutEffect, FanOutEvent, FanOutMachine, ItemChunk, ItemEnd, ItemEnded, ItemPage,
};
use flowstone_core::partition::PartitionSet;
use flowstone_core::reader::Cursor;
use flowstone_core::store::{Lead, Record};
use flowstone_core::{Error, ErrorKind, FanOutId};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::case::{Case, Fault, key_of};
use super::model::{End, Model, Rate};
use super::planted::{Doctor, FanOutBug, entry};
use super::session::{Late, Session, Work};
use super::step::{LeadingStep, Led};
use crate::Draw;
use crate::simulation::broken::{broken, hold, must};
use crate::simulation::world::World;
use crate::simulation::{Promise, Tally};
use crate::sketch::now;

/// How often a fan-out is opened: at first, and by redrives.
const EPOCHS: u32 = 3;
/// An epoch that takes more events never ends.
const EVENTS_MAX: usize = 20_000;

/// What may happen next.
#[derive(Debug, Clone, Copy)]
enum Action {
    Read,
    NewWorker,
    Work(u64, Work),
    Flush,
    Tick,
}

/// A fan-out with everything around it.
pub(super) struct Driver<'a> {
    pub(super) case: &'a Case,
    pub(super) world: &'a World,
    pub(super) doctor: &'a Doctor,
    pub(super) draw: Draw,
    pub(super) now: Timestamp,
    pub(super) fan_out: FanOutId,
    pub(super) lead: Lead,
    /// The step of that run, and whether a process may have died of it before.
    pub(super) step: LeadingStep,
    pub(super) awaits_claims: bool,
    pub(super) machine: FanOutMachine,
    /// What the process knows, and what is on disk.
    pub(super) live: Model,
    pub(super) durable: Model,
    /// How far the reader got.
    pub(super) cursor: Option<Cursor>,
    pub(super) queue: VecDeque<Vec<Record>>,
    /// How many entries were queued, and how many of them are on disk.
    pub(super) queued: u64,
    pub(super) flushed: u64,
    pub(super) sessions: BTreeMap<u64, Session>,
    next_session: u64,
    pub(super) batch_starts: PartitionSet,
    pub(super) epoch: u32,
    /// By key: how often it was begun, and killed, in this epoch.
    pub(super) begun: BTreeMap<u64, u32>,
    pub(super) kills: BTreeMap<u64, u32>,
    /// By item: the deaths that it was in flight at.
    pub(super) deaths: BTreeMap<u64, u32>,
    /// Deaths that nobody need remember.
    pub(super) pardoned: u32,
    /// Deaths on the account of the step, those that it brought about, and how often it opened the source, in this epoch.
    pub(super) lead_deaths: u32,
    pub(super) lead_kills: u32,
    pub(super) openings: u32,
    /// The step has died too often: nothing happens before the next epoch.
    pub(super) is_quarantined: bool,
    pub(super) late: Vec<Late>,
    pub(super) ghosts: Vec<Record>,
    pub(super) rate: Rate,
    /// How often it was said to be over, since it was last taken up.
    pub(super) overs: u32,
    struck: usize,
    pub(super) events: usize,
    pub(super) crashes: usize,
    trace: &'a mut Option<String>,
}

impl<'a> Driver<'a> {
    pub(super) fn new(case: &'a Case, world: &'a World, doctor: &'a Doctor, trace: &'a mut Option<String>) -> Self {
        let fan_out = FanOutId(Uuid::from_u64_pair(7, case.seed));
        let (step, Led { lead, awaits_claims }) = LeadingStep::create(world, 1, case.seed);
        let coordinator = doctor.coordinator(case.options.failure);
        let model = Model::new(case.options.clone());
        Self {
            case,
            world,
            doctor,
            draw: Draw::of(&[case.seed, 41]),
            now: now(),
            fan_out,
            lead,
            step,
            awaits_claims,
            machine: FanOutMachine::new(fan_out, lead, case.options.clone(), coordinator),
            live: model.clone(),
            durable: model,
            cursor: None,
            queue: VecDeque::new(),
            queued: 0,
            flushed: 0,
            sessions: BTreeMap::new(),
            next_session: 0,
            batch_starts: PartitionSet::new(),
            epoch: 1,
            begun: BTreeMap::new(),
            kills: BTreeMap::new(),
            deaths: BTreeMap::new(),
            pardoned: 0,
            lead_deaths: 0,
            lead_kills: 0,
            openings: 0,
            is_quarantined: false,
            late: Vec::new(),
            ghosts: Vec::new(),
            rate: Rate::default(),
            overs: 0,
            struck: 0,
            events: 0,
            crashes: 0,
            trace,
        }
    }

    pub(super) fn play(mut self) -> Tally {
        self.open();
        loop {
            self.lead();
            if self.draw.chance(300) && !self.is_quarantined {
                self.crash(100);
                self.lead();
            }
            if self.epoch == EPOCHS {
                break;
            }
            self.redrive();
        }
        Tally {
            seeds: 1,
            runs: self.epoch.into(),
            events: self.events as u64,
            crashes: self.crashes as u64,
        }
    }

    /// Drives it to its end, and gathers it.
    fn lead(&mut self) {
        self.drive();
        while !self.is_quarantined && self.case.gathering_kills(self.epoch) && self.machine.state().is_open() {
            self.say(|| "it is gathered, and that kills".to_owned());
            self.lead_dies();
            self.drive();
        }
        self.check_rest();
    }

    /// Adds a line to the trace.
    pub(super) fn say(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut *self.trace {
            trace.push_str(&line());
            trace.push('\n');
        }
    }

    /// Lets things happen until it is over and on disk.
    fn drive(&mut self) {
        let last = self.events + EVENTS_MAX;
        while !(self.is_quarantined || self.machine.is_over() && self.queue.is_empty()) {
            self.events += 1;
            self.now = self.after(SignedDuration::from_millis(self.events as i64 % 3));
            self.strike();
            if self.is_quarantined {
                return;
            }
            self.check();
            let mut actions = self.actions();
            if actions.is_empty() {
                if self.machine.is_over() && self.queue.is_empty() {
                    break;
                }
                let counts = self.machine.counts();
                broken(Promise::P17, format!("nothing happens any more: {counts:?}"));
            }
            hold!(Rest, self.events < last, "it never ends: {:?}", self.machine.counts());
            let chosen = self.draw.below(actions.len());
            self.act(actions.swap_remove(chosen));
            if !self.is_quarantined {
                self.check();
            }
        }
    }

    fn after(&self, time: SignedDuration) -> Timestamp {
        self.now.saturating_add(time).unwrap_or(Timestamp::MAX)
    }

    fn actions(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        if !self.queue.is_empty() {
            actions.push(Action::Flush);
        }
        if self.machine.is_over() {
            return actions;
        }
        if self.machine.state() == BarrierState::Filling && self.machine.to_read().is_some() {
            actions.push(Action::Read);
        }
        let free = self.case.workers.saturating_sub(self.sessions.len());
        if free > 0 && self.machine.wants(free, self.now) > 0 {
            actions.push(Action::NewWorker);
        }
        for (id, session) in &self.sessions {
            actions.extend(self.works(*id, session).into_iter().map(|work| Action::Work(*id, work)));
        }
        if self.machine.wake_at(self.now).is_some() {
            actions.push(Action::Tick);
        }
        actions
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Read => self.read(),
            Action::NewWorker => {
                let id = self.next_session;
                self.next_session += 1;
                self.sessions.insert(id, Session::default());
                self.ask(id);
            }
            Action::Work(id, work) => self.work(id, work),
            Action::Flush => {
                let count = 1 + self.draw.below(self.queue.len());
                self.flush(count);
            }
            Action::Tick => {
                self.now = self.machine.wake_at(self.now).unwrap_or(self.now).max(self.now);
                self.tell(FanOutEvent::RetriesDue);
            }
        }
    }

    /// Tells the machine and performs what follows; gives the claim, if there is one.
    pub(super) fn tell(&mut self, event: FanOutEvent) -> Option<ItemChunk> {
        let event = self.doctor.told(event)?;
        let what = format!("{event:?}");
        let effects = must(self.machine.apply(event, self.now), &what);
        self.perform(effects)
    }

    pub(super) fn perform(&mut self, effects: Vec<FanOutEffect>) -> Option<ItemChunk> {
        let mut started = None;
        for effect in effects {
            match effect {
                FanOutEffect::Commit(progress) => {
                    for failure in &progress.failed {
                        if failure.error.kind == ErrorKind::Quarantined {
                            self.found_out(failure.item);
                        }
                    }
                    for progress in self.doctor.queued(*progress) {
                        self.enqueue(entry(progress));
                    }
                }
                FanOutEffect::Start(chunk) => started = Some(chunk),
                FanOutEffect::Over(state) => {
                    self.say(|| format!("it is {state}"));
                    self.overs += 1;
                    let late: Vec<Late> = self.sessions.values().flat_map(Session::late).collect();
                    self.late.extend(late);
                    self.sessions.clear();
                }
                FanOutEffect::WakeAt(_) | FanOutEffect::StopAll => {}
            }
        }
        started
    }

    pub(super) fn enqueue(&mut self, records: Vec<Record>) {
        self.queue.push_back(records);
        self.queued += 1;
    }

    /// The machine says that an item has killed its process too often.
    fn found_out(&mut self, item: u64) {
        let deaths = self.deaths.get(&item).copied().unwrap_or(0);
        hold!(P11, deaths >= 3, "item {item} is quarantined after {deaths} deaths");
        let is_killer = self.case.is_killer(self.live.keys[item as usize]);
        hold!(
            P11,
            is_killer || !self.case.only_killers_kill(),
            "item {item} is quarantined for what its neighbor did"
        );
        self.live.end(item, End::Quarantined);
    }

    fn read(&mut self) {
        let asked = self.machine.to_read().unwrap_or_default();
        if asked == 0 {
            self.say(|| "enough is read".to_owned());
            self.live.has_enough = true;
            self.tell(FanOutEvent::EnoughRead);
            return;
        }
        let (mut items, next) = self.case.read(self.cursor.as_ref(), asked);
        self.machine.keep_new(&mut items);
        self.say(|| format!("a page of {items:?}, and then {next:?}"));
        let first = self.machine.counts().total;
        self.live.keys.extend(items.iter().map(key_of));
        self.live.has_read_all = next.is_none();
        self.cursor.clone_from(&next);
        let page = match self.case.batch_len {
            None => ItemPage::new(first, items),
            Some(len) => {
                let places: Vec<usize> = (0..items.len()).collect();
                let batches: Vec<Vec<usize>> = places.chunks(len).map(<[usize]>::to_vec).collect();
                must(ItemPage::in_batches(first, items, &batches), "the batches are refused")
            }
        };
        self.batch_starts.union_with(&page.batch_starts);
        self.tell(FanOutEvent::PageRead { page, next });
    }

    /// What goes wrong by now.
    fn strike(&mut self) {
        while let Some((_, fault)) = self.case.faults.get(self.struck).filter(|(at, _)| *at <= self.events) {
            self.struck += 1;
            if self.is_quarantined {
                continue;
            }
            let one = self
                .sessions
                .keys()
                .nth(self.draw.below(self.sessions.len().max(1)))
                .copied();
            match (fault, one) {
                (Fault::Crash(share), _) => {
                    self.pardoned += 3;
                    self.crash(*share);
                }
                (Fault::LateReport, _) => self.let_late_arrive(),
                _ if self.machine.is_over() => {}
                (Fault::WorkerDies, Some(id)) => self.worker_dies(id),
                (Fault::WorkerLeaves, Some(id)) => {
                    self.say(|| format!("worker {id} is wanted elsewhere"));
                    self.sessions.get_mut(&id).expect("it is there").leave();
                }
                (Fault::WorkerDies | Fault::WorkerLeaves, None) => {}
                (Fault::Set(change), _) => {
                    self.say(|| format!("{change:?}"));
                    if change.rate_limit.is_some() {
                        self.rate.change();
                    }
                    self.live.options = self.live.options.changed(change);
                    self.tell(FanOutEvent::OptionsSet(change.clone()));
                }
                (Fault::SourceFails, _) if self.machine.state() == BarrierState::Filling => {
                    self.live.forced = Some(BarrierState::Failed);
                    self.tell(FanOutEvent::Failed(Error::permanent("the source is gone").to_record()));
                }
                (Fault::SourceFails, _) => {}
                (Fault::Cancel, _) => {
                    self.live.forced = Some(BarrierState::Cancelled);
                    self.tell(FanOutEvent::CancelAsked);
                }
            }
        }
    }

    /// Who was replaced reports, and what a dead process had under way arrives: nothing moves.
    fn let_late_arrive(&mut self) {
        if !self.late.is_empty() {
            let chosen = self.draw.below(self.late.len());
            let mut late = self.late[chosen];
            if self.doctor.has(FanOutBug::LateReportTaken) {
                let mut holders = self.sessions.values().flat_map(|session| &session.claims);
                if let Some(held) = holders.find(|held| held.left.contains(late.item)) {
                    (late.chunk, late.fence) = (held.chunk.chunk, held.chunk.fence);
                }
            }
            self.say(|| format!("late: {late:?}"));
            let ended = ItemEnded {
                index: late.item,
                attempt: 1,
                end: ItemEnd::Skipped("found late".to_owned()),
                key: String::new(),
            };
            let event = FanOutEvent::ItemsEnded {
                chunk: late.chunk,
                fence: late.fence,
                ended: vec![ended],
            };
            match self.machine.apply(event, self.now) {
                Ok(_) => broken(Promise::P9, format!("a late report is taken: {late:?}")),
                Err(error) => {
                    let is_refused = matches!(error.kind(), ErrorKind::Fenced | ErrorKind::IllegalTransition);
                    hold!(P9, is_refused, "a late report gets {error}");
                }
            }
        }
        if !self.ghosts.is_empty() {
            let chosen = self.draw.below(self.ghosts.len());
            let ghost = self.ghosts.swap_remove(chosen);
            self.refuse_ghost(&ghost);
        }
    }
}
