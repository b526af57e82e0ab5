//! A worker at the items of a fan-out: it takes claim after claim, runs as many calls at once as it may, and reports.
//!
//! What a call is and what becomes of it stands in `call`.

mod call;
mod pulse;

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use flowstone_core::fan_out::{
    AdaptiveBatches, FanOutEvent, ItemChunk, ItemEnded, ItemPage, ItemWork, SessionId, next_claim_len,
};
use flowstone_core::{BoxFuture, ErrorKind, Result};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tracing::warn;

use super::LiveFanOut;
use crate::run_actor::RunMessage;

pub(super) use pulse::Pulse;

use call::{Call, Ended};
use pulse::PULSE_EVERY;

/// Ended items are reported at the latest after so many…
const REPORT_LEN_MAX: usize = 1_000;
/// … or so long.
const REPORT_AFTER: Duration = Duration::from_millis(5);
/// How long a session keeps its thread while items end at once.
const YIELD_AFTER: Duration = Duration::from_millis(1);

/// A worker's time at a fan-out. If it is dropped before it is over, the worker died, and the run's actor hears of it.
pub(crate) struct Session {
    fan_out: Arc<LiveFanOut>,
    id: SessionId,
    /// How many workers may share the fan-out.
    workers: usize,
    /// True for a worker, who may be wanted elsewhere; false for the lead.
    is_worker: bool,
    is_over: bool,
    pulse: Arc<Pulse>,
}

/// A claim under way.
struct Open {
    claim: ItemChunk,
    page: Arc<ItemPage>,
    timeout: Option<Duration>,
    ended: Vec<ItemEnded>,
}

/// What a session has in hand.
#[derive(Default)]
struct Hands {
    open: BTreeMap<u64, Open>,
    queue: VecDeque<Call>,
    ended: usize,
    /// How many items are claimed next, and when the last were.
    claim_len: u64,
    claimed_at: Option<Instant>,
    adaptive: Option<AdaptiveBatches>,
    /// How many items the next call is for, where that follows from how long calls take.
    call_len: u32,
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.is_over
            && self.is_worker
            && let Some(actor) = self.fan_out.live.actor()
        {
            let (fan_out, session) = (Arc::clone(&self.fan_out), self.id);
            drop(actor.cast(RunMessage::SessionDied { fan_out, session }));
        }
    }
}

impl Session {
    /// A worker's.
    pub(crate) fn new(fan_out: Arc<LiveFanOut>, id: SessionId, workers: usize, given_up: &Arc<AtomicBool>) -> Self {
        let pulse = Arc::new(Pulse::new(given_up));
        fan_out.pulses().insert(id, Arc::clone(&pulse));
        Self {
            fan_out,
            id,
            workers,
            is_worker: true,
            is_over: false,
            pulse,
        }
    }

    /// The lead's own.
    pub(super) fn of_lead(fan_out: Arc<LiveFanOut>, id: SessionId) -> Self {
        Self {
            fan_out,
            id,
            workers: 1,
            is_worker: false,
            is_over: false,
            // Its items are led, and hang nobody.
            pulse: Arc::new(Pulse::new(&Arc::default())),
        }
    }

    /// Works until there is nothing to take, or others are to have the worker.
    pub(crate) async fn run(mut self) {
        let worked = self.work().await;
        if let Err(error) = worked {
            // Nothing can be committed any more, or what is stored cannot be read: the run's actor hears of it.
            warn!(fan_out = %self.fan_out.fan_out, %error, "a worker left the items");
            self.fan_out.live.refuse(error);
        }
        drop(self.fan_out.report(FanOutEvent::SessionOver(self.id)).await);
        self.fan_out.pulses().remove(&self.id);
        self.is_over = true;
    }

