//! A worker at the items of a fan-out: it takes claim after claim, runs as many calls at once as it may, and reports.

use std::collections::{BTreeMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use flowstone_core::fan_out::{
    AdaptiveBatches, FanOutEvent, ItemCall, ItemChunk, ItemEnd, ItemEnded, ItemPage, ItemResult, ItemWork, SessionId,
    next_claim_len,
};
use flowstone_core::{BoxFuture, Error, ErrorKind, Result};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tracing::warn;

use super::LiveFanOut;
use super::lead::nested;
use crate::run_actor::RunMessage;
use crate::worker::{blocking, panicked};

/// Ended items are reported at the latest after so many…
const REPORT_LEN_MAX: usize = 1_000;
/// … or so long.
const REPORT_AFTER: Duration = Duration::from_millis(5);
/// How long a session keeps its thread while items end at once.
const YIELD_AFTER: Duration = Duration::from_millis(1);

/// How often a session shows that it does not hang, at least.
const PULSE_EVERY: Duration = Duration::from_millis(500);

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

/// What a session shows of itself, so that others can tell whether an item blocks its thread.
pub(super) struct Pulse {
    shown: Mutex<Instant>,
    /// Set when the worker is given up; its slot then goes nowhere.
    given_up: Arc<AtomicBool>,
}

impl Pulse {
    fn shown(&self) -> MutexGuard<'_, Instant> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self) {
        *self.shown() = Instant::now();
    }

    /// How long nothing was shown.
    pub(super) fn age(&self) -> Duration {
        self.shown().elapsed()
    }

    /// Gives the worker up; true when nobody had.
    pub(super) fn give_up(&self) -> bool {
        !self.given_up.swap(true, Ordering::AcqRel)
    }
}

/// Items that are called for together.
struct Call {
    chunk: u64,
    items: Vec<u64>,
}

