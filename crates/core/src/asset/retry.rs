//! When a failed attempt is followed by another.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{ErrorClass, ErrorKind};

/// A retry policy: attempts, backoff, and which errors count.
///
/// The wait before attempt `n + 1` is drawn evenly from zero to `min(cap, base × 3ⁿ⁻¹)` ("full jitter", as described in
/// the AWS Architecture Blog, "Exponential Backoff And Jitter", 2015). Errors of user code count only when they say that
/// they are passing ([`Error::transient`](crate::Error::transient) and the like) unless
/// [`on_any_error`](Self::on_any_error) is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    attempts_max: u32,
    base: Duration,
    cap: Duration,
    any_error: bool,
}

/// What follows a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextAttempt {
    /// Try again after this long.
    After(Duration),
    /// It failed for good.
    Never,
}

impl Default for Retry {
    fn default() -> Self {
        Self::exponential(3)
    }
}

impl Retry {
    /// At most `attempts_max` attempts, 30 s × 3ⁿ⁻¹ apart, at most 300 s.
    pub const fn exponential(attempts_max: u32) -> Self {
        Self {
            attempts_max,
            base: Duration::from_secs(30),
            cap: Duration::from_secs(300),
            any_error: false,
        }
    }

    /// One attempt.
    pub const fn never() -> Self {
        Self::exponential(1)
    }

    /// The upper end of the first wait, and the bound that no wait passes.
    #[must_use]
    pub const fn between(mut self, base: Duration, cap: Duration) -> Self {
        self.base = base;
        self.cap = cap;
        self
    }

    /// The same with so many attempts at most; zero is taken as one.
    #[must_use]
    pub const fn at_most(mut self, attempts_max: u32) -> Self {
        self.attempts_max = if attempts_max == 0 { 1 } else { attempts_max };
        self
    }

    /// Counts every error that user code returns as passing. Panics and contract errors still fail at once.
    #[must_use]
    pub const fn on_any_error(mut self) -> Self {
        self.any_error = true;
        self
    }

    /// How many attempts there are at most.
    pub const fn attempts_max(&self) -> u32 {
        self.attempts_max
    }

    /// Decides what follows attempt number `attempt` (from 1), which failed with `kind` and `class`.
    ///
    /// `jitter` is a random number from 0 to 1.
    pub fn after(&self, attempt: u32, kind: ErrorKind, class: ErrorClass, jitter: f64) -> NextAttempt {
        let counts = class.is_retryable()
            || class == ErrorClass::Infra
            || (self.any_error && kind == ErrorKind::User && class == ErrorClass::Permanent);
        if !counts || attempt >= self.attempts_max {
            return NextAttempt::Never;
        }
        let ceiling = self
            .base
            .saturating_mul(3_u32.saturating_pow(attempt.saturating_sub(1)))
            .min(self.cap);
        let drawn = ceiling.mul_f64(jitter.clamp(0.0, 1.0));
        NextAttempt::After(match class {
            ErrorClass::RateLimited(asked) => drawn.max(asked),
            _ => drawn,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_threefold_up_to_the_cap() {
        let retry = Retry::exponential(9);
        let wait = |attempt| retry.after(attempt, ErrorKind::User, ErrorClass::Transient, 1.0);

        assert_eq!(wait(1), NextAttempt::After(Duration::from_secs(30)));
        assert_eq!(wait(2), NextAttempt::After(Duration::from_secs(90)));
        assert_eq!(wait(3), NextAttempt::After(Duration::from_secs(270)));
        assert_eq!(wait(4), NextAttempt::After(Duration::from_secs(300)));
        assert_eq!(wait(9), NextAttempt::Never);
    }

    #[test]
    fn an_error_that_nobody_declared_passing_fails_at_once() {
        let plain = |retry: Retry| retry.after(1, ErrorKind::User, ErrorClass::Permanent, 0.0);

        assert_eq!(plain(Retry::exponential(3)), NextAttempt::Never);
        assert_eq!(
            plain(Retry::exponential(3).on_any_error()),
            NextAttempt::After(Duration::ZERO)
        );
    }

    #[test]
    fn a_panic_never_retries() {
        let retry = Retry::exponential(3).on_any_error();

        assert_eq!(
            retry.after(1, ErrorKind::Panicked, ErrorClass::Permanent, 0.0),
            NextAttempt::Never
        );
    }

    #[test]
    fn the_wait_that_the_other_side_asks_for_is_kept() {
        let asked = Duration::from_secs(1_000);

        let next = Retry::exponential(3).after(1, ErrorKind::User, ErrorClass::RateLimited(asked), 0.5);

        assert_eq!(next, NextAttempt::After(asked));
    }
}
