//! Looks after one run: asks for workers, keeps time, hears of its end.
//!
//! It decides nothing about steps, and it never waits for user code or for the disk. If it dies, the supervisor rebuilds
//! the run from the store.

use std::sync::Arc;
use std::time::Duration;

use flowstone_core::asset::Body;
use flowstone_core::fan_out::SessionId;
use flowstone_core::run::{ChunkId, Decision, RunEvent, RunState, StepEnd, StepEnded};
use flowstone_core::{Error, Fence, Result};
use jiff::Timestamp;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;
use tracing::{info, warn};

use crate::alarm::Alarm;
use crate::dispatcher::{DispatcherMessage, Slot};
use crate::fan_out::LiveFanOut;
use crate::live_run::LiveRun;
use crate::worker::{Order, overdue};

/// Looks at deadlines are at least so far apart.
const LOOKS_APART: Duration = Duration::from_millis(1);

pub(crate) enum RunMessage {
    /// More workers would be of use.
    NeedWorkers,
    /// A worker is free for this run.
    Granted(Slot),
    /// A worker has left this run.
    Left,
    /// A worker died with its chunk.
    WorkerDied { chunk: ChunkId, fence: Fence },
    /// A worker died at the items of a fan-out.
    SessionDied {
        fan_out: Arc<LiveFanOut>,
        session: SessionId,
    },
    /// The run is over, and that is on disk.
    Ended(RunState),
    /// A record was refused, the store failed, or a decision did: this actor's view of the run is wrong.
    Refused(Error),
    /// Another attempt is due at this time.
    WakeAt(Timestamp),
    /// The time for another attempt has come.
    RetriesDue,
    /// A step with this deadline was started.
    LookAtDeadlinesAfter(Duration),
    /// Deadlines are to be looked at.
    LookAtDeadlines,
    /// Somebody asks for the run to be in this state, paused or running; answered once that is on disk.
    TurnTo(RunState, oneshot::Sender<Result<()>>),
    /// Somebody asks for the run to end; answered once that is on disk.
    Cancel(oneshot::Sender<Result<()>>),
    /// What was asked to end had its time: workers that still do not are given up.
    GraceOver,
    /// The engine stops: nothing more is started, and the run stays open.
    Drain,
    /// What runs had its time and is asked to end.
    DrainLate,
    /// The engine waits no longer for what runs.
    DrainOver,
}

/// What a run actor starts with.
pub(crate) struct RunArguments {
    pub(crate) live: LiveRun,
    pub(crate) first: Decision,
}

pub(crate) struct RunActor;

pub(crate) struct RunActorState {
    live: Arc<LiveRun>,
    /// Workers that were asked for and have not come.
    asked: usize,
    retries: Alarm,
    deadlines: Alarm,
}

