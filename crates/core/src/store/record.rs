//! The changes that a store commits, and the rows that it answers with.

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::fan_out::{FanOutOpened, FanOutProgress, FanOutReopened};
use crate::fan_out::BarrierState;
use crate::io::Stored;
use crate::partition::PartitionSet;
use crate::run::{RunCounts, RunState};
use crate::{AssetId, ChunkNo, CodeVersion, ErrorRecord, FanOutId, Fence, Incarnation, RunId, Version};

/// One change. A group of them is committed whole.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// A run was asked for. Refused with `Conflict` when its id or idempotency key exists.
    RunCreated(RunRow),
    /// A run got its frozen plan.
    RunPlanned {
        /// The run.
        run: RunId,
        /// The plan, encoded; opaque to the store.
        plan: Bytes,
    },
    /// Somebody begins to drive a run, or takes it up: what an earlier incarnation claims or reports is refused from now
    /// on. Refused with `Fenced` unless it raises the incarnation, and with `Conflict` when the run has ended.
    RunTaken {
        /// The run.
        run: RunId,
        /// Who drives it now.
        incarnation: Incarnation,
    },
    /// A run moved to another state. A terminal state is final: moving out of it is refused with `Conflict`.
    RunMoved {
        /// The run.
        run: RunId,
        /// The new state.
        to: RunState,
        /// When.
        at: Timestamp,
        /// The step counts at that moment.
        counts: RunCounts,
        /// Why, if it did not go well.
        error: Option<ErrorRecord>,
    },
    /// A chunk was claimed.
    ChunkClaimed(ChunkClaim),
    /// Steps of a claimed chunk ended.
    ChunkProgress(ChunkProgress),
    /// A step fans out. Refused with `Conflict` when the fan-out exists.
    FanOutOpened(Box<FanOutOpened>),
    /// A fan-out goes on in another epoch. Refused with `Conflict` unless it has ended, or the run that it belongs to has.
    FanOutReopened(Box<FanOutReopened>),
    /// Something happened to a fan-out. Refused with `Conflict` when it has ended, when a page does not follow the last, and
    /// when results come of a claim that is not open.
    FanOutProgress(Box<FanOutProgress>),
}

impl Record {
    /// The run that this is about.
    pub const fn run(&self) -> RunId {
        match self {
            Self::RunCreated(row) => row.run,
            Self::RunPlanned { run, .. } | Self::RunTaken { run, .. } | Self::RunMoved { run, .. } => *run,
            Self::ChunkClaimed(claim) => claim.run,
            Self::ChunkProgress(progress) => progress.run,
            Self::FanOutOpened(opened) => opened.lead.run,
            Self::FanOutReopened(reopened) => reopened.lead.run,
            Self::FanOutProgress(progress) => progress.lead.run,
        }
    }
}

/// A run as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRow {
    /// The run.
    pub run: RunId,
    /// The pipeline's name.
    pub pipeline: String,
    /// Two requests with one key are one run.
    pub idempotency_key: Option<String>,
    /// What was asked for, as the runtime encodes it; opaque to the store.
    pub request: Bytes,
    /// The frozen plan; `None` until it is planned.
    pub plan: Option<Bytes>,
    /// Who drives it, or did last.
    pub incarnation: Incarnation,
    /// The state.
    pub state: RunState,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it last moved.
    pub moved_at: Timestamp,
    /// The step counts when it last moved.
    pub counts: RunCounts,
    /// Why it did not go well.
    pub error: Option<ErrorRecord>,
}

/// The claim of a chunk: these steps are about to be tried, by one worker, under one fence.
#[derive(Debug, Clone, PartialEq)]
pub struct ChunkClaim {
    /// The run.
    pub run: RunId,
    /// The asset.
    pub asset: AssetId,
    /// The number within run and asset.
    pub chunk: ChunkNo,
    /// The fence of this claim; greater than that of any earlier claim of the same chunk.
    pub fence: Fence,
    /// The steps.
    pub steps: PartitionSet,
    /// How often a process died while it had claimed these steps.
    pub crashes: u32,
    /// When.
    pub at: Timestamp,
}

/// Steps of a chunk that ended, with everything that must be committed together with that fact.
#[derive(Debug, Clone, PartialEq)]
pub struct ChunkProgress {
    /// The run.
    pub run: RunId,
    /// The asset.
    pub asset: AssetId,
    /// The chunk.
    pub chunk: ChunkNo,
    /// The fence that the chunk was claimed under.
    pub fence: Fence,
    /// What was made; clears "failed" and "stale" of these partitions.
    pub materialized: Vec<Materialization>,
    /// What it was made from.
    pub inputs: Vec<LineageInput>,
    /// Steps whose value is current as it is; clears "stale" of these partitions.
    pub unchanged: PartitionSet,
    /// Steps whose code found nothing to make.
    pub skipped: PartitionSet,
    /// Attempts that failed.
    pub failed: Vec<StepFailure>,
    /// Partitions of other assets whose value rests on something that has changed by this. The store keeps as stale
    /// those of them that have a materialization.
    pub outdated: Vec<(AssetId, PartitionSet)>,
    /// The state of the chunk after this.
    pub state: ChunkState,
    /// When.
    pub at: Timestamp,
}

