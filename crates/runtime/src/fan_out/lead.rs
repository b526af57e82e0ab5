//! Leads a fan-out from its opening (`begin`) to the value of its step.

mod begin;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use flowstone_core::asset::{Outcome, Step};
use flowstone_core::fan_out::{
    BarrierState, FanOut, FanOutEffect, FanOutEvent, GatheredValue, ItemResult, ItemWork, SessionId,
};
use flowstone_core::store::{FanOutRow, Lead, Record};
use flowstone_core::{BoxFuture, Error, ErrorKind, FanOutId, Result};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::feed::OpenSource;
use super::outcomes::outcomes;
use super::{LiveFanOut, Pulse, Session};
use crate::ledger::{Entry, Receipt};
use crate::live_run::LiveRun;

use begin::Begun;

/// However short the timeout of items is, a worker is not given up before it was silent for so long.
const HANGS_AFTER_MIN: Duration = Duration::from_secs(2);

/// A step that fans out, or an item that does.
pub(crate) struct Leading {
    pub(crate) live: Arc<LiveRun>,
    pub(crate) lead: Lead,
    pub(crate) spec: Arc<dyn FanOut>,
    pub(crate) step: Step,
    /// A process may have died of this before: no item runs ahead of the disk.
    pub(crate) awaits_claims: bool,
    /// Asks for the end of the step for reasons that are not its own.
    pub(crate) stop: CancellationToken,
    /// The fan-out and the item that this one stands within.
    pub(crate) parent: Option<Parent>,
}

/// The fan-out and the item that another stands within.
#[derive(Clone, Copy)]
pub(crate) struct Parent {
    fan_out: FanOutId,
    item: u64,
    depth: usize,
}

/// Fans a step out and gathers it: gives what the step made.
///
/// # Errors
/// Why the fan-out failed, or its gathering; `Cancelled` when it was asked to end.
pub(crate) fn lead(leading: Leading) -> BoxFuture<'static, Result<Outcome<GatheredValue>>> {
    Box::pin(async move {
        let (live, stop) = (Arc::clone(&leading.live), leading.stop.clone());
        let begun = leading.begin().await?;
        let Begun {
            fan_out,
            mut source,
            row,
        } = begun;
        let enlisted = live.enlist(&fan_out);
        let gone_on = fan_out.go_on(&mut source, &stop).await;
        // It may have ended before its items were all read.
        if let Some(source) = &mut source {
            source.close().await;
        }
        drop(enlisted);
        gone_on?;
        fan_out.finish(row).await
    })
}

impl LiveFanOut {
    /// Queues `records`, and performs what was decided before anybody could.
    async fn queue(&self, records: Vec<Record>, effects: Vec<FanOutEffect>) -> Result<()> {
        if !records.is_empty() {
            self.live.shared.ledger.permit().await?.send(Entry {
                records,
                run: self.live.actor(),
                receipt: Receipt::None,
            });
        }
        let permit = self.live.shared.ledger.permit().await?;
        self.perform(&mut self.core(), effects, permit);
        Ok(())
    }

    /// Feeds it and keeps time until it is over.
    ///
    /// # Errors
    /// `Cancelled` when the step is to end while the fan-out stays open.
    async fn go_on(self: &Arc<Self>, source: &mut Option<OpenSource>, run_stop: &CancellationToken) -> Result<()> {
        let feed = async {
            match source {
                Some(source) => self.feed(source).await,
                None => Ok(()),
            }
        };
        let items = async {
            if matches!(self.work, ItemWork::Nested(_)) {
                self.work_at_nested().await;
            }
            std::future::pending::<()>().await;
        };
        tokio::pin!(feed, items);
        let (mut is_fed, mut is_stopping) = (false, false);
        let mut looked = Instant::now();
        self.live.nudge_for_items();
        while !self.is_over() {
            if is_stopping && self.counts().leased == 0 {
                return Err(Error::new(ErrorKind::Cancelled, "it was asked to end"));
            }
            // First of all, so that nothing that happens again and again keeps it from looking.
            let look = self.hangs_after().map(|after| after / 2);
            if let Some(look) = look.filter(|look| looked.elapsed() >= *look) {
                // Who comes late cannot tell who hangs: the whole process may have stood still.
                let is_late = looked.elapsed() / 2 > look;
                looked = Instant::now();
                if !is_late {
                    self.give_up_hanging().await?;
                }
                continue;
            }
            let until_look = look.map(|look| look.saturating_sub(looked.elapsed()));
            let due = self.until_due();
            tokio::select! {
                biased;
                () = self.step.cancelled.cancelled(), if !is_stopping => {
                    is_stopping = true;
                    self.asked_to_end(run_stop).await?;
                }
                fed = &mut feed, if !is_fed && !is_stopping => {
                    is_fed = true;
                    fed?;
                }
                () = &mut items => {}
                () = self.changed.notified() => {}
                () = tokio::time::sleep(due.unwrap_or_default()), if due.is_some() => {
                    self.report(FanOutEvent::RetriesDue).await?;
                    self.live.nudge_for_items();
                    self.has_more.notify_waiters();
                }
                () = tokio::time::sleep(until_look.unwrap_or_default()), if until_look.is_some() => {}
            }
        }
        let end_on_disk = self.core().end_on_disk.take();
        match end_on_disk {
            Some(on_disk) => on_disk.await.map_err(|_| self.live.shared.ledger.closed())?,
            None => Ok(()),
        }
    }

