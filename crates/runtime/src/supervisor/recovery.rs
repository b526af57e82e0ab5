//! Takes up runs where the store has them: after a start, and when the actor of one died.

use flowstone_core::plan::{RunPlan, RunRequest};
use flowstone_core::run::{Recorded, RunCounts, RunMachine, RunState, close_open};
use flowstone_core::store::{Record, RunFilter, RunRow};
use flowstone_core::{ErrorKind, ErrorRecord, Incarnation, Result, RunId};
use tracing::{error, info};

use super::{Beginning, Progress, SupervisorState, Waiting, not_open, progress_of};
use crate::handle::{RunHandle, RunProgress};
use crate::recorded::recorded;

/// How often the actor of one run is put back before the run is left for the next start.
const RESTARTS_MAX: u32 = 3;
/// How often a run is taken again that somebody else seems to have taken meanwhile.
const TAKES_MAX: u32 = 3;
/// The most runs that are taken up at a start.
const RECOVERED_MAX: usize = 10_000;

impl SupervisorState {
    pub(super) async fn recover(&mut self) -> Result<Vec<RunHandle>> {
        let mut handles = Vec::new();
        for row in self.shared.store.runs(RunFilter::Open, RECOVERED_MAX).await? {
            let progress = progress_of(row.state, row.counts);
            handles.push(self.handle_of(row.run, &progress));
            if let Err(error) = self.take_up(&row, &progress, 0).await {
                self.fail(row.run, &progress, &error).await;
            }
        }
        self.admit().await;
        Ok(handles)
    }

    /// Takes up an open run where the store has it.
    pub(super) async fn take_up(&mut self, row: &RunRow, progress: &Progress, restarts: u32) -> Result<()> {
        let run = row.run;
        if row.state == RunState::Cancelling {
            let counts = row.counts.with_rest_cancelled();
            return self.end(run, (RunState::Cancelled, counts), None, progress).await;
        }
        let request = RunRequest::decode(&row.request)?;
        let is_paused = row.state == RunState::Paused;
        let Some(plan) = &row.plan else {
            let footprint = self.footprint(&self.shared.plan(&request).await?);
            self.waiting.push(Waiting {
                run,
                request,
                progress: Progress::clone(progress),
                footprint,
                is_paused,
            });
            return Ok(());
        };
        let plan = RunPlan::decode(plan)?;
        let incarnation = self.take(run).await?;
        let recorded = Recorded {
            incarnation,
            ..recorded(&*self.shared.store, row, &plan).await?
        };
        let (graph, ids) = (self.shared.pipeline.graph(), &self.shared.ids);
        let (machine, first) = RunMachine::recover(run, &plan, graph, ids, &recorded, self.shared.clock.now())?;
        info!(run_id = %run, left = machine.counts().total - machine.counts().ended(), "run goes on");
        // If it turns out to be over, watchers hear so once that is on disk.
        let state = if is_paused && !machine.is_over() {
            RunState::Paused
        } else {
            RunState::Running
        };
        progress.send_replace(RunProgress {
            state,
            counts: machine.counts(),
        });
        let footprint = self.footprint(&plan);
        self.spawn(Beginning {
            machine,
            plan,
            footprint,
            pace: request.pace,
            first,
            progress: Progress::clone(progress),
            restarts,
            was_open: true,
        })
        .await
    }

    /// Takes a run, so that nobody who drove it before is heard any more.
    async fn take(&self, run: RunId) -> Result<Incarnation> {
        let mut tries = 0;
        loop {
            let row = self.shared.store.run(run).await?.ok_or_else(|| not_open(run))?;
            let incarnation = row.incarnation.next();
            match self
                .shared
                .ledger
                .commit(vec![Record::RunTaken { run, incarnation }])
                .await
            {
                // It may be that only the answer to an earlier try was lost.
                Err(taken) if taken.kind() == ErrorKind::Fenced && tries < TAKES_MAX => tries += 1,
                taken => return taken.map(|()| incarnation),
            }
        }
    }

    /// Ends a run with which nobody goes on; whoever still holds a chunk of it is refused from then on.
    pub(super) async fn end(
        &self,
        run: RunId,
        (to, counts): (RunState, RunCounts),
        error: Option<ErrorRecord>,
        progress: &Progress,
    ) -> Result<()> {
        let incarnation = self.take(run).await?;
        let (chunks, at) = (self.shared.store.chunks(run).await?, self.shared.clock.now());
        let mut records = close_open(&chunks, incarnation, at);
        records.push(Record::RunMoved {
            run,
            to,
            at,
            counts,
            error,
        });
        self.shared.ledger.commit(records).await?;
        progress.send_replace(RunProgress { state: to, counts });
        Ok(())
    }

    /// Puts back the actor of a run that died, from the store.
    pub(super) async fn put_back(&mut self, run: RunId, reason: &str) {
        let Some(died) = self.active.remove(&run) else { return };
        error!(run_id = %run, reason, "the actor of a run died");
        if died.restarts >= RESTARTS_MAX || self.draining.is_some() || self.shared.ledger.failure().borrow().is_some() {
            // Its watchers hear by the closed channel; the next start takes it up again.
            return;
        }
        // What it had queued counts too.
        if self.shared.ledger.commit(Vec::new()).await.is_err() {
            return;
        }
        let row = match self.shared.store.run(run).await {
            Ok(Some(row)) if row.state.is_terminal() => {
                died.progress.send_replace(RunProgress {
                    state: row.state,
                    counts: row.counts,
                });
                return;
            }
            Ok(Some(row)) => row,
            _ => return,
        };
        if let Err(error) = self.take_up(&row, &died.progress, died.restarts + 1).await {
            self.fail(run, &died.progress, &error).await;
        }
    }
}
