//! Workers at items: what they hold, what they run, what they report.

use std::collections::VecDeque;

use flowstone_core::fan_out::{FanOutEvent, ItemChunk, ItemEnd, ItemEnded, SessionId};
use flowstone_core::partition::PartitionSet;
use flowstone_core::{Error, Fence};
use jiff::Timestamp;

use super::case::Fate;
use super::driver::Driver;
use super::model::End;
use super::planted::FanOutBug;
use crate::simulation::Promise;
use crate::simulation::broken::{broken, hold, hold_eq};

/// A claim in a worker's hands.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) chunk: ItemChunk,
    pub(super) left: PartitionSet,
    /// So many entries must be on disk before its items start.
    after: u64,
    /// So many entries are on disk once the claim is.
    queued: u64,
    at: Timestamp,
    /// How often the rate limit had changed then.
    era: u32,
}

/// A call that runs.
#[derive(Debug)]
pub(super) struct Call {
    chunk: u64,
    items: Vec<(u64, u32, Fate)>,
}

/// A worker at items.
#[derive(Debug, Default)]
pub(super) struct Session {
    pub(super) claims: Vec<Held>,
    queue: VecDeque<(u64, Vec<u64>)>,
    pub(super) running: Vec<Call>,
    ended: Vec<(u64, ItemEnded)>,
    /// It is wanted elsewhere.
    leaves: bool,
}

/// What a worker may do next.
#[derive(Debug, Clone, Copy)]
pub(super) enum Work {
    Ask,
    Start,
    End,
    Report,
    Leave,
}

/// Who reported, or would have, when others had taken over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Late {
    pub(super) chunk: u64,
    pub(super) fence: Fence,
    pub(super) item: u64,
}

impl Session {
    pub(super) fn leave(&mut self) {
        self.leaves = true;
        self.queue.clear();
    }

    pub(super) fn late(&self) -> impl Iterator<Item = Late> + '_ {
        self.claims.iter().filter_map(|held| {
            Some(Late {
                chunk: held.chunk.chunk,
                fence: held.chunk.fence,
                item: held.left.min()?,
            })
        })
    }

    fn held(&self, chunk: u64) -> &Held {
        let held = self.claims.iter().find(|held| held.chunk.chunk == chunk);
        held.expect("calls are of claims that are held")
    }
}

