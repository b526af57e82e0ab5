//! What somebody outside may ask of the runs of an engine.

use flowstone_core::plan::{Redrive, RunPlan, RunRequest, SavedPlan};
use flowstone_core::run::RunMachine;
use flowstone_core::{Error, ErrorKind, Result, RunId};

use super::Engine;
use crate::handle::{RunHandle, RunReport};
use crate::recorded::recorded;
use crate::supervisor::SupervisorMessage;

impl Engine {
    /// What `request` would do now; nothing is written.
    ///
    /// # Errors
    /// As [`Planner::plan`](flowstone_core::plan::Planner::plan), and what the store says.
    pub async fn plan(&self, request: &RunRequest) -> Result<RunPlan> {
        self.shared.plan(request).await
    }

    /// Starts a run; returns when it is on disk. A run that would touch what another one is making waits for that one,
    /// and is planned when its turn comes. Two requests with one idempotency key are one run.
    ///
    /// # Errors
    /// What planning says, before anything is written; what the store says.
    pub async fn submit(&self, request: RunRequest) -> Result<RunHandle> {
        self.call(|answer| SupervisorMessage::Submit {
            request: Box::new(request),
            answer,
        })
        .await
    }

    /// Starts a run that carries out a saved plan as it stands; returns when it is on disk.
    ///
    /// # Errors
    /// `Conflict` when the plan was made for another pipeline, code or partitions, when what it was made on has moved since,
    /// or when a run that goes on would move it; the message names what moved. Nothing is written then.
    pub async fn apply(&self, saved: SavedPlan) -> Result<RunHandle> {
        self.call(|answer| SupervisorMessage::Apply {
            saved: Box::new(saved),
            answer,
        })
        .await
    }

    /// Starts a run and waits for its end.
    ///
    /// # Errors
    /// As [`submit`](Self::submit) and [`RunHandle::wait`]. A run with failed steps is not an error: the report says so.
    pub async fn run(&self, request: RunRequest) -> Result<RunReport> {
        self.submit(request).await?.wait().await
    }

    /// Starts a run of what `run` did not bring to a good end: its steps that failed, were stopped by a failure,
    /// quarantined or cancelled. What ended stays as it is; the new run makes what is not current by now, on the versions
    /// that its inputs have now.
    ///
    /// # Errors
    /// `NotFound` for a run that is not kept; `Conflict` for one that goes on, that left nothing, or (with code
    /// `code_changed`) that other code planned; as [`submit`](Self::submit).
    pub async fn redrive(&self, run: RunId) -> Result<RunHandle> {
        let request = self.redrive_request(run).await?;
        self.submit(request).await
    }

    /// What [`redrive`](Self::redrive) asks for.
    ///
    /// # Errors
    /// As [`redrive`](Self::redrive).
    pub async fn redrive_request(&self, run: RunId) -> Result<RunRequest> {
        let request = self.left_of(run).await;
        request.map_err(|error| error.during("redrive run").about(run))
    }

    async fn left_of(&self, run: RunId) -> Result<RunRequest> {
        let store = &*self.shared.store;
        let row = store.run(run).await?;
        let row = row
            .ok_or_else(|| Error::new(ErrorKind::NotFound, "it never was, or is no longer kept").code("run_unknown"))?;
        if !row.state.is_terminal() {
            return Err(Error::new(ErrorKind::Conflict, format!("it is {}", row.state))
                .code("run_open")
                .fix("wait until it has ended, or cancel it first"));
        }
        let request = RunRequest::decode(&row.request)?;
        let Some(plan) = &row.plan else {
            // It ended before its turn came. What it was to redrive is told by the run that left it.
            if let Some(redrive) = &request.redrive {
                return Box::pin(self.left_of(redrive.of)).await;
            }
            return Ok(RunRequest {
                idempotency_key: None,
                ..request
            });
        };
        let plan = RunPlan::decode(plan)?;
        let recorded = recorded(store, &row, &plan).await?;
        let (graph, ids) = (self.pipeline().graph(), &self.shared.ids[..]);
        let now = self.shared.clock.now();
        let ended = RunMachine::ended(run, &plan, (graph, ids), (recorded, row.counts), now)?;
        Redrive::request(&request, &ended)
    }

    /// The handles of all runs that have not ended, in no order.
    ///
    /// # Errors
    /// `Cancelled` when the engine has stopped.
    pub async fn open_runs(&self) -> Result<Vec<RunHandle>> {
        self.call(|answer| SupervisorMessage::OpenRuns { answer }).await
    }

    /// The handle of a run that has not ended.
    ///
    /// # Errors
    /// `NotFound` when there is no such run, or it has ended.
    pub async fn active(&self, run: RunId) -> Result<RunHandle> {
        self.call(|answer| SupervisorMessage::Find { run, answer }).await
    }
}
