//! What follows a call for many partitions that failed as a whole: it does not say which of them was to blame.
//!
//! Each of them is tried again in a smaller call, and at last alone, where a failure is its own. See
//! `docs/adr/0024-calls-for-many-partitions.md`.

use jiff::Timestamp;

use super::{Decision, RunMachine};
use crate::run::{ChunkId, RunState, StepEnd, StepEnded};
use crate::{Error, ErrorKind, ErrorRecord, Fence, Result};

impl RunMachine {
    /// A passing error counts as an attempt of each partition and is waited for; any other, and the last, counts only
    /// against a partition that was called for alone.
    pub(super) fn call_failed(
        &mut self,
        chunk: ChunkId,
        fence: Fence,
        error: &ErrorRecord,
        now: Timestamp,
        decision: &mut Decision,
    ) -> Result<()> {
        self.check_claim(chunk, fence, &[])?;
        let lane = &mut self.lanes[chunk.lane];
        let Some(batch) = lane.batch else {
            return Err(Error::new(
                ErrorKind::IllegalTransition,
                format!("a call of chunk {chunk:?} failed, but each of its steps is called for alone"),
            ));
        };
        let left = &self.claimed.get(chunk).expect("the claim was checked").left;
        let is_alone = left.len() == 1;
        if self.state == RunState::Cancelling {
            return self.settle(chunk, fence, Vec::new(), true, now, decision);
        }
        if !is_alone {
            lane.blurred.note(left, batch.care_after(left.len()));
        }
        let mut ended = Vec::new();
        for partition in left.iter() {
            let attempt = lane.attempts.get(&partition).copied().unwrap_or(0) + 1;
            let is_final = lane.next_due(self.run, partition, attempt, error, now).is_none();
            if is_alone || !is_final {
                ended.push(StepEnded {
                    partition,
                    attempt,
                    end: StepEnd::Failed(error.clone()),
                    started_at: now,
                    ended_at: now,
                });
            }
        }
        self.settle(chunk, fence, ended, true, now, decision)
    }
}
