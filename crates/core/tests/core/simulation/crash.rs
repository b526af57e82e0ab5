//! The disk, and what is left when the process dies: what was flushed, and nothing else.

use std::time::Duration;

use flowstone_core::run::{Recorded, RunMachine, RunState};
use flowstone_core::store::{Record, Store};

use super::driver::Driver;
use crate::sketch::{Key, ready};

impl Driver<'_> {
    pub(super) fn flush(&mut self, count: usize) {
        for _ in 0..count {
            let Some(records) = self.queue.pop_front() else { return };
            for (record, verdict) in records.iter().zip(ready(self.store.commit(&records))) {
                verdict.unwrap_or_else(|error| panic!("the store refuses {record:?}: {error}"));
                self.durable.note(record, self.case, &self.before);
                self.ledger.note(record, self.case, &self.before);
            }
            self.flushed += 1;
        }
    }

    /// The process dies: a part of what was queued is on disk, nothing else is left. Another takes over.
    pub(super) fn crash(&mut self, why: &str) {
        self.crashes += 1;
        assert!(self.crashes < 200, "the run crashes its process for ever");
        let kept = self.draw.below(self.queue.len() + 1);
        self.flush(kept);
        self.queue.clear();
        self.queued = self.flushed;
        self.note_deaths();
        self.tell_tale(|| format!("crash: {why}, {kept} kept"));
        self.workers.iter_mut().for_each(|worker| *worker = None);
        self.wake = None;
        self.has_ended = false;
        self.live = self.durable.clone();
        if self.durable.state.is_terminal() {
            // Nobody opens it again; what follows only asks the machine that is left.
            self.has_ended = true;
            return;
        }
        if self.durable.state == RunState::Cancelling {
            return self.give_up_cancelled();
        }
        self.now += Duration::from_secs(2);
        let recorded = self.recorded();
        let (machine, effects) = RunMachine::recover(
            self.run,
            self.plan,
            self.case.graph(),
            &self.case.ids,
            &recorded,
            self.now,
        )
        .expect("the plan fits the graph");
        self.tell_tale(|| format!("  {effects:?}"));
        self.machine = machine;
        self.perform(effects, None);
        self.check_sets();
    }

    /// What the engine does with a run that it finds being cancelled: nothing runs any more, so it is over.
    fn give_up_cancelled(&mut self) {
        let row = ready(self.store.run(self.run)).expect("the run is in the store");
        let (run, to, at, counts) = (self.run, RunState::Cancelled, self.now, row.counts);
        self.queue.push_back(vec![Record::RunMoved {
            run,
            to,
            at,
            counts,
            error: None,
        }]);
        self.flush(1);
        self.was_given_up = true;
    }

    fn recorded(&self) -> Recorded {
        let stale = self
            .case
            .ids
            .iter()
            .map(|id| (*id, ready(self.store.status(*id)).stale))
            .collect();
        Recorded {
            chunks: ready(self.store.chunks(self.run)),
            failures: ready(self.store.failures(self.run)),
            stale,
        }
    }

    /// Steps that were in flight as far as the disk knows will be suspected.
    fn note_deaths(&mut self) {
        let mut in_flight: Vec<Key> = Vec::new();
        for ((asset, _), steps) in &self.durable.open {
            in_flight.extend(
                steps
                    .iter()
                    .map(|step| (*asset, step))
                    .filter(|key| !self.durable.has_ended(*key)),
            );
        }
        for key in &in_flight {
            self.deaths.entry(*key).or_default().push(in_flight.len() == 1);
        }
    }
}
