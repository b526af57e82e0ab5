//! The way to the disk, deaths of the process, and who takes the fan-out up.

use std::sync::Arc;

use flowstone_core::ErrorKind;
use flowstone_core::fan_out::{BarrierState, FanOutMachine, ItemPage, RecordedFanOut, TakeUp};
use flowstone_core::partition::PartitionSet;
use flowstone_core::store::{FanOutFilter, FanOutOpened, FanOutRow, Record, Store};

use super::driver::Driver;
use super::model::{Model, hold_keys};
use super::planted::FanOutBug;
use super::session::{Late, Session};
use super::step::{LeadingStep, Led};
use crate::simulation::Promise;
use crate::simulation::broken::{broken, hold, hold_eq, must};
use crate::simulation::world::World;

/// More failures than any seed has.
pub(super) const FAILURES_MAX: usize = 10_000;

pub(super) fn commit(world: &World, records: &[Record]) {
    let store = world.store();
    for (record, verdict) in records.iter().zip(world.ask(store.commit(records))) {
        must(verdict, &format!("the store refuses {record:?}"));
    }
}

impl Driver<'_> {
    /// Opens the fan-out for the first time.
    pub(super) fn open(&mut self) {
        if self.dies_opening() {
            return;
        }
        // What runs ahead of the disk kills on the account of the step, once.
        self.pardoned += u32::from(!self.awaits_claims);
        let awaits_claims = self.awaits_claims && !self.doctor.has(FanOutBug::RunsAheadAgain);
        let options = self.case.options.clone();
        let coordinator = self.doctor.coordinator(options.failure);
        self.machine = FanOutMachine::new(self.fan_out, self.lead, options.clone(), coordinator);
        if awaits_claims {
            self.machine.await_claims();
        }
        self.live = Model::new(options.clone());
        self.durable = self.live.clone();
        self.cursor = None;
        self.batch_starts = PartitionSet::new();
        self.enqueue(vec![Record::FanOutOpened(Box::new(FanOutOpened {
            lead: self.lead,
            fan_out: self.fan_out,
            partition: 0,
            parent: None,
            options,
            shared: None,
            at: self.now,
        }))]);
    }

    /// Commits up to `count` entries as one group.
    pub(super) fn flush(&mut self, count: usize) {
        let count = count.min(self.queue.len());
        let group: Vec<Record> = self.queue.drain(..count).flatten().collect();
        if group.is_empty() {
            return;
        }
        self.say(|| format!("commit of {count} entries"));
        commit(self.world, &group);
        for record in &group {
            self.durable.note(record);
        }
        self.flushed += count as u64;
        hold_keys(&self.durable.keys, &self.case.keys(), self.durable.has_read_all);
        if self.queue.is_empty() {
            hold_eq!(P8, self.durable.in_the_end(), self.live.in_the_end(), "what is on disk");
        }
    }

    /// The process dies; `share` in a hundred of what is queued got to disk.
    pub(super) fn crash(&mut self, share: usize) {
        self.flush(self.queue.len() * share / 100);
        self.say(|| "the process dies".to_owned());
        self.crashes += 1;
        let late: Vec<Late> = self.sessions.values().flat_map(Session::late).collect();
        self.late.extend(late);
        let dropped = self.queue.drain(..).flatten();
        self.ghosts
            .extend(dropped.filter(|record| matches!(record, Record::FanOutProgress(_))));
        self.sessions.clear();
        self.flushed = self.queued;
        self.world.reopen();
        let mut is_of_items = false;
        for claim in self.world.ask(self.world.store().item_claims(self.fan_out)) {
            let in_flight = claim.items.iter().filter(|_| claim.is_held);
            for item in in_flight.filter(|item| !self.durable.ended.contains_key(item)) {
                is_of_items = true;
                *self.deaths.entry(item).or_default() += 1;
            }
        }
        self.lead_deaths += u32::from(!is_of_items);
        let deaths = self.lead_deaths;
        match self.step.take_up(self.world, self.doctor, self.now) {
            Some(Led { lead, awaits_claims }) => {
                hold!(P11, deaths < 3, "the step has died {deaths} times and goes on");
                (self.lead, self.awaits_claims) = (lead, awaits_claims);
                self.take_up();
            }
            None => {
                hold!(P11, deaths >= 3, "the step is quarantined after {deaths} deaths");
                self.say(|| "the step is quarantined".to_owned());
                self.is_quarantined = true;
                self.live = self.durable.clone();
            }
        }
        if !self.is_quarantined {
            self.check();
        }
    }

    /// Opens the source of the items; true when that killed the process.
    fn dies_opening(&mut self) -> bool {
        self.openings += 1;
        let kills = self.case.opening_kills(self.epoch, self.openings);
        if kills {
            self.say(|| "the source is opened, and kills".to_owned());
            self.lead_dies();
        }
        kills
    }

    /// The step kills its process. It may not do so for ever.
    pub(super) fn lead_dies(&mut self) {
        self.lead_kills += 1;
        let kills = self.lead_kills;
        hold!(P11, kills <= 3, "the step kills for the {kills}th time");
        let share = self.draw.below(101);
        self.crash(share);
    }

    /// Another run tries again what did not succeed.
    pub(super) fn redrive(&mut self) {
        self.epoch += 1;
        self.say(|| "redrive".to_owned());
        self.begun.clear();
        self.kills.clear();
        self.deaths.clear();
        self.pardoned = 0;
        (self.lead_deaths, self.lead_kills, self.openings) = (0, 0, 0);
        self.is_quarantined = false;
        let (step, led) = LeadingStep::create(self.world, self.epoch.into(), self.case.seed);
        self.step = step;
        (self.lead, self.awaits_claims) = (led.lead, led.awaits_claims);
        self.take_up();
        self.check();
    }

    /// Goes on with what is on disk.
    fn take_up(&mut self) {
        self.overs = 0;
        self.live = self.durable.clone();
        let filter = FanOutFilter::One(self.fan_out);
        // Nobody holds the store when the process dies.
        let row = self.world.ask(self.world.store().fan_outs(filter)).pop();
        let Some(row) = row else {
            return self.open();
        };
        let recorded = self.read_back(row);
        self.cursor.clone_from(&recorded.row.cursor);
        self.batch_starts = recorded
            .pages
            .iter()
            .fold(PartitionSet::new(), |all, page| all.union(&page.batch_starts));
        let effects = if TakeUp::of(&recorded.row, self.lead.run, 1) == TakeUp::Reopen {
            let recorded = self.doctor.ended(recorded);
            let options = self.case.options_of(self.epoch);
            let coordinator = self.doctor.coordinator(options.failure);
            let reopened = FanOutMachine::reopen(&recorded, self.lead, (options.clone(), coordinator), self.now);
            let (machine, reopened) = must(reopened, "it cannot be reopened");
            self.machine = machine;
            self.live.begin_epoch(reopened.is_sealed);
            self.live.options = options;
            self.enqueue(vec![Record::FanOutReopened(Box::new(reopened))]);
            must(self.machine.begin(self.now), "it cannot begin again")
        } else {
            let was_over = recorded.row.state.is_terminal();
            let recorded = self.doctor.recorded(recorded);
            let coordinator = self.doctor.coordinator(recorded.row.options.failure);
            let recovered = FanOutMachine::recover(&recorded, self.lead, coordinator, self.now);
            let (machine, effects) = must(recovered, "it cannot be recovered");
            self.machine = machine;
            hold!(
                P16,
                !was_over || effects.is_empty(),
                "it was over, and {effects:?} follow"
            );
            self.overs = u32::from(was_over);
            effects
        };
        if self.machine.remembers_keys() && !self.doctor.has(FanOutBug::KeysForgottenInCrash) {
            for key in &self.durable.keys {
                self.machine.remember(&format!("key {key}"));
            }
        }
        // The engine opens the source behind what follows from the death; a bug may do so before.
        let opens_first = self.doctor.has(FanOutBug::SourceOpenedFirst);
        let opens = self.machine.state() == BarrierState::Filling;
        if opens_first && opens && self.dies_opening() {
            return;
        }
        self.perform(effects);
        if !opens_first && opens {
            self.flush(self.queue.len());
            self.dies_opening();
        }
    }

    fn read_back(&self, row: FanOutRow) -> RecordedFanOut {
        let (store, fan_out) = (self.world.store(), self.fan_out);
        let claims = self.world.ask(store.item_claims(fan_out));
        let suspicious = RecordedFanOut::suspicious(&claims);
        let key = |item: u64| (item, format!("key {}", self.durable.keys[item as usize]));
        RecordedFanOut {
            pages: self.world.ask(store.item_pages(fan_out)),
            keys: suspicious.iter().map(key).collect(),
            claims,
            ends: self.world.ask(store.item_ends(fan_out)),
            failures: self.world.ask(store.item_failures(fan_out, 0, FAILURES_MAX)),
            row,
        }
    }

    /// What a dead process had under way arrives.
    pub(super) fn refuse_ghost(&mut self, ghost: &Record) {
        self.say(|| "of a dead process something arrives".to_owned());
        let store = self.world.store();
        match self.world.ask(store.commit(std::slice::from_ref(ghost))).pop() {
            Some(Err(error)) => hold!(P9, error.kind() == ErrorKind::Fenced, "a dead process gets {error}"),
            _ => broken(Promise::P9, format!("a dead process gets taken: {ghost:?}")),
        }
    }

    /// The pages as they are on disk.
    pub(super) fn stored_keys(&self) -> Vec<String> {
        let store: Arc<dyn Store> = self.world.store();
        let mut keys = Vec::new();
        for row in self.world.ask(store.item_pages(self.fan_out)) {
            let row = self.world.ask(store.item_page(self.fan_out, row.first));
            let Some(row) = row else {
                broken(Promise::Items, "a page is gone".to_owned());
            };
            let page = must(
                ItemPage::decode(row.first, row.batch_starts, &row.body),
                "a page cannot be read",
            );
            keys.extend(page.items.into_iter().map(|item| item.key));
        }
        keys
    }
}
