//! What a worker shows of the step that it is at, so that others can tell whether it hangs.

use std::sync::{Mutex, MutexGuard, PoisonError};

use flowstone_core::run::ChunkId;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

/// The step that a worker is at.
#[derive(Debug, Clone)]
pub(crate) struct CurrentStep {
    pub(crate) chunk: ChunkId,
    pub(crate) partition: u64,
    pub(crate) attempt: u32,
    pub(crate) started_at: Timestamp,
    pub(crate) cancel: CancellationToken,
    /// True once its deadline has passed.
    pub(crate) is_overdue: bool,
}

/// Written by the worker, read by the run.
#[derive(Debug, Default)]
pub(crate) struct StepWatch {
    current: Mutex<Option<CurrentStep>>,
}

impl StepWatch {
    fn current(&self) -> MutexGuard<'_, Option<CurrentStep>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The worker begins a step.
    pub(crate) fn begin(&self, step: CurrentStep) {
        *self.current() = Some(step);
    }

    /// The worker ended its step; true when that was after its deadline.
    pub(crate) fn end(&self) -> bool {
        self.current().take().is_some_and(|step| step.is_overdue)
    }

    /// The step of `chunk` that the worker is at.
    pub(crate) fn look(&self, chunk: ChunkId) -> Option<CurrentStep> {
        self.current().clone().filter(|step| step.chunk == chunk)
    }

    /// Asks a step to end because its deadline has passed, if the worker is still at it.
    pub(crate) fn trip(&self, chunk: ChunkId, partition: u64) {
        let mut current = self.current();
        if let Some(step) = current
            .as_mut()
            .filter(|step| (step.chunk, step.partition) == (chunk, partition))
        {
            step.is_overdue = true;
            step.cancel.cancel();
        }
    }
}
