//! Decides what a group of records changes and which of them are refused.
//!
//! A plain function over what the writer remembers: each record is checked whole before anything of it takes effect,
//! so a refused one leaves no trace and the others go on. What is staged here is written by `encode` and remembered
//! once it is on disk. Does no I/O: whatever a record may ask about has been loaded before.

mod chunk;
mod fan_out;
mod run;

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use flowstone_core::fan_out::BarrierState;
use flowstone_core::partition::PartitionSet;
use flowstone_core::run::{RunCounts, RunState};
use flowstone_core::store::{
    ChunkRow, FanOutOpened, ItemClaim, ItemFailure, LineageInput, Materialization, PageRow, Record, RefusedRuns,
    RunRow, Segment, StepFailure,
};
use flowstone_core::{AssetId, CodeVersion, Error, ErrorKind, ErrorRecord, FanOutId, Incarnation, Result, RunId};
use jiff::Timestamp;

use super::cache::{Cache, ChunkKey, KnownFanOut, KnownRun, Marks};
use super::load::{Attempt, Kept};

/// What a group changes.
#[derive(Debug, Default)]
pub(super) struct Staged<'r> {
    /// Code versions that are new, with their numbers.
    pub(super) codes: Vec<(CodeVersion, i64)>,
    /// Runs that are new, were taken or have moved.
    pub(super) runs: HashMap<RunId, KnownRun>,
    pub(super) created: Vec<(i64, &'r RunRow)>,
    /// The last plan and the last move of each run.
    pub(super) plans: BTreeMap<i64, &'r Bytes>,
    pub(super) moves: BTreeMap<i64, Move<'r>>,
    /// The last incarnation that took each run.
    pub(super) taken: BTreeMap<i64, Incarnation>,
    /// Chunks as they are after the group.
    pub(super) chunks: HashMap<(RunId, ChunkKey), ChunkRow>,
    /// Status pieces as they are after the group.
    pub(super) marks: BTreeMap<(AssetId, u64), Marks>,
    pub(super) made: Vec<Made<'r>>,
    pub(super) inputs: Vec<&'r LineageInput>,
    pub(super) failures: Vec<(i64, &'r StepFailure)>,
    /// The same, to be asked.
    pub(super) failed: HashSet<Attempt>,
    /// Fan-outs as they are after the group.
    pub(super) fan_outs: HashMap<FanOutId, KnownFanOut>,
    /// What belongs to fan-outs, by their numbers.
    pub(super) shared: Vec<(i64, &'r Bytes)>,
    pub(super) pages: Vec<(i64, &'r PageRow)>,
    /// Claims that are open after the group.
    pub(super) claims: BTreeMap<(i64, u64), &'r ItemClaim>,
    /// Claims that were open before it and are not any more.
    pub(super) claims_gone: Vec<(i64, u64)>,
    pub(super) segments: Vec<(i64, &'r Segment)>,
    /// The last failure of each item.
    pub(super) failed_items: BTreeMap<(i64, u64), &'r ItemFailure>,
    pub(super) events: Vec<Happened<'r>>,
}

/// A run that moved.
#[derive(Debug)]
pub(super) struct Move<'r> {
    pub(super) to: RunState,
    pub(super) at: Timestamp,
    pub(super) counts: RunCounts,
    pub(super) error: Option<&'r ErrorRecord>,
}

/// A materialization, with the numbers of its run and code.
#[derive(Debug)]
pub(super) struct Made<'r> {
    pub(super) run: i64,
    pub(super) code: i64,
    pub(super) row: &'r Materialization,
}

/// An event of a run.
#[derive(Debug)]
pub(super) struct Happened<'r> {
    pub(super) run: i64,
    pub(super) at: Timestamp,
    pub(super) what: What<'r>,
}

/// What an event says.
#[derive(Debug)]
pub(super) enum What<'r> {
    Created,
    Moved(RunState),
    Materialized(AssetId, PartitionSet),
    Failed(&'r StepFailure),
    FanOutOpened(&'r FanOutOpened),
    FanOutMoved(FanOutId, BarrierState),
}

/// Gives what `records` change and, for each, whether it was taken. `kept` is what of them the ledger has.
pub(super) fn stage<'r>(cache: &Cache, kept: &Kept, records: &'r [Record]) -> (Staged<'r>, Vec<Result<()>>) {
    let mut stage = Stage {
        cache,
        kept,
        staged: Staged::default(),
        run_next: cache.run_next,
        fan_out_next: cache.fan_out_next,
    };
    let mut refused = RefusedRuns::default();
    let verdicts = records
        .iter()
        .map(|record| refused.judge(record, || stage.apply(record)));
    let verdicts = verdicts.collect();
    (stage.staged, verdicts)
}

/// A group on its way: what the ledger has, and what the records so far change about it.
struct Stage<'c, 'r> {
    cache: &'c Cache,
    kept: &'c Kept,
    staged: Staged<'r>,
    run_next: i64,
    fan_out_next: i64,
}

impl<'r> Stage<'_, 'r> {
    fn apply(&mut self, record: &'r Record) -> Result<()> {
        match record {
            Record::RunCreated(row) => self.create(row),
            Record::RunPlanned { run, plan } => self.plan(*run, plan),
            Record::RunTaken { run, incarnation } => self.take(*run, *incarnation),
            Record::RunMoved {
                run,
                to,
                at,
                counts,
                error,
            } => self.move_run(
                *run,
                Move {
                    to: *to,
                    at: *at,
                    counts: *counts,
                    error: error.as_ref(),
                },
            ),
            Record::ChunkClaimed(claim) => self.claim(claim),
            Record::ChunkProgress(progress) => self.progress(progress),
            Record::FanOutOpened(opened) => self.open_fan_out(opened),
            Record::FanOutReopened(reopened) => self.reopen_fan_out(reopened),
            Record::FanOutProgress(progress) => self.progress_fan_out(progress),
        }
    }

    /// What is known of a run.
    fn run(&self, run: RunId) -> Result<KnownRun> {
        let staged = self.staged.runs.get(&run).copied();
        staged
            .or_else(|| self.cache.runs.get(&run).map(|cached| cached.known))
            .ok_or_else(|| Error::new(ErrorKind::NotFound, "there is no such run").about(format!("run {run}")))
    }

    fn happened(&mut self, run: i64, at: Timestamp, what: What<'r>) {
        self.staged.events.push(Happened { run, at, what });
    }
}

/// Checks that numbers fit SQLite's signed 64 bits.
fn fit(what: &str, numbers: impl IntoIterator<Item = u64>) -> Result<()> {
    match numbers.into_iter().find(|number| i64::try_from(*number).is_err()) {
        Some(number) => Err(Error::new(
            ErrorKind::OutOfRange,
            format!("{what} is {number}, and the ledger holds numbers below 2⁶³"),
        )),
        None => Ok(()),
    }
}

/// Checks that a time fits 64 bits of nanoseconds.
fn fit_time(at: Timestamp) -> Result<()> {
    match i64::try_from(at.as_nanosecond()) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::new(
            ErrorKind::OutOfRange,
            format!("the time is {at}, and the ledger holds times from 1678 to 2261"),
        )),
    }
}