impl Actor for RunActor {
    type Msg = RunMessage;
    type State = RunActorState;
    type Arguments = RunArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<RunMessage>,
        RunArguments { live, first }: RunArguments,
    ) -> Result<RunActorState, ActorProcessingErr> {
        live.belongs_to(myself);
        info!(run_id = %live.run, "run started");
        live.begin(first).await.map_err(|error| failed(&error))?;
        Ok(RunActorState {
            live: Arc::new(live),
            asked: 0,
            retries: Alarm::default(),
            deadlines: Alarm::default(),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<RunMessage>,
        message: RunMessage,
        state: &mut RunActorState,
    ) -> Result<(), ActorProcessingErr> {
        let live = &state.live;
        match message {
            RunMessage::NeedWorkers | RunMessage::Left => {}
            RunMessage::Granted(slot) => {
                state.asked = state.asked.saturating_sub(1);
                slot.send(Order::new(Arc::clone(live), myself.clone()));
            }
            RunMessage::WorkerDied { chunk, fence } => {
                warn!(run_id = %live.run, ?chunk, "a worker died");
                state.give_up(chunk);
                live.take_in(RunEvent::WorkerDied { chunk, fence }).await;
            }
            RunMessage::SessionDied { fan_out, session } => {
                warn!(run_id = %live.run, fan_out = %fan_out.fan_out, "a worker died at the items of a fan-out");
                live.left_items();
                let died = fan_out.bury(session).await;
                died.map_err(|error| failed(&error))?;
            }
            RunMessage::Ended(end) => {
                info!(run_id = %live.run, state = %end, "run ended");
                live.publish_end(end);
                myself.stop(None);
            }
            RunMessage::Refused(error) => return Err(failed(&error)),
            RunMessage::WakeAt(due) => {
                let wait = Duration::try_from(due.duration_since(live.shared.clock.now())).unwrap_or_default();
                state.retries.set(wait, &myself, || RunMessage::RetriesDue);
            }
            RunMessage::RetriesDue => {
                state.retries.rang();
                live.take_in(RunEvent::RetriesDue).await;
            }
            RunMessage::LookAtDeadlinesAfter(wait) => {
                state
                    .deadlines
                    .set(wait.max(LOOKS_APART), &myself, || RunMessage::LookAtDeadlines);
            }
            RunMessage::LookAtDeadlines => state.look_at_deadlines(&myself).await,
            RunMessage::TurnTo(next, answer) => live.turn_to(next, answer).await,
            RunMessage::Cancel(answer) => {
                live.cancel(answer).await;
                myself.send_after(2 * live.shared.cancel_grace, || RunMessage::GraceOver);
            }
            RunMessage::GraceOver => {
                for (chunk, running) in live.running() {
                    warn!(run_id = %live.run, ?chunk, "a worker does not end and is given up");
                    state.give_up(chunk);
                    live.take_in(RunEvent::WorkerDied {
                        chunk,
                        fence: running.fence,
                    })
                    .await;
                }
            }
            RunMessage::Drain => {
                live.drain();
                myself.send_after(live.shared.cancel_grace, || RunMessage::DrainLate);
            }
            RunMessage::DrainLate => {
                for (_, running) in live.running() {
                    running.hand.cancel.cancel();
                }
                myself.send_after(2 * live.shared.cancel_grace, || RunMessage::DrainOver);
            }
            RunMessage::DrainOver => myself.stop(None),
        }
        state.ask_for_workers(&myself);
        if state.live.is_drained() {
            myself.stop(None);
        }
        Ok(())
    }
}

impl Drop for RunActorState {
    /// However the actor ends: what its workers still have of a run that nobody looks after ends unheard.
    fn drop(&mut self) {
        self.live.abandon();
        drop(
            self.live
                .shared
                .dispatcher
                .actor
                .cast(DispatcherMessage::Forget(self.live.run)),
        );
    }
}

impl RunActorState {
    fn ask_for_workers(&mut self, myself: &ActorRef<RunMessage>) {
        let useful = self.live.wants();
        if useful > self.asked {
            let count = useful - self.asked;
            let want = DispatcherMessage::Want {
                run: self.live.run,
                priority: self.live.priority,
                actor: myself.clone(),
                count,
            };
            if self.live.shared.dispatcher.actor.cast(want).is_ok() {
                self.asked += count;
            }
        }
    }

    /// Takes a chunk from its worker; another takes the worker's place.
    fn give_up(&self, chunk: ChunkId) {
        if self.live.give_up(chunk) {
            drop(self.live.shared.dispatcher.actor.cast(DispatcherMessage::Replace));
        }
    }

    /// Asks steps that are overdue to end, and gives up workers whose step does not.
    async fn look_at_deadlines(&mut self, myself: &ActorRef<RunMessage>) {
        self.deadlines.rang();
        let live = Arc::clone(&self.live);
        let now = live.shared.clock.now();
        for (chunk, running) in live.running() {
            let lane = live.lanes.get(chunk.lane);
            let Some(deadline) = lane.deadline() else { continue };
            // A worker that can be asked ends its step within the grace; twice that is long enough to be sure.
            let given_up_at = deadline + 2 * live.shared.cancel_grace;
            let age = |since| Duration::try_from(now.duration_since(since)).unwrap_or_default();
            let next_look = match running.hand.watch.look(chunk) {
                // It is between two steps, or its claim is not on disk yet.
                None => deadline,
                Some(step) if age(step.started_at) < deadline => deadline - age(step.started_at),
                Some(step) if age(step.started_at) < given_up_at => {
                    running.hand.watch.trip(chunk, step.partition);
                    // The step that comes after it has a deadline too.
                    deadline.min(given_up_at - age(step.started_at))
                }
                Some(step) => {
                    warn!(run_id = %live.run, ?chunk, partition = step.partition, "a worker hangs and is given up");
                    self.give_up(chunk);
                    let fence = running.fence;
                    let error = overdue(lane).to_record();
                    let event = match lane.body() {
                        Body::AsyncBatch(_) | Body::BlockingBatch(_) => RunEvent::CallFailed { chunk, fence, error },
                        Body::Async(_) | Body::Blocking(_) | Body::FanOut(_) => RunEvent::Overdue {
                            chunk,
                            fence,
                            step: StepEnded {
                                partition: step.partition,
                                attempt: step.attempt,
                                end: StepEnd::Failed(error),
                                started_at: step.started_at,
                                ended_at: now,
                            },
                        },
                    };
                    live.take_in(event).await;
                    continue;
                }
            };
            self.deadlines
                .set(next_look.max(LOOKS_APART), myself, || RunMessage::LookAtDeadlines);
        }
    }
}

fn failed(error: &Error) -> ActorProcessingErr {
    format!("{error:?}").into()
}
