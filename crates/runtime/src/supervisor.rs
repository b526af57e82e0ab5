//! The root of the tree: starts the ledger and the dispatcher, admits runs, and puts back what dies.
//!
//! Runs that would write what another run writes or reads wait for that one, so that one execution serves both and
//! inputs stay as they are pinned.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use flowstone_core::io::IoManager;
use flowstone_core::partition::PartitionSet;
use flowstone_core::pipeline::Pipeline;
use flowstone_core::plan::{RunPlan, RunRequest};
use flowstone_core::run::{Recorded, RunCounts, RunEffect, RunMachine, RunState};
use flowstone_core::store::{Record, RunFilter, RunRow, Store};
use flowstone_core::{AssetId, Error, ErrorKind, Result, RunId};
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use tokio::sync::{oneshot, watch};
use tracing::{error, info, warn};

use crate::dispatcher::DispatcherHandle;
use crate::engine::{EngineOptions, Shared};
use crate::handle::{RunHandle, RunProgress};
use crate::lanes::lane_scopes;
use crate::ledger::{Ledger, ledger};
use crate::live_run::LiveRun;
use crate::run_actor::{RunActor, RunArguments, RunMessage};

/// How often the actor of one run is put back before the run is left for the next start.
const RESTARTS_MAX: u32 = 3;
/// The most runs that are taken up at a start.
const RECOVERED_MAX: usize = 10_000;

pub(crate) enum SupervisorMessage {
    Submit {
        request: Box<RunRequest>,
        answer: RpcReplyPort<Result<RunHandle>>,
    },
    Find {
        run: RunId,
        answer: RpcReplyPort<Result<RunHandle>>,
    },
    Cancel {
        run: RunId,
        answer: oneshot::Sender<Result<()>>,
    },
    Recover {
        answer: RpcReplyPort<Result<Vec<RunHandle>>>,
    },
    Drain {
        answer: RpcReplyPort<Result<()>>,
    },
}

pub(crate) struct SupervisorArguments {
    pub(crate) pipeline: Pipeline,
    pub(crate) ids: Vec<AssetId>,
    pub(crate) io: Vec<Arc<dyn IoManager>>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) options: EngineOptions,
    pub(crate) started: oneshot::Sender<Arc<Shared>>,
}

/// A run that has not ended.
struct Active {
    progress: Arc<watch::Sender<RunProgress>>,
    actor: Option<ActorRef<RunMessage>>,
    plan: RunPlan,
    restarts: u32,
}

/// A run that waits for its turn.
struct Waiting {
    run: RunId,
    request: RunRequest,
    progress: Arc<watch::Sender<RunProgress>>,
}

pub(crate) struct Supervisor;

pub(crate) struct SupervisorState {
    shared: Arc<Shared>,
    active: HashMap<RunId, Active>,
    by_actor: HashMap<ActorId, RunId>,
    waiting: VecDeque<Waiting>,
    draining: Option<RpcReplyPort<Result<()>>>,
}

