//! What follows when somebody wants to go about the items otherwise.

use std::sync::Arc;

use jiff::Timestamp;

use super::{FanOutEffect, FanOutMachine};
use crate::fan_out::OptionsChange;
use crate::{Error, ErrorKind, Result};

impl FanOutMachine {
    pub(super) fn set(&mut self, change: &OptionsChange, now: Timestamp) -> Result<Vec<FanOutEffect>> {
        if change.items_max.is_some() && self.barrier.is_sealed() {
            return Err(Error::new(
                ErrorKind::IllegalTransition,
                "its items are all read: how many may come is settled",
            )
            .code("fan_out_sealed")
            .fix("give the asset the other limit and redrive: reading goes on where it ended"));
        }
        let coordinator = match change.failure {
            Some(failure) => self.coordinator.tolerating(failure).ok_or_else(fixed_tolerance)?,
            None => Arc::clone(&self.coordinator),
        };
        let options = self.options.changed(change);
        if let (Some(from), Some(to)) = (&self.options.rate_limit, &options.rate_limit) {
            self.schedule.change(from, to, now);
        }
        self.options = options;
        self.coordinator = coordinator;
        let sessions = self.sessions.clone();
        for (session, calls) in &sessions {
            // What it has running is not known; it says so when it asks for more.
            self.grant(*session, sessions.len(), calls.running_max);
        }
        let mut progress = self.progress(now);
        progress.options = Some(self.options.clone());
        self.conclude(progress)
    }
}

fn fixed_tolerance() -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "its coordinator does not go by how many items may fail",
    )
    .code("failure_policy_unused")
    .fix("change the other limits alone; what is tolerated is for the asset's own coordinator to say")
}
