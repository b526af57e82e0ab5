//! What follows the death of a worker, or of a whole process, with its chunk.
//!
//! The chunk is claimed once more, by whom nobody is meant to work, only to record the death and end it: so a count of
//! deaths outlives the next one.

use jiff::Timestamp;

use super::spread::News;
use super::{Claimed, RunEffect, RunMachine};
use crate::partition::PartitionSet;
use crate::run::lane::UpstreamEnd;
use crate::run::{CRASHES_MAX, ChunkId, RunState, StepState};
use crate::store::{ChunkClaim, ChunkProgress, ChunkState, Record, StepFailure};
use crate::{AssetId, Error, ErrorKind, Fence, Result};

impl RunMachine {
    /// A worker that died gives its steps back, each under suspicion, or quarantined when there is no doubt left.
    pub(super) fn bury(&mut self, chunk: ChunkId, fence: Fence, now: Timestamp) -> Result<Vec<RunEffect>> {
        self.check_claim(chunk, fence, &[])?;
        let Claimed { left, crashes, .. } = self.claimed.remove(&chunk).expect("the claim was checked");
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
            failed = quarantine(lane.plan.id, &left, crashes, now);
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
        let mut effects = vec![RunEffect::Commit(close(claim, failed).into())];
        self.spread(news)?;
        self.conclude_into(&mut effects, now)?;
        Ok(effects)
    }
}

/// The failures of steps that are not tried again because their process died too often.
pub(in crate::run) fn quarantine(
    asset: AssetId,
    steps: &PartitionSet,
    crashes: u32,
    at: Timestamp,
) -> Vec<StepFailure> {
    let error = Error::new(
        ErrorKind::Quarantined,
        format!("its process died {crashes} times while it ran"),
    )
    .fix("look for an abort, a stack overflow or a lack of memory in its function, then run it again")
    .to_record();
    let failure = |partition| StepFailure {
        asset,
        partition,
        attempt: crashes,
        is_final: true,
        error: error.clone(),
        at,
    };
    steps.iter().map(failure).collect()
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
