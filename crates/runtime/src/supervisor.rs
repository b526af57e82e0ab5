//! The root of the tree: starts the ledger and the dispatcher, admits runs, and puts back what dies.
//!
//! Here is who does what when something is asked for or somebody dies; how runs are admitted is in `admission`, how they
//! are rebuilt from the store in `recovery`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use flowstone_core::graph::NodeIx;
use flowstone_core::io::IoManager;
use flowstone_core::pipeline::Pipeline;
use flowstone_core::plan::{Footprint, Pace, RunPlan, RunRequest, SavedPlan};
use flowstone_core::run::{Decision, RunCounts, RunMachine, RunState};
use flowstone_core::store::{Record, Store};
use flowstone_core::{AssetId, Error, ErrorKind, ErrorRecord, Result, RunId};
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tracing::error;

use crate::dispatcher::DispatcherHandle;
use crate::engine::{EngineOptions, Shared};
use crate::handle::{RunHandle, RunProgress};
use crate::lanes::Lanes;
use crate::ledger::{Ledger, ledger};
use crate::live_run::LiveRun;
use crate::pools::PoolTable;
use crate::run_actor::{RunActor, RunArguments, RunMessage};
use crate::sets::EngineSets;

mod admission;
mod quiet;
mod recovery;

use admission::Waiting;
use quiet::Quiet;

pub(crate) enum SupervisorMessage {
    Submit {
        request: Box<RunRequest>,
        answer: RpcReplyPort<Result<RunHandle>>,
    },
    Apply {
        saved: Box<SavedPlan>,
        answer: RpcReplyPort<Result<RunHandle>>,
    },
    Find {
        run: RunId,
        answer: RpcReplyPort<Result<RunHandle>>,
    },
    OpenRuns {
        answer: RpcReplyPort<Result<Vec<RunHandle>>>,
    },
    /// Paused or running.
    TurnTo {
        run: RunId,
        next: RunState,
        answer: oneshot::Sender<Result<()>>,
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
    pub(crate) former: Vec<(AssetId, NodeIx)>,
    pub(crate) io: Vec<Arc<dyn IoManager>>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) options: EngineOptions,
    /// The slots of all pools.
    pub(crate) limits: BTreeMap<String, u32>,
    pub(crate) started: oneshot::Sender<Arc<Shared>>,
}

/// Where the watchers of a run look.
type Progress = Arc<watch::Sender<RunProgress>>;

/// A run that has begun and not ended.
struct Active {
    progress: Progress,
    actor: ActorRef<RunMessage>,
    footprint: Footprint,
    restarts: u32,
    /// True when another process, or another actor, began it.
    was_open: bool,
}

/// A run that is about to begin, or to go on.
struct Beginning {
    machine: RunMachine,
    plan: RunPlan,
    footprint: Footprint,
    pace: Pace,
    /// What was decided before there was anybody to perform it.
    first: Decision,
    progress: Progress,
    restarts: u32,
    was_open: bool,
}

pub(crate) struct Supervisor;

