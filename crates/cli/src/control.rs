//! How one process asks another for something: a socket in the state folder, one line of JSON each way.
//!
//! The process that holds the state listens; others may ask who it is and have a run cancelled. Only the folder's owner
//! can connect. What is asked is checked again by the engine, so a line that nobody of ours wrote does no harm.

mod client;
mod owner;
mod place;
mod server;

use std::collections::BTreeMap;

use flowstone_core::fan_out::{BarrierCounts, FanOutOptions, OptionsChange};
use flowstone_core::partition::PartitionKey;
use flowstone_core::run::RunState;
use flowstone_core::{ErrorRecord, FanOutId, RunId};
use flowstone_runtime::{Garbage, ItemProgress, ResultRows};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub(crate) use client::ask;
pub(crate) use owner::{Reached, reach};
pub(crate) use server::ControlServer;

/// The longest line, in bytes.
const LINE_LEN_MAX: u64 = 256 * 1024;
/// The most names of assets in a line.
const UNLISTED_MAX: usize = 20;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    /// End this run. Answered when that is on disk.
    Cancel(RunId),
    /// Let this run wait. Answered when that is on disk.
    Pause(RunId),
    /// Let this run go on. Answered when that is on disk.
    Resume(RunId),
    /// Run what this run did not bring to a good end. Answered when the new run is on disk.
    Redrive(RunId),
    /// How far are these fan-outs, as of now?
    Items(Vec<FanOutId>),
    /// Go about the items of this fan-out otherwise. Answered when that is on disk.
    ChangeFanOut(FanOutId, OptionsChange),
    /// End this fan-out. Answered when that is on disk.
    CancelFanOut(FanOutId),
    /// Try again what did not succeed of this fan-out. Answered when the new run is on disk.
    RedriveFanOut(FanOutId),
    /// Remove what nobody needs any more. Answered when that is done.
    CollectGarbage,
    /// Add these partitions to a dynamic set, or retire them. Answered when that is on disk.
    Partitions {
        /// The set.
        set: String,
        /// The partitions.
        keys: Vec<PartitionKey>,
        /// True to add, false to retire.
        adds: bool,
    },
    /// Who holds the state?
    Who,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// The run was asked to end, and this is its state now.
    Cancelled(RunState),
    /// The run was paused or resumed, and this is its state now.
    Turned(RunState),
    /// The new run.
    Redriven(RunId),
    /// How far fan-outs are, of those that go on.
    Items(Vec<LiveItems>),
    /// The fan-out was changed, and this is how it goes about its items from now on.
    FanOutChanged(Box<FanOutOptions>),
    /// The fan-out has ended.
    FanOutCancelled,
    /// What was removed.
    Collected(Collected),
    /// The numbers of the partitions that were added or retired.
    Partitions(Vec<u64>),
    /// The process that holds the state.
    Holder(Holder),
    /// It could not be done.
    Error(ErrorRecord),
}

/// How far a fan-out is that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LiveItems {
    pub(crate) fan_out: FanOutId,
    pub(crate) counts: BarrierCounts,
    pub(crate) is_filling: bool,
    /// How many had ended when that process took it up.
    pub(crate) ended_before: u64,
    pub(crate) since: Timestamp,
    pub(crate) results: Option<LiveResults>,
}

/// How many rows of what the items gave are stored so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LiveResults {
    pub(crate) written: u64,
    pub(crate) total: u64,
}

impl LiveItems {
    fn new(fan_out: FanOutId, progress: ItemProgress) -> Self {
        let ItemProgress {
            counts,
            is_filling,
            ended_before,
            since,
            results,
        } = progress;
        Self {
            fan_out,
            counts,
            is_filling,
            ended_before,
            since,
            results: results.map(|ResultRows { written, total }| LiveResults { written, total }),
        }
    }
}

/// What was removed, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Collected {
    /// Rows by table.
    pub(crate) rows: BTreeMap<String, u64>,
    pub(crate) old_values: u64,
    pub(crate) old_bytes: u64,
    pub(crate) left_over: u64,
    pub(crate) left_over_bytes: u64,
    pub(crate) unknown: u64,
    /// The first of the assets whose IO manager cannot tell what it keeps.
    pub(crate) unlisted: Vec<String>,
}

impl From<Garbage> for Collected {
    fn from(garbage: Garbage) -> Self {
        let unlisted = garbage.unlisted.iter().take(UNLISTED_MAX);
        Self {
            unlisted: unlisted.map(ToString::to_string).collect(),
            rows: garbage.rows,
            old_values: garbage.old_values,
            old_bytes: garbage.old_bytes,
            left_over: garbage.left_over,
            left_over_bytes: garbage.left_over_bytes,
            unknown: garbage.unknown,
        }
    }
}

/// A process that holds the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holder {
    /// The process.
    pub(crate) pid: u32,
    /// What it does.
    pub(crate) verb: String,
    /// Since when.
    pub(crate) since: Timestamp,
}
