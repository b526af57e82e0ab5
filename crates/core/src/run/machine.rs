//! The state machine of one run: events in, records and effects out.
//!
//! It decides which steps may start, what follows each end, when the run is over and what must be committed. It is
//! total: an event that does not fit is refused and changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::chunk::{ChunkId, ChunkWork, StepEnded};
use super::in_flight::InFlight;
use super::lane::{Lane, Wiring, lanes};
use super::state::{RunCounts, RunState, StepState};
use super::steps::StepSets;
use crate::graph::AssetGraph;
use crate::partition::{BoundMapping, PartitionSet};
use crate::plan::{PlannedAsset, RunPlan};
use crate::store::{Record, StepFailure};
use crate::{AssetId, Error, ErrorKind, ErrorRecord, Fence, Incarnation, Result, RunId, Version};

mod bury;
mod call;
mod claim;
mod left;
mod settle;
mod spread;

pub use bury::close_open;
pub(super) use bury::{close, quarantine};
pub(super) use spread::News;

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum RunEvent {
    /// A worker is free and may be given a chunk; `workers` is how many there are in all.
    SlotFree {
        /// The number of workers.
        workers: usize,
    },
    /// Steps of a chunk ended.
    StepsEnded {
        /// The chunk.
        chunk: ChunkId,
        /// The fence that its worker holds.
        fence: Fence,
        /// The steps.
        ended: Vec<StepEnded>,
        /// True when the worker is done with the chunk; steps that did not end may be tried by another.
        is_over: bool,
    },
    /// A step did not end in time and its worker was given up.
    Overdue {
        /// The chunk.
        chunk: ChunkId,
        /// The fence that its worker holds.
        fence: Fence,
        /// The step and the error that it gets.
        step: StepEnded,
    },
    /// A call for all that is left of a chunk failed as a whole, and its worker is done with the chunk.
    CallFailed {
        /// The chunk.
        chunk: ChunkId,
        /// The fence that its worker holds.
        fence: Fence,
        /// Why.
        error: ErrorRecord,
    },
    /// A worker died with its chunk.
    WorkerDied {
        /// The chunk.
        chunk: ChunkId,
        /// The fence that it held.
        fence: Fence,
    },
    /// The time that a [`RunEffect::WakeAt`] named has come.
    RetriesDue,
    /// Somebody asks for the run to wait.
    PauseAsked,
    /// Somebody asks for it to go on.
    ResumeAsked,
    /// Somebody asks for the run to end.
    CancelAsked,
}

/// What was decided. Whoever asks hands it in, so that one who asks often need not allocate each time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decision {
    /// To be queued for commit, all together, before anybody hears of the effects.
    pub records: Vec<Record>,
    /// To be done, in this order.
    pub effects: Vec<RunEffect>,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq)]
pub enum RunEffect {
    /// Hand this chunk to the free worker; if it says so, only once what was queued before is on disk.
    Start(ChunkWork),
    /// Tell the machine `RetriesDue` at this time.
    WakeAt(Timestamp),
    /// Ask everything that runs to end.
    StopAll,
    /// The run is over. Say so only once what was queued before is on disk.
    Ended(RunState),
}

/// A chunk that a worker has.
#[derive(Debug, Clone)]
struct Claimed {
    fence: Fence,
    left: PartitionSet,
    crashes: u32,
}

/// The state machine of one run.
#[derive(Debug, Clone)]
pub struct RunMachine {
    run: RunId,
    state: RunState,
    lanes: Vec<Lane>,
    wiring: Wiring,
    /// Lanes with steps that may start.
    ready: BTreeSet<usize>,
    /// Lanes of which nothing may start for now, since what their steps take is taken.
    closed: BTreeSet<usize>,
    claimed: InFlight<Claimed>,
    /// Steps that wait for their next attempt, by the time it is due.
    due: BTreeMap<Timestamp, Vec<(usize, u64)>>,
    /// The fence of the next claim.
    fence: Fence,
    /// True when some process died with this run. Claims then go to disk before their steps start: whatever killed it
    /// may do so again, and only a claim on disk tells which steps it were.
    is_recovered: bool,
    first_error: Option<ErrorRecord>,
}