pub(crate) struct SupervisorState {
    myself: ActorRef<SupervisorMessage>,
    shared: Arc<Shared>,
    active: HashMap<RunId, Active>,
    by_actor: HashMap<ActorId, RunId>,
    /// In the order in which they were asked for.
    waiting: Vec<Waiting>,
    draining: Option<RpcReplyPort<Result<()>>>,
    quiet: Quiet,
    /// Of the actors below, so that a stop can wait until they are gone.
    children: Vec<JoinHandle<()>>,
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
            former,
            io,
            store,
            options,
            limits,
            started,
        }: SupervisorArguments,
    ) -> Result<SupervisorState, ActorProcessingErr> {
        let (handle, arguments) = ledger(Arc::clone(&store));
        let (_, ledger) = Actor::spawn_linked(None, Ledger, arguments, myself.get_cell()).await?;
        let workers = options.workers.max(1);
        let (dispatcher, dispatching) =
            DispatcherHandle::start(&myself.get_cell(), workers, options.cancel_grace).await?;
        let sets = EngineSets {
            pipeline: pipeline.clone(),
            store: Arc::clone(&store),
            clock: Arc::clone(&options.clock),
            ledger: handle.clone(),
        };
        let shared = Arc::new(Shared {
            sets: Arc::new(sets),
            pipeline,
            ids,
            former,
            io,
            store,
            clock: options.clock,
            cancel_grace: options.cancel_grace,
            retention: options.retention,
            pools: PoolTable::new(&limits),
            ledger: handle,
            dispatcher,
            fan_outs: Default::default(),
        });
        drop(started.send(Arc::clone(&shared)));
        Ok(SupervisorState {
            myself,
            shared,
            active: HashMap::new(),
            by_actor: HashMap::new(),
            waiting: Vec::new(),
            draining: None,
            quiet: Quiet::default(),
            children: vec![ledger, dispatching],
        })
    }

    async fn handle(
        &self,
        _: ActorRef<SupervisorMessage>,
        message: SupervisorMessage,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SupervisorMessage::Submit { request, answer } => {
                let submitted = state.submit(*request).await;
                drop(answer.send(submitted));
            }
            SupervisorMessage::Apply { saved, answer } => {
                let applied = state.apply(&saved).await;
                drop(answer.send(applied));
            }
            SupervisorMessage::Find { run, answer } => {
                let found = state.find(run);
                drop(answer.send(found.ok_or_else(|| not_open(run))));
            }
            SupervisorMessage::Cancel { run, answer } => {
                state.cancel(run, answer).await;
                state.admit().await;
            }
            SupervisorMessage::OpenRuns { answer } => {
                let active = state.active.iter().map(|(run, active)| (*run, &active.progress));
                let waiting = state.waiting.iter().map(|waiting| (waiting.run, &waiting.progress));
                let open = active.chain(waiting);
                let handles = open.map(|(run, progress)| state.handle_of(run, progress)).collect();
                drop(answer.send(Ok(handles)));
            }
            SupervisorMessage::TurnTo { run, next, answer } => {
                state.turn_to(run, next, answer).await;
                state.admit().await;
            }
            SupervisorMessage::Recover { answer } => {
                let recovered = state.recover().await;
                drop(answer.send(recovered));
            }
            SupervisorMessage::Drain { answer } => {
                state.draining = Some(answer);
                for active in state.active.values() {
                    drop(active.actor.cast(RunMessage::Drain));
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
                    if let Some(ended) = state.active.remove(&run) {
                        state.quiet.note_end(&ended);
                    }
                    state.admit().await;
                    state.use_quiet();
                }
                // The ledger ended because the store failed for good, and has told so.
                None => myself.stop(None),
            },
            SupervisionEvent::ActorFailed(actor, reason) => match state.by_actor.remove(&actor.get_id()) {
                Some(run) => {
                    state.put_back(run, &reason.to_string()).await;
                    state.admit().await;
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

    /// Whoever waits for this actor finds that nobody below it holds the store any more.
    async fn post_stop(
        &self,
        myself: ActorRef<SupervisorMessage>,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        state.active.clear();
        state.quiet.stop().await;
        myself.stop_children(None);
        for child in state.children.drain(..) {
            // One that failed has told so; here it only matters that it is gone.
            drop(child.await);
        }
        Ok(())
    }
}

impl SupervisorState {
    /// Gives a run its actor. Its records are on disk.
    async fn spawn(&mut self, beginning: Beginning) -> Result<()> {
        let Beginning {
            machine,
            plan,
            footprint,
            pace,
            first,
            progress,
            restarts,
            was_open,
        } = beginning;
        let run = machine.run();
        let lanes = Lanes::new(&machine, &plan, Arc::clone(&self.shared))?;
        let live = LiveRun::new(machine, lanes, Arc::clone(&self.shared), pace, &progress);
        let arguments = RunArguments { live, first };
        let started = Actor::spawn_linked(None, RunActor, arguments, self.myself.get_cell()).await;
        let (actor, task) = started.map_err(|error| {
            Error::new(ErrorKind::Internal, error.to_string())
                .during("start run")
                .about(run)
        })?;
        self.children.retain(|child| !child.is_finished());
        self.children.push(task);
        self.by_actor.insert(actor.get_id(), run);
        let active = Active {
            progress,
            actor,
            footprint,
            restarts,
            was_open,
        };
        self.active.insert(run, active);
        Ok(())
    }

    fn footprint(&self, plan: &RunPlan) -> Footprint {
        Footprint::of(plan, self.shared.pipeline.graph(), &self.shared.ids)
    }

    /// Moves a run that has no actor, and tells its watchers.
    async fn move_run(
        &self,
        run: RunId,
        to: RunState,
        counts: RunCounts,
        error: Option<ErrorRecord>,
        progress: &Progress,
    ) -> Result<()> {
        let at = self.shared.clock.now();
        let moved = Record::RunMoved {
            run,
            to,
            at,
            counts,
            error,
        };
        self.shared.ledger.commit(vec![moved]).await?;
        progress.send_replace(RunProgress { state: to, counts });
        Ok(())
    }

    async fn cancel(&mut self, run: RunId, answer: oneshot::Sender<Result<()>>) {
        if let Some(active) = self.active.get(&run) {
            drop(active.actor.cast(RunMessage::Cancel(answer)));
            return;
        }
        let verdict = match self.waiting.iter().position(|waiting| waiting.run == run) {
            Some(place) => {
                let waiting = self.waiting.remove(place);
                self.move_run(run, RunState::Cancelled, RunCounts::default(), None, &waiting.progress)
                    .await
            }
            // It has ended by itself, which is an end too.
            None => Ok(()),
        };
        drop(answer.send(verdict));
    }

    async fn turn_to(&mut self, run: RunId, next: RunState, answer: oneshot::Sender<Result<()>>) {
        if let Some(active) = self.active.get(&run) {
            drop(active.actor.cast(RunMessage::TurnTo(next, answer)));
            return;
        }
        let verdict = match self.waiting.iter().position(|waiting| waiting.run == run) {
            Some(place) => self.turn_waiting(place, next == RunState::Paused).await,
            None => Err(not_open(run)),
        };
        drop(answer.send(verdict));
    }

    async fn finish_draining(&mut self) {
        if self.active.is_empty()
            && let Some(answer) = self.draining.take()
        {
            // Everything queued before this is on disk when it returns.
            let flushed = self.shared.ledger.commit(Vec::new()).await;
            self.finish_upkeep().await;
            drop(answer.send(flushed));
        }
    }

    fn find(&self, run: RunId) -> Option<RunHandle> {
        let active = self.active.get(&run).map(|active| &active.progress);
        let waiting = || {
            let waiting = self.waiting.iter().find(|waiting| waiting.run == run);
            waiting.map(|waiting| &waiting.progress)
        };
        active.or_else(waiting).map(|progress| self.handle_of(run, progress))
    }

    fn handle_of(&self, run: RunId, progress: &Progress) -> RunHandle {
        RunHandle {
            run,
            progress: progress.subscribe(),
            supervisor: self.myself.clone(),
            shared: Arc::clone(&self.shared),
        }
    }
}

fn not_open(run: RunId) -> Error {
    Error::new(ErrorKind::NotFound, format!("no open run has the id {run}")).code("run_not_open")
}

fn progress_of(state: RunState, counts: RunCounts) -> Progress {
    Arc::new(watch::Sender::new(RunProgress { state, counts }))
}
