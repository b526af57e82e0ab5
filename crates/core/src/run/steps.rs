//! The steps of one asset in one run, as one set per state.
//!
//! Every step is in exactly one set, so counts always add up; a move that the step's state machine does not allow is
//! refused whole.

use super::state::{RunCounts, StepState};
use crate::partition::PartitionSet;
use crate::{Error, ErrorKind, Result};

/// The steps of one asset in one run, by state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StepSets {
    sets: [PartitionSet; StepState::ALL.len()],
    dependency_failed: PartitionSet,
}

impl StepSets {
    /// All of `steps`, blocked.
    pub fn blocked(steps: PartitionSet) -> Self {
        let mut all = Self::default();
        all.sets[StepState::Blocked as usize] = steps;
        all
    }

    /// The steps in `state`.
    pub fn get(&self, state: StepState) -> &PartitionSet {
        &self.sets[state as usize]
    }

    /// The steps that failed because an upstream did; a part of those that failed.
    pub fn dependency_failed(&self) -> &PartitionSet {
        &self.dependency_failed
    }

    /// Moves `steps` from one state to another.
    ///
    /// # Errors
    /// `IllegalTransition` when the states do not allow it or a step is not in `from`; then nothing moved.
    pub fn shift(&mut self, from: StepState, to: StepState, steps: &PartitionSet) -> Result<()> {
        if steps.is_empty() {
            return Ok(());
        }
        from.to(to)?;
        if !steps.is_subset(self.get(from)) {
            let strangers = steps.difference(self.get(from));
            return Err(Error::new(
                ErrorKind::IllegalTransition,
                format!("steps {strangers} cannot become {to:?}, they are not {from:?}"),
            ));
        }
        self.sets[from as usize].subtract(steps);
        self.sets[to as usize].union_with(steps);
        Ok(())
    }

    /// Moves `steps` from one state to failed, because an upstream failed.
    ///
    /// # Errors
    /// As [`shift`](Self::shift).
    pub fn shift_to_dependency_failed(&mut self, from: StepState, steps: &PartitionSet) -> Result<()> {
        self.shift(from, StepState::Failed, steps)?;
        self.dependency_failed.union_with(steps);
        Ok(())
    }

    /// True when no step will move any more.
    pub fn all_ended(&self) -> bool {
        StepState::ALL
            .iter()
            .filter(|state| !state.is_terminal())
            .all(|state| self.get(*state).is_empty())
    }

    /// Adds this asset's steps to `counts`.
    pub fn add_to(&self, counts: &mut RunCounts) {
        let lens = StepState::ALL.map(|state| self.get(state).len());
        let len = |state: StepState| lens[state as usize];
        let dependency_failed = self.dependency_failed.len();
        counts.blocked += len(StepState::Blocked);
        counts.ready += len(StepState::Ready);
        counts.running += len(StepState::Running);
        counts.succeeded += len(StepState::Succeeded);
        counts.skipped += len(StepState::Skipped);
        counts.failed += len(StepState::Failed) - dependency_failed;
        counts.dependency_failed += dependency_failed;
        counts.cancelled += len(StepState::Cancelled);
        counts.quarantined += len(StepState::Quarantined);
        counts.total += lens.iter().sum::<u64>();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_moves_the_counts_add_up(moves in prop::collection::vec((0..8_usize, 0..8_usize, 0..40_u64, 1..9_u64), 0..60)) {
            let mut steps = StepSets::blocked(PartitionSet::full(40));

            for (from, to, first, len) in moves {
                let before = steps.clone();
                let moved = PartitionSet::from_range(first..first + len);
                if steps.shift(StepState::ALL[from], StepState::ALL[to], &moved).is_err() {
                    prop_assert_eq!(&steps, &before);
                }
                let mut counts = RunCounts::default();
                steps.add_to(&mut counts);
                prop_assert!(counts.adds_up());
                prop_assert_eq!(counts.total, 40);
            }
        }
    }
}
