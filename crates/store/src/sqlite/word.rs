//! The numbers that stand for words in the tables. They are stored, so they never change.

use flowstone_core::Result;
use flowstone_core::fan_out::BarrierState;
use flowstone_core::run::RunState;

use crate::error::corrupt;

pub(super) const CHUNK_RUNNING: i64 = 0;
pub(super) const CHUNK_ENDED: i64 = 1;

pub(super) const STATUS_HEAD: i64 = 0;
pub(super) const STATUS_FAILED: i64 = 1;
pub(super) const STATUS_STALE: i64 = 2;

pub(super) const EVENT_RUN_CREATED: i64 = 0;
pub(super) const EVENT_RUN_MOVED: i64 = 1;
pub(super) const EVENT_MATERIALIZED: i64 = 2;
pub(super) const EVENT_STEP_FAILED: i64 = 3;
pub(super) const EVENT_FAN_OUT_OPENED: i64 = 4;
pub(super) const EVENT_FAN_OUT_MOVED: i64 = 5;

/// Terminal states are those from 4 on; an index and a trigger rest on that.
pub(super) const fn of_run_state(state: RunState) -> i64 {
    match state {
        RunState::Queued => 0,
        RunState::Running => 1,
        RunState::Paused => 2,
        RunState::Cancelling => 3,
        RunState::Succeeded => 4,
        RunState::Failed => 5,
        RunState::Cancelled => 6,
    }
}

/// The state that a number stands for.
pub(super) fn run_state(number: i64) -> Result<RunState> {
    RunState::ALL
        .into_iter()
        .find(|state| of_run_state(*state) == number)
        .ok_or_else(|| corrupt("run state", format!("{number} stands for none")))
}

/// Terminal states are those from 2 on; a trigger rests on that.
pub(super) const fn of_barrier_state(state: BarrierState) -> i64 {
    match state {
        BarrierState::Filling => 0,
        BarrierState::Sealed => 1,
        BarrierState::Complete => 2,
        BarrierState::Partial => 3,
        BarrierState::Failed => 4,
        BarrierState::Cancelled => 5,
    }
}

/// The state that a number stands for.
pub(super) fn barrier_state(number: i64) -> Result<BarrierState> {
    BarrierState::ALL
        .into_iter()
        .find(|state| of_barrier_state(*state) == number)
        .ok_or_else(|| corrupt("state of a fan-out", format!("{number} stands for none")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_states_are_those_from_a_number_on() {
        for state in RunState::ALL {
            assert_eq!(state.is_terminal(), of_run_state(state) >= 4);
            assert_eq!(run_state(of_run_state(state)).unwrap(), state);
        }
        for state in BarrierState::ALL {
            assert_eq!(state.is_terminal(), of_barrier_state(state) >= 2);
            assert_eq!(barrier_state(of_barrier_state(state)).unwrap(), state);
        }
    }
}
