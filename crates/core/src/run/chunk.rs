//! The work that a worker gets, and what it says when steps have ended.

use jiff::Timestamp;

use crate::io::Stored;
use crate::partition::PartitionSet;
use crate::{ChunkNo, ErrorRecord, Fence};

/// Which chunk of a run: the asset's place in the plan and the chunk's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChunkId {
    /// The asset's place in the plan.
    pub lane: usize,
    /// The chunk's number within the asset.
    pub number: ChunkNo,
}

/// Steps that one worker tries, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkWork {
    /// Which chunk.
    pub id: ChunkId,
    /// The fence that it was claimed under.
    pub fence: Fence,
    /// The steps.
    pub steps: PartitionSet,
    /// The attempt of each step that is not at its first, in order of partition.
    pub attempts: Vec<(u64, u32)>,
    /// Those of `steps` that have a head from an earlier run, with which the new value is to be compared.
    pub has_head: PartitionSet,
    /// True when the claim must be on disk before the first step starts.
    pub after_commit: bool,
}

impl ChunkWork {
    /// The attempt at `partition`, from 1.
    pub fn attempt(&self, partition: u64) -> u32 {
        self.attempts
            .binary_search_by_key(&partition, |(step, _)| *step)
            .map_or(1, |at| self.attempts[at].1)
    }
}

/// How a step ended, as its worker saw it.
#[derive(Debug, Clone, PartialEq)]
pub enum StepEnd {
    /// It made a value, which is stored and verified.
    Made {
        /// What was stored.
        stored: Stored,
        /// True when the head of an earlier run has the same content.
        is_same: bool,
    },
    /// Its code found nothing to make.
    Skipped,
    /// It failed.
    Failed(ErrorRecord),
    /// It gave up because it was asked to.
    Cancelled,
}

/// A step that ended.
#[derive(Debug, Clone, PartialEq)]
pub struct StepEnded {
    /// The partition.
    pub partition: u64,
    /// The attempt, from 1.
    pub attempt: u32,
    /// How.
    pub end: StepEnd,
    /// When the attempt started.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
}
