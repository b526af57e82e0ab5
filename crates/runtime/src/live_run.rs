//! A run while it goes on: its state machine behind one lock, shared by its actor and its workers.
//!
//! A worker that has ended steps takes the next ones here and now, without a message in between; the actor hears only of
//! what is special. The lock is held for decisions, never while something is awaited, and records are queued under it,
//! so that the order of decisions is the order of commits.

mod asked;
mod claims;
mod fan_outs;

use std::collections::BTreeSet;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError, Weak};
use std::time::{Duration, Instant};

use flowstone_core::asset::Body;
use flowstone_core::plan::Pace;
use flowstone_core::pool::Slots;
use flowstone_core::run::{
    ChunkId, ChunkWork, Decision, InFlight, RunEffect, RunEvent, RunMachine, RunState, StepEnded,
};
use flowstone_core::store::Record;
use flowstone_core::{Error, ErrorKind, Fence, Result, RunId};
use jiff::Timestamp;
use ractor::ActorRef;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use self::claims::slots_of;
use crate::engine::Shared;
use crate::fan_out::{LiveFanOut, Session};
use crate::handle::RunProgress;
use crate::lanes::Lanes;
use crate::ledger::{Entry, Permit, Receipt};
use crate::pools::Lease;
use crate::run_actor::RunMessage;
use crate::watch::StepWatch;

/// How often a worker looks whether the lock is free before it goes to sleep for it, and how long it pauses in between.
/// A decision takes some microseconds, waking a thread that sleeps takes tens.
const LOOKS_MAX: usize = 100;
const LOOKS_APART: usize = 8;
/// How often at most progress is published while nothing special happens.
const PROGRESS_AFTER: Duration = Duration::from_millis(50);

/// A run while it goes on.
pub(crate) struct LiveRun {
    pub(crate) run: RunId,
    pub(crate) lanes: Arc<Lanes>,
    pub(crate) shared: Arc<Shared>,
    /// The supervisor's: watchers hear when it lets the run go, even while code of the run still hangs.
    progress: Weak<watch::Sender<RunProgress>>,
    actor: OnceLock<ActorRef<RunMessage>>,
    pub(crate) priority: i32,
    /// How many of its chunks may be in flight, so also how many of its steps.
    in_flight_max: usize,
    /// True while steps that have not started are to be given back.
    holds_back: AtomicBool,
    /// What a step of each lane takes; empty when none takes anything.
    slots: Vec<Slots>,
    /// The lanes whose steps fan out.
    fanning: BTreeSet<usize>,
    /// How many sessions there were at fan-outs of the run.
    sessions: AtomicU64,
    core: Mutex<Core>,
}

struct Core {
    machine: RunMachine,
    running: InFlight<Running>,
    /// Room for the effects of a worker's turn; empty between two.
    effects: Vec<RunEffect>,
    /// What chunks in flight hold.
    leases: InFlight<Lease>,
    /// The fan-outs that go on.
    fan_outs: Vec<Arc<LiveFanOut>>,
    /// How many workers are at their items.
    at_items: usize,
    stage: Stage,
    /// True while the actor knows that more workers would be of use.
    has_nudged: bool,
    /// True when another task was woken since a worker last began to ask for its next chunk.
    has_woken: bool,
    published_at: Instant,
}

impl Core {
    /// Asks whoever has a chunk to end.
    fn stop_all(&self) {
        for running in self.running.values() {
            running.hand.cancel.cancel();
        }
    }
}

/// Whether a run takes up more work.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It does.
    Going,
    /// It only ends what runs.
    Draining,
    /// Its actor is gone: nothing that its workers say counts any more.
    Abandoned,
}

/// A chunk that a worker has.
#[derive(Clone)]
pub(crate) struct Running {
    pub(crate) fence: Fence,
    pub(crate) hand: Arc<Hand>,
}

