//! Decides how a fan-out goes on that was opened before.

use super::BarrierState;
use crate::RunId;
use crate::store::FanOutRow;

/// How a fan-out goes on that was opened before, by whoever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakeUp {
    /// As it was left: what ended stays ended, and so does the whole (see
    /// [`FanOutMachine::recover`](super::FanOutMachine::recover)).
    Recover,
    /// In another epoch: what did not succeed is tried again (see
    /// [`FanOutMachine::reopen`](super::FanOutMachine::reopen)).
    Reopen,
}

impl TakeUp {
    /// How `run` goes on with what it finds at its `attempt` at the step, or at the item that fans out, from 1.
    ///
    /// A redrive tries again what another run left. What failed in the run itself is tried again by another attempt at the
    /// step, and within an item, which runs again only because it has not ended. The first attempt at a step that finds it
    /// failed goes on for one whose process died before it could say so, and says it.
    pub fn of(row: &FanOutRow, run: RunId, attempt: u32) -> Self {
        let has_failed = matches!(row.state, BarrierState::Failed | BarrierState::Cancelled);
        let is_tried_again = attempt > 1 || row.parent.is_some();
        if row.run != run || (has_failed && is_tried_again) {
            Self::Reopen
        } else {
            Self::Recover
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;
    use crate::fan_out::{BarrierCounts, FanOutOptions};
    use crate::{AssetId, FanOutId};

    const OPEN_OR_WELL: [BarrierState; 4] = [
        BarrierState::Filling,
        BarrierState::Sealed,
        BarrierState::Complete,
        BarrierState::Partial,
    ];
    const FAILED: [BarrierState; 2] = [BarrierState::Failed, BarrierState::Cancelled];

    fn row(state: BarrierState) -> FanOutRow {
        FanOutRow {
            fan_out: FanOutId(Uuid::from_u128(7)),
            run: run(1),
            asset: AssetId(0),
            partition: 0,
            parent: None,
            epoch: 1,
            state,
            is_sealed: state != BarrierState::Filling,
            options: FanOutOptions::default(),
            shared: None,
            cursor: None,
            counts: BarrierCounts::default(),
            redriven: 0,
            on_schedule_at: None,
            error: None,
            opened_at: Timestamp::UNIX_EPOCH,
            moved_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn nested(state: BarrierState) -> FanOutRow {
        FanOutRow {
            parent: Some((FanOutId(Uuid::from_u128(6)), 0)),
            ..row(state)
        }
    }

    fn run(number: u128) -> RunId {
        RunId(Uuid::from_u128(number))
    }

    #[test]
    fn a_redrive_reopens_whatever_it_finds() {
        for state in OPEN_OR_WELL.into_iter().chain(FAILED) {
            assert_eq!(TakeUp::of(&row(state), run(2), 1), TakeUp::Reopen, "{state}");
            assert_eq!(TakeUp::of(&nested(state), run(2), 1), TakeUp::Reopen, "{state}");
        }
    }

    #[test]
    fn what_is_open_or_went_well_goes_on_as_it_was_left() {
        for state in OPEN_OR_WELL {
            for attempt in [1, 2] {
                assert_eq!(TakeUp::of(&row(state), run(1), attempt), TakeUp::Recover, "{state}");
                assert_eq!(TakeUp::of(&nested(state), run(1), attempt), TakeUp::Recover, "{state}");
            }
        }
    }

    #[test]
    fn what_failed_is_tried_again_by_another_attempt_and_within_an_item() {
        for state in FAILED {
            assert_eq!(TakeUp::of(&row(state), run(1), 1), TakeUp::Recover, "{state}");
            assert_eq!(TakeUp::of(&row(state), run(1), 2), TakeUp::Reopen, "{state}");
            assert_eq!(TakeUp::of(&nested(state), run(1), 1), TakeUp::Reopen, "{state}");
        }
    }
}