impl RunMachine {
    /// The machine of a run that has just been planned, for the first incarnation that drives it.
    ///
    /// # Errors
    /// `Conflict` with code `code_changed` when the plan does not fit the graph.
    pub fn new(run: RunId, plan: &RunPlan, graph: &AssetGraph, ids: &[AssetId]) -> Result<Self> {
        let mut machine = Self::unstarted(run, plan, graph, ids)?;
        machine.release_unhindered()?;
        Ok(machine)
    }

    pub(super) fn unstarted(run: RunId, plan: &RunPlan, graph: &AssetGraph, ids: &[AssetId]) -> Result<Self> {
        let (lanes, wiring) = lanes(plan, graph, ids)?;
        Ok(Self {
            run,
            state: RunState::Running,
            lanes,
            wiring,
            ready: BTreeSet::new(),
            closed: BTreeSet::new(),
            claimed: InFlight::default(),
            due: BTreeMap::new(),
            fence: Incarnation::NONE.next().first_fence(),
            is_recovered: false,
            first_error: None,
        })
    }

    /// The run.
    pub fn run(&self) -> RunId {
        self.run
    }

    /// The state of the run.
    pub fn state(&self) -> RunState {
        self.state
    }

    /// The first failure of a step, if there was one.
    pub fn first_error(&self) -> Option<&ErrorRecord> {
        self.first_error.as_ref()
    }

    /// The steps by state, over all assets.
    pub fn counts(&self) -> RunCounts {
        let mut counts = RunCounts::default();
        for lane in &self.lanes {
            lane.steps.add_to(&mut counts);
        }
        counts
    }

    /// Each planned asset with its steps by state.
    pub fn assets(&self) -> impl Iterator<Item = (&PlannedAsset, &StepSets)> {
        self.lanes.iter().map(|lane| (&*lane.plan, &lane.steps))
    }

    /// The partition mapping of each input of a planned asset.
    pub fn mappings(&self, lane: usize) -> impl Iterator<Item = &BoundMapping> {
        self.wiring.edges.get(lane).iter().map(|edge| &edge.mapping)
    }

    /// True when steps of a planned asset may start, as far as this run goes.
    pub fn has_ready(&self, lane: usize) -> bool {
        self.ready.contains(&lane) && self.has_startable(lane)
    }

    /// Says of which planned assets nothing may start, until this is said anew.
    pub fn close(&mut self, lanes: BTreeSet<usize>) {
        self.closed = lanes;
    }

    /// The version that a reader in this run sees of a planned asset's partition; `Version::NONE` when it has no value.
    pub fn version_of(&self, lane: usize, partition: u64) -> Version {
        self.lanes[lane].version(partition)
    }

    /// True when nothing will happen any more.
    pub fn is_over(&self) -> bool {
        self.state.is_terminal()
    }

    /// Takes in what happened at `now` and adds what is to be done to `decision`.
    ///
    /// # Errors
    /// `Fenced` for a chunk that is not, or no longer, claimed under that fence; `IllegalTransition` for anything else
    /// that does not fit. Nothing has changed then, and nothing was added.
    pub fn apply(&mut self, event: RunEvent, now: Timestamp, decision: &mut Decision) -> Result<()> {
        if self.state.is_terminal() {
            let (run, state) = (self.run, self.state);
            return Err(Error::new(
                ErrorKind::IllegalTransition,
                format!("run {run} is {state}"),
            ));
        }
        let before = (decision.records.len(), decision.effects.len());
        let applied = self.apply_open(event, now, decision);
        if applied.is_err() {
            decision.records.truncate(before.0);
            decision.effects.truncate(before.1);
        }
        applied
    }

    /// The same for a run that is not over.
    fn apply_open(&mut self, event: RunEvent, now: Timestamp, decision: &mut Decision) -> Result<()> {
        match event {
            RunEvent::SlotFree { workers } => self.claim(workers, now, decision),
            RunEvent::StepsEnded {
                chunk,
                fence,
                ended,
                is_over,
            } => self.settle(chunk, fence, ended, is_over, now, decision),
            RunEvent::Overdue { chunk, fence, step } => self.settle(chunk, fence, vec![step], true, now, decision),
            RunEvent::CallFailed { chunk, fence, error } => self.call_failed(chunk, fence, &error, now, decision),
            RunEvent::WorkerDied { chunk, fence } => self.bury(chunk, fence, now, decision),
            RunEvent::RetriesDue => self.retry(now, decision),
            RunEvent::PauseAsked => self.turn_to(RunState::Paused, now, decision),
            RunEvent::ResumeAsked => self.turn_to(RunState::Running, now, decision),
            RunEvent::CancelAsked => self.cancel(now, decision),
        }
    }

