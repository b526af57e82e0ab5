//! Runs user code: one chunk after the other, one step after the other.
//!
//! A worker loads inputs, calls the function, stores and verifies what it made, and reports. It contains panics and
//! gives up code that does not end when it is asked to. Whether a failure is tried again is not its business.

mod call;

use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use flowstone_core::asset::{Body, InputLoader, Outcome, Step};
use flowstone_core::fan_out::{FanOut, GatheredValue};
use flowstone_core::io::{IoManager, Slot as IoSlot, Stored};
use flowstone_core::run::{ChunkId, ChunkWork, RunEvent, StepEnd, StepEnded};
use flowstone_core::store::Lead;
use flowstone_core::{DataVersion, Error, ErrorKind, Fence, Result, Value};
use futures::FutureExt;
use ractor::ActorRef;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::dispatcher::Slot;
use crate::fan_out::{Leading, lead};
use crate::inputs::ChunkInputs;
use crate::lanes::Lane;
use crate::live_run::{Claimed, Errand, Hand, LiveRun, Over, Running};
use crate::run_actor::RunMessage;
use crate::watch::CurrentStep;

/// Ended steps are reported at the latest after so many…
const REPORT_LEN_MAX: usize = 512;
/// … or so long.
const REPORT_AFTER: Duration = Duration::from_millis(2);
/// How long a worker that goes from chunk to chunk keeps its thread.
const YIELD_AFTER: Duration = Duration::from_millis(1);

/// The errand of a worker: to take chunk after chunk of a run until there is nothing to take.
///
/// If it is dropped while a chunk is under way, the worker died, and the run's actor hears of it.
pub(crate) struct Order {
    live: Arc<LiveRun>,
    actor: ActorRef<RunMessage>,
    slot: Option<Slot>,
    under_way: Option<(ChunkId, Fence)>,
}

impl Order {
    pub(crate) fn new(live: Arc<LiveRun>, actor: ActorRef<RunMessage>) -> Self {
        Self {
            live,
            actor,
            slot: None,
            under_way: None,
        }
    }

    /// The order with the slot that goes to the worker with it.
    pub(crate) fn on(mut self, slot: Slot) -> Self {
        self.slot = Some(slot);
        self
    }
}

impl Drop for Order {
    fn drop(&mut self) {
        let message = match self.under_way {
            Some((chunk, fence)) => RunMessage::WorkerDied { chunk, fence },
            None => RunMessage::Left,
        };
        drop(self.slot.take());
        // A run whose actor is gone is rebuilt from the store.
        drop(self.actor.cast(message));
    }
}

/// Works until it is told to stop, or nobody can send an order any more.
pub(crate) async fn work(mut orders: mpsc::Receiver<Order>, stop: CancellationToken) {
    while let Some(Some(order)) = stop.run_until_cancelled(orders.recv()).await {
        carry_out(order).await;
    }
}

async fn carry_out(mut order: Order) {
    let Some(given_up) = order.slot.as_ref().map(|slot| Arc::clone(slot.given_up())) else {
        return;
    };
    let hand = Arc::new(Hand::new(given_up));
    let mut over = None;
    let mut yielded = Instant::now();
    while let Some(errand) = order.live.next(over.take(), &hand).await {
        let Claimed {
            work,
            running,
            at,
            committed,
            has_woken,
        } = match errand {
            Errand::Chunk(claimed) => claimed,
            Errand::Items(session) => {
                session.run().await;
                if hand.given_up.load(Ordering::Acquire) {
                    // Another has taken its place meanwhile.
                    return;
                }
                over = Some(Over {
                    was_at_items: true,
                    ..Over::default()
                });
                continue;
            }
        };
        order.under_way = Some((work.id, work.fence));
        if let Some(committed) = committed {
            if !matches!(committed.await, Ok(Ok(()))) {
                // The store failed or refused the claim; the actor hears of that by itself.
                order.under_way = None;
                return;
            }
        } else if has_woken || at.saturating_duration_since(yielded) >= YIELD_AFTER {
            // Whoever was woken by this thread waits at it, and a step may block it.
            tokio::task::yield_now().await;
            yielded = Instant::now();
        }
        if running.hand.is_led {
            let led = Led::new(Arc::clone(&order.live), order.actor.clone(), &work);
            order.under_way = None;
            tokio::spawn(led.carry_out(work, running));
            over = Some(Over::default());
            continue;
        }
        let chunk = Chunk {
            live: &order.live,
            lane: order.live.lanes.get(work.id.lane),
            work: &work,
            running: &running,
        };
        let event = chunk.run().await;
        order.under_way = None;
        over = Some(Over {
            chunk: Some((work.id, event)),
            ..Over::default()
        });
    }
}

