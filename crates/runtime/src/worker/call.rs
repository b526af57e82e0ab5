//! One call of a function for all steps of a chunk.
//!
//! What the call gives is stored partition by partition and reported together. A call that fails as a whole is reported
//! as such: what becomes of its partitions is decided by the run.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use flowstone_core::asset::{BatchOutcome, Body, Call, SortedOutcome};
use flowstone_core::io::Stored;
use flowstone_core::run::{StepEnd, StepEnded};
use flowstone_core::{DataVersion, Error, ErrorKind, Result, Value};
use futures::{FutureExt, StreamExt};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Chunk, blocking, given_up, overdue, panicked};
use crate::watch::CurrentStep;

/// How many values of one call are stored at once.
const STORED_AT_ONCE: usize = 8;

/// What became of a partition's outcome.
struct StoredStep {
    partition: u64,
    /// `None` if there was nothing to make.
    stored: Result<Option<Stored>>,
    at: Timestamp,
}

impl Chunk<'_> {
    /// Calls the function for all steps of the chunk; gives those that ended.
    ///
    /// # Errors
    /// Why the call failed as a whole.
    pub(super) async fn run_call(&self) -> Result<Vec<StepEnded>> {
        let heads = match self.prior_heads().await {
            Ok(heads) => heads,
            Err(error) => return Ok(self.fail_all(&error)),
        };
        let Some(first) = self.work.steps.min().filter(|_| !self.must_end()) else {
            return Ok(Vec::new());
        };
        let (cancel, started_at) = (self.running.hand.cancel.child_token(), self.live.shared.clock.now());
        self.running.hand.watch.begin(CurrentStep {
            chunk: self.work.id,
            partition: first,
            attempt: self.work.attempt(first),
            started_at,
            cancel: cancel.clone(),
            is_overdue: false,
        });
        let stored = AssertUnwindSafe(self.call_and_store(&cancel)).catch_unwind().await;
        let is_overdue = self.running.hand.watch.end();
        let failed = match stored {
            _ if is_overdue => overdue(self.lane),
            Ok(Ok(stored)) => {
                let ended = stored.into_iter().map(|stored| self.ended(stored, &heads, started_at));
                return Ok(ended.collect());
            }
            Ok(Err(error)) if self.running.hand.cancel.is_cancelled() && error.kind() == ErrorKind::Cancelled => {
                return Ok(Vec::new());
            }
            Ok(Err(error)) => error,
            Err(panic) => panicked(&*panic),
        };
        let partitions = self.work.steps.len();
        let failed = failed.during("materialize").about(self.label_of_call());
        if partitions > 1 {
            warn!(run_id = %self.live.run, partitions, %failed, "a call failed as a whole");
        }
        Err(failed)
    }

    /// Calls the function and stores what it gives, up to the time when it is asked to end.
    async fn call_and_store(&self, cancel: &CancellationToken) -> Result<Vec<StoredStep>> {
        let attempt = |partition| (partition, self.work.attempt(partition));
        let call = Call {
            scope: Arc::clone(&self.lane.scope),
            inputs: self.inputs(),
            partitions: self.work.steps.iter().map(attempt).collect(),
            cancelled: cancel.clone(),
        };
        let outcomes = tokio::select! {
            biased;
            outcomes = self.outcomes(call.clone()) => outcomes,
            () = given_up(cancel, self.live.shared.cancel_grace) => Err(Error::new(ErrorKind::Cancelled, "it was asked to end")),
        };
        let SortedOutcome { outcomes, strangers } = outcomes?.sorted(&call);
        if let Some(first) = strangers.first() {
            let (run_id, count) = (self.live.run, strangers.len());
            warn!(%run_id, %first, count, "a call gave outcomes for partitions that it was not for");
        }
        let stored = outcomes.into_iter().map(|(partition, outcome)| async move {
            let stored = async { self.store(partition, outcome?).await };
            let stored = AssertUnwindSafe(stored).catch_unwind().await;
            StoredStep {
                partition,
                stored: stored.unwrap_or_else(|panic| Err(panicked(&*panic))),
                at: self.live.shared.clock.now(),
            }
        });
        let until_asked = |_: &StoredStep| std::future::ready(!cancel.is_cancelled());
        let stored = futures::stream::iter(stored)
            .buffered(STORED_AT_ONCE)
            .take_while(until_asked);
        Ok(stored.collect().await)
    }

    async fn outcomes(&self, call: Call) -> Result<BatchOutcome<Value>> {
        match self.lane.body() {
            Body::AsyncBatch(function) => function(call).await,
            Body::BlockingBatch(function) => blocking(function(call).await?).await,
            Body::Async(_) | Body::Blocking(_) | Body::FanOut(_) => Err(Error::new(
                ErrorKind::Internal,
                "its function is called for one partition",
            )),
        }
    }

    fn ended(&self, step: StoredStep, heads: &[(u64, DataVersion)], started_at: Timestamp) -> StepEnded {
        let StoredStep { partition, stored, at } = step;
        let end = match stored {
            Ok(Some(stored)) => self.made_of(partition, stored, heads),
            Ok(None) => StepEnd::Skipped,
            Err(error) => StepEnd::Failed(self.about(partition, error).to_record()),
        };
        StepEnded {
            partition,
            attempt: self.work.attempt(partition),
            end,
            started_at,
            ended_at: at,
        }
    }

    /// The partitions of the call, for people.
    fn label_of_call(&self) -> String {
        let steps = &self.work.steps;
        let first = self.lane.label(steps.min().unwrap_or_default());
        match steps.len() {
            0 | 1 => first,
            more => format!("{first} and {} others", more - 1),
        }
    }
}
