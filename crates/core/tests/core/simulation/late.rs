//! Messages that come twice, or from workers that were given up: refused, and nothing moves.

use flowstone_core::ErrorKind;
use flowstone_core::run::{RunEvent, StepEnded, StepSets};

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
        let (
            RunEvent::StepsEnded {
                chunk,
                fence,
                ended,
                is_over: _,
            },
            held,
        ) = (&event, self.holds(&event))
        else {
            return self.refuse(event);
        };
        if !held || ended.iter().any(|step| !self.is_unreported(chunk.lane, step)) {
            let twice = RunEvent::StepsEnded {
                chunk: *chunk,
                fence: *fence,
                ended: ended.clone(),
                is_over: true,
            };
            self.refuse(twice);
        }
    }

    fn holds(&self, event: &RunEvent) -> bool {
        let RunEvent::StepsEnded { chunk, fence, .. } = event else {
            return false;
        };
        self.workers
            .iter()
            .flatten()
            .any(|worker| worker.work.id == *chunk && worker.work.fence == *fence)
    }

    fn is_unreported(&self, lane: usize, step: &StepEnded) -> bool {
        let mut workers = self
            .workers
            .iter()
            .flatten()
            .filter(|worker| worker.work.id.lane == lane);
        workers.any(|worker| worker.unreported.contains(step.partition))
    }

    fn refuse(&mut self, event: RunEvent) {
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
