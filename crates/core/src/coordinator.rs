//! The seam for fan-out: what the children of a step amount to.
//!
//! A coordinator looks at a [`Barrier`] and decides; it performs nothing and keeps nothing. So the live path and recovery
//! take the same decisions, and neither the order of ends nor a report that comes twice can matter. Scatter and parallel
//! branches implement it in crates of their own.

use std::sync::Arc;

use crate::ErrorRecord;
use crate::fan_out::{Barrier, FailurePolicy};
use crate::partition::PartitionSet;

/// What a fan-out should do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Children are still missing.
    Wait,
    /// All that matters has ended: run the gathering half of the step.
    Gather,
    /// Too much failed: the step fails with this.
    Fail(ErrorRecord),
}

/// Decides the course of one fan-out by what its barrier has counted.
///
/// Implementors promise that the answers depend on nothing but the barrier, that a barrier that is filling is never
/// gathered, that `Gather` is said only when no child is pending or leased, that once every child of a sealed barrier has
/// ended the verdict is not `Wait`, and that what was said of a barrier still holds when more of its children have ended:
/// who says `Fail` early is sure that nothing could have saved it.
pub trait Coordinator: Send + Sync + 'static {
    /// Those of the pending children that may start now. All of them unless overridden.
    fn startable(&self, barrier: &Barrier) -> PartitionSet {
        barrier.get(crate::fan_out::ChildState::Pending).clone()
    }

    /// The same coordinator with another failure policy, for when somebody changes how many items may fail while the fan-out
    /// runs. `None` unless overridden: this one goes by something else, and such a change is refused.
    fn tolerating(&self, _failure: FailurePolicy) -> Option<Arc<dyn Coordinator>> {
        None
    }

    /// What to do next. `first_error` is how the first child failed that did, for the message.
    fn verdict(&self, barrier: &Barrier, first_error: Option<&ErrorRecord>) -> Verdict;
}
