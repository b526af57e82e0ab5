//! Counts the children of a fan-out, each in one state, and opens once.
//!
//! Children are dense numbers. They may end in any order and be reported twice: a child that has ended moves no more.
//! What the counts amount to is for a [`Coordinator`](crate::coordinator::Coordinator) to say.

use std::iter::Sum;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use crate::partition::PartitionSet;
use crate::{Error, ErrorKind, Result};

/// The state of a fan-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BarrierState {
    /// More children may come.
    Filling,
    /// No more children will come.
    Sealed,
    /// Every child has ended, and none failed.
    Complete,
    /// Every child has ended, and some failed, as was allowed.
    Partial,
    /// More failed than was allowed, or the children could not be found.
    Failed,
    /// It was cancelled.
    Cancelled,
}

impl BarrierState {
    /// All states.
    pub const ALL: [Self; 6] = [
        Self::Filling,
        Self::Sealed,
        Self::Complete,
        Self::Partial,
        Self::Failed,
        Self::Cancelled,
    ];

    /// True when nothing follows.
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Filling | Self::Sealed)
    }

    /// True when what the children gave may be gathered.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Complete | Self::Partial)
    }

    /// Moves to `next`.
    ///
    /// # Errors
    /// `IllegalTransition` out of a terminal state, from filling to an end that only a sealed barrier has, and back.
    pub fn to(self, next: Self) -> Result<Self> {
        match (self, next) {
            (Self::Filling, Self::Sealed | Self::Failed | Self::Cancelled)
            | (Self::Sealed, Self::Complete | Self::Partial | Self::Failed | Self::Cancelled) => Ok(next),
            (from, to) => Err(Error::new(
                ErrorKind::IllegalTransition,
                format!("a fan-out that is {from} cannot become {to}"),
            )),
        }
    }

    /// The state's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Filling => "filling",
            Self::Sealed => "sealed",
            Self::Complete => "complete",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl std::fmt::Display for BarrierState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// The state of one child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChildState {
    /// It has not started, or waits for its next attempt.
    Pending,
    /// Somebody works at it.
    Leased,
    /// It gave a value.
    Succeeded,
    /// It found nothing to do.
    Skipped,
    /// It failed and is not tried again.
    Failed,
    /// It killed its process too often.
    Quarantined,
    /// It was cancelled before it ended.
    Cancelled,
}

impl ChildState {
    /// All states.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Leased,
        Self::Succeeded,
        Self::Skipped,
        Self::Failed,
        Self::Quarantined,
        Self::Cancelled,
    ];

    /// True when nothing follows.
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Pending | Self::Leased)
    }
}

/// The children of a fan-out by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BarrierCounts {
    /// All that came so far.
    pub total: u64,
    /// Not started, or waiting for the next attempt.
    pub pending: u64,
    /// Being worked at.
    pub leased: u64,
    /// Gave a value.
    pub succeeded: u64,
    /// Found nothing to do.
    pub skipped: u64,
    /// Failed for good.
    pub failed: u64,
    /// Killed their process too often.
    pub quarantined: u64,
    /// Cancelled before they ended.
    pub cancelled: u64,
}

impl BarrierCounts {
    /// Children that ended.
    pub const fn ended(&self) -> u64 {
        self.succeeded + self.skipped + self.failed + self.quarantined + self.cancelled
    }

    /// Children that ended badly: failed or quarantined.
    pub const fn bad(&self) -> u64 {
        self.failed + self.quarantined
    }

    /// True when `total` is the sum of all others.
    pub const fn adds_up(&self) -> bool {
        self.total == self.pending + self.leased + self.ended()
    }
}

impl AddAssign for BarrierCounts {
    fn add_assign(&mut self, more: Self) {
        let Self {
            total,
            pending,
            leased,
            succeeded,
            skipped,
            failed,
            quarantined,
            cancelled,
        } = more;
        self.total += total;
        self.pending += pending;
        self.leased += leased;
        self.succeeded += succeeded;
        self.skipped += skipped;
        self.failed += failed;
        self.quarantined += quarantined;
        self.cancelled += cancelled;
    }
}

impl Sum for BarrierCounts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |mut sum, more| {
            sum += more;
            sum
        })
    }
}

/// The children of one fan-out, each in exactly one state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Barrier {
    state: BarrierState,
    total: u64,
    sets: [PartitionSet; ChildState::ALL.len()],
}