/// A worker while it works for a run.
pub(crate) struct Hand {
    /// Asks it to end what it is at; the run then has nothing more for it.
    pub(crate) cancel: CancellationToken,
    pub(crate) watch: StepWatch,
    /// Set when the worker is given up; its slot then goes nowhere.
    pub(crate) given_up: Arc<AtomicBool>,
    /// True for a step that fans out: it is led by a task of its own and keeps no worker.
    pub(crate) is_led: bool,
}

impl Hand {
    pub(crate) fn new(given_up: Arc<AtomicBool>) -> Self {
        Self {
            cancel: CancellationToken::new(),
            watch: StepWatch::default(),
            given_up,
            is_led: false,
        }
    }

    /// That of a step that fans out.
    fn leading() -> Self {
        Self {
            is_led: true,
            ..Self::new(Arc::default())
        }
    }
}

/// A chunk that was claimed for a worker.
pub(crate) struct Claimed {
    pub(crate) work: ChunkWork,
    pub(crate) running: Running,
    /// When.
    pub(crate) at: Instant,
    /// Comes when the claim is on disk, if the work must wait for that.
    pub(crate) committed: Option<oneshot::Receiver<Result<()>>>,
    /// True when another task was woken on the way, which this thread may have to run before it is blocked by a step.
    pub(crate) has_woken: bool,
}

/// When a worker asked for its next errand, on the clock and for measuring.
#[derive(Clone, Copy)]
struct Moment {
    now: Timestamp,
    at: Instant,
}

/// What a worker gets to do.
pub(crate) enum Errand {
    /// The steps of a chunk.
    Chunk(Claimed),
    /// Items of a fan-out.
    Items(Session),
}

/// What a worker has to say when it asks for its next errand.
#[derive(Default)]
pub(crate) struct Over {
    /// A chunk that ended, and in which way; not one whose step fans out, which is led by a task of its own.
    pub(crate) chunk: Option<(ChunkId, RunEvent)>,
    /// True when it was at the items of a fan-out.
    pub(crate) was_at_items: bool,
}

impl Core {
    /// How many workers are at work.
    fn busy(&self) -> usize {
        self.running.len() - self.led() + self.at_items
    }

    /// How many steps fan out.
    fn led(&self) -> usize {
        self.running.values().filter(|running| running.hand.is_led).count()
    }
}

impl LiveRun {
    pub(crate) fn new(
        machine: RunMachine,
        lanes: Lanes,
        shared: Arc<Shared>,
        pace: Pace,
        progress: &Arc<watch::Sender<RunProgress>>,
    ) -> Self {
        let run = machine.run();
        let workers = shared.dispatcher.workers;
        let asked = pace.concurrency.map_or(workers, |asked| asked.get() as usize);
        let slots = slots_of(&lanes, &shared);
        let fanning = lanes.iter().enumerate();
        let fanning = fanning.filter(|(_, lane)| matches!(lane.body(), Body::FanOut(_)));
        let fanning = fanning.map(|(number, _)| number).collect();
        let holds_back = AtomicBool::new(machine.state() == RunState::Paused);
        let core = Core {
            machine,
            running: InFlight::default(),
            effects: Vec::new(),
            leases: InFlight::default(),
            fan_outs: Vec::new(),
            at_items: 0,
            stage: Stage::Going,
            has_nudged: false,
            has_woken: false,
            published_at: Instant::now(),
        };
        Self {
            run,
            lanes: Arc::new(lanes),
            shared,
            progress: Arc::downgrade(progress),
            actor: OnceLock::new(),
            priority: pace.priority,
            in_flight_max: asked.min(workers),
            holds_back,
            slots,
            fanning,
            sessions: AtomicU64::new(0),
            core: Mutex::new(core),
        }
    }

    /// Names the actor that hears of what is special; once, before anything else.
    pub(crate) fn belongs_to(&self, actor: ActorRef<RunMessage>) {
        if !self.slots.is_empty() {
            self.shared.pools.enroll(self.run, actor.clone());
        }
        drop(self.actor.set(actor));
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        for _ in 0..LOOKS_MAX {
            match self.core.try_lock() {
                Ok(core) => return core,
                Err(TryLockError::Poisoned(core)) => return core.into_inner(),
                Err(TryLockError::WouldBlock) => (0..LOOKS_APART).for_each(|_| spin_loop()),
            }
        }
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, core: &mut Core, message: RunMessage) {
        core.has_woken = true;
        if let Some(actor) = self.actor.get() {
            // An actor that is gone is put back from the store by its supervisor.
            drop(actor.cast(message));
        }
    }

