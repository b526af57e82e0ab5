//! The calls of user code that a claim is for, and how its items ended by them.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flowstone_core::fan_out::{ItemCall, ItemChunk, ItemEnd, ItemEnded, ItemPage, ItemResult, ItemWork};
use flowstone_core::{BoxFuture, Error, ErrorKind, Result};
use futures::FutureExt;

use super::super::LiveFanOut;
use super::super::lead::nested;
use super::{Hands, Session};
use crate::worker::{blocking, panicked};

/// Items that are called for together.
pub(super) struct Call {
    pub(super) chunk: u64,
    pub(super) items: Vec<u64>,
}

/// What a call came to.
pub(super) struct Ended {
    pub(super) chunk: u64,
    pub(super) items: Vec<ItemEnded>,
    pub(super) took: Duration,
}

impl Session {
    /// The calls that a claim is for. Where their size follows from how long they take, one for all: it is cut when its turn
    /// comes.
    pub(super) fn calls(&self, claim: &ItemChunk, page: &ItemPage) -> Vec<Call> {
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

    pub(super) fn next_call(hands: &mut Hands) -> Option<Call> {
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
    pub(super) fn call(&self, call: Call, hands: &Hands) -> BoxFuture<'static, Ended> {
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
