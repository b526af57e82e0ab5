//! A clock that a test moves.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flowstone_core::clock::Clock;
use jiff::Timestamp;

/// A clock that stands still until it is moved. Clones show the same time.
///
/// ```
/// use std::time::Duration;
/// use flowstone_core::clock::Clock;
/// use flowstone_testkit::ManualClock;
///
/// let clock = ManualClock::at("2024-03-05T06:00:00Z".parse().unwrap());
/// clock.advance(Duration::from_secs(90));
/// assert_eq!(clock.now().to_string(), "2024-03-05T06:01:30Z");
/// ```
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<Mutex<Timestamp>>);

impl ManualClock {
    /// A clock that shows `time`.
    pub fn at(time: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(time)))
    }

    /// Moves forward by `wait`; at the end of the calendar it stays there.
    pub fn advance(&self, wait: Duration) {
        let mut time = self.time();
        *time = time.checked_add(wait).unwrap_or(Timestamp::MAX);
    }

    /// Jumps to `time`, in either direction, as the wall clock may.
    pub fn set(&self, time: Timestamp) {
        *self.time() = time;
    }

    fn time(&self) -> MutexGuard<'_, Timestamp> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for ManualClock {
    /// A clock that shows the first second of 2024.
    fn default() -> Self {
        Self::at(Timestamp::constant(1_704_067_200, 0))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.time()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_show_the_same_time_and_it_may_jump_back() {
        let clock = ManualClock::default();
        let other = clock.clone();

        clock.advance(Duration::from_secs(86_400));
        assert_eq!(other.now().to_string(), "2024-01-02T00:00:00Z");
        other.set(Timestamp::UNIX_EPOCH);
        assert_eq!(clock.now(), Timestamp::UNIX_EPOCH);
        clock.advance(Duration::MAX);
        assert_eq!(clock.now(), Timestamp::MAX);
    }
}
