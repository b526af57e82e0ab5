//! A fan-out while it goes on: its state machine behind one lock, shared by its lead and the workers at its items.
//!
//! The lead opens it, feeds it, waits for its end and gathers (`lead`, `feed`, `outcomes`); workers take its items
//! (`session`). Records are queued under the lock, so that the order of decisions is the order of commits; nothing is
//! awaited under it.

mod all;
mod feed;
mod lead;
mod outcomes;
mod session;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use flowstone_core::asset::Step;
use flowstone_core::fan_out::{
    BarrierCounts, BarrierState, FanOut, FanOutEffect, FanOutEvent, FanOutMachine, FanOutOptions, ItemChunk, ItemPage,
    ItemSlot, ItemWork, SessionId,
};
use flowstone_core::store::{Lead, Record};
use flowstone_core::{Error, ErrorKind, FanOutId, Result};
use jiff::Timestamp;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::ledger::{Entry, Permit, Receipt};
use crate::live_run::LiveRun;

pub(crate) use all::LiveFanOuts;
pub use all::{ItemProgress, ResultRows};
pub(crate) use lead::{Leading, lead};
use session::Pulse;

pub(crate) use session::Session;

/// A fan-out while it goes on.
pub(crate) struct LiveFanOut {
    pub(crate) fan_out: FanOutId,
    live: Arc<LiveRun>,
    lead: Lead,
    spec: Arc<dyn FanOut>,
    work: ItemWork,
    /// The step that fans out; its token asks everything about the fan-out to end.
    step: Step,
    /// What all items share.
    shared_value: Option<Bytes>,
    /// How many fan-outs it stands within.
    depth: usize,
    /// The items that had ended when it was opened or taken up here, and when that was.
    before: (u64, Timestamp),
    core: Mutex<Core>,
    /// Something happened that the lead may wait for.
    changed: Notify,
    /// Something happened that the feeder may wait for.
    has_room: Notify,
    /// There may be more items to take.
    has_more: Notify,
    /// What the sessions of workers show of themselves.
    pulses: Mutex<BTreeMap<SessionId, Arc<Pulse>>>,
    /// Asks the items to end.
    stop: CancellationToken,
}

struct Core {
    machine: FanOutMachine,
    /// Pages of which items wait or run, by their first items.
    pages: BTreeMap<u64, Arc<ItemPage>>,
    /// Comes when the end of the fan-out is on disk.
    end_on_disk: Option<oneshot::Receiver<Result<()>>>,
}

/// What followed from an event.
#[derive(Default)]
pub(crate) struct Taken {
    chunk: Option<ItemChunk>,
    /// Comes when the claim is on disk, if its items must wait for that.
    committed: Option<oneshot::Receiver<Result<()>>>,
}

/// What a fan-out is made of before it goes on.
pub(crate) struct Opening {
    pub(crate) live: Arc<LiveRun>,
    pub(crate) lead: Lead,
    pub(crate) spec: Arc<dyn FanOut>,
    pub(crate) step: Step,
    pub(crate) shared_value: Option<Bytes>,
    pub(crate) depth: usize,
    pub(crate) machine: FanOutMachine,
}

