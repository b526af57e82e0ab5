//! How one process asks another for something: a socket in the state folder, one line of JSON each way.
//!
//! The process that holds the state listens; others may ask who it is and have a run cancelled. Only the folder's owner
//! can connect. What is asked is checked again by the engine, so a line that nobody of ours wrote does no harm.

mod client;
mod place;
mod server;

use flowstone_core::run::RunState;
use flowstone_core::{ErrorRecord, RunId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub(crate) use client::ask;
pub(crate) use server::ControlServer;

/// The longest line, in bytes.
const LINE_LEN_MAX: u64 = 16 * 1024;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    /// End this run. Answered when that is on disk.
    Cancel(RunId),
    /// Who holds the state?
    Who,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// The run was asked to end, and this is its state now.
    Cancelled(RunState),
    /// The process that holds the state.
    Holder(Holder),
    /// It could not be done.
    Error(ErrorRecord),
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
