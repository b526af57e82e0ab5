//! Messages that come twice, or from workers that were given up: refused, and nothing moves.

use flowstone_core::run::{ChunkId, Decision, RunEvent, StepSets};
use flowstone_core::{ErrorKind, Fence};

use super::broken::{broken, hold_eq};
use super::driver::Driver;
use crate::simulation::Promise;

impl Driver<'_> {
    pub(super) fn keep_late(&mut self, event: RunEvent) {
        let is_of_a_chunk = matches!(
            event,
            RunEvent::StepsEnded { .. }
                | RunEvent::Overdue { .. }
                | RunEvent::CallFailed { .. }
                | RunEvent::WorkerDied { .. }
        );
        if is_of_a_chunk && self.late.len() < 8 {
            self.late.push(event);
        }
    }

    /// A message that comes twice, or after its worker was given up: refused, and nothing moves.
    pub(super) fn send_late(&mut self) {
        let at = self.draw.below(self.late.len());
        let event = self.late.swap_remove(at);
        // A worker that is still at it may report the rest of its chunk. And whoever has died may have reported nothing yet,
        // before that is told.
        let is_late = match &event {
            RunEvent::StepsEnded {
                chunk, fence, ended, ..
            } => {
                let mut workers = self.workers.iter().flatten();
                let holder = workers.find(|worker| worker.work.id == *chunk && worker.work.fence == *fence);
                match holder {
                    Some(holder) => ended.iter().any(|step| !holder.unreported.contains(step.partition)),
                    None => !ended.is_empty() || !self.is_open(*chunk, *fence),
                }
            }
            _ => true,
        };
        if is_late && !self.machine.is_over() {
            self.refuse(event);
        }
    }

    fn is_open(&self, chunk: ChunkId, fence: Fence) -> bool {
        let place = (self.asset_of(chunk.lane), chunk.number.0);
        self.live.open.contains_key(&place) && self.live.claims.get(&place) == Some(&fence.0)
    }

    /// Sends what does not fit, and sees to it that nothing moves.
    pub(super) fn refuse(&mut self, event: RunEvent) {
        let before: Vec<StepSets> = self.machine.assets().map(|(_, steps)| steps.clone()).collect();
        match self.machine.apply(event, self.now, &mut Decision::default()) {
            Ok(()) => broken(Promise::P9, "a late message is taken".to_owned()),
            Err(error) => hold_eq!(P9, error.kind(), ErrorKind::Fenced, "what is said to a late message"),
        }
        let after: Vec<StepSets> = self.machine.assets().map(|(_, steps)| steps.clone()).collect();
        hold_eq!(P9, after, before, "a refused message moved something");
    }
}
