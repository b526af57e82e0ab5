//! What the writer remembers of the ledger, so that a commit does not read it back.
//!
//! It can, because the process owns the file. It says nothing that the ledger does not: after a commit that failed, or
//! whose end nobody saw, it is thrown away and loaded again.

use std::collections::{BTreeMap, HashMap};

use flowstone_core::partition::PartitionSet;
use flowstone_core::run::RunState;
use flowstone_core::store::{ChunkRow, ChunkState, FanOutStanding};
use flowstone_core::{AssetId, ChunkNo, CodeVersion, FanOutId, Incarnation, RunId, Version};

use super::stage::Staged;

/// Sets are kept in pieces of this many partitions, so that a commit rewrites little.
pub(super) const PIECE_BITS: u32 = 16;

/// The piece that `partition` lies in.
pub(super) const fn piece_of(partition: u64) -> u64 {
    partition >> PIECE_BITS
}

/// A chunk within its run.
pub(super) type ChunkKey = (AssetId, ChunkNo);

#[derive(Debug, Default)]
pub(super) struct Cache {
    /// Assets have the ids below this.
    pub(super) asset_count: u32,
    /// The number of each code version that was ever stored.
    pub(super) codes: HashMap<CodeVersion, i64>,
    /// The number of the next run.
    pub(super) run_next: i64,
    /// Runs that were asked for lately, with all that a claim or a move must know.
    pub(super) runs: HashMap<RunId, CachedRun>,
    /// The number of the next fan-out.
    pub(super) fan_out_next: i64,
    /// Fan-outs that go on, of those that were asked for lately.
    pub(super) fan_outs: HashMap<FanOutId, KnownFanOut>,
    /// The status of assets, whole assets only: a piece that is missing here is empty.
    pub(super) marks: HashMap<AssetId, BTreeMap<u64, Marks>>,
}

/// What every record of a run is judged by.
#[derive(Debug, Clone, Copy)]
pub(super) struct KnownRun {
    pub(super) number: i64,
    pub(super) state: RunState,
    pub(super) incarnation: Incarnation,
}

#[derive(Debug)]
pub(super) struct CachedRun {
    pub(super) known: KnownRun,
    /// Chunks that are claimed, and ended ones that are about to be claimed again.
    pub(super) chunks: HashMap<ChunkKey, ChunkRow>,
    /// The greatest chunk number of each asset; what lies above was never claimed.
    pub(super) last_chunks: HashMap<AssetId, ChunkNo>,
}

impl CachedRun {
    pub(super) fn new(known: KnownRun) -> Self {
        Self {
            known,
            chunks: HashMap::new(),
            last_chunks: HashMap::new(),
        }
    }

    /// True when the ledger may have a chunk of this key that is not in `chunks`; it is ended then.
    pub(super) fn may_have_ended(&self, (asset, chunk): ChunkKey) -> bool {
        self.last_chunks.get(&asset).is_some_and(|last| chunk <= *last) && !self.chunks.contains_key(&(asset, chunk))
    }
}

/// What every record of a fan-out is judged by. What its items share is not kept here.
#[derive(Debug, Clone)]
pub(super) struct KnownFanOut {
    pub(super) number: i64,
    /// The number of the run that it belongs to.
    pub(super) run: i64,
    pub(super) standing: FanOutStanding,
}

impl KnownFanOut {
    /// False for what has ended, or was left by a run that has.
    fn is_live(&self, runs: &HashMap<RunId, CachedRun>) -> bool {
        let row = &self.standing.row;
        let run = runs.get(&row.run);
        !row.state.is_terminal() && run.is_some_and(|run| !run.known.state.is_terminal())
    }
}

/// What is known of one piece of an asset's partitions.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Marks {
    pub(super) heads: BTreeMap<(Version, CodeVersion), PartitionSet>,
    pub(super) failed: PartitionSet,
    pub(super) stale: PartitionSet,
}

