//! Hands free workers to runs that have ready work; whose turn it is, core says.
//!
//! A slot is a worker. Whoever holds it may give it one chunk after the other; dropping it brings it back, so that no
//! slot outlives its holder. What runs on it is not decided here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flowstone_core::run::Turns;
use flowstone_core::{Result, RunId};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::run_actor::RunMessage;
use crate::worker::{self, Order};

pub(crate) enum DispatcherMessage {
    /// A run could use so many more workers.
    Want {
        run: RunId,
        priority: i32,
        actor: ActorRef<RunMessage>,
        count: usize,
    },
    /// A worker is free again.
    Free(Worker),
    /// A worker hangs and was given up; another takes its place.
    Replace,
    /// A run ended and takes no more workers.
    Forget(RunId),
}

/// The way to one worker.
pub(crate) struct Worker {
    orders: mpsc::Sender<Order>,
    given_up: Arc<AtomicBool>,
}

/// The right to use one worker. Dropping it gives it back.
pub(crate) struct Slot {
    worker: Option<Worker>,
    home: ActorRef<DispatcherMessage>,
}

impl Slot {
    /// Sends the worker to a run; the slot goes with it.
    pub(crate) fn send(self, order: Order) {
        let orders = self.worker().orders.clone();
        // A free worker has an empty inbox; one that died drops the order and with it the slot.
        drop(orders.try_send(order.on(self)));
    }

    /// The mark by which the worker is given up while its slot is away with it.
    pub(crate) fn given_up(&self) -> &Arc<AtomicBool> {
        &self.worker().given_up
    }

    fn worker(&self) -> &Worker {
        self.worker
            .as_ref()
            .expect("a slot holds its worker until it is dropped")
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(worker) = self
            .worker
            .take()
            .filter(|worker| !worker.given_up.load(Ordering::Acquire))
        {
            drop(self.home.cast(DispatcherMessage::Free(worker)));
        }
    }
}

/// The way to the dispatcher.
#[derive(Clone)]
pub(crate) struct DispatcherHandle {
    pub(crate) actor: ActorRef<DispatcherMessage>,
    /// How many workers there are.
    pub(crate) workers: usize,
    waiting: Arc<Waiting>,
}

/// The runs that wait for a worker; a worker looks here before it goes on with its run.
#[derive(Default)]
struct Waiting {
    turns: Mutex<Turns>,
    /// How many they are, to be asked without the lock.
    runs: AtomicUsize,
}

impl Waiting {
    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DispatcherHandle {
    /// Starts a dispatcher with its workers below `supervisor`.
    pub(crate) async fn start(
        supervisor: &ractor::ActorCell,
        workers: usize,
        stop_wait_max: Duration,
    ) -> Result<(Self, JoinHandle<()>), ractor::SpawnErr> {
        let waiting = Arc::new(Waiting::default());
        let arguments = DispatcherArguments {
            workers,
            waiting: Arc::clone(&waiting),
            stop_wait_max,
        };
        let (actor, task) = Actor::spawn_linked(None, Dispatcher, arguments, supervisor.clone()).await?;
        let handle = Self {
            actor,
            workers,
            waiting,
        };
        Ok((handle, task))
    }

    /// Whether a run may keep a worker for another chunk, and need not let it go to one that waits.
    pub(crate) fn may_keep(&self, run: RunId, priority: i32) -> bool {
        self.waiting.runs.load(Ordering::Relaxed) == 0 || self.waiting.turns().keeps(run, priority)
    }
}

pub(crate) struct Dispatcher;

pub(crate) struct DispatcherArguments {
    workers: usize,
    waiting: Arc<Waiting>,
    /// How long a stop waits for workers.
    stop_wait_max: Duration,
}

pub(crate) struct DispatcherState {
    free: Vec<Worker>,
    waiting: Arc<Waiting>,
    /// The actors of the runs that wait.
    actors: HashMap<RunId, ActorRef<RunMessage>>,
    /// The workers that were not given up, so that a stop can wait until they are gone.
    hired: Vec<(Arc<AtomicBool>, JoinHandle<()>)>,
    /// Ends workers that have nothing in hand. That nobody can send them an order is no sign of the end: a slot that
    /// comes back too late lies in the dispatcher's mailbox for as long as the workers are waited for.
    stop: CancellationToken,
    stop_wait_max: Duration,
}

impl Actor for Dispatcher {
    type Msg = DispatcherMessage;
    type State = DispatcherState;
    type Arguments = DispatcherArguments;

