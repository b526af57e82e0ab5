//! What follows the death of a worker, or of a whole process, with its chunk.
//!
//! The chunk is claimed once more, by whom nobody is meant to work, only to record the death and end it: so a count of
//! deaths outlives the next one.

use jiff::Timestamp;

use super::spread::News;
use super::{Claimed, Decision, RunMachine};
use crate::partition::PartitionSet;
use crate::run::lane::{Lane, UpstreamEnd};
use crate::run::{CRASHES_MAX, ChunkId, RunState, StepState};
use crate::store::{ChunkClaim, ChunkProgress, ChunkRow, ChunkState, Record, StepFailure};
use crate::{Error, ErrorKind, Fence, Incarnation, Result};

impl RunMachine {
    /// A worker that died gives its steps back, each under suspicion, or quarantined when there is no doubt left.
    pub(super) fn bury(&mut self, chunk: ChunkId, fence: Fence, now: Timestamp, decision: &mut Decision) -> Result<()> {
        self.check_claim(chunk, fence, &[])?;
        let Claimed { left, crashes, .. } = self.claimed.remove(chunk).expect("the claim was checked");
        let crashes = crashes + 1;
        let fence = self.take_fence();
        let lane = &mut self.lanes[chunk.lane];
        let mut failed = Vec::new();
        let mut news = News::default();
        if self.state == RunState::Cancelling {
            lane.steps.shift(StepState::Running, StepState::Cancelled, &left)?;
        } else if crashes >= CRASHES_MAX {
            lane.steps.shift(StepState::Running, StepState::Quarantined, &left)?;
            news.add(chunk.lane, UpstreamEnd::Failed, &left);
            failed = quarantine(lane, &left, crashes, now);
            self.note_first_error(&failed);
        } else {
            lane.suspects.note(&left, crashes);
            self.give_back(chunk.lane, &left)?;
        }
        let asset = self.lanes[chunk.lane].plan.id;
        let claim = ChunkClaim {
            run: self.run,
            asset,
            chunk: chunk.number,
            fence,
            steps: left,
            crashes,
            at: now,
        };
        decision.records.extend(close(claim, failed));
        self.spread(news)?;
        self.conclude(now, decision)
    }
}

/// The failures of steps that are not tried again because their process died too often.
pub(in crate::run) fn quarantine(lane: &Lane, steps: &PartitionSet, crashes: u32, at: Timestamp) -> Vec<StepFailure> {
    let error = Error::new(
        ErrorKind::Quarantined,
        format!("its process died {crashes} times while it ran"),
    )
    .fix("look for an abort, a stack overflow or a lack of memory in its function, then run it again")
    .to_record();
    let failure = |partition| StepFailure {
        asset: lane.plan.id,
        partition,
        attempt: lane.attempts.get(&partition).map_or(1, |failed| failed + 1),
        is_final: true,
        error: error.clone(),
        at,
    };
    steps.iter().map(failure).collect()
}

/// The records that end what somebody left open of a run with which nobody goes on: whoever still holds a chunk of it is
/// refused from then on. `incarnation` is the one that has taken the run for this.
pub fn close_open(chunks: &[ChunkRow], incarnation: Incarnation, at: Timestamp) -> Vec<Record> {
    let fence = incarnation.first_fence();
    let open = chunks.iter().filter(|row| row.state == ChunkState::Running);
    let closed = open.flat_map(|row| {
        let claim = row.claim.clone();
        close(ChunkClaim { fence, at, ..claim }, Vec::new())
    });
    closed.collect()
}

/// Takes over a chunk whose holder died, and ends it.
pub(in crate::run) fn close(claim: ChunkClaim, failed: Vec<StepFailure>) -> [Record; 2] {
    let ChunkClaim {
        run,
        asset,
        chunk,
        fence,
        at,
        ..
    } = claim;
    [
        Record::ChunkClaimed(claim),
        Record::ChunkProgress(ChunkProgress {
            run,
            asset,
            chunk,
            fence,
            materialized: Vec::new(),
            inputs: Vec::new(),
            unchanged: PartitionSet::new(),
            skipped: PartitionSet::new(),
            failed,
            outdated: Vec::new(),
            state: ChunkState::Ended,
            at,
        }),
    ]
}