    /// Takes in that steps ended, and goes on with the same chunk.
    pub(crate) async fn progressed(&self, chunk: ChunkId, fence: Fence, ended: Vec<StepEnded>) {
        self.take_in(RunEvent::StepsEnded {
            chunk,
            fence,
            ended,
            is_over: false,
        })
        .await;
    }

    /// Takes in what happened and performs what follows.
    pub(crate) async fn take_in(&self, event: RunEvent) {
        let Ok(permit) = self.shared.ledger.permit().await else {
            return;
        };
        let mut core = self.core();
        self.apply(&mut core, event, permit);
    }

    /// Performs effects that were decided before there was anybody to perform them.
    pub(crate) async fn begin(&self, mut first: Decision) -> Result<()> {
        let permit = self.shared.ledger.permit().await?;
        let mut core = self.core();
        if !core.machine.is_over() {
            core.machine.conclude(self.shared.clock.now(), &mut first)?;
        }
        self.perform(&mut core, first, permit);
        self.nudge(&mut core);
        Ok(())
    }

    /// Ends a worker's errand, if it had one, and finds the next for it, unless others wait for a worker.
    pub(crate) async fn next(&self, over: Option<Over>, hand: &Arc<Hand>) -> Option<Errand> {
        let permit = self.shared.ledger.permit().await.ok()?;
        let mut core = self.core();
        core.has_woken = false;
        // Looked at once a turn: a clock takes as long as a decision.
        let moment = Moment {
            now: self.shared.clock.now(),
            at: Instant::now(),
        };
        let mut decision = Decision {
            // The end of a chunk and the claim of the next.
            records: Vec::with_capacity(2),
            effects: std::mem::take(&mut core.effects),
        };
        let is_first = over.is_none();
        let Over { chunk, was_at_items } = over.unwrap_or_default();
        if let Some((chunk, event)) = chunk {
            core.running.remove(chunk);
            core.leases.remove(chunk);
            self.decide(&mut core, event, moment.now, &mut decision)?;
            self.perform_but_commit(&mut core, &mut decision);
        }
        if was_at_items {
            core.at_items = core.at_items.saturating_sub(1);
        }
        let may_go_on = is_first || self.shared.dispatcher.may_keep(self.run, self.priority);
        let has_room = core.busy() < self.in_flight_max;
        let may_go_on = may_go_on && has_room && core.stage == Stage::Going && !core.machine.is_over();
        // What was begun is finished first.
        if may_go_on && let Some(session) = self.session(&mut core, &hand.given_up) {
            let receipt = self.end_receipt(&core);
            core.effects = decision.effects;
            self.queue(&mut core, permit, decision.records, receipt);
            self.nudge(&mut core);
            return Some(Errand::Items(session));
        }
        let claimed = if may_go_on {
            self.claim(&mut core, &mut decision, hand, moment)
        } else {
            None
        };
        let (claimed, receipt) = match claimed {
            Some(claimed) if claimed.work.after_commit => {
                let (sender, committed) = oneshot::channel();
                (
                    Some(Claimed {
                        committed: Some(committed),
                        ..claimed
                    }),
                    Receipt::Once(sender),
                )
            }
            other => (other, self.end_receipt(&core)),
        };
        core.effects = decision.effects;
        self.queue(&mut core, permit, decision.records, receipt);
        self.nudge(&mut core);
        self.publish(&mut core, moment.at);
        claimed.map(|claimed| {
            Errand::Chunk(Claimed {
                has_woken: core.has_woken,
                ..claimed
            })
        })
    }

    /// The actor that hears of what is special.
    pub(crate) fn actor(&self) -> Option<ActorRef<RunMessage>> {
        self.actor.get().cloned()
    }

