//! The states of runs and steps, and which may follow which.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

/// The state of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Asked for, not planned yet.
    Queued,
    /// Planned; its steps run.
    Running,
    /// Asked to wait: what runs ends, and nothing more is started until somebody resumes it.
    Paused,
    /// Asked to end; what runs is being stopped.
    Cancelling,
    /// Every step ended well.
    Succeeded,
    /// At least one step did not.
    Failed,
    /// It was ended on request.
    Cancelled,
}

impl RunState {
    /// True when nothing follows.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// Moves to `next`.
    ///
    /// # Errors
    /// `IllegalTransition` when `next` may not follow.
    pub fn to(self, next: Self) -> Result<Self> {
        let legal = match self {
            Self::Queued => matches!(next, Self::Running | Self::Paused | Self::Cancelled | Self::Failed),
            Self::Running => matches!(next, Self::Paused | Self::Cancelling | Self::Succeeded | Self::Failed),
            // Resumed, it goes back to where it was. What still ran may turn out to be all that was left.
            Self::Paused => !matches!(next, Self::Paused),
            Self::Cancelling => matches!(next, Self::Cancelled),
            Self::Succeeded | Self::Failed | Self::Cancelled => false,
        };
        if legal {
            Ok(next)
        } else {
            Err(illegal("run", self, next))
        }
    }

    /// The word for it, as stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Cancelling => "cancelling",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// All states.
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Running,
        Self::Paused,
        Self::Cancelling,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
    ];
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The state of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// Something that it needs has not ended, or its next attempt is not due.
    Blocked,
    /// It may start.
    Ready,
    /// A worker has it.
    Running,
    /// It made a value.
    Succeeded,
    /// There was nothing to do: its value is current, or its code or its upstream found nothing to make.
    Skipped,
    /// It failed for good, or an upstream did.
    Failed,
    /// The run was cancelled before it ended.
    Cancelled,
    /// It killed its process too often.
    Quarantined,
}

impl StepState {
    /// All states.
    pub const ALL: [Self; 8] = [
        Self::Blocked,
        Self::Ready,
        Self::Running,
        Self::Succeeded,
        Self::Skipped,
        Self::Failed,
        Self::Cancelled,
        Self::Quarantined,
    ];

    /// True when nothing follows within the run.
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Succeeded | Self::Skipped | Self::Failed | Self::Cancelled | Self::Quarantined
        )
    }

    /// Moves to `next`.
    ///
    /// # Errors
    /// `IllegalTransition` when `next` may not follow.
    pub fn to(self, next: Self) -> Result<Self> {
        let legal = match self {
            Self::Blocked => matches!(next, Self::Ready | Self::Skipped | Self::Failed | Self::Cancelled),
            // Given back to Blocked when its upstream is redone is not allowed: inputs are pinned.
            Self::Ready => matches!(
                next,
                Self::Running | Self::Skipped | Self::Cancelled | Self::Quarantined
            ),
            Self::Running => !matches!(next, Self::Running),
            Self::Succeeded | Self::Skipped | Self::Failed | Self::Cancelled | Self::Quarantined => false,
        };
        if legal {
            Ok(next)
        } else {
            Err(illegal("step", self, next))
        }
    }
}

fn illegal(what: &str, from: impl fmt::Debug, to: impl fmt::Debug) -> Error {
    Error::new(
        ErrorKind::IllegalTransition,
        format!("a {what} that is {from:?} cannot become {to:?}"),
    )
}

/// How many steps of a run are in which state.
///
/// `total` is the sum of all others, always.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunCounts {
    /// All steps of the plan.
    pub total: u64,
    /// Steps that wait for something.
    pub blocked: u64,
    /// Steps that may start.
    pub ready: u64,
    /// Steps that a worker has.
    pub running: u64,
    /// Steps that made a value.
    pub succeeded: u64,
    /// Steps with nothing to do.
    pub skipped: u64,
    /// Steps that failed themselves.
    pub failed: u64,
    /// Steps that failed because an upstream did.
    pub dependency_failed: u64,
    /// Steps that were cancelled.
    pub cancelled: u64,
    /// Steps that killed their process.
    pub quarantined: u64,
}

impl RunCounts {
    /// Steps that have ended.
    pub const fn ended(&self) -> u64 {
        self.succeeded + self.skipped + self.failed + self.dependency_failed + self.cancelled + self.quarantined
    }

    /// The same when everything that has not ended is cancelled.
    #[must_use]
    pub const fn with_rest_cancelled(self) -> Self {
        let open = self.blocked + self.ready + self.running;
        Self {
            blocked: 0,
            ready: 0,
            running: 0,
            cancelled: self.cancelled + open,
            ..self
        }
    }

    /// True when `total` is the sum of all others.
    pub const fn adds_up(&self) -> bool {
        self.total == self.blocked + self.ready + self.running + self.ended()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_run_is_final() {
        for from in RunState::ALL.into_iter().filter(|state| state.is_terminal()) {
            for to in RunState::ALL {
                assert_eq!(from.to(to).unwrap_err().kind(), ErrorKind::IllegalTransition);
            }
        }
    }

    #[test]
    fn a_terminal_step_is_final() {
        for from in StepState::ALL.into_iter().filter(|state| state.is_terminal()) {
            for to in StepState::ALL {
                assert_eq!(from.to(to).unwrap_err().kind(), ErrorKind::IllegalTransition);
            }
        }
    }

    #[test]
    fn a_paused_run_may_go_on_or_end_and_an_ending_one_is_not_paused() {
        for to in RunState::ALL {
            assert_eq!(RunState::Paused.to(to).is_ok(), to != RunState::Paused);
        }
        assert!(RunState::Cancelling.to(RunState::Paused).is_err());
    }

    #[test]
    fn a_cancelled_run_is_never_a_success() {
        assert!(RunState::Cancelling.to(RunState::Succeeded).is_err());
    }
}