/// What a call came to.
struct Ended {
    chunk: u64,
    items: Vec<ItemEnded>,
    took: Duration,
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
        let pulse = Arc::new(Pulse {
            shown: Mutex::new(Instant::now()),
            given_up: Arc::clone(given_up),
        });
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
            pulse: Arc::new(Pulse {
                shown: Mutex::new(Instant::now()),
                given_up: Arc::default(),
            }),
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
        loop {
            // Heard from here on, so that nothing is missed between a refused claim and the wait for more.
            let more = self.fan_out.has_more.notified();
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
                    () = more => may_be_more = true,
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
            && !self.pulse.given_up.load(Ordering::Acquire)
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

    /// The calls that a claim is for. Where their size follows from how long they take, one for all: it is cut when its turn
    /// comes.
    fn calls(&self, claim: &ItemChunk, page: &ItemPage) -> Vec<Call> {
        let chunk = claim.chunk;
        match &self.fan_out.work {
            // Cut when its turn comes.
            ItemWork::Many { adaptive: Some(_), .. } => vec![Call {
                chunk,
                items: claim.items.iter().collect(),
            }],
            ItemWork::Many { adaptive: None, .. } => {
                let mut calls: Vec<(u64, Call)> = Vec::new();
                for item in claim.items.iter() {
                    let batch = page.batch_starts.rank(item + 1);
                    match calls.last_mut().filter(|(last, _)| *last == batch) {
                        Some((_, call)) => call.items.push(item),
                        None => calls.push((
                            batch,
                            Call {
                                chunk,
                                items: vec![item],
                            },
                        )),
                    }
                }
                calls.into_iter().map(|(_, call)| call).collect()
            }
            _ => {
                let items = claim.items.iter();
                items
                    .map(|item| Call {
                        chunk,
                        items: vec![item],
                    })
                    .collect()
            }
        }
    }

    fn next_call(hands: &mut Hands) -> Option<Call> {
        if hands.adaptive.is_none() {
            return hands.queue.pop_front();
        }
        let call = hands.queue.front_mut()?;
        let len = (hands.call_len as usize).clamp(1, call.items.len());
        let items: Vec<u64> = call.items.drain(..len).collect();
        let chunk = call.chunk;
        if call.items.is_empty() {
            hands.queue.pop_front();
        }
        Some(Call { chunk, items })
    }

    /// One call, whatever becomes of it.
    fn call(&self, call: Call, hands: &Hands) -> BoxFuture<'static, Ended> {
        let open = &hands.open[&call.chunk];
        let (fan_out, page) = (Arc::clone(&self.fan_out), Arc::clone(&open.page));
        let timeout = open.timeout;
        let attempts: Vec<(u64, u32)> = call
            .items
            .into_iter()
            .map(|item| (item, open.claim.attempt(item)))
            .collect();
        Box::pin(async move {
            let started = Instant::now();
            let made = AssertUnwindSafe(fan_out.call(&page, &attempts));
            let made = match timeout {
                None => made.catch_unwind().await,
                Some(timeout) => match tokio::time::timeout(timeout, made.catch_unwind()).await {
                    Ok(made) => made,
                    Err(_) => Ok(Err(overdue(timeout))),
                },
            };
            let made = made.unwrap_or_else(|panic| Err(panicked(&*panic)));
            Ended {
                chunk: call.chunk,
                items: fan_out.ends(&page, &attempts, made),
                took: started.elapsed(),
            }
        })
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

impl LiveFanOut {
    /// Calls the function for items of a page.
    async fn call(
        self: &Arc<Self>,
        page: &Arc<ItemPage>,
        items: &[(u64, u32)],
    ) -> Result<Vec<(u64, Result<ItemResult>)>> {
        let Some((first, attempt)) = items.first().copied() else {
            return Ok(Vec::new());
        };
        let step = self.step_of(page, first, attempt);
        let made = match &self.work {
            ItemWork::Each(function) => function(step).await?,
            ItemWork::EachBlocking(function) => blocking(function(step).await?).await?,
            ItemWork::Many { call, .. } => {
                let items = items.iter().map(|(item, attempt)| (self.slot(page, *item), *attempt));
                let items = items.collect();
                return call(ItemCall { step, items }).await;
            }
            ItemWork::Nested(spec) => nested(self, spec, step).await?,
        };
        Ok(vec![(first, Ok(made))])
    }

    /// How each of the items ended, by what the call gave.
    fn ends(
        &self,
        page: &ItemPage,
        items: &[(u64, u32)],
        made: Result<Vec<(u64, Result<ItemResult>)>>,
    ) -> Vec<ItemEnded> {
        let ended = |(index, attempt): (u64, u32), end: ItemEnd| ItemEnded {
            key: match end {
                ItemEnd::Failed(_) => page.get(index).map(|item| item.key.clone()).unwrap_or_default(),
                _ => String::new(),
            },
            index,
            attempt,
            end,
        };
        let mut made = match made {
            Ok(made) => made,
            Err(error) => {
                let gave_up = error.kind() == ErrorKind::Cancelled && self.stop.is_cancelled();
                let error = error.to_record();
                let end = || match gave_up {
                    true => ItemEnd::Released,
                    false => ItemEnd::Failed(error.clone()),
                };
                return items.iter().map(|item| ended(*item, end())).collect();
            }
        };
        made.sort_unstable_by_key(|(index, _)| *index);
        let mut made = made.into_iter().peekable();
        let ends = items.iter().map(|item| {
            let strangers = |(index, _): &(u64, Result<ItemResult>)| *index < item.0;
            while made.next_if(strangers).is_some() {}
            let end = match made.next_if(|(index, _)| *index == item.0) {
                Some((_, Ok(ItemResult::Value(value)))) => ItemEnd::Succeeded(value),
                Some((_, Ok(ItemResult::Skipped(reason)))) => ItemEnd::Skipped(reason),
                Some((_, Err(error))) => ItemEnd::Failed(error.to_record()),
                None => ItemEnd::Failed(no_result().to_record()),
            };
            ended(*item, end)
        });
        ends.collect()
    }
}

fn no_result() -> Error {
    Error::new(ErrorKind::TypeMismatch, "the call gave no result for it")
        .code("item_result_missing")
        .fix("give one result for each item of the batch, in their order")
}

fn overdue(timeout: Duration) -> Error {
    Error::new(ErrorKind::TimedOut, format!("it did not end within its {timeout:?}"))
        .fix("give items more time with `item_timeout`, or let the function do less")
}
