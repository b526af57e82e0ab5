//! What the store must say, kept key by key from the records that were committed.
//!
//! Staleness is derived from who reads what; the sets that the records carry for it are not looked at.

use std::collections::{BTreeMap, BTreeSet};

use flowstone_core::partition::PartitionSet;
use flowstone_core::run::RunState;
use flowstone_core::store::{ChunkProgress, ChunkState, Record};
use flowstone_core::{CodeVersion, DataVersion, ErrorClass, ErrorKind};
use jiff::Timestamp;

use super::case::Case;
use crate::sketch::Key;

/// The current materialization of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) version: u64,
    pub(super) content: DataVersion,
    pub(super) code: CodeVersion,
}

/// The status of every partition.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    pub(super) heads: BTreeMap<Key, Head>,
    pub(super) stale: BTreeSet<Key>,
    pub(super) failed: BTreeSet<Key>,
}

/// What was recorded of one run.
#[derive(Debug, Clone)]
pub(super) struct RunLog {
    /// By asset: steps that made a value.
    pub(super) made: Vec<PartitionSet>,
    /// Those of them whose value is new.
    pub(super) changed: Vec<PartitionSet>,
    /// Steps whose code found nothing to make.
    pub(super) skipped: Vec<PartitionSet>,
    pub(super) failed: Vec<PartitionSet>,
    pub(super) quarantined: Vec<PartitionSet>,
    /// The content that was made.
    pub(super) contents: BTreeMap<Key, DataVersion>,
    /// The attempts that failed.
    pub(super) failures: BTreeMap<Key, u32>,
    /// When a step that was told to wait may be tried again.
    pub(super) not_before: BTreeMap<Key, Timestamp>,
    /// Chunks that were claimed: the highest fence.
    pub(super) claims: BTreeMap<(usize, u64), u64>,
    /// Those that are not over.
    pub(super) open: BTreeMap<(usize, u64), PartitionSet>,
    pub(super) state: RunState,
}

impl RunLog {
    pub(super) fn new(assets: usize) -> Self {
        let none = vec![PartitionSet::new(); assets];
        Self {
            made: none.clone(),
            changed: none.clone(),
            skipped: none.clone(),
            failed: none.clone(),
            quarantined: none,
            contents: BTreeMap::new(),
            failures: BTreeMap::new(),
            not_before: BTreeMap::new(),
            claims: BTreeMap::new(),
            open: BTreeMap::new(),
            state: RunState::Running,
        }
    }

    pub(super) fn has_ended(&self, (asset, partition): Key) -> bool {
        [&self.made, &self.skipped, &self.failed, &self.quarantined]
            .into_iter()
            .any(|sets| sets[asset].contains(partition))
    }

    /// Takes in a record. `before` is the ledger as it was when the run was planned.
    pub(super) fn note(&mut self, record: &Record, case: &Case, before: &Ledger) {
        match record {
            Record::ChunkClaimed(claim) => {
                let asset = case.place_of(claim.asset);
                self.claims.insert((asset, claim.chunk.0), claim.fence.0);
                self.open.insert((asset, claim.chunk.0), claim.steps.clone());
            }
            Record::RunMoved { to, .. } => self.state = *to,
            Record::ChunkProgress(progress) => self.note_progress(progress, case, before),
            Record::RunCreated(_)
            | Record::RunPlanned { .. }
            | Record::RunTaken { .. }
            | Record::FanOutOpened(_)
            | Record::FanOutReopened(_)
            | Record::FanOutProgress(_) => {}
        }
    }

    fn note_progress(&mut self, progress: &ChunkProgress, case: &Case, before: &Ledger) {
        let asset = case.place_of(progress.asset);
        if progress.state == ChunkState::Ended {
            self.open.remove(&(asset, progress.chunk.0));
        }
        for made in &progress.materialized {
            let key = (asset, made.partition);
            let content = made.stored.data_version;
            self.made[asset].insert(made.partition);
            self.contents.insert(key, content);
            if before.heads.get(&key).is_none_or(|head| head.content != content) {
                self.changed[asset].insert(made.partition);
            }
        }
        self.skipped[asset].union_with(&progress.skipped);
        for failure in &progress.failed {
            let key = (asset, failure.partition);
            if failure.error.kind == ErrorKind::Quarantined {
                self.quarantined[asset].insert(failure.partition);
            } else {
                // The same when it is told twice, because the answer to the first time was lost.
                self.failures.insert(key, failure.attempt);
                if let ErrorClass::RateLimited(wait) = failure.error.class {
                    self.not_before.insert(key, failure.at + wait);
                }
                if failure.is_final {
                    self.failed[asset].insert(failure.partition);
                }
            }
        }
    }
}

impl Ledger {
    /// Takes in a record that is on disk. `before` is the ledger as it was when the run was planned.
    pub(super) fn note(&mut self, record: &Record, case: &Case, before: &Self) {
        let Record::ChunkProgress(progress) = record else {
            return;
        };
        let asset = case.place_of(progress.asset);
        for made in &progress.materialized {
            let key = (asset, made.partition);
            let content = made.stored.data_version;
            self.heads.insert(
                key,
                Head {
                    version: made.version.0,
                    content,
                    code: made.code_version,
                },
            );
            self.stale.remove(&key);
            self.failed.remove(&key);
        }
        for failure in progress.failed.iter().filter(|failure| failure.is_final) {
            self.failed.insert((asset, failure.partition));
        }
        for made in &progress.materialized {
            let key = (asset, made.partition);
            if before
                .heads
                .get(&key)
                .is_none_or(|head| head.content != made.stored.data_version)
            {
                let readers = case.reading.readers[asset][made.partition as usize].iter();
                self.stale
                    .extend(readers.filter(|reader| self.heads.contains_key(*reader)));
            }
        }
    }
}

impl Ledger {
    pub(super) fn heads_of(&self, asset: usize) -> impl Iterator<Item = (&Key, &Head)> {
        self.heads.range((asset, 0)..(asset + 1, 0))
    }

    pub(super) fn stale_of(&self, asset: usize) -> Vec<Key> {
        self.stale.range((asset, 0)..(asset + 1, 0)).copied().collect()
    }

    pub(super) fn failed_of(&self, asset: usize) -> Vec<Key> {
        self.failed.range((asset, 0)..(asset + 1, 0)).copied().collect()
    }
}
