//! What is left when the process dies, or when the run's actor does: what was committed, and nothing else.

use std::time::Duration;

use flowstone_core::Incarnation;
use flowstone_core::run::{Recorded, RunMachine, RunState, close_open};
use flowstone_core::store::{Record, RunRow};

use super::broken::{broken, hold, hold_eq, must};
use super::driver::Driver;
use super::planted::Planted;
use crate::simulation::Promise;
use crate::sketch::Key;

/// A run that crashes its process more often does so for ever.
const CRASHES_MAX: usize = 200;
/// How long it takes until another process has taken over.
const TAKEOVER: Duration = Duration::from_secs(2);

impl Driver<'_> {
    /// The process dies: a part of what was queued is on disk, nothing else is left. Another takes over.
    pub(super) fn crash(&mut self, why: &str) {
        let queued = self.queue.len();
        let kept = self.draw.below(queued + 1);
        self.tell_tale(|| format!("crash: {why}, {kept} of {queued} entries kept"));
        // What the store does to this group is seen by nobody.
        (self.commit_fails, self.ack_lost) = (0, false);
        self.flush(kept);
        if std::mem::take(&mut self.arrives_late) {
            self.keep_ghost();
        }
        self.leave_torn();
        self.doctor.forget();
        self.world.reopen();
        self.check_durable();
        self.now += TAKEOVER;
        self.resume();
    }

    /// A record of the run was refused: its actor ends, and another goes on from what is on disk.
    pub(super) fn put_back(&mut self) {
        self.tell_tale(|| "the run is put back".to_owned());
        self.resume();
    }

    fn resume(&mut self) {
        self.crashes += 1;
        hold!(P11, self.crashes < CRASHES_MAX, "the run crashes its process for ever");
        self.queue.clear();
        self.post.clear();
        self.queued = self.flushed;
        self.note_deaths();
        let workers = self.workers.iter().flatten();
        let under_way = workers.flat_map(|worker| &worker.current);
        self.shelf.crash(under_way.map(|attempt| attempt.address.as_str()));
        self.workers.iter_mut().for_each(|worker| *worker = None);
        (self.wake, self.has_ended, self.dies_in) = (None, false, None);
        self.live = self.durable.clone();
        self.pools.abandon(self.run);
        self.check_values();
        if self.durable.state.is_terminal() {
            // Nobody opens it again; what follows only asks the machine that is left.
            self.has_ended = true;
            self.was_found_ended = true;
            return;
        }
        if self.durable.state == RunState::Cancelling && !self.doctor.has(Planted::CancelForgottenInCrash) {
            return self.give_up_cancelled();
        }
        let incarnation = self.take();
        let recorded = self.doctor.recorded(self.recorded(incarnation));
        let (graph, ids) = (self.case.graph(), &self.case.ids);
        let recovered = RunMachine::recover(self.run, self.plan, graph, ids, &recorded, self.now);
        let (machine, decision) = must(recovered, "the run cannot be recovered");
        self.tell_tale(|| format!("  {decision:?}"));
        self.machine = machine;
        self.perform(decision, None);
        if !self.was_given_up && !self.was_found_ended {
            self.check_sets();
        }
    }

    /// What the engine does with a run that it finds being cancelled: nothing runs any more, so it is over.
    fn give_up_cancelled(&mut self) {
        let incarnation = self.take();
        let mut records = Vec::new();
        if !self.doctor.has(Planted::CancelledWithoutFencing) {
            let chunks = self.world.ask(self.world.store().chunks(self.run));
            records = close_open(&chunks, incarnation, self.now);
        }
        records.push(Record::RunMoved {
            run: self.run,
            to: RunState::Cancelled,
            at: self.now,
            counts: self.stored().counts.with_rest_cancelled(),
            error: None,
        });
        self.queue.push_back(records);
        self.flush(1);
        self.was_given_up = true;
    }

    fn stored(&self) -> RunRow {
        let row = self.world.ask(self.world.store().run(self.run));
        row.unwrap_or_else(|| broken(Promise::P1, "the run is not in the store".to_owned()))
    }

    /// Whoever drives the run from now on says so before it reads what there is.
    fn take(&self) -> Incarnation {
        if self.doctor.has(Planted::FenceReusedAfterCrash) {
            return Incarnation::NONE.next();
        }
        let incarnation = self.stored().incarnation.next();
        let taken = Record::RunTaken {
            run: self.run,
            incarnation,
        };
        for verdict in self.world.ask(self.world.store().commit(&[taken])) {
            must(verdict, "a run cannot be taken");
        }
        incarnation
    }

    fn recorded(&self, incarnation: Incarnation) -> Recorded {
        let store = self.world.store();
        let stale = |id| (id, self.world.ask(store.status(id)).stale);
        Recorded {
            spared: Default::default(),
            chunks: self.world.ask(store.chunks(self.run)),
            failures: self.world.ask(store.failures(self.run)),
            stale: self.case.ids.iter().map(|id| stale(*id)).collect(),
            is_paused: self.stored().state == RunState::Paused,
            incarnation,
        }
    }

    /// What was acknowledged is there when the store is opened again, and nothing else is.
    fn check_durable(&self) {
        let store = self.world.store();
        for row in self.world.ask(store.chunks(self.run)) {
            let chunk = (self.case.place_of(row.claim.asset), row.claim.chunk.0);
            hold_eq!(
                P1,
                Some(&row.claim.fence.0),
                self.durable.claims.get(&chunk),
                "the fence of chunk {chunk:?} after a crash"
            );
        }
        let count = self.world.ask(store.chunks(self.run)).len();
        hold_eq!(P1, count, self.durable.claims.len(), "the chunks after a crash");
        let row = self.world.ask(store.run(self.run));
        hold_eq!(
            P1,
            row.map(|row| row.state),
            Some(self.durable.state),
            "the run after a crash"
        );
        for (asset, id) in self.case.ids.iter().enumerate() {
            let made = self.world.ask(store.status(*id)).materialized().len();
            hold_eq!(
                P1,
                made,
                self.ledger.heads_of(asset).count() as u64,
                "values of asset {asset} after a crash"
            );
        }
    }

    /// Steps that were in flight as far as the disk knows will be suspected.
    fn note_deaths(&mut self) {
        let mut in_flight: Vec<Key> = Vec::new();
        for ((asset, _), steps) in &self.durable.open {
            let steps = steps.iter().map(|step| (*asset, step));
            in_flight.extend(steps.filter(|key| !self.durable.has_ended(*key)));
        }
        for key in &in_flight {
            self.deaths.entry(*key).or_default().push(in_flight.len() == 1);
        }
    }
}