impl Marks {
    /// The version of a partition's head, `NONE` when it has none.
    pub(super) fn version_of(&self, partition: u64) -> Version {
        let head = self.heads.iter().find(|(_, partitions)| partitions.contains(partition));
        head.map_or(Version::NONE, |((version, _), _)| *version)
    }

    /// Makes `version` the head of `partition`, which clears what was wrong with it.
    pub(super) fn make(&mut self, partition: u64, version: Version, code_version: CodeVersion) {
        self.heads
            .retain(|_, partitions| !partitions.remove(partition) || !partitions.is_empty());
        self.heads.entry((version, code_version)).or_default().insert(partition);
        self.failed.remove(partition);
        self.stale.remove(partition);
    }

    /// Marks as stale those of `partitions` that have a head.
    pub(super) fn outdate(&mut self, partitions: &PartitionSet) {
        for head in self.heads.values() {
            self.stale.union_with(&head.intersect(partitions));
        }
    }
}

impl Cache {
    pub(super) fn marks(&self, asset: AssetId, piece: u64) -> Option<&Marks> {
        self.marks.get(&asset)?.get(&piece)
    }

    /// Takes over what has been committed.
    pub(super) fn absorb(&mut self, staged: Staged<'_>) {
        self.codes.extend(staged.codes);
        let has_ended_run = staged.runs.values().any(|known| known.state.is_terminal());
        for (run, known) in staged.runs {
            self.run_next = self.run_next.max(known.number + 1);
            self.runs.entry(run).or_insert_with(|| CachedRun::new(known)).known = known;
        }
        for ((run, key), row) in staged.chunks {
            let run = self.runs.get_mut(&run).expect("a staged chunk has a known run");
            let last = run.last_chunks.entry(key.0).or_insert(key.1);
            *last = key.1.max(*last);
            match row.state {
                ChunkState::Running => run.chunks.insert(key, row),
                ChunkState::Ended => run.chunks.remove(&key),
            };
        }
        for ((asset, piece), marks) in staged.marks {
            self.marks.entry(asset).or_default().insert(piece, marks);
        }
        let touched: Vec<FanOutId> = staged.fan_outs.keys().copied().collect();
        for (fan_out, known) in staged.fan_outs {
            self.fan_out_next = self.fan_out_next.max(known.number + 1);
            self.fan_outs.insert(fan_out, known);
        }
        if has_ended_run {
            self.let_go(&[]);
            self.fan_outs.retain(|_, known| known.is_live(&self.runs));
        } else {
            self.let_go(&touched);
        }
    }

    /// Forgets the runs that are over, and those of `fan_outs` that do not go on: nothing is expected of them, and they may be
    /// pruned, which is not told here. What comes late is checked against the ledger.
    pub(super) fn let_go(&mut self, fan_outs: &[FanOutId]) {
        self.runs.retain(|_, run| !run.known.state.is_terminal());
        for fan_out in fan_outs {
            if self
                .fan_outs
                .get(fan_out)
                .is_some_and(|known| !known.is_live(&self.runs))
            {
                self.fan_outs.remove(fan_out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_stands_in_one_head_set_and_empty_sets_go() {
        let (old, new) = (CodeVersion(1), CodeVersion(2));
        let mut marks = Marks::default();

        marks.make(7, Version(1), old);
        marks.make(8, Version(1), old);
        marks.make(7, Version(2), new);
        marks.make(8, Version(2), new);

        let all: PartitionSet = [7, 8].into_iter().collect();
        assert_eq!(marks.heads, BTreeMap::from([((Version(2), new), all)]));
    }

    #[test]
    fn only_what_has_a_head_becomes_stale() {
        let mut marks = Marks::default();
        marks.make(7, Version(1), CodeVersion(1));

        marks.outdate(&PartitionSet::from_range(0..100));

        assert_eq!(marks.stale, PartitionSet::single(7));
    }
}
