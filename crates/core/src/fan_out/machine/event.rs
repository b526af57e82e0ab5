//! What happens to a fan-out, and what its machine asks for.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;

use crate::fan_out::{BarrierState, ItemPage, OptionsChange};
use crate::partition::PartitionSet;
use crate::reader::Cursor;
use crate::store::FanOutProgress;
use crate::{ErrorRecord, Fence};

/// A worker while it works at items of a fan-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// How an item ended, as its worker saw it.
#[derive(Debug, Clone, PartialEq)]
pub enum ItemEnd {
    /// It gave a value, encoded.
    Succeeded(Bytes),
    /// It found nothing to do, with the reason.
    Skipped(String),
    /// It failed.
    Failed(ErrorRecord),
    /// It gave up because it was asked to, or has not started.
    Released,
}

/// An item that ended.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemEnded {
    /// The item.
    pub index: u64,
    /// The attempt, from 1.
    pub attempt: u32,
    /// How.
    pub end: ItemEnd,
    /// Its key, where it failed.
    pub key: String,
}

/// Items that one worker tries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemChunk {
    /// The number of the claim.
    pub chunk: u64,
    /// The fence that it was claimed under.
    pub fence: Fence,
    /// The items, all of one page.
    pub items: PartitionSet,
    /// The number of the page's first item.
    pub page: u64,
    /// The attempt at each item that is not at its first, in order of item.
    pub attempts: Vec<(u64, u32)>,
    /// True when the claim must be on disk before the first item starts.
    pub after_commit: bool,
}

impl ItemChunk {
    /// The attempt at an item, from 1.
    pub fn attempt(&self, index: u64) -> u32 {
        self.attempts
            .binary_search_by_key(&index, |(item, _)| *item)
            .map_or(1, |at| self.attempts[at].1)
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum FanOutEvent {
    /// A page was read. Its items are new (see [`FanOutMachine::keep_new`](super::FanOutMachine::keep_new)), and in batches
    /// if they are taken so.
    PageRead {
        /// The page; its first item follows those that are there.
        page: ItemPage,
        /// Where to go on; `None` when the source has ended.
        next: Option<Cursor>,
    },
    /// As many items came as may: no more are read.
    EnoughRead,
    /// The whole fails: its items cannot be read, or its time is over.
    Failed(ErrorRecord),
    /// A worker is free, or goes on with its session.
    WorkerFree {
        /// Its session.
        session: SessionId,
        /// The number of workers.
        workers: usize,
        /// The most items that it takes.
        items_max: u64,
        /// How many calls it has running.
        running: u64,
    },
    /// Items of a claim ended.
    ItemsEnded {
        /// The number of the claim.
        chunk: u64,
        /// Its fence.
        fence: Fence,
        /// The items.
        ended: Vec<ItemEnded>,
    },
    /// A worker is done; what is left of its claims may be tried by others.
    SessionOver(SessionId),
    /// A worker died, or was given up, with its claims.
    SessionDied {
        /// Its session.
        session: SessionId,
        /// The keys of those of its items that may have to be quarantined, by number (see
        /// [`FanOutMachine::suspicious_of`](super::FanOutMachine::suspicious_of)).
        keys: BTreeMap<u64, String>,
    },
    /// The time that a [`FanOutEffect::WakeAt`] named has come.
    RetriesDue,
    /// Somebody wants to go about the items otherwise.
    OptionsSet(OptionsChange),
    /// Somebody asks for it to end.
    CancelAsked,
}

/// Something to do, in the order given.
#[derive(Debug, Clone, PartialEq)]
pub enum FanOutEffect {
    /// Queue this for commit.
    Commit(Box<FanOutProgress>),
    /// Hand these items to the worker; if they say so, only once what was queued before is on disk.
    Start(ItemChunk),
    /// Tell the machine `RetriesDue` at this time.
    WakeAt(Timestamp),
    /// Ask every item that runs to end.
    StopAll,
    /// It is over. Say so only once what was queued before is on disk.
    Over(BarrierState),
}