/// A step that fans out, led by a task of its own while workers are at its items. If it is dropped before its end, the
/// run's actor hears of it.
struct Led {
    live: Arc<LiveRun>,
    actor: ActorRef<RunMessage>,
    under_way: Option<(ChunkId, Fence)>,
}

impl Led {
    fn new(live: Arc<LiveRun>, actor: ActorRef<RunMessage>, work: &ChunkWork) -> Self {
        Self {
            live,
            actor,
            under_way: Some((work.id, work.fence)),
        }
    }

    async fn carry_out(mut self, work: ChunkWork, running: Running) {
        let chunk = Chunk {
            live: &self.live,
            lane: self.live.lanes.get(work.id.lane),
            work: &work,
            running: &running,
        };
        let event = chunk.run().await;
        self.under_way = None;
        self.live.led(work.id, event).await;
    }
}

impl Drop for Led {
    fn drop(&mut self) {
        if let Some((chunk, fence)) = self.under_way {
            drop(self.actor.cast(RunMessage::WorkerDied { chunk, fence }));
        }
    }
}

/// A chunk under way.
struct Chunk<'a> {
    live: &'a Arc<LiveRun>,
    lane: &'a Lane,
    work: &'a ChunkWork,
    running: &'a Running,
}

impl Chunk<'_> {
    /// Runs the steps, one after the other or in one call, and says what is to be reported at the end.
    async fn run(&self) -> RunEvent {
        let (chunk, fence) = (self.work.id, self.work.fence);
        let ended = match self.lane.body() {
            Body::Async(_) | Body::Blocking(_) | Body::FanOut(_) => Ok(self.run_steps().await),
            Body::AsyncBatch(_) | Body::BlockingBatch(_) => self.run_call().await,
        };
        match ended {
            Ok(ended) => RunEvent::StepsEnded {
                chunk,
                fence,
                ended,
                is_over: true,
            },
            Err(error) => RunEvent::CallFailed {
                chunk,
                fence,
                error: error.to_record(),
            },
        }
    }

    /// Steps that have not started are not to.
    fn must_end(&self) -> bool {
        self.running.hand.cancel.is_cancelled() || self.live.holds_back()
    }

    /// Runs the steps; gives those that ended and were not reported yet.
    async fn run_steps(&self) -> Vec<StepEnded> {
        let heads = match self.prior_heads().await {
            Ok(heads) => heads,
            Err(error) => return self.fail_all(&error),
        };
        let inputs = self.inputs();
        // Only a step with a deadline can be asked to end by itself.
        let may_be_overdue = self.lane.deadline().is_some();
        let own_token = || match may_be_overdue {
            true => self.running.hand.cancel.child_token(),
            false => self.running.hand.cancel.clone(),
        };
        let mut cancel = own_token();
        let mut left = self.work.steps.len();
        let mut ended =
            Vec::with_capacity(usize::try_from(left).map_or(REPORT_LEN_MAX, |left| left.min(REPORT_LEN_MAX)));
        // The last step is not reported before the chunk ends.
        let mut reported = (left > 1).then(Instant::now);
        for partition in self.work.steps.iter() {
            if self.must_end() {
                break;
            }
            if may_be_overdue && cancel.is_cancelled() {
                // The step before was overdue; that does not concern this one.
                cancel = own_token();
            }
            let step = pin!(self.run_step(&inputs, partition, &heads, &cancel));
            let end = self.report_if_long(step, &mut ended).await;
            ended.push(end);
            left -= 1;
            if left > 0 && (ended.len() >= REPORT_LEN_MAX || reported.is_some_and(|at| at.elapsed() >= REPORT_AFTER)) {
                self.report(&mut ended).await;
                reported = Some(Instant::now());
                // Lets the ledger take the records in, should the next step block this thread.
                tokio::task::yield_now().await;
            }
        }
        ended
    }

    /// Waits for a step; what ended before it is not held back while it takes long.
    async fn report_if_long(
        &self,
        mut step: Pin<&mut impl Future<Output = StepEnded>>,
        ended: &mut Vec<StepEnded>,
    ) -> StepEnded {
        if ended.is_empty() {
            return step.await;
        }
        tokio::select! {
            biased;
            end = &mut step => end,
            () = tokio::time::sleep(REPORT_AFTER) => {
                self.report(ended).await;
                step.await
            }
        }
    }

    async fn report(&self, ended: &mut Vec<StepEnded>) {
        self.live
            .progressed(self.work.id, self.work.fence, std::mem::take(ended))
            .await;
    }

    /// Without the heads nothing can be compared: every step fails the same way, and may be tried again.
    fn fail_all(&self, error: &Error) -> Vec<StepEnded> {
        let now = self.live.shared.clock.now();
        let failed = |partition| StepEnded {
            partition,
            attempt: self.work.attempt(partition),
            end: StepEnd::Failed(error.to_record()),
            started_at: now,
            ended_at: now,
        };
        self.work.steps.iter().map(failed).collect()
    }

    /// The data versions of those steps that have a head, by partition.
    async fn prior_heads(&self) -> Result<Vec<(u64, DataVersion)>> {
        if self.work.has_head.is_empty() {
            return Ok(Vec::new());
        }
        let versions = self.lane.outputs.base().of(&self.work.has_head);
        let heads = self
            .live
            .lanes
            .store()
            .materializations(self.lane.asset, &versions)
            .await?;
        Ok(heads
            .into_iter()
            .map(|head| (head.partition, head.stored.data_version))
            .collect())
    }

    async fn run_step(
        &self,
        inputs: &Arc<dyn InputLoader>,
        partition: u64,
        heads: &[(u64, DataVersion)],
        cancel: &CancellationToken,
    ) -> StepEnded {
        let clock = &self.live.shared.clock;
        let attempt = self.work.attempt(partition);
        let started_at = clock.now();
        let watch = &self.running.hand.watch;
        // Nobody looks at a step that has no deadline.
        let has_deadline = self.lane.deadline().is_some();
        if has_deadline {
            watch.begin(CurrentStep {
                chunk: self.work.id,
                partition,
                attempt,
                started_at,
                cancel: cancel.clone(),
                is_overdue: false,
            });
        }
        let step = Step {
            scope: Arc::clone(&self.lane.scope),
            inputs: Arc::clone(inputs),
            partition,
            attempt,
            cancelled: cancel.clone(),
            item: None,
        };
        let made = AssertUnwindSafe(self.attempt(step, cancel)).catch_unwind().await;
        let is_overdue = has_deadline && watch.end();
        let end = match made {
            _ if is_overdue => StepEnd::Failed(overdue(self.lane).to_record()),
            Ok(Ok(Some(stored))) => self.made_of(partition, stored, heads),
            Ok(Ok(None)) => StepEnd::Skipped,
            Ok(Err(error)) if self.running.hand.cancel.is_cancelled() && error.kind() == ErrorKind::Cancelled => {
                StepEnd::Cancelled
            }
            Ok(Err(error)) => StepEnd::Failed(error.to_record()),
            Err(panic) => StepEnd::Failed(self.about(partition, panicked(&*panic)).to_record()),
        };
        StepEnded {
            partition,
            attempt,
            end,
            started_at,
            ended_at: clock.now(),
        }
    }

    /// The end of a step whose value is stored.
    fn made_of(&self, partition: u64, stored: Stored, heads: &[(u64, DataVersion)]) -> StepEnd {
        self.lane.outputs.add(partition, &stored);
        let head = heads
            .binary_search_by_key(&partition, |(head, _)| *head)
            .map(|at| heads[at].1);
        StepEnd::Made {
            is_same: head == Ok(stored.data_version),
            stored,
        }
    }

    /// One attempt: `Some` of what was stored, or `None` if there was nothing to make.
    async fn attempt(&self, step: Step, cancel: &CancellationToken) -> Result<Option<Stored>> {
        let partition = step.partition;
        let called = async {
            match self.lane.body() {
                Body::Async(function) => self.store(partition, function(step).await?).await,
                Body::Blocking(function) => {
                    let made = blocking(function(step).await?).await?;
                    self.store(partition, made).await
                }
                Body::FanOut(spec) => {
                    let made = lead(self.leading(spec, step)).await?;
                    self.store_gathered(partition, made).await
                }
                Body::AsyncBatch(_) | Body::BlockingBatch(_) => Err(Error::new(
                    ErrorKind::Internal,
                    "its function is called for many partitions",
                )),
            }
        };
        // A step that fans out ends after its items, which have that much time themselves.
        let grace = match self.lane.body() {
            Body::FanOut(_) => 2 * self.live.shared.cancel_grace,
            _ => self.live.shared.cancel_grace,
        };
        let stored = tokio::select! {
            biased;
            stored = called => stored,
            () = given_up(cancel, grace) => Err(Error::new(ErrorKind::Cancelled, "it was asked to end")),
        };
        stored.map_err(|error| self.about(partition, error))
    }

    fn leading(&self, spec: &Arc<dyn FanOut>, step: Step) -> Leading {
        Leading {
            live: Arc::clone(self.live),
            lead: Lead {
                run: self.live.run,
                asset: self.lane.asset,
                chunk: self.work.id.number,
                fence: self.work.fence,
            },
            spec: Arc::clone(spec),
            step,
            awaits_claims: self.work.after_commit,
            stop: self.running.hand.cancel.clone(),
            parent: None,
        }
    }

    /// Stores what the code gave for a partition, if it gave something.
    async fn store(&self, partition: u64, outcome: Outcome<Value>) -> Result<Option<Stored>> {
        let Outcome::Value(value) = outcome else {
            return Ok(None);
        };
        let stored = self.io().store(self.slot(partition), &value).await;
        stored.map(Some).map_err(|error| error.during("store the value of"))
    }

    /// The same of what a fan-out gathered.
    async fn store_gathered(&self, partition: u64, outcome: Outcome<GatheredValue>) -> Result<Option<Stored>> {
        let (rows, manifest) = match outcome {
            Outcome::Value(GatheredValue::Whole(value)) => return self.store(partition, Outcome::Value(value)).await,
            Outcome::Value(GatheredValue::Rows(rows, manifest)) => (rows, manifest),
            Outcome::Skipped(_) => return Ok(None),
        };
        let stored = self.io().store_rows(self.slot(partition), rows).await;
        let stored = stored.map_err(|error| error.during("store the rows of"))?;
        Ok(Some(Stored {
            manifest: Some(manifest),
            ..stored
        }))
    }

    fn inputs(&self) -> Arc<dyn InputLoader> {
        let lanes = Arc::clone(&self.live.lanes);
        Arc::new(ChunkInputs::new(lanes, self.work.id.lane, self.work.steps.clone()))
    }

    fn io(&self) -> &dyn IoManager {
        self.live.lanes.io(self.lane.scope.node)
    }

    fn slot(&self, partition: u64) -> IoSlot {
        IoSlot {
            asset: self.lane.asset,
            partition,
            run: self.live.run,
            fence: self.work.fence.0,
            attempt: self.work.attempt(partition),
        }
    }

    fn about(&self, partition: u64, error: Error) -> Error {
        error.during("materialize").about(self.lane.label(partition))
    }
}

/// Calls what may block, on a thread for that.
pub(crate) async fn blocking<T: Send + 'static>(call: Box<dyn FnOnce() -> Result<T> + Send>) -> Result<T> {
    match tokio::task::spawn_blocking(call).await {
        Ok(outcome) => outcome,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => Err(panicked(&*panic)),
            Err(_) => Err(Error::new(ErrorKind::Cancelled, "the runtime is shutting down")),
        },
    }
}

/// Waits until a step was asked to end and had time to do so.
async fn given_up(cancel: &CancellationToken, grace: Duration) {
    cancel.cancelled().await;
    tokio::time::sleep(grace).await;
}

/// The error of a step that did not end in time.
pub(crate) fn overdue(lane: &Lane) -> Error {
    let deadline = lane.deadline().unwrap_or_default();
    Error::new(
        ErrorKind::TimedOut,
        format!("it did not end within its deadline of {deadline:?}"),
    )
    .fix("give it a longer deadline, or let it look at `AssetContext::cancelled`")
}

pub(crate) fn panicked(panic: &(dyn std::any::Any + Send)) -> Error {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "with something that is not text".to_owned());
    Error::new(ErrorKind::Panicked, format!("it panicked: {text}"))
}
