//! Where time comes from.
//!
//! Decisions take the time as an argument; only the runtime asks a clock, so that a test can hand it one that it moves.

use jiff::Timestamp;

/// A source of the current time.
///
/// Implementors promise that `now` never blocks. It may jump in both directions, as the wall clock does.
pub trait Clock: Send + Sync + 'static {
    /// The current time.
    fn now(&self) -> Timestamp;
}

/// The machine's wall clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