impl Actor for Supervisor {
    type Msg = SupervisorMessage;
    type State = SupervisorState;
    type Arguments = SupervisorArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<SupervisorMessage>,
        SupervisorArguments {
            pipeline,
            ids,
            io,
            store,
            options,
            started,
        }: SupervisorArguments,
    ) -> Result<SupervisorState, ActorProcessingErr> {
        let (handle, arguments) = ledger(Arc::clone(&store));
        Actor::spawn_linked(None, Ledger, arguments, myself.get_cell()).await?;
        let dispatcher = DispatcherHandle::start(&myself.get_cell(), options.workers.max(1)).await?;
        let shared = Arc::new(Shared {
            pipeline,
            ids,
            io,
            store,
            clock: options.clock,
            cancel_grace: options.cancel_grace,
            ledger: handle,
            dispatcher,
        });
        drop(started.send(Arc::clone(&shared)));
        Ok(SupervisorState {
            shared,
            active: HashMap::new(),
            by_actor: HashMap::new(),
            waiting: VecDeque::new(),
            draining: None,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<SupervisorMessage>,
        message: SupervisorMessage,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SupervisorMessage::Submit { request, answer } => {
                let submitted = state.submit(&myself, *request).await;
                drop(answer.send(submitted));
            }
            SupervisorMessage::Find { run, answer } => {
                let found = state.find(&myself, run);
                drop(answer.send(found.ok_or_else(|| {
                    Error::new(ErrorKind::NotFound, format!("no open run has the id {run}")).code("run_not_open")
                })));
            }
            SupervisorMessage::Cancel { run, answer } => {
                state.cancel(run, answer).await;
                state.admit(&myself).await;
            }
            SupervisorMessage::Recover { answer } => {
                let recovered = state.recover(&myself).await;
                drop(answer.send(recovered));
            }
            SupervisorMessage::Drain { answer } => {
                state.draining = Some(answer);
                for actor in state.active.values().filter_map(|active| active.actor.as_ref()) {
                    drop(actor.cast(RunMessage::Drain));
                }
            }
        }
        state.finish_draining().await;
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<SupervisorMessage>,
        event: SupervisionEvent,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorTerminated(actor, ..) => match state.by_actor.remove(&actor.get_id()) {
                Some(run) => {
                    state.forget(run);
                    state.admit(&myself).await;
                }
                // The ledger ended because the store failed for good, and has told so.
                None => myself.stop(None),
            },
            SupervisionEvent::ActorFailed(actor, reason) => match state.by_actor.remove(&actor.get_id()) {
                Some(run) => {
                    state.put_back(&myself, run, &reason.to_string()).await;
                    state.admit(&myself).await;
                }
                None => {
                    error!(%reason, "the ledger or the dispatcher died; the engine stops");
                    myself.stop(Some(reason.to_string()));
                }
            },
            _ => {}
        }
        state.finish_draining().await;
        Ok(())
    }
}

impl SupervisorState {
    async fn submit(&mut self, myself: &ActorRef<SupervisorMessage>, request: RunRequest) -> Result<RunHandle> {
        if self.draining.is_some() {
            return Err(Error::new(ErrorKind::Cancelled, "the engine is stopping").code("engine_stopped"));
        }
        if let Some(key) = &request.idempotency_key
            && let Some(row) = self.shared.store.run_by_key(key).await?
        {
            return Ok(self.find(myself, row.run).unwrap_or_else(|| self.ended(myself, &row)));
        }
        // Whatever is wrong with the request is said before anything is written.
        let plan = self.shared.plan(&request).await?;
        let run = RunId(uuid::Uuid::now_v7());
        let now = self.shared.clock.now();
        let created = Record::RunCreated(RunRow {
            run,
            pipeline: self.shared.pipeline.name().to_owned(),
            idempotency_key: request.idempotency_key.clone(),
            request: request.encode()?,
            plan: None,
            state: RunState::Queued,
            created_at: now,
            moved_at: now,
            counts: RunCounts::default(),
            error: None,
        });
        let (progress, _) = watch::channel(RunProgress {
            state: RunState::Queued,
            counts: RunCounts::default(),
        });
        let progress = Arc::new(progress);
        let handle = self.handle_of(myself, run, &progress);
        if self.waiting.is_empty() && !self.conflicts(&plan) {
            self.begin(myself, run, plan, progress, vec![created]).await?;
        } else {
            self.shared.ledger.commit(vec![created]).await?;
            info!(run_id = %run, "run waits for another one");
            self.waiting.push_back(Waiting { run, request, progress });
        }
        Ok(handle)
    }

    /// Starts a planned run; its records are on disk before its actor exists.
    async fn begin(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        run: RunId,
        plan: RunPlan,
        progress: Arc<watch::Sender<RunProgress>>,
        mut records: Vec<Record>,
    ) -> Result<()> {
        let machine = RunMachine::new(run, &plan, self.shared.pipeline.graph(), &self.shared.ids)?;
        let counts = machine.counts();
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
        let active = Active {
            progress,
            actor: None,
            plan,
            restarts: 0,
        };
        self.spawn(myself, active, machine, Vec::new()).await
    }

    async fn spawn(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        mut active: Active,
        machine: RunMachine,
        first: Vec<RunEffect>,
    ) -> Result<()> {
        let run = machine.run();
        let lanes = lane_scopes(run, &active.plan, &self.shared)?;
        for (lane, (_, steps)) in lanes.iter().zip(machine.assets()) {
            lane.outputs
                .add_recovered(steps.get(flowstone_core::run::StepState::Succeeded));
        }
        let live = LiveRun::new(machine, lanes, Arc::clone(&self.shared), &active.progress);
        let arguments = RunArguments { live, first };
        let (actor, _) = Actor::spawn_linked(None, RunActor, arguments, myself.get_cell())
            .await
            .map_err(|error| {
                Error::new(ErrorKind::Internal, error.to_string())
                    .during("start run")
                    .about(run)
            })?;
        self.by_actor.insert(actor.get_id(), run);
        active.actor = Some(actor);
        self.active.insert(run, active);
        Ok(())
    }