    fn is_over(&self) -> bool {
        self.state().is_terminal()
    }

    /// How long until the machine is to be told of the time.
    fn until_due(&self) -> Option<Duration> {
        let now = self.live.shared.clock.now();
        let due = self.core().machine.wake_at(now)?;
        Some(
            Duration::try_from(due.duration_since(now))
                .unwrap_or_default()
                .max(Duration::from_millis(1)),
        )
    }

    /// How long a worker shows nothing of itself when an item blocks its thread beyond its timeout; `None` where items have
    /// all the time in the world.
    fn hangs_after(&self) -> Option<Duration> {
        let timeout = self.core().machine.options().item_timeout?;
        Some((timeout + 2 * self.live.shared.cancel_grace).max(HANGS_AFTER_MIN))
    }

    /// Gives up workers that hang at an item. What they had is tried again with more care, until the item is found out.
    async fn give_up_hanging(&self) -> Result<()> {
        let Some(after) = self.hangs_after() else { return Ok(()) };
        let hanging: Vec<SessionId> = {
            let mut pulses = self.pulses();
            let hangs = |pulse: &Pulse| pulse.age() > after && pulse.give_up();
            let hanging = pulses.iter().filter(|(_, pulse)| hangs(pulse)).map(|(id, _)| *id);
            let hanging = hanging.collect::<Vec<_>>();
            hanging.iter().for_each(|id| drop(pulses.remove(id)));
            hanging
        };
        for session in hanging {
            warn!(fan_out = %self.fan_out, "a worker hangs at an item and is given up");
            self.live.replace_worker_at_items();
            self.bury(session).await?;
            self.live.nudge_for_items();
        }
        Ok(())
    }

    /// The step is to end: because its run is cancelled, because its time is over, or because the process ends and the
    /// fan-out goes on in another.
    async fn asked_to_end(&self, run_stop: &CancellationToken) -> Result<()> {
        if self.live.is_cancelling() {
            self.report(FanOutEvent::CancelAsked).await
        } else if run_stop.is_cancelled() {
            Ok(())
        } else {
            let error = Error::new(ErrorKind::TimedOut, "it did not end within the deadline of its step")
                .fix("give the asset a longer deadline; what has ended stays ended")
                .during("fan out")
                .about(self.label());
            self.report(FanOutEvent::Failed(error.to_record())).await
        }
    }

    /// Works at items that fan out themselves: they need no worker, their own items do.
    async fn work_at_nested(self: &Arc<Self>) {
        loop {
            Session::of_lead(Arc::clone(self), SessionId(0)).run().await;
            if self.is_over() || self.stop.is_cancelled() {
                return;
            }
            self.has_more.notified().await;
        }
    }

    /// What is made of what the items gave, which is on disk.
    async fn finish(self: &Arc<Self>, row: Option<FanOutRow>) -> Result<Outcome<GatheredValue>> {
        match self.state() {
            BarrierState::Complete | BarrierState::Partial => {
                let outcomes = outcomes(Arc::clone(&self.live.shared.store), self.fan_out, self.counts()).await?;
                let gathered = self.spec.gather(self.step.clone(), outcomes).await?;
                Ok(self.count_rows(gathered))
            }
            BarrierState::Cancelled => Err(Error::new(ErrorKind::Cancelled, "its fan-out was cancelled")),
            _ => {
                let failure = self.core().machine.failure().cloned();
                let failure = failure.or_else(|| row.and_then(|row| row.error));
                Err(failure.map_or_else(
                    || Error::new(ErrorKind::Internal, "a fan-out failed and nobody knows why"),
                    flowstone_core::ErrorRecord::into_error,
                ))
            }
        }
    }
}

impl LiveFanOut {
    /// Lets it be seen how many rows are stored, as they are. An item's own rows become its result in memory.
    fn count_rows(&self, gathered: Outcome<GatheredValue>) -> Outcome<GatheredValue> {
        match gathered {
            Outcome::Value(GatheredValue::Rows(rows, manifest)) if self.depth == 0 => {
                let written = self.live.shared.fan_outs.stores(self, rows.len());
                let rows = rows.watched(move |taken| written.store(taken, Ordering::Relaxed));
                Outcome::Value(GatheredValue::Rows(rows, manifest))
            }
            other => other,
        }
    }
}

/// Fans an item out, and gives what its gathering made.
pub(super) async fn nested(outer: &Arc<LiveFanOut>, spec: &Arc<dyn FanOut>, step: Step) -> Result<ItemResult> {
    let item = step.item.as_ref().map(|slot| slot.index).unwrap_or_default();
    let leading = Leading {
        live: Arc::clone(&outer.live),
        lead: outer.lead,
        spec: Arc::clone(spec),
        awaits_claims: outer.core().machine.awaits_claims(),
        stop: step.cancelled.clone(),
        step,
        parent: Some(Parent {
            fan_out: outer.fan_out,
            item,
            depth: outer.depth,
        }),
    };
    ItemResult::of(match lead(leading).await? {
        Outcome::Value(gathered) => Outcome::Value(gathered.collect().await?),
        Outcome::Skipped(reason) => Outcome::Skipped(reason),
    })
}
