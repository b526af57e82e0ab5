//! What a caller holds of a run: its progress, its end, and the way to cancel it.

use std::sync::Arc;
use std::time::Duration;

use flowstone_core::run::{RunCounts, RunState};
use flowstone_core::{AssetKey, Error, ErrorKind, ErrorRecord, Result, RunId};
use ractor::ActorRef;
use tokio::sync::{oneshot, watch};

use crate::engine::Shared;
use crate::fan_out::ItemProgress;
use crate::supervisor::SupervisorMessage;

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunProgress {
    /// Its state; a terminal one is on disk.
    pub state: RunState,
    /// Its steps by state.
    pub counts: RunCounts,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct RunReport {
    /// The run.
    pub run: RunId,
    /// Its state.
    pub state: RunState,
    /// Its steps by state.
    pub counts: RunCounts,
    /// The first failure, if it did not go well.
    pub error: Option<ErrorRecord>,
    /// The steps that failed for good by themselves.
    pub failures: Vec<FailedStep>,
    /// From the moment it was asked for to its end.
    pub elapsed: Duration,
}

/// A step that failed for good.
#[derive(Debug, Clone, PartialEq)]
pub struct FailedStep {
    /// The asset.
    pub asset: AssetKey,
    /// The partition.
    pub partition: u64,
    /// The partition's text; empty for an asset without partitions.
    pub label: String,
    /// The last attempt, from 1.
    pub attempt: u32,
    /// What happened.
    pub error: ErrorRecord,
}

/// The way to one run.
#[derive(Clone)]
pub struct RunHandle {
    pub(crate) run: RunId,
    pub(crate) progress: watch::Receiver<RunProgress>,
    pub(crate) supervisor: ActorRef<SupervisorMessage>,
    pub(crate) shared: Arc<Shared>,
}

impl RunHandle {
    /// The run's id.
    pub fn run_id(&self) -> RunId {
        self.run
    }

    /// Where the run is; refreshed about twenty times a second, and at its end.
    pub fn progress(&self) -> RunProgress {
        *self.progress.borrow()
    }

    /// The same, to wait for changes.
    pub fn watch(&self) -> watch::Receiver<RunProgress> {
        self.progress.clone()
    }

    /// How far the items of its steps that fan out are, as of now; `None` while none has, and once the run has ended.
    ///
    /// Items that fan out themselves do not count, their own items do.
    pub fn items(&self) -> Option<ItemProgress> {
        self.shared.fan_outs.of_run(self.run)
    }

    /// Asks the run to end; returns when that is on disk. Nothing is started or published after.
    ///
    /// # Errors
    /// What the store says; `Cancelled` when the engine is gone.
    pub async fn cancel(&self) -> Result<()> {
        let (answer, answered) = oneshot::channel();
        drop(
            self.supervisor
                .cast(SupervisorMessage::Cancel { run: self.run, answer }),
        );
        answered.await.unwrap_or_else(|_| self.ended_or(gone()))
    }

    /// Lets the run wait: what runs ends, and nothing more is started until it is resumed, whatever happens to this
    /// process meanwhile. Returns when that is on disk. It keeps what it holds: runs that it would disturb wait, too.
    ///
    /// # Errors
    /// `Conflict` when it has ended or is being cancelled; what the store says; `Cancelled` when the engine is gone.
    pub async fn pause(&self) -> Result<()> {
        self.turn_to(RunState::Paused).await
    }

    /// Lets a paused run go on; returns when that is on disk.
    ///
    /// # Errors
    /// As [`pause`](Self::pause).
    pub async fn resume(&self) -> Result<()> {
        self.turn_to(RunState::Running).await
    }

    async fn turn_to(&self, next: RunState) -> Result<()> {
        let (answer, answered) = oneshot::channel();
        let run = self.run;
        drop(self.supervisor.cast(SupervisorMessage::TurnTo { run, next, answer }));
        answered.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Waits until the run has ended and that is on disk.
    ///
    /// # Errors
    /// What the store says when it failed for good; `Cancelled` when the engine stopped and left the run open.
    pub async fn wait(&self) -> Result<RunReport> {
        let mut progress = self.progress.clone();
        let mut failure = self.shared.ledger.failure();
        loop {
            if progress.borrow_and_update().state.is_terminal() {
                return self.report().await;
            }
            tokio::select! {
                changed = progress.changed() => if changed.is_err() {
                    return match self.ended_or(gone()) {
                        Ok(()) => self.report().await,
                        Err(error) => Err(error),
                    };
                },
                Ok(()) = failure.changed() => if let Some(record) = failure.borrow().as_ref() {
                    return Err(record.clone().into_error());
                },
            }
        }
    }

    fn ended_or(&self, error: Error) -> Result<()> {
        if self.progress().state.is_terminal() {
            return Ok(());
        }
        match self.shared.ledger.failure().borrow().as_ref() {
            Some(record) => Err(record.clone().into_error()),
            None => Err(error),
        }
    }

    async fn report(&self) -> Result<RunReport> {
        self.shared.report(self.run).await
    }
}

impl std::fmt::Debug for RunHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunHandle")
            .field("run", &self.run)
            .field("progress", &self.progress())
            .finish()
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::Cancelled, "the engine stopped before the run ended")
        .code("engine_stopped")
        .fix("start the engine again: the run goes on where it was")
}