/// The state of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChunkState {
    /// A worker has it.
    Running,
    /// It is over; steps of it that did not end were given back to the run.
    Ended,
}

/// A chunk as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct ChunkRow {
    /// The claim.
    pub claim: ChunkClaim,
    /// The state.
    pub state: ChunkState,
    /// Steps that made a value.
    pub succeeded: PartitionSet,
    /// Steps whose value was current as it is.
    pub unchanged: PartitionSet,
    /// Steps whose code found nothing to make.
    pub skipped: PartitionSet,
}

/// The record that a partition was made. Never changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Materialization {
    /// The asset.
    pub asset: AssetId,
    /// The partition.
    pub partition: u64,
    /// The version; the first is 1.
    pub version: Version,
    /// The run that made it.
    pub run: RunId,
    /// Where it lies and what it is.
    pub stored: Stored,
    /// The code that made it.
    pub code_version: CodeVersion,
    /// The attempt that made it, from 1.
    pub attempt: u32,
    /// When the attempt started, to the millisecond.
    pub started_at: Timestamp,
    /// When it ended, to the millisecond.
    pub ended_at: Timestamp,
}

/// What materializations were made from, as intervals and not as edges.
///
/// Covers all partitions of `asset` from `partitions.0` to `partitions.1` (inclusive) at `version`. Each of them was
/// made from the upstream partitions `from.0` to `from.1` (inclusive) at `upstream_version`; with `one_to_one` set, the
/// two intervals are of one length and the first was made from the first, the second from the second, and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LineageInput {
    /// The asset that was made.
    pub asset: AssetId,
    /// Its partitions, both ends inclusive.
    pub partitions: (u64, u64),
    /// Their version.
    pub version: Version,
    /// What they were made from.
    pub upstream: AssetId,
    /// The upstream partitions, both ends inclusive.
    pub from: (u64, u64),
    /// True when each partition was made from its counterpart only.
    pub one_to_one: bool,
    /// The version of the upstream partitions.
    pub upstream_version: Version,
}

impl LineageInput {
    /// The upstream partitions that `partition` was made from, both ends inclusive; `None` when this does not cover it.
    pub fn upstream_of(&self, partition: u64) -> Option<(u64, u64)> {
        if partition < self.partitions.0 || partition > self.partitions.1 {
            return None;
        }
        if self.one_to_one {
            let counterpart = self.from.0 + (partition - self.partitions.0);
            return Some((counterpart, counterpart));
        }
        Some(self.from)
    }

    /// The partitions that were made from `upstream`, both ends inclusive; `None` when this does not cover it.
    pub fn downstream_of(&self, upstream: u64) -> Option<(u64, u64)> {
        if upstream < self.from.0 || upstream > self.from.1 {
            return None;
        }
        if self.one_to_one {
            let counterpart = self.partitions.0 + (upstream - self.from.0);
            return Some((counterpart, counterpart));
        }
        Some(self.partitions)
    }
}

/// A failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepFailure {
    /// The asset.
    pub asset: AssetId,
    /// The partition.
    pub partition: u64,
    /// The attempt, from 1; each is recorded once.
    pub attempt: u32,
    /// True when no other attempt follows; sets "failed" of the partition.
    pub is_final: bool,
    /// What happened.
    pub error: ErrorRecord,
    /// When.
    pub at: Timestamp,
}

/// Something that happened, as the store tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Grows with each event; gaps are possible.
    pub sequence: u64,
    /// When.
    pub at: Timestamp,
    /// The run.
    pub run: RunId,
    /// What.
    pub kind: EventKind,
}

/// What happened. The store writes these in the transaction that they describe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// A run was asked for.
    RunCreated,
    /// A run moved.
    RunMoved {
        /// The new state.
        to: RunState,
    },
    /// Steps of an asset made values.
    Materialized {
        /// The asset.
        asset: AssetId,
        /// The partitions.
        partitions: PartitionSet,
    },
    /// An attempt failed.
    StepFailed {
        /// The asset.
        asset: AssetId,
        /// The partition.
        partition: u64,
        /// The attempt.
        attempt: u32,
        /// True when no other follows.
        is_final: bool,
        /// The stable code of the error.
        code: String,
    },
    /// A step became a fan-out.
    FanOutOpened {
        /// The asset.
        asset: AssetId,
        /// The partition.
        partition: u64,
        /// The fan-out.
        fan_out: FanOutId,
    },
    /// A fan-out moved to another state, or was reopened in it.
    FanOutMoved {
        /// The fan-out.
        fan_out: FanOutId,
        /// The new state.
        to: BarrierState,
    },
}