    async fn pre_start(
        &self,
        _: ActorRef<DispatcherMessage>,
        DispatcherArguments {
            workers,
            waiting,
            stop_wait_max,
        }: DispatcherArguments,
    ) -> Result<DispatcherState, ActorProcessingErr> {
        let mut state = DispatcherState {
            free: Vec::with_capacity(workers),
            waiting,
            actors: HashMap::new(),
            hired: Vec::with_capacity(workers),
            stop: CancellationToken::new(),
            stop_wait_max,
        };
        (0..workers).for_each(|_| state.hire());
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<DispatcherMessage>,
        message: DispatcherMessage,
        state: &mut DispatcherState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            DispatcherMessage::Want {
                run,
                priority,
                actor,
                count,
            } => {
                state.waiting.turns().want(run, priority, count);
                state.actors.insert(run, actor);
            }
            DispatcherMessage::Free(worker) => state.free.push(worker),
            DispatcherMessage::Replace => {
                state.hired.retain(|(given_up, _)| !given_up.load(Ordering::Acquire));
                state.hire();
            }
            DispatcherMessage::Forget(run) => {
                state.waiting.turns().forget(run);
                state.actors.remove(&run);
            }
        }
        state.hand_out(&myself);
        let waiting = state.waiting.turns().len();
        state.waiting.runs.store(waiting, Ordering::Relaxed);
        Ok(())
    }

    /// Workers hold what they have in hand; one that hangs in user code is waited for no longer than it may take to end.
    async fn post_stop(
        &self,
        _: ActorRef<DispatcherMessage>,
        state: &mut DispatcherState,
    ) -> Result<(), ActorProcessingErr> {
        state.stop.cancel();
        state.hired.retain(|(given_up, _)| !given_up.load(Ordering::Acquire));
        let gone = futures::future::join_all(state.hired.drain(..).map(|(_, worker)| worker));
        drop(tokio::time::timeout(state.stop_wait_max, gone).await);
        Ok(())
    }
}

impl DispatcherState {
    fn hire(&mut self) {
        let (orders, inbox) = mpsc::channel(1);
        let given_up = Arc::new(AtomicBool::new(false));
        let worker = tokio::spawn(worker::work(inbox, self.stop.clone()));
        self.hired.push((Arc::clone(&given_up), worker));
        self.free.push(Worker { orders, given_up });
    }

    /// Free workers to the runs whose turn it is.
    fn hand_out(&mut self, home: &ActorRef<DispatcherMessage>) {
        while !self.free.is_empty() {
            let Some(run) = self.waiting.turns().serve() else {
                return;
            };
            let Some(actor) = self.actors.get(&run) else {
                self.waiting.turns().forget(run);
                continue;
            };
            let slot = Slot {
                worker: self.free.pop(),
                home: home.clone(),
            };
            // A run that is gone drops the slot with the message, which brings it back.
            if actor.cast(RunMessage::Granted(slot)).is_err() {
                self.waiting.turns().forget(run);
                self.actors.remove(&run);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stands in for a run's actor: passes on the slots that it gets.
    struct Asking;

    impl Actor for Asking {
        type Msg = RunMessage;
        type State = mpsc::Sender<Slot>;
        type Arguments = mpsc::Sender<Slot>;

        async fn pre_start(
            &self,
            _: ActorRef<RunMessage>,
            slots: Self::Arguments,
        ) -> Result<Self::State, ActorProcessingErr> {
            Ok(slots)
        }

        async fn handle(
            &self,
            _: ActorRef<RunMessage>,
            message: RunMessage,
            slots: &mut Self::State,
        ) -> Result<(), ActorProcessingErr> {
            if let RunMessage::Granted(slot) = message {
                slots.send(slot).await?;
            }
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slot_that_comes_back_to_a_dispatcher_that_stops_holds_nobody_up() {
        let (sender, mut slots) = mpsc::channel(1);
        let (asking, _) = Actor::spawn(None, Asking, sender).await.unwrap();
        let stop_wait_max = Duration::from_secs(60 * 60);
        let (dispatcher, gone) = DispatcherHandle::start(&asking.get_cell(), 1, stop_wait_max)
            .await
            .unwrap();
        let want = DispatcherMessage::Want {
            run: RunId(uuid::Uuid::from_u128(1)),
            priority: 0,
            actor: asking.clone(),
            count: 1,
        };
        dispatcher.actor.cast(want).unwrap();
        let slot = slots.recv().await.unwrap();
        let began = tokio::time::Instant::now();

        // It is asked to stop, and has not looked yet.
        dispatcher.actor.stop(None);
        drop(slot);
        gone.await.unwrap();

        assert_eq!(began.elapsed(), Duration::ZERO, "somebody was waited for");
    }
}
