//! A run while it goes on: its state machine behind one lock, shared by its actor and its workers.
//!
//! A worker that has ended steps takes the next ones here and now, without a message in between; the actor hears only of
//! what is special. The lock is held for decisions, never while something is awaited, and records are queued under it,
//! so that the order of decisions is the order of commits.

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

use crate::engine::Shared;
use crate::fan_out::{LiveFanOut, Session};
use crate::handle::RunProgress;
use crate::lanes::LaneScope;
use crate::ledger::{Entry, Permit, Receipt};
use crate::pools::{Lease, Table};
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
    pub(crate) lanes: Vec<Arc<LaneScope>>,
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
        lanes: Vec<Arc<LaneScope>>,
        shared: Arc<Shared>,
        pace: Pace,
        progress: &Arc<watch::Sender<RunProgress>>,
    ) -> Self {
        let run = machine.run();
        let workers = shared.dispatcher.workers;
        let asked = pace.concurrency.map_or(workers, |asked| asked.get() as usize);
        let slots = slots_of(&lanes, &shared);
        let fans_out = |lane: &usize| matches!(lanes[*lane].body, Body::FanOut(_));
        let fanning = (0..lanes.len()).filter(fans_out).collect();
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
            lanes,
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

    /// Claims a chunk of an asset whose slots can be had, and takes them.
    fn claim(&self, core: &mut Core, decision: &mut Decision, hand: &Arc<Hand>, moment: Moment) -> Option<Claimed> {
        if self.slots.is_empty() {
            core.machine.close(self.led_enough(core));
            return self.claim_any(core, decision, hand, moment);
        }
        let mut table = self.shared.pools.lock();
        let waited_for = self.close_lanes(core, &mut table);
        let claimed = self.claim_any(core, decision, hand, moment);
        let lane = claimed.as_ref().map(|claimed| claimed.work.id.lane);
        // Who could have had its slots and took something else lets the others pass.
        table.pass(|(run, other)| run == self.run && Some(other) != lane && !waited_for.contains(&other));
        if let Some(work) = claimed.as_ref().map(|claimed| &claimed.work) {
            let slots = &self.slots[work.id.lane];
            if !slots.is_none() {
                let is_taken = table.pools.take((self.run, work.id.lane), slots);
                debug_assert!(is_taken, "a lane is open and its slots cannot be had");
                let lease = is_taken.then(|| self.shared.pools.lease(slots.clone()));
                if let Some(lease) = lease {
                    core.leases.insert(work.id, lease);
                }
            }
        }
        claimed
    }

    /// Closes the lanes whose slots cannot be had, and waits for them.
    fn close_lanes(&self, core: &mut Core, table: &mut Table) -> BTreeSet<usize> {
        let wanted = self.slots.iter().enumerate();
        let wanted: Vec<_> = wanted
            .filter(|(lane, slots)| !slots.is_none() && core.machine.has_ready(*lane))
            .collect();
        let closed = table.pools.refused(self.run, &wanted);
        let mut shut = self.led_enough(core);
        shut.extend(&closed);
        core.machine.close(shut);
        closed
    }

    /// Looks anew which lanes are closed.
    fn reopen(&self, core: &mut Core) {
        if self.slots.is_empty() {
            core.machine.close(self.led_enough(core));
        } else {
            self.close_lanes(core, &mut self.shared.pools.lock());
        }
    }

    fn claim_any(&self, core: &mut Core, decision: &mut Decision, hand: &Arc<Hand>, moment: Moment) -> Option<Claimed> {
        let event = RunEvent::SlotFree {
            workers: self.in_flight_max,
        };
        let mut claimed = None;
        self.decide(core, event, moment.now, decision)?;
        let mut effects = std::mem::take(&mut decision.effects);
        for effect in effects.drain(..) {
            match effect {
                RunEffect::Start(work) => {
                    let is_led = self.fanning.contains(&work.id.lane);
                    let running = Running {
                        fence: work.fence,
                        hand: if is_led {
                            Arc::new(Hand::leading())
                        } else {
                            Arc::clone(hand)
                        },
                    };
                    if let Some(deadline) = self.lanes[work.id.lane].deadline {
                        self.tell(core, RunMessage::LookAtDeadlinesAfter(deadline));
                    }
                    core.running.insert(work.id, running.clone());
                    claimed = Some(Claimed {
                        work,
                        running,
                        at: moment.at,
                        committed: None,
                        has_woken: false,
                    });
                }
                other => self.perform_one(core, &other),
            }
        }
        decision.effects = effects;
        claimed
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

    /// How many workers would be of use besides those that work, at most as many as there are.
    pub(crate) fn wants(&self) -> usize {
        let mut core = self.core();
        core.has_nudged = false;
        let room = self.in_flight_max.saturating_sub(core.busy());
        if core.stage != Stage::Going || room == 0 || core.machine.state() != RunState::Running {
            self.want_no_slots();
            return 0;
        }
        self.reopen(&mut core);
        if !self.slots.is_empty() {
            let mut table = self.shared.pools.lock();
            table.pass(|(run, lane)| run == self.run && !core.machine.has_ready(lane));
        }
        let for_items = self.wanted_for_items(&core, room);
        (for_items + core.machine.wants(self.in_flight_max)).min(room)
    }

    /// Lets others have the slots that this run waits for.
    pub(crate) fn want_no_slots(&self) {
        if !self.slots.is_empty() {
            self.shared.pools.forget(self.run);
        }
    }

    /// True while steps that have not started are to be given back.
    pub(crate) fn holds_back(&self) -> bool {
        self.holds_back.load(Ordering::Relaxed)
    }

    /// Pauses the run, or resumes it; the receiver hears when that is on disk. Steps in flight end by themselves.
    pub(crate) async fn turn_to(&self, next: RunState, answer: oneshot::Sender<Result<()>>) {
        let Ok(permit) = self.shared.ledger.permit().await else {
            drop(answer.send(Err(self.shared.ledger.closed())));
            return;
        };
        let mut core = self.core();
        let state = core.machine.state();
        if state.is_terminal() || state == RunState::Cancelling {
            let ending = Error::new(ErrorKind::Conflict, format!("it is {state}")).code("run_ending");
            drop(answer.send(Err(ending)));
            return;
        }
        let event = match next {
            RunState::Paused => RunEvent::PauseAsked,
            _ => RunEvent::ResumeAsked,
        };
        let mut decision = Decision::default();
        self.decide(&mut core, event, self.shared.clock.now(), &mut decision);
        self.perform_but_commit(&mut core, &mut decision);
        let records = decision.records;
        let state = core.machine.state();
        self.holds_back.store(state == RunState::Paused, Ordering::Relaxed);
        core.fan_outs.iter().for_each(|fan_out| fan_out.look());
        permit.send(Entry {
            records,
            run: self.actor.get().cloned(),
            receipt: Receipt::Once(answer),
        });
        let counts = core.machine.counts();
        self.show(RunProgress { state, counts });
    }

    /// Asks for the end of the run; the receiver hears when that is on disk.
    pub(crate) async fn cancel(&self, answer: oneshot::Sender<Result<()>>) {
        let Ok(permit) = self.shared.ledger.permit().await else {
            drop(answer.send(Err(self.shared.ledger.closed())));
            return;
        };
        // The entry that says so comes first; whatever ends the run comes after it.
        let mut core = self.core();
        let mut decision = Decision::default();
        self.decide(&mut core, RunEvent::CancelAsked, self.shared.clock.now(), &mut decision);
        self.perform_but_commit(&mut core, &mut decision);
        let records = decision.records;
        let receipt = if core.machine.is_over() && !records.is_empty() {
            Receipt::EndAndOnce(core.machine.state(), answer)
        } else {
            Receipt::Once(answer)
        };
        permit.send(Entry {
            records,
            run: self.actor.get().cloned(),
            receipt,
        });
        self.publish(&mut core, Instant::now());
    }

    /// Starts nothing more.
    pub(crate) fn drain(&self) {
        let mut core = self.core();
        core.stage = Stage::Draining;
        // Fan-outs may take long; they go on where they are when the run is taken up again.
        let led = core.running.values().filter(|running| running.hand.is_led);
        led.for_each(|running| running.hand.cancel.cancel());
    }

    /// Asks what runs to end, and hears nothing of it any more.
    pub(crate) fn abandon(&self) {
        if !self.slots.is_empty() {
            self.shared.pools.leave(self.run);
        }
        let mut core = self.core();
        core.leases.clear();
        core.stage = Stage::Abandoned;
        core.stop_all();
    }

    /// True when the run was drained, nothing of it runs, and it stays open.
    pub(crate) fn is_drained(&self) -> bool {
        let core = self.core();
        core.stage == Stage::Draining && core.running.is_empty() && core.at_items == 0 && !core.machine.is_over()
    }

    /// What the workers have.
    pub(crate) fn running(&self) -> Vec<(ChunkId, Running)> {
        self.core()
            .running
            .iter()
            .map(|(chunk, running)| (chunk, running.clone()))
            .collect()
    }

    /// Takes a chunk from its worker, who is given up.
    pub(crate) fn give_up(&self, chunk: ChunkId) -> bool {
        let mut core = self.core();
        core.leases.remove(chunk);
        let removed = core.running.remove(chunk);
        removed.is_some_and(|running| {
            running.hand.cancel.cancel();
            !running.hand.given_up.swap(true, Ordering::AcqRel) && !running.hand.is_led
        })
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

/// What a step of each lane takes; empty when none takes anything.
fn slots_of(lanes: &[Arc<LaneScope>], shared: &Shared) -> Vec<Slots> {
    let graph = shared.pipeline.graph();
    let uses = |lane: &Arc<LaneScope>| graph.node(lane.scope.node).slot_uses();
    if lanes.iter().all(|lane| uses(lane).is_empty()) {
        return Vec::new();
    }
    let table = shared.pools.lock();
    lanes.iter().map(|lane| table.pools.slots(&uses(lane))).collect()
}