impl LiveFanOut {
    pub(crate) fn new(opening: Opening) -> Self {
        let Opening {
            live,
            lead,
            spec,
            step,
            shared_value,
            depth,
            machine,
        } = opening;
        let before = (machine.counts().ended(), live.shared.clock.now());
        Self {
            fan_out: machine.fan_out(),
            live,
            lead,
            work: spec.work(),
            spec,
            stop: step.cancelled.child_token(),
            step,
            shared_value,
            depth,
            before,
            core: Mutex::new(Core {
                machine,
                pages: BTreeMap::new(),
                end_on_disk: None,
            }),
            changed: Notify::new(),
            has_room: Notify::new(),
            has_more: Notify::new(),
            pulses: Mutex::default(),
        }
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pulses(&self) -> MutexGuard<'_, BTreeMap<SessionId, Arc<Pulse>>> {
        self.pulses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state.
    pub(crate) fn state(&self) -> BarrierState {
        self.core().machine.state()
    }

    /// The items by state.
    pub(crate) fn counts(&self) -> BarrierCounts {
        self.core().machine.counts()
    }

    /// How it goes about its items.
    pub(crate) fn options(&self) -> FanOutOptions {
        self.core().machine.options().clone()
    }

    /// How far its items are.
    pub(crate) fn progress(&self) -> ItemProgress {
        let core = self.core();
        let (ended_before, since) = self.before;
        ItemProgress {
            counts: core.machine.counts(),
            is_filling: core.machine.state() == BarrierState::Filling,
            ended_before,
            since,
            results: None,
        }
    }

    /// Lets the run ask for workers.
    pub(crate) fn nudge(&self) {
        self.live.nudge_for_items();
    }

    /// Which of several goes first: the greatest.
    pub(crate) fn rank(&self) -> (i32, usize, i128) {
        self.core().machine.options().rank(self.fan_out, self.depth)
    }

    /// How many more workers would be of use, at most `count_max`. Items that fan out themselves need none.
    pub(crate) fn wants(&self, count_max: usize) -> usize {
        if matches!(self.work, ItemWork::Nested(_)) || self.stop.is_cancelled() {
            return 0;
        }
        self.core().machine.wants(count_max, self.live.shared.clock.now())
    }

    /// The run was paused or goes on: everybody is to look again.
    pub(crate) fn look(&self) {
        self.changed.notify_one();
        self.has_room.notify_one();
        self.has_more.notify_waiters();
    }

    /// Takes in what happened and performs what follows.
    ///
    /// # Errors
    /// What the machine says of an event that does not fit; when nothing can be committed any more.
    pub(crate) async fn take_in(&self, event: FanOutEvent) -> Result<Taken> {
        let permit = self.live.shared.ledger.permit().await?;
        let mut core = self.core();
        let effects = core.machine.apply(event, self.live.shared.clock.now())?;
        Ok(self.perform(&mut core, effects, permit))
    }

    /// The same for a report that may come too late: then it counts no more.
    pub(crate) async fn report(&self, event: FanOutEvent) -> Result<()> {
        match self.take_in(event).await {
            Err(late) if matches!(late.kind(), ErrorKind::Fenced | ErrorKind::IllegalTransition) => {
                debug!(fan_out = %self.fan_out, %late, "a late report was refused");
                Ok(())
            }
            taken => taken.map(drop),
        }
    }

    fn perform(&self, core: &mut Core, effects: Vec<FanOutEffect>, permit: Permit<'_>) -> Taken {
        let mut taken = Taken::default();
        let mut records = Vec::new();
        let mut is_over = false;
        for effect in effects {
            match effect {
                FanOutEffect::Commit(progress) => records.push(Record::FanOutProgress(progress)),
                FanOutEffect::Start(chunk) => taken.chunk = Some(chunk),
                FanOutEffect::StopAll => self.stop.cancel(),
                FanOutEffect::Over(_) => is_over = true,
                // The lead asks the machine when it has to be told.
                FanOutEffect::WakeAt(_) => {}
            }
        }
        let waits = taken.chunk.as_ref().is_some_and(|chunk| chunk.after_commit);
        let receipt = if waits || is_over {
            let (sender, receipt) = oneshot::channel();
            if waits {
                taken.committed = Some(receipt);
            } else {
                core.end_on_disk = Some(receipt);
            }
            Receipt::Once(sender)
        } else {
            Receipt::None
        };
        if !records.is_empty() {
            permit.send(Entry {
                records,
                run: self.live.actor(),
                receipt,
            });
        }
        self.changed.notify_one();
        self.has_room.notify_one();
        taken
    }

    /// The page with this first item: from memory, or read back from the store.
    async fn page(&self, first: u64) -> Result<Arc<ItemPage>> {
        if let Some(page) = self.core().pages.get(&first) {
            return Ok(Arc::clone(page));
        }
        let row = self.live.shared.store.item_page(self.fan_out, first).await?;
        let row = row.ok_or_else(|| {
            let fan_out = self.fan_out;
            Error::new(ErrorKind::Corrupt, format!("items from {first} on are missing"))
                .code("items_missing")
                .during("read back the items of fan-out")
                .about(fan_out)
        })?;
        let page = Arc::new(ItemPage::decode(row.first, row.batch_starts, &row.body)?);
        let mut core = self.core();
        if core.machine.works_at(&page.range()) {
            core.pages.insert(first, Arc::clone(&page));
        }
        Ok(page)
    }

    /// A worker died with what it had.
    ///
    /// # Errors
    /// What is stored cannot be read; nothing can be committed any more.
    pub(crate) async fn bury(&self, session: SessionId) -> Result<()> {
        let suspicious = self.core().machine.suspicious_of(session);
        let mut keys = BTreeMap::new();
        for (first, items) in suspicious {
            let page = self.page(first).await?;
            keys.extend(
                items
                    .iter()
                    .filter_map(|item| Some((item, page.get(item)?.key.clone()))),
            );
        }
        self.report(FanOutEvent::SessionDied { session, keys }).await
    }

    /// Forgets a page of which nothing waits or runs.
    fn let_go(&self, core: &mut Core, first: u64) {
        let is_done = core
            .pages
            .get(&first)
            .is_some_and(|page| !core.machine.works_at(&page.range()));
        if is_done {
            core.pages.remove(&first);
        }
    }

    /// The step of one item.
    fn step_of(&self, page: &Arc<ItemPage>, index: u64, attempt: u32) -> Step {
        Step {
            attempt,
            cancelled: self.stop.clone(),
            item: Some(self.slot(page, index)),
            ..self.step.clone()
        }
    }

    fn slot(&self, page: &Arc<ItemPage>, index: u64) -> ItemSlot {
        ItemSlot {
            fan_out: self.fan_out,
            page: Arc::clone(page),
            index,
            shared: self.shared_value.clone(),
        }
    }
}