    /// Admits waiting runs in order, up to the first that must wait still.
    async fn admit(&mut self, myself: &ActorRef<SupervisorMessage>) {
        while self.draining.is_none() {
            let Some(waiting) = self.waiting.front() else { return };
            let planned = self.shared.plan(&waiting.request).await;
            if planned.as_ref().is_ok_and(|plan| self.conflicts(plan)) {
                return;
            }
            let Some(Waiting { run, progress, .. }) = self.waiting.pop_front() else {
                return;
            };
            let started = match planned {
                Ok(plan) => self.begin(myself, run, plan, Arc::clone(&progress), Vec::new()).await,
                Err(error) => Err(error),
            };
            if let Err(error) = started {
                self.fail(run, &progress, &error).await;
            }
        }
    }

    /// Ends a run that could not be started or resumed.
    async fn fail(&self, run: RunId, progress: &watch::Sender<RunProgress>, error: &Error) {
        warn!(run_id = %run, %error, "run could not go on");
        let at = self.shared.clock.now();
        let counts = RunCounts::default();
        let moved = Record::RunMoved {
            run,
            to: RunState::Failed,
            at,
            counts,
            error: Some(error.to_record()),
        };
        if self.shared.ledger.commit(vec![moved]).await.is_ok() {
            progress.send_replace(RunProgress {
                state: RunState::Failed,
                counts,
            });
        }
    }

    async fn recover(&mut self, myself: &ActorRef<SupervisorMessage>) -> Result<Vec<RunHandle>> {
        let mut handles = Vec::new();
        for row in self.shared.store.runs(RunFilter::Open, RECOVERED_MAX).await? {
            let (progress, _) = watch::channel(RunProgress {
                state: row.state,
                counts: row.counts,
            });
            let progress = Arc::new(progress);
            handles.push(self.handle_of(myself, row.run, &progress));
            if let Err(error) = self.take_up(myself, &row, &progress, 0).await {
                self.fail(row.run, &progress, &error).await;
            }
        }
        self.admit(myself).await;
        Ok(handles)
    }

    /// Takes up an open run where the store has it.
    async fn take_up(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        row: &RunRow,
        progress: &Arc<watch::Sender<RunProgress>>,
        restarts: u32,
    ) -> Result<()> {
        let run = row.run;
        let now = self.shared.clock.now();
        if row.state == RunState::Cancelling {
            let counts = row.counts.with_rest_cancelled();
            let moved = Record::RunMoved {
                run,
                to: RunState::Cancelled,
                at: now,
                counts,
                error: None,
            };
            self.shared.ledger.commit(vec![moved]).await?;
            progress.send_replace(RunProgress {
                state: RunState::Cancelled,
                counts,
            });
            return Ok(());
        }
        let Some(plan) = &row.plan else {
            let request = RunRequest::decode(&row.request)?;
            self.waiting.push_back(Waiting {
                run,
                request,
                progress: Arc::clone(progress),
            });
            return Ok(());
        };
        let plan = RunPlan::decode(plan)?;
        let mut recorded = Recorded {
            chunks: self.shared.store.chunks(run).await?,
            failures: self.shared.store.failures(run).await?,
            stale: HashMap::new(),
        };
        for planned in &plan.assets {
            recorded
                .stale
                .insert(planned.id, self.shared.store.status(planned.id).await?.stale);
        }
        let (graph, ids) = (self.shared.pipeline.graph(), &self.shared.ids);
        let (machine, first) = RunMachine::recover(run, &plan, graph, ids, &recorded, now)?;
        info!(run_id = %run, left = machine.counts().total - machine.counts().ended(), "run goes on");
        progress.send_replace(RunProgress {
            state: RunState::Running,
            counts: machine.counts(),
        });
        let active = Active {
            progress: Arc::clone(progress),
            actor: None,
            plan,
            restarts,
        };
        self.spawn(myself, active, machine, first).await
    }