    async fn work(&self) -> Result<()> {
        let mut hands = Hands {
            adaptive: match &self.fan_out.work {
                ItemWork::Many { adaptive, .. } => *adaptive,
                _ => None,
            },
            call_len: 1,
            ..Hands::default()
        };
        let mut in_flight = FuturesUnordered::new();
        let (mut reported, mut yielded) = (Instant::now(), Instant::now());
        let mut may_be_more = true;
        // Heard at all times, and not only while it is waited for: what is due is told once.
        let mut more = pin!(self.fan_out.has_more.notified());
        loop {
            self.pulse.show();
            if !self.may_go_on() {
                // What has not started is for others.
                hands.queue.clear();
                may_be_more = false;
            } else if may_be_more && hands.queue.is_empty() {
                may_be_more = self.claim(&mut hands, in_flight.len()).await?;
                // Whoever was woken by that waits at this thread, and an item may block it.
                tokio::task::yield_now().await;
            }
            let at_once = self.at_once();
            while in_flight.len() < at_once
                && let Some(call) = Self::next_call(&mut hands)
            {
                let mut running = self.call(call, &hands);
                match futures::poll!(&mut running) {
                    std::task::Poll::Ready(ended) => hands.note(ended),
                    std::task::Poll::Pending => in_flight.push(running),
                }
                if yielded.elapsed() >= YIELD_AFTER {
                    self.pulse.show();
                    // Whoever waits at this thread is to have it now and then.
                    tokio::task::yield_now().await;
                    yielded = Instant::now();
                }
                if hands.ended >= REPORT_LEN_MAX || reported.elapsed() >= REPORT_AFTER {
                    break;
                }
            }
            let is_idle = in_flight.is_empty();
            let has_nothing = is_idle && hands.ended == 0 && (hands.queue.is_empty() && !may_be_more || at_once == 0);
            if has_nothing || self.fan_out.stop.is_cancelled() {
                break;
            }
            if hands.ended > 0 && (is_idle || hands.ended >= REPORT_LEN_MAX || reported.elapsed() >= REPORT_AFTER) {
                self.report(&mut hands).await?;
                reported = Instant::now();
                may_be_more = true;
                tokio::task::yield_now().await;
                continue;
            }
            let waits = in_flight.len() >= at_once || hands.queue.is_empty() && !may_be_more;
            if !is_idle && waits {
                tokio::select! {
                    biased;
                    Some(ended) = in_flight.next() => {
                        hands.note(ended);
                        while let Some(Some(ended)) = in_flight.next().now_or_never() {
                            hands.note(ended);
                        }
                    }
                    () = self.fan_out.stop.cancelled() => {}
                    () = tokio::time::sleep(if hands.ended > 0 { REPORT_AFTER } else { PULSE_EVERY }) => {}
                    // There may be more to take by now, or more may run at once.
                    () = &mut more => {
                        more.set(self.fan_out.has_more.notified());
                        may_be_more = true;
                    }
                }
            }
        }
        self.wind_up(&mut hands, in_flight).await
    }

    /// Items that were asked to end get their time to do so; what they gave is reported, the rest is given back.
    async fn wind_up(
        &self,
        hands: &mut Hands,
        mut in_flight: FuturesUnordered<BoxFuture<'static, Ended>>,
    ) -> Result<()> {
        let grace = tokio::time::sleep(self.fan_out.live.shared.cancel_grace);
        tokio::pin!(grace);
        loop {
            tokio::select! {
                biased;
                ended = in_flight.next() => match ended {
                    Some(ended) => hands.note(ended),
                    None => break,
                },
                () = &mut grace => break,
            }
        }
        self.report(hands).await
    }

    fn may_go_on(&self) -> bool {
        !self.fan_out.stop.is_cancelled()
            && !self.pulse.is_given_up()
            && self.fan_out.live.may_take_items(self.is_worker)
    }

    fn at_once(&self) -> usize {
        self.fan_out.core().machine.at_once(self.id) as usize
    }

    /// Takes a claim; false when there is none to take.
    async fn claim(&self, hands: &mut Hands, running: usize) -> Result<bool> {
        let took = hands.claimed_at.map(|at| at.elapsed());
        hands.claim_len = next_claim_len(hands.claim_len, took, self.at_once() as u64);
        let event = FanOutEvent::WorkerFree {
            session: self.id,
            workers: self.workers,
            items_max: hands.claim_len,
            running: running as u64,
        };
        let taken = match self.fan_out.take_in(event).await {
            Ok(taken) => taken,
            Err(over) if over.kind() == ErrorKind::IllegalTransition => return Ok(false),
            Err(error) => return Err(error),
        };
        let Some(claim) = taken.chunk else { return Ok(false) };
        hands.claimed_at = Some(Instant::now());
        if let Some(committed) = taken.committed {
            let on_disk = committed.await;
            on_disk.map_err(|_| self.fan_out.live.shared.ledger.closed())??;
        }
        let page = self.fan_out.page(claim.page).await?;
        let timeout = self.fan_out.core().machine.options().item_timeout;
        hands.queue.extend(self.calls(&claim, &page));
        hands.open.insert(
            claim.chunk,
            Open {
                ended: Vec::with_capacity(claim.items.len() as usize),
                claim,
                page,
                timeout,
            },
        );
        Ok(true)
    }

    /// Reports what has ended.
    async fn report(&self, hands: &mut Hands) -> Result<()> {
        hands.ended = 0;
        let mut pages = Vec::new();
        for (chunk, open) in &mut hands.open {
            if open.ended.is_empty() {
                continue;
            }
            open.claim
                .items
                .subtract(&open.ended.iter().map(|item| item.index).collect());
            pages.push(open.page.first);
            let event = FanOutEvent::ItemsEnded {
                chunk: *chunk,
                fence: open.claim.fence,
                ended: std::mem::take(&mut open.ended),
            };
            self.fan_out.report(event).await?;
        }
        hands.open.retain(|_, open| !open.claim.items.is_empty());
        let mut core = self.fan_out.core();
        for first in pages {
            self.fan_out.let_go(&mut core, first);
        }
        Ok(())
    }
}

impl Hands {
    fn note(&mut self, Ended { chunk, items, took }: Ended) {
        self.ended += items.len();
        if let Some(adaptive) = &self.adaptive {
            self.call_len = adaptive.next_len(items.len() as u32, took);
        }
        if let Some(open) = self.open.get_mut(&chunk) {
            open.ended.extend(items);
        }
    }
}
