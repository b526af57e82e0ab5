//! The ledger's way to the disk: groups, tries, lost answers, and what arrives late.

use flowstone_core::store::Record;
use flowstone_core::{ErrorKind, Result};

use super::broken::{broken, hold, must};
use super::driver::Driver;
use super::planted::Planted;
use crate::simulation::Promise;

/// How often a commit that fails is tried in all.
const TRIES_MAX: u8 = 5;

impl Driver<'_> {
    /// Commits up to `count` entries as one group.
    pub(super) fn flush(&mut self, count: usize) {
        let count = count.min(self.queue.len());
        if count == 0 {
            return;
        }
        let entries: Vec<Vec<Record>> = self.queue.drain(..count).collect();
        let group = entries.concat();
        let failing = std::mem::take(&mut self.commit_fails);
        self.tell_tale(|| format!("commit of {count} entries, {failing} failures first"));
        if failing >= TRIES_MAX {
            // Nothing is stored; the engine stops, and the next start goes on.
            self.queue.clear();
            return self.crash("the store failed for good");
        }
        let mut verdicts = self.store_group(&group);
        if std::mem::take(&mut self.ack_lost) {
            self.tell_tale(|| "the answer is lost, and the commit tried again".to_owned());
            verdicts = self.store_group(&group);
            if verdicts.iter().any(Result::is_err) {
                return self.put_back();
            }
        }
        for (record, verdict) in group.iter().zip(verdicts) {
            must(verdict, &format!("the store refuses {record:?}"));
        }
        self.flushed += count as u64;
    }

    /// Commits a group, and notes what of it was taken.
    fn store_group(&mut self, group: &[Record]) -> Vec<Result<()>> {
        let store = self.world.store();
        let verdicts = self.world.ask(self.doctor.commit(&*store, group));
        for (record, verdict) in group.iter().zip(&verdicts) {
            if verdict.is_ok() {
                self.durable.note(record, self.case, &self.before);
                self.ledger.note(record, self.case, &self.before);
            }
        }
        verdicts
    }

    /// What the process that died had on its way of chunks when it did. It arrives some time after another has taken the
    /// run.
    pub(super) fn keep_ghost(&mut self) {
        let group: Vec<Record> = self.queue.iter().flatten().cloned().collect();
        let is_of_a_chunk = |record: &Record| matches!(record, Record::ChunkClaimed(_) | Record::ChunkProgress(_));
        let start = group.iter().position(is_of_a_chunk);
        self.ghost = start.map(|start| group[start..].to_vec());
    }

    /// A group of a dead process arrives: every record of it is refused.
    pub(super) fn let_ghost_arrive(&mut self) {
        let Some(group) = self.ghost.take() else { return };
        self.tell_tale(|| format!("of a dead process arrives: {group:?}"));
        let store = self.world.store();
        let verdicts = self.world.ask(self.doctor.commit(&*store, &group));
        for (record, verdict) in group.iter().zip(verdicts) {
            match verdict {
                Ok(()) => broken(Promise::P9, format!("a dead process gets taken: {record:?}")),
                Err(error) => hold!(P9, error.kind() == ErrorKind::Fenced, "a dead process gets {error}"),
            }
        }
    }

    /// A part of a group that was under way when the process died; a store whose commits are atomic leaves none.
    pub(super) fn leave_torn(&mut self) {
        if !self.doctor.has(Planted::HeadAndLineageApart) {
            return;
        }
        let group: Vec<Record> = self.queue.iter().flatten().cloned().collect();
        let torn = self.doctor.torn(&group);
        let store = self.world.store();
        drop(self.world.ask(store.commit(&torn)));
    }
}