impl Driver<'_> {
    fn session(&mut self, id: u64) -> &mut Session {
        self.sessions.get_mut(&id).expect("only sessions that are there act")
    }

    fn at_once(&self, id: u64) -> usize {
        let granted = self.machine.at_once(SessionId(id)) as usize;
        let is_bold = granted > 0 && self.doctor.has(FanOutBug::OneCallTooMany);
        granted + usize::from(is_bold)
    }

    /// What a worker may do now.
    pub(super) fn works(&self, id: u64, session: &Session) -> Vec<Work> {
        let mut works = Vec::new();
        let may_start = session.running.len() < self.at_once(id);
        if let Some((chunk, _)) = session.queue.front() {
            let is_on_disk = self.doctor.has(FanOutBug::ClaimNotAwaited) || session.held(*chunk).after <= self.flushed;
            if may_start && is_on_disk {
                works.push(Work::Start);
            }
        } else if !session.leaves {
            works.push(Work::Ask);
        }
        if !session.running.is_empty() {
            works.push(Work::End);
        }
        if !session.ended.is_empty() {
            works.push(Work::Report);
        }
        let is_idle = session.running.is_empty() && session.ended.is_empty();
        if is_idle && (session.queue.is_empty() || self.at_once(id) == 0) {
            works.push(Work::Leave);
        }
        works
    }

    pub(super) fn work(&mut self, id: u64, work: Work) {
        match work {
            Work::Ask => self.ask(id),
            Work::Start => self.start(id),
            Work::End => self.end_call(id),
            Work::Report => self.report(id),
            Work::Leave => {
                let session = self.sessions.remove(&id).expect("it is there");
                self.late.extend(session.late());
                self.say(|| format!("worker {id} leaves"));
                self.tell(FanOutEvent::SessionOver(SessionId(id)));
            }
        }
    }

    pub(super) fn ask(&mut self, id: u64) {
        let items_max = 1 + self.draw.below(10) as u64;
        let running = self.session(id).running.len() as u64;
        let started = self.tell(FanOutEvent::WorkerFree {
            session: SessionId(id),
            workers: self.case.workers,
            items_max,
            running,
        });
        let Some(chunk) = started else { return };
        self.say(|| format!("worker {id} gets claim {} of {}", chunk.chunk, chunk.items));
        let mut calls: Vec<(u64, Vec<u64>)> = Vec::new();
        for item in chunk.items.iter() {
            let batch = if self.case.batch_len.is_some() {
                self.batch_starts.rank(item + 1)
            } else {
                item
            };
            match calls.last_mut().filter(|(last, _)| *last == batch) {
                Some((_, items)) => items.push(item),
                None => calls.push((batch, vec![item])),
            }
        }
        let (number, now, era) = (chunk.chunk, self.now, self.rate.era);
        let queued = self.queued;
        let after = if chunk.after_commit { queued } else { 0 };
        let session = self.session(id);
        session
            .queue
            .extend(calls.into_iter().map(|(_, items)| (number, items)));
        session.claims.push(Held {
            left: chunk.items.clone(),
            chunk,
            after,
            queued,
            at: now,
            era,
        });
    }

    fn start(&mut self, id: u64) {
        let session = self.session(id);
        let (chunk, items) = session.queue.pop_front().expect("there is a call");
        let held = session.held(chunk);
        let (given_at, era, queued) = (held.at, held.era, held.queued);
        let attempts: Vec<(u64, u32)> = items.iter().map(|item| (*item, held.chunk.attempt(*item))).collect();
        hold!(
            P11,
            !self.awaits_claims || queued <= self.flushed,
            "a process may have died of the step, and items of claim {chunk} start ahead of the disk"
        );
        self.rate.start(self.live.options.rate_limit, era, given_at);
        let running: usize = self.sessions.values().map(|session| session.running.len()).sum();
        let at_most = self.live.options.max_concurrent.get() as usize;
        hold!(
            Limits,
            running < at_most,
            "{running} calls run and one starts, {at_most} may"
        );
        let mut call = Call {
            chunk,
            items: Vec::new(),
        };
        for (item, attempt) in attempts {
            let failed = self.live.attempts.get(&item).copied().unwrap_or(0);
            hold_eq!(P12, attempt, failed + 1, "the attempt at item {item}");
            if let Some(end) = self.live.ended.get(&item) {
                broken(Promise::P10, format!("item {item} starts, and is {end:?}"));
            }
            let mut all = self.sessions.values().flat_map(|session| &session.running);
            let is_running = all.any(|call| call.items.iter().any(|(other, ..)| *other == item));
            hold!(P8, !is_running, "item {item} starts while it runs");
            let key = self.live.keys[item as usize];
            let begun = self.begun.entry(key).or_default();
            *begun += 1;
            call.items
                .push((item, attempt, self.case.fate(key, self.epoch, *begun)));
        }
        self.say(|| format!("worker {id} starts {:?}", call.items));
        let killer = call.items.iter().find(|(_, _, fate)| *fate == Fate::Kill);
        let killer = killer.map(|(item, ..)| *item);
        self.session(id).running.push(call);
        if let Some(item) = killer {
            self.kill(id, item);
        }
    }

    /// An item kills its worker, or its process. It may not do so for ever.
    fn kill(&mut self, id: u64, item: u64) {
        let key = self.live.keys[item as usize];
        let kills = self.kills.entry(key).or_default();
        *kills += 1;
        let (kills, may) = (*kills, 3 + self.pardoned);
        hold!(
            P11,
            kills <= may,
            "item {item} kills for the {kills}th time, {may} were enough"
        );
        if self.case.kills_process {
            let share = self.draw.below(101);
            self.crash(share);
        } else {
            self.worker_dies(id);
        }
    }

    pub(super) fn worker_dies(&mut self, id: u64) {
        self.say(|| format!("worker {id} dies"));
        let session = self.sessions.remove(&id).expect("it is there");
        self.late.extend(session.late());
        for item in session.claims.iter().flat_map(|held| held.left.iter()) {
            *self.deaths.entry(item).or_default() += 1;
        }
        let session = SessionId(id);
        let suspicious = self.machine.suspicious_of(session);
        let suspicious = suspicious.iter().flat_map(|(_, items)| items.iter());
        let keys = suspicious.map(|item| (item, format!("key {}", self.live.keys[item as usize])));
        let keys = keys.collect();
        self.tell(FanOutEvent::SessionDied { session, keys });
    }

    fn end_call(&mut self, id: u64) {
        let count = self.session(id).running.len();
        let chosen = self.draw.below(count);
        let call = self.session(id).running.swap_remove(chosen);
        for (item, attempt, fate) in call.items {
            let is_given_back = self.session(id).leaves && self.draw.chance(500);
            let end = match fate {
                _ if is_given_back => ItemEnd::Released,
                Fate::Succeed => ItemEnd::Succeeded(vec![item as u8; 3].into()),
                Fate::Skip => ItemEnd::Skipped("nothing to do".to_owned()),
                Fate::FailForNow => ItemEnd::Failed(Error::transient("not now").to_record()),
                Fate::FailForGood | Fate::Kill => ItemEnd::Failed(Error::permanent("never").to_record()),
            };
            let ended = ItemEnded {
                index: item,
                attempt,
                end,
                key: format!("key {}", self.live.keys[item as usize]),
            };
            self.session(id).ended.push((call.chunk, ended));
        }
    }

    /// Reports what has ended of one claim.
    fn report(&mut self, id: u64) {
        let attempts_max = self.live.options.retry.attempts_max();
        let session = self.session(id);
        let (chunk, _) = session.ended[0];
        let (of_chunk, rest) = std::mem::take(&mut session.ended)
            .into_iter()
            .partition(|(of, _)| *of == chunk);
        session.ended = rest;
        let of_chunk: Vec<(u64, ItemEnded)> = of_chunk;
        let ended: Vec<ItemEnded> = of_chunk.into_iter().map(|(_, ended)| ended).collect();
        let fence = session.held(chunk).chunk.fence;
        for held in session.claims.iter_mut().filter(|held| held.chunk.chunk == chunk) {
            held.left.subtract(&ended.iter().map(|item| item.index).collect());
        }
        session.claims.retain(|held| !held.left.is_empty());
        for item in &ended {
            match &item.end {
                ItemEnd::Succeeded(_) => self.live.end(item.index, End::Succeeded),
                ItemEnd::Skipped(_) => self.live.end(item.index, End::Skipped),
                ItemEnd::Failed(error) if error.class.is_retryable() && item.attempt < attempts_max => {
                    self.live.attempts.insert(item.index, item.attempt);
                }
                ItemEnd::Failed(_) => self.live.end(item.index, End::Failed),
                ItemEnd::Released => {}
            }
        }
        self.say(|| format!("worker {id} reports of claim {chunk}: {ended:?}"));
        if let Some(item) = ended.first() {
            let item = item.index;
            self.late.push(Late { chunk, fence, item });
        }
        self.tell(FanOutEvent::ItemsEnded { chunk, fence, ended });
    }
}
