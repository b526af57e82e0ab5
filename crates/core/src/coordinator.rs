//! The seam for fan-out: how one step becomes children and comes back.
//!
//! A coordinator decides; it performs nothing. The engine feeds it what was recorded and acts on its verdict, so that
//! the live path and recovery take the same decisions. Scatter and parallel branches implement it in crates of their own.

use crate::partition::PartitionSet;
use crate::{ErrorRecord, Result};

/// How a child of a fan-out ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChildOutcome {
    /// It gave a value.
    Succeeded,
    /// It decided that there is nothing to do.
    Skipped,
    /// It failed and will not be tried again.
    Failed(ErrorRecord),
    /// It was cancelled.
    Cancelled,
}

/// What a fan-out should do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Children are still missing.
    Wait,
    /// These children may start now.
    Start(PartitionSet),
    /// All that matters has ended: run the gathering half of the step.
    Gather,
    /// Too much failed: the step fails with this.
    Fail(ErrorRecord),
}

/// Decides the course of one fan-out.
///
/// Implementors promise that the verdict depends only on the set of outcomes recorded, never on their order, that an
/// outcome recorded twice counts once, and that `Gather` or `Fail` is given exactly once and is final.
pub trait Coordinator: Send + 'static {
    /// Records that children with these indices exist.
    ///
    /// # Errors
    /// `IllegalTransition` when the fan-out was sealed.
    fn admit(&mut self, children: &PartitionSet) -> Result<Verdict>;

    /// Records that no more children will come.
    ///
    /// # Errors
    /// `IllegalTransition` when it was sealed before.
    fn seal(&mut self) -> Result<Verdict>;

    /// Records how one child ended.
    ///
    /// # Errors
    /// `NotFound` for a child that was never admitted.
    fn ended(&mut self, child: u64, outcome: ChildOutcome) -> Result<Verdict>;
}
