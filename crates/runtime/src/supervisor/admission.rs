//! Takes requests in and lets runs begin: at once, or when nobody ahead would be disturbed any more.

use flowstone_core::plan::{Footprint, Pace, RunPlan, RunRequest, SavedPlan};
use flowstone_core::run::{Decision, RunCounts, RunMachine, RunState};
use flowstone_core::store::{Record, RunRow};
use flowstone_core::{Error, ErrorKind, Incarnation, Result, RunId};
use tracing::{info, warn};

use super::{Beginning, Progress, SupervisorState, progress_of};
use crate::handle::{RunHandle, RunProgress};

/// A run that waits for its turn.
pub(super) struct Waiting {
    pub(super) run: RunId,
    pub(super) request: RunRequest,
    pub(super) progress: Progress,
    /// What it would touch, as of when it was planned last.
    pub(super) footprint: Footprint,
    /// True when somebody paused it; then it lets others go first.
    pub(super) is_paused: bool,
}

impl SupervisorState {
    pub(super) async fn submit(&mut self, request: RunRequest) -> Result<RunHandle> {
        self.refuse_when_draining()?;
        if let Some(known) = self.known(&request).await? {
            return Ok(known);
        }
        // Whatever is wrong with the request is said before anything is written.
        let plan = self.shared.plan(&request).await?;
        let (run, created) = self.created(&request)?;
        let progress = progress_of(RunState::Queued, RunCounts::default());
        let handle = self.handle_of(run, &progress);
        let footprint = self.footprint(&plan);
        let watched = Progress::clone(&progress);
        let begun = if self.may_begin(&footprint, self.waiting.len()) {
            self.begin(run, (plan, footprint), request.pace, progress, vec![created])
                .await
        } else {
            let asked = self.shared.ledger.commit(vec![created]).await;
            if asked.is_ok() {
                info!(run_id = %run, "run waits for another one");
                self.waiting.push(Waiting {
                    run,
                    request,
                    progress,
                    footprint,
                    is_paused: false,
                });
            }
            asked
        };
        self.unless_it_is_there((run, &watched), begun, ErrorKind::Conflict)
            .await?;
        Ok(handle)
    }

    /// Takes up a run whose beginning was refused, in the way of `kind`, because it is on disk already: the answer to an
    /// earlier try was lost.
    async fn unless_it_is_there(
        &mut self,
        (run, progress): (RunId, &Progress),
        begun: Result<()>,
        kind: ErrorKind,
    ) -> Result<()> {
        match begun {
            Err(refused) if refused.kind() == kind => match self.shared.store.run(run).await? {
                Some(row) => self.take_up(&row, progress, 0).await,
                None => Err(refused),
            },
            begun => begun,
        }
    }

    /// Begins a run that carries out `saved`, which must be what its request comes to still.
    pub(super) async fn apply(&mut self, saved: &SavedPlan) -> Result<RunHandle> {
        self.refuse_when_draining()?;
        let request = saved.request();
        if let Some(known) = self.known(request).await? {
            return Ok(known);
        }
        let pipeline = &self.shared.pipeline;
        saved.check_pipeline(pipeline.name(), pipeline.graph())?;
        let plan = self.shared.plan_as(request, saved.plan()).await?;
        saved.check_plan(&plan, self.shared.pipeline.graph())?;
        let footprint = self.footprint(&plan);
        if !self.may_begin(&footprint, self.waiting.len()) {
            return Err(Error::new(
                ErrorKind::Conflict,
                "a run that goes on makes what the plan makes, or reads",
            )
            .code("plan_outdated")
            .during("apply the saved plan")
            .fix("wait for that run, then save a new plan: `plan --save`"));
        }
        let (run, created) = self.created(request)?;
        let progress = progress_of(RunState::Queued, RunCounts::default());
        let handle = self.handle_of(run, &progress);
        let watched = Progress::clone(&progress);
        let begun = self
            .begin(run, (plan, footprint), request.pace, progress, vec![created])
            .await;
        self.unless_it_is_there((run, &watched), begun, ErrorKind::Conflict)
            .await?;
        Ok(handle)
    }

    fn refuse_when_draining(&self) -> Result<()> {
        match self.draining {
            Some(_) => Err(Error::new(ErrorKind::Cancelled, "the engine is stopping").code("engine_stopped")),
            None => Ok(()),
        }
    }

    /// The run that was asked for under the same idempotency key before. One that is open and that nobody looks after is
    /// taken up.
    async fn known(&mut self, request: &RunRequest) -> Result<Option<RunHandle>> {
        let Some(key) = &request.idempotency_key else {
            return Ok(None);
        };
        let Some(row) = self.shared.store.run_by_key(key).await? else {
            return Ok(None);
        };
        if let Some(going) = self.find(row.run) {
            return Ok(Some(going));
        }
        let progress = progress_of(row.state, row.counts);
        let handle = self.handle_of(row.run, &progress);
        if !row.state.is_terminal() {
            self.take_up(&row, &progress, 0).await?;
            self.admit().await;
        }
        Ok(Some(handle))
    }