    /// Paused by somebody before the process died.
    pub(super) fn stay_paused(&mut self) {
        self.state = RunState::Paused;
    }

    pub(super) fn lane_count(&self) -> usize {
        self.lanes.len()
    }

    pub(super) fn lane_mut(&mut self, number: usize) -> &mut Lane {
        &mut self.lanes[number]
    }

    /// A fence of its own for each claim, so that no two attempts share one, whoever drives the run.
    pub(super) fn take_fence(&mut self) -> Fence {
        let fence = self.fence;
        self.fence = fence.next();
        fence
    }

    /// Takes over from a process that died. It may have claimed what is not on disk, so the records do not tell how far
    /// it got; but nobody claims under the fences of another incarnation.
    pub(super) fn follow(&mut self, incarnation: Incarnation) {
        self.fence = incarnation.first_fence();
        self.is_recovered = true;
    }

    pub(super) fn first_due(&self) -> Option<Timestamp> {
        self.due.keys().next().copied()
    }

    pub(super) fn note_first_error(&mut self, failures: &[StepFailure]) {
        if self.first_error.is_none() {
            self.first_error = failures
                .iter()
                .find(|failure| failure.is_final)
                .map(|failure| failure.error.clone());
        }
    }

    /// Ends the run if nothing is left to do.
    ///
    /// # Errors
    /// `Internal` when steps wait for what will never come, which is a defect.
    pub fn conclude(&mut self, now: Timestamp, decision: &mut Decision) -> Result<()> {
        if !self.claimed.is_empty() || !self.ready.is_empty() || !self.due.is_empty() {
            return Ok(());
        }
        if !self.lanes.iter().all(|lane| lane.steps.all_ended()) {
            return Err(Error::new(
                ErrorKind::Internal,
                "steps are blocked and nothing will release them",
            ));
        }
        let has_failed = |lane: &Lane| {
            let ends = [StepState::Failed, StepState::Quarantined];
            ends.iter().any(|end| !lane.steps.get(*end).is_empty())
        };
        let next = match self.state {
            RunState::Cancelling => RunState::Cancelled,
            _ if self.lanes.iter().any(has_failed) => RunState::Failed,
            _ => RunState::Succeeded,
        };
        self.move_to(next, now, decision)?;
        decision.effects.push(RunEffect::Ended(next));
        Ok(())
    }

    fn move_to(&mut self, next: RunState, at: Timestamp, decision: &mut Decision) -> Result<()> {
        self.state = self.state.to(next)?;
        decision.records.push(Record::RunMoved {
            run: self.run,
            to: next,
            at,
            counts: self.counts(),
            error: if next == RunState::Failed {
                self.first_error.clone()
            } else {
                None
            },
        });
        Ok(())
    }

    /// Pauses or resumes; asking twice is asking once.
    fn turn_to(&mut self, next: RunState, now: Timestamp, decision: &mut Decision) -> Result<()> {
        if self.state != next {
            self.move_to(next, now, decision)?;
        }
        Ok(())
    }

    fn cancel(&mut self, now: Timestamp, decision: &mut Decision) -> Result<()> {
        if self.state == RunState::Cancelling {
            return Ok(());
        }
        for lane in &mut self.lanes {
            for state in [StepState::Blocked, StepState::Ready] {
                let open = lane.steps.get(state).clone();
                lane.steps.shift(state, StepState::Cancelled, &open)?;
            }
        }
        self.ready.clear();
        self.due.clear();
        self.move_to(RunState::Cancelling, now, decision)?;
        decision.effects.push(RunEffect::StopAll);
        self.conclude(now, decision)
    }

    fn retry(&mut self, now: Timestamp, decision: &mut Decision) -> Result<()> {
        while let Some(entry) = self.due.first_entry() {
            if *entry.key() > now {
                decision.effects.push(RunEffect::WakeAt(*entry.key()));
                return Ok(());
            }
            for (number, partition) in entry.remove() {
                let one = PartitionSet::single(partition);
                self.lanes[number].resting.remove(partition);
                self.lanes[number]
                    .steps
                    .shift(StepState::Blocked, StepState::Ready, &one)?;
                self.ready.insert(number);
            }
        }
        Ok(())
    }
}
