//! Messages that come twice, or from workers that were given up: refused, and nothing moves.

use flowstone_core::ErrorKind;
use flowstone_core::run::{RunEvent, StepSets};

use super::driver::Driver;

impl Driver<'_> {
    pub(super) fn keep_late(&mut self, event: RunEvent) {
        if self.late.len() < 8 {
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
        if is_late {
            self.refuse(event);
        }
    }

    /// Sends what does not fit, and sees to it that nothing moves.
    pub(super) fn refuse(&mut self, event: RunEvent) {
        let before: Vec<StepSets> = self.machine.assets().map(|(_, steps)| steps.clone()).collect();
        let error = self
            .machine
            .apply(event, self.now)
            .expect_err("a late message is refused");
        assert_eq!(error.kind(), ErrorKind::Fenced);
        let after: Vec<StepSets> = self.machine.assets().map(|(_, steps)| steps.clone()).collect();
        assert_eq!(before, after, "a refused message moved something");
    }
}