impl Default for Barrier {
    fn default() -> Self {
        Self {
            state: BarrierState::Filling,
            total: 0,
            sets: Default::default(),
        }
    }
}

impl Barrier {
    /// One without children.
    pub fn new() -> Self {
        Self::default()
    }

    /// One as it was found: the children by state, in the order of [`ChildState::ALL`].
    ///
    /// # Errors
    /// `Corrupt` unless they are all children from 0 on, each in one state.
    pub fn restore(state: BarrierState, sets: [PartitionSet; ChildState::ALL.len()]) -> Result<Self> {
        let all = sets.iter().fold(PartitionSet::new(), |all, set| all.union(set));
        let total = sets.iter().map(PartitionSet::len).sum();
        if all != PartitionSet::full(total) {
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!("the children of a fan-out are {all}, {total} in all"),
            ));
        }
        Ok(Self { state, total, sets })
    }

    /// The state.
    pub fn state(&self) -> BarrierState {
        self.state
    }

    /// How many children came so far.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// True when no more children will come.
    pub fn is_sealed(&self) -> bool {
        self.state != BarrierState::Filling
    }

    /// The children in `state`.
    pub fn get(&self, state: ChildState) -> &PartitionSet {
        &self.sets[state as usize]
    }

    /// The children by state.
    pub fn counts(&self) -> BarrierCounts {
        let len = |state| self.get(state).len();
        BarrierCounts {
            total: self.total,
            pending: len(ChildState::Pending),
            leased: len(ChildState::Leased),
            succeeded: len(ChildState::Succeeded),
            skipped: len(ChildState::Skipped),
            failed: len(ChildState::Failed),
            quarantined: len(ChildState::Quarantined),
            cancelled: len(ChildState::Cancelled),
        }
    }

    /// Lets `count` more children come, numbered on from those that are there; gives the number of the first.
    ///
    /// # Errors
    /// `IllegalTransition` unless it is filling.
    pub fn admit(&mut self, count: u64) -> Result<u64> {
        if self.state != BarrierState::Filling {
            return Err(self.refuses("takes no more children"));
        }
        let first = self.total;
        self.total += count;
        self.sets[ChildState::Pending as usize].insert_range(first..self.total);
        Ok(first)
    }

    /// Lets no more children come.
    ///
    /// # Errors
    /// `IllegalTransition` unless it is filling.
    pub fn seal(&mut self) -> Result<()> {
        self.state = self.state.to(BarrierState::Sealed)?;
        Ok(())
    }

    /// Moves children from one state to another. Pending and leased ones may move to any other; nothing else moves.
    ///
    /// # Errors
    /// `NotFound` for a child that never came, `IllegalTransition` for one that is not in `from` and for a barrier that
    /// is closed. Nothing moved then.
    pub fn shift(&mut self, from: ChildState, to: ChildState, children: &PartitionSet) -> Result<()> {
        if children.max().is_some_and(|last| last >= self.total) {
            let last = children.max().unwrap_or_default();
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("child {last} never came, {} did", self.total),
            ));
        }
        if self.state.is_terminal() {
            return Err(self.refuses("moves no more children"));
        }
        if from.is_terminal() || !children.is_subset(self.get(from)) {
            let strangers = children.difference(self.get(from));
            return Err(Error::new(
                ErrorKind::IllegalTransition,
                format!("children {strangers} cannot become {to:?}, they are not {from:?}"),
            ));
        }
        self.sets[from as usize].subtract(children);
        self.sets[to as usize].union_with(children);
        Ok(())
    }

    /// Closes it for good. Children that have not ended are cancelled.
    ///
    /// # Errors
    /// `IllegalTransition` when the state does not allow it, or when it is to open while children are missing.
    pub fn close(&mut self, end: BarrierState) -> Result<()> {
        let next = self.state.to(end)?;
        let left = self.get(ChildState::Pending).union(self.get(ChildState::Leased));
        if next.is_open() && !left.is_empty() {
            return Err(self.refuses("does not open while children are missing"));
        }
        for state in [ChildState::Pending, ChildState::Leased] {
            self.sets[state as usize] = PartitionSet::new();
        }
        self.sets[ChildState::Cancelled as usize].union_with(&left);
        self.state = next;
        Ok(())
    }

    fn refuses(&self, what: &str) -> Error {
        let state = self.state;
        Error::new(
            ErrorKind::IllegalTransition,
            format!("a fan-out that is {state} {what}"),
        )
    }
}
