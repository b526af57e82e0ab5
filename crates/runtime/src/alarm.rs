//! A timer that sends its actor one message, at the earliest of the times that were asked for.
//!
//! However often it is set, at most one timer runs: who sets it again whenever it has rung does not multiply it.

use std::time::Duration;

use ractor::{ActorRef, Message};
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// A timer of an actor.
#[derive(Debug, Default)]
pub(crate) struct Alarm(Option<(Instant, AbortHandle)>);

impl Alarm {
    /// Lets it ring after `wait`, unless it rings before that anyway.
    pub(crate) fn set<M: Message>(&mut self, wait: Duration, actor: &ActorRef<M>, message: fn() -> M) {
        // Beyond the end of time there is nothing to ring for.
        let Some(due) = Instant::now().checked_add(wait) else {
            return;
        };
        if self.0.as_ref().is_some_and(|(earlier, _)| *earlier <= due) {
            return;
        }
        let timer = actor.send_after(wait, message).abort_handle();
        if let Some((_, later)) = self.0.replace((due, timer)) {
            later.abort();
        }
    }

    /// Notes that it has rung, and may be set anew.
    pub(crate) fn rang(&mut self) {
        self.0 = None;
    }
}
