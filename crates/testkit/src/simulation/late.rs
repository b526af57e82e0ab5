//! Messages that come twice, or from workers that were given up: refused, and nothing moves.

use flowstone_core::ErrorKind;
use flowstone_core::run::{RunEvent, StepSets};

use super::broken::{broken, hold_eq};
use super::driver::Driver;
use crate::simulation::Promise;

impl Driver<'_> {
    pub(super) fn keep_late(&mut self, event: RunEvent) {
        // A report of nothing says nothing, however late. Its claim may not even be on disk, and then another process
        // claims under the same fence.
        let is_empty = matches!(&event, RunEvent::StepsEnded { ended, .. } if ended.is_empty());
        if !is_empty && self.late.len() < 8 {
            self.late.push(event);
        }
    }

    /// A message that comes twice, or after its worker was given up: refused, and nothing moves.
    pub(super) fn send_late(&mut self) {
        let at = self.draw.below(self.late.len());
        let event = self.late.swap_remove(at);
        // A worker that is still at it may report the rest of its chunk.
        let is_late = match &event {
            RunEvent::StepsEnded {
                chunk, fence, ended, ..
            } => {
                let mut workers = self.workers.iter().flatten();
                let holder = workers.find(|worker| worker.work.id == *chunk && worker.work.fence == *fence);
                holder.is_none_or(|holder| ended.iter().any(|step| !holder.unreported.contains(step.partition)))
            }
            _ => true,
        };
        if is_late && !self.machine.is_over() {
            self.refuse(event);
        }
    }

    /// Sends what does not fit, and sees to it that nothing moves.
    pub(super) fn refuse(&mut self, event: RunEvent) {
        let before: Vec<StepSets> = self.machine.assets().map(|(_, steps)| steps.clone()).collect();
        match self.machine.apply(event, self.now) {
            Ok(_) => broken(Promise::P9, "a late message is taken".to_owned()),
            Err(error) => hold_eq!(P9, error.kind(), ErrorKind::Fenced, "what is said to a late message"),
        }
        let after: Vec<StepSets> = self.machine.assets().map(|(_, steps)| steps.clone()).collect();
        hold_eq!(P9, after, before, "a refused message moved something");
    }
}
