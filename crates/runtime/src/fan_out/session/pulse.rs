//! What a session shows of itself, so that others can tell whether an item blocks its thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often a session shows that it does not hang, at least.
pub(super) const PULSE_EVERY: Duration = Duration::from_millis(500);

/// What a session shows of itself.
pub(in crate::fan_out) struct Pulse {
    shown: Mutex<Instant>,
    /// Set when the worker is given up; its slot then goes nowhere.
    given_up: Arc<AtomicBool>,
}

impl Pulse {
    pub(super) fn new(given_up: &Arc<AtomicBool>) -> Self {
        Self {
            shown: Mutex::new(Instant::now()),
            given_up: Arc::clone(given_up),
        }
    }

    fn shown(&self) -> MutexGuard<'_, Instant> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn show(&self) {
        *self.shown() = Instant::now();
    }

    /// How long nothing was shown.
    pub(in crate::fan_out) fn age(&self) -> Duration {
        self.shown().elapsed()
    }

    /// Gives the worker up; true when nobody had.
    pub(in crate::fan_out) fn give_up(&self) -> bool {
        !self.given_up.swap(true, Ordering::AcqRel)
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }
}