    fn apply(&self, core: &mut Core, event: RunEvent, permit: Permit<'_>) {
        let mut decision = Decision::default();
        if self
            .decide(core, event, self.shared.clock.now(), &mut decision)
            .is_some()
        {
            self.perform(core, decision, permit);
            self.nudge(core);
            self.publish(core, Instant::now());
        }
    }

    /// Asks the machine; none if the run is over or abandoned, or the report comes too late.
    fn decide(&self, core: &mut Core, event: RunEvent, now: Timestamp, decision: &mut Decision) -> Option<()> {
        if core.machine.is_over() || core.stage == Stage::Abandoned {
            return None;
        }
        match core.machine.apply(event, now, decision) {
            Ok(()) => Some(()),
            Err(late) if late.kind() == ErrorKind::Fenced => {
                debug!(run_id = %self.run, %late, "a late report was refused");
                None
            }
            Err(error) => {
                self.tell(core, RunMessage::Refused(error));
                None
            }
        }
    }

    fn perform(&self, core: &mut Core, mut decision: Decision, permit: Permit<'_>) {
        self.perform_but_commit(core, &mut decision);
        let receipt = self.end_receipt(core);
        self.queue(core, permit, decision.records, receipt);
    }

    fn perform_but_commit(&self, core: &mut Core, decision: &mut Decision) {
        for effect in decision.effects.drain(..) {
            self.perform_one(core, &effect);
        }
    }

    fn perform_one(&self, core: &mut Core, effect: &RunEffect) {
        match effect {
            RunEffect::WakeAt(due) => self.tell(core, RunMessage::WakeAt(*due)),
            RunEffect::StopAll => core.stop_all(),
            // The end is told by the receipt of its record.
            RunEffect::Ended(_) => {}
            RunEffect::Start(_) => {
                let defect = Error::new(ErrorKind::Internal, "a chunk was given out without a worker");
                self.tell(core, RunMessage::Refused(defect));
            }
        }
    }

    /// When the machine is over, the actor must hear that its last records are on disk.
    fn end_receipt(&self, core: &Core) -> Receipt {
        if core.machine.is_over() {
            Receipt::End(core.machine.state())
        } else {
            Receipt::None
        }
    }

    fn queue(&self, core: &mut Core, permit: Permit<'_>, records: Vec<Record>, receipt: Receipt) {
        if !records.is_empty() {
            core.has_woken |= permit.send(Entry {
                records,
                run: self.actor.get().cloned(),
                receipt,
            });
        }
    }

    /// Lets the actor ask for workers when there is more to do than those here can take.
    fn nudge(&self, core: &mut Core) {
        let may_nudge = core.busy() < self.in_flight_max && !core.has_nudged && core.stage == Stage::Going;
        if may_nudge && (core.machine.wants(1) > 0 || self.wanted_for_items(core, 1) > 0) {
            core.has_nudged = true;
            self.tell(core, RunMessage::NeedWorkers);
        }
    }

    /// True while steps that have not started are to be given back.
    pub(crate) fn holds_back(&self) -> bool {
        self.holds_back.load(Ordering::Relaxed)
    }

    /// Publishes how the run ended.
    pub(crate) fn publish_end(&self, state: RunState) {
        let counts = self.core().machine.counts();
        self.shared.fan_outs.forget(self.run);
        self.show(RunProgress { state, counts });
    }

    /// Lets watchers see where the run is; not more often than needed, since counting takes time.
    fn publish(&self, core: &mut Core, at: Instant) {
        // Watchers must not take a run for ended before its end is on disk.
        let has_come_to_rest = core.machine.state() == RunState::Paused && core.running.is_empty();
        let is_time = has_come_to_rest || at.duration_since(core.published_at) >= PROGRESS_AFTER;
        if is_time && !core.machine.is_over() {
            core.published_at = at;
            self.show(RunProgress {
                state: core.machine.state(),
                counts: core.machine.counts(),
            });
        }
    }

    fn show(&self, progress: RunProgress) {
        if let Some(sender) = self.progress.upgrade() {
            sender.send_replace(progress);
        }
    }
}