    /// A new run, and the record that it was asked for.
    fn created(&self, request: &RunRequest) -> Result<(RunId, Record)> {
        let run = RunId(uuid::Uuid::now_v7());
        let now = self.shared.clock.now();
        let created = Record::RunCreated(RunRow {
            run,
            pipeline: self.shared.pipeline.name().to_owned(),
            idempotency_key: request.idempotency_key.clone(),
            request: request.encode()?,
            plan: None,
            incarnation: Incarnation::NONE,
            state: RunState::Queued,
            created_at: now,
            moved_at: now,
            counts: RunCounts::default(),
            error: None,
        });
        Ok((run, created))
    }

    /// Starts a planned run; its records are on disk before its actor exists.
    async fn begin(
        &mut self,
        run: RunId,
        (plan, footprint): (RunPlan, Footprint),
        pace: Pace,
        progress: Progress,
        mut records: Vec<Record>,
    ) -> Result<()> {
        let machine = RunMachine::new(run, &plan, self.shared.pipeline.graph(), &self.shared.ids)?;
        let counts = machine.counts();
        records.push(Record::RunTaken {
            run,
            incarnation: Incarnation::NONE.next(),
        });
        records.push(Record::RunPlanned {
            run,
            plan: plan.encode()?,
        });
        let at = self.shared.clock.now();
        records.push(Record::RunMoved {
            run,
            to: RunState::Running,
            at,
            counts,
            error: None,
        });
        self.shared.ledger.commit(records).await?;
        progress.send_replace(RunProgress {
            state: RunState::Running,
            counts,
        });
        self.spawn(Beginning {
            machine,
            plan,
            footprint,
            pace,
            first: Decision::default(),
            progress,
            restarts: 0,
            was_open: false,
        })
        .await
    }

    /// Whether a run with this footprint may begin, as one that waits behind the first `ahead` of those that wait.
    fn may_begin(&self, footprint: &Footprint, ahead: usize) -> bool {
        let active = self.active.values().map(|active| &active.footprint);
        let waiting = self.waiting[..ahead].iter().filter(|waiting| !waiting.is_paused);
        footprint.may_begin(active.chain(waiting.map(|waiting| &waiting.footprint)))
    }

    /// Pauses or resumes a run that waits.
    pub(super) async fn turn_waiting(&mut self, place: usize, is_paused: bool) -> Result<()> {
        let waiting = &self.waiting[place];
        if waiting.is_paused != is_paused {
            let next = if is_paused { RunState::Paused } else { RunState::Queued };
            self.move_run(waiting.run, next, RunCounts::default(), None, &waiting.progress)
                .await?;
            self.waiting[place].is_paused = is_paused;
        }
        Ok(())
    }

    /// Lets every waiting run begin that may, in the order in which they were asked for.
    pub(super) async fn admit(&mut self) {
        let mut place = 0;
        while self.draining.is_none() && place < self.waiting.len() {
            let Waiting {
                footprint, is_paused, ..
            } = &self.waiting[place];
            if *is_paused || !self.may_begin(footprint, place) {
                place += 1;
                continue;
            }
            // Those that it waited for may have made what it wanted.
            let planned = self.shared.plan(&self.waiting[place].request).await;
            if let Ok(plan) = &planned {
                let footprint = self.footprint(plan);
                let is_still_free = self.may_begin(&footprint, place);
                self.waiting[place].footprint = footprint;
                if !is_still_free {
                    place += 1;
                    continue;
                }
            }
            let Waiting {
                run,
                request,
                progress,
                footprint,
                ..
            } = self.waiting.remove(place);
            let began = match planned {
                Ok(plan) => {
                    let watched = Progress::clone(&progress);
                    let planned = (plan, footprint);
                    let begun = self.begin(run, planned, request.pace, watched, Vec::new()).await;
                    self.unless_it_is_there((run, &progress), begun, ErrorKind::Fenced)
                        .await
                }
                Err(error) => Err(error),
            };
            if let Err(error) = began {
                self.fail(run, &progress, &error).await;
            }
        }
    }

    /// Ends a run that could not be started or resumed.
    pub(super) async fn fail(&self, run: RunId, progress: &Progress, error: &Error) {
        warn!(run_id = %run, %error, "run could not go on");
        let counts = RunCounts::default();
        let failed = self.end(run, (RunState::Failed, counts), Some(error.to_record()), progress);
        if let Err(error) = failed.await {
            // The next start takes it up again.
            warn!(run_id = %run, %error, "and that could not be written down");
        }
    }
}