    /// Puts back the actor of a run that died, from the store.
    async fn put_back(&mut self, myself: &ActorRef<SupervisorMessage>, run: RunId, reason: &str) {
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
        if let Err(error) = self.take_up(myself, &row, &died.progress, died.restarts + 1).await {
            self.fail(run, &died.progress, &error).await;
        }
    }

    async fn cancel(&mut self, run: RunId, answer: oneshot::Sender<Result<()>>) {
        if let Some(actor) = self.active.get(&run).and_then(|active| active.actor.as_ref()) {
            drop(actor.cast(RunMessage::Cancel(answer)));
            return;
        }
        let verdict = match self.waiting.iter().position(|waiting| waiting.run == run) {
            Some(place) => {
                let at = self.shared.clock.now();
                let counts = RunCounts::default();
                let moved = Record::RunMoved {
                    run,
                    to: RunState::Cancelled,
                    at,
                    counts,
                    error: None,
                };
                let committed = self.shared.ledger.commit(vec![moved]).await;
                if let Some(waiting) = self.waiting.remove(place) {
                    waiting.progress.send_replace(RunProgress {
                        state: RunState::Cancelled,
                        counts,
                    });
                }
                committed
            }
            // It has ended by itself, which is an end too.
            None => Ok(()),
        };
        drop(answer.send(verdict));
    }

    fn conflicts(&self, plan: &RunPlan) -> bool {
        if self.active.is_empty() {
            return false;
        }
        let touched = Touched::by(plan, &self.shared);
        self.active
            .values()
            .any(|active| touched.conflicts_with(&Touched::by(&active.plan, &self.shared)))
    }

    fn forget(&mut self, run: RunId) {
        self.active.remove(&run);
    }

    async fn finish_draining(&mut self) {
        if self.active.is_empty()
            && let Some(answer) = self.draining.take()
        {
            // Everything queued before this is on disk when it returns.
            let flushed = self.shared.ledger.commit(Vec::new()).await;
            drop(answer.send(flushed));
        }
    }

    fn find(&self, myself: &ActorRef<SupervisorMessage>, run: RunId) -> Option<RunHandle> {
        let active = self.active.get(&run).map(|active| &active.progress);
        let waiting = || {
            self.waiting
                .iter()
                .find(|waiting| waiting.run == run)
                .map(|waiting| &waiting.progress)
        };
        active
            .or_else(waiting)
            .map(|progress| self.handle_of(myself, run, progress))
    }

    /// The handle of a run that ended before.
    fn ended(&self, myself: &ActorRef<SupervisorMessage>, row: &RunRow) -> RunHandle {
        let (progress, _) = watch::channel(RunProgress {
            state: row.state,
            counts: row.counts,
        });
        self.handle_of(myself, row.run, &Arc::new(progress))
    }

    fn handle_of(
        &self,
        myself: &ActorRef<SupervisorMessage>,
        run: RunId,
        progress: &Arc<watch::Sender<RunProgress>>,
    ) -> RunHandle {
        RunHandle {
            run,
            progress: progress.subscribe(),
            supervisor: myself.clone(),
            shared: Arc::clone(&self.shared),
        }
    }
}

/// What a plan writes, and what it reads as pinned.
struct Touched {
    writes: HashMap<AssetId, PartitionSet>,
    reads: HashMap<AssetId, PartitionSet>,
}

impl Touched {
    fn by(plan: &RunPlan, shared: &Shared) -> Self {
        let graph = shared.pipeline.graph();
        let (mut writes, mut reads) = (HashMap::new(), HashMap::<_, PartitionSet>::new());
        for planned in &plan.assets {
            writes.insert(planned.id, planned.steps.clone());
            let Ok(ix) = graph.find(planned.key.as_str()) else {
                continue;
            };
            for (input, pinned) in graph.node(ix).inputs().iter().zip(&planned.pinned) {
                reads
                    .entry(shared.ids[input.upstream.index()])
                    .or_default()
                    .union_with(&pinned.partitions());
            }
        }
        Self { writes, reads }
    }

    fn conflicts_with(&self, other: &Self) -> bool {
        overlap(&self.writes, &other.writes)
            || overlap(&self.writes, &other.reads)
            || overlap(&self.reads, &other.writes)
    }
}

fn overlap(one: &HashMap<AssetId, PartitionSet>, other: &HashMap<AssetId, PartitionSet>) -> bool {
    one.iter()
        .any(|(asset, set)| other.get(asset).is_some_and(|other| !set.is_disjoint(other)))
}
