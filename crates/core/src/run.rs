//! What a run does next: pure decisions over recorded facts.
//!
//! [`RunMachine`] is told what happened and answers with what to do; the live path and recovery go through the same
//! functions. Nothing here asks a clock, touches a store or starts a task.

mod batch;
mod chunk;
mod edge;
mod in_flight;
mod lane;
mod lineage;
mod lists;
mod machine;
mod recover;
mod state;
mod steps;
mod suspects;
mod turns;

pub(crate) use suspects::{Care, Suspects};

pub use chunk::{ChunkId, ChunkWork, StepEnd, StepEnded};
pub use in_flight::InFlight;
pub use lists::Lists;
pub use machine::{Decision, RunEffect, RunEvent, RunMachine, close_open};
pub use recover::Recorded;
pub use state::{RunCounts, RunState, StepState};
pub use steps::StepSets;
pub use turns::{PASSED_OVER_MAX, Turns};

/// How often a step may kill its process before it is quarantined.
pub const CRASHES_MAX: u32 = 3;

/// The largest number of steps that one worker gets at once.
pub const CHUNK_LEN_MAX: u64 = 4096;
