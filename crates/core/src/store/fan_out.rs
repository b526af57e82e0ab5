//! What a store keeps of fan-outs: pages of items, open claims, append-only segments of results, and a row for each item
//! that failed. Never a row for an item that did not.

use bytes::Bytes;
use jiff::Timestamp;

use crate::fan_out::{BarrierCounts, BarrierState, FanOutOptions};
use crate::partition::PartitionSet;
use crate::reader::Cursor;
use crate::{AssetId, ChunkNo, ErrorRecord, FanOutId, Fence, RunId};

/// The chunk of the step that fans out, and the fence that it was claimed under: who writes about a fan-out must hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lead {
    /// The run.
    pub run: RunId,
    /// The asset.
    pub asset: AssetId,
    /// The chunk.
    pub chunk: ChunkNo,
    /// Its fence.
    pub fence: Fence,
}

/// A fan-out begins.
#[derive(Debug, Clone, PartialEq)]
pub struct FanOutOpened {
    /// Who writes.
    pub lead: Lead,
    /// The fan-out.
    pub fan_out: FanOutId,
    /// The partition of the step.
    pub partition: u64,
    /// The fan-out and the item that this one stands within, if it does.
    pub parent: Option<(FanOutId, u64)>,
    /// How it goes about its items.
    pub options: FanOutOptions,
    /// What all its items share, evaluated once; opaque to the store.
    pub shared: Option<Bytes>,
    /// When.
    pub at: Timestamp,
}

/// What did not succeed of a fan-out is tried again, as a rule in another run of the same asset and partition: it has ended,
/// or it was left as it was by a run that has.
///
/// The fan-out belongs to that run from then on, its epoch grows by one, and it is sealed again (or filling, if its items
/// were not all known). Claims that were open are gone, segments and failures stay. Fan-outs that stand within it come along
/// as they are, their open claims included.
#[derive(Debug, Clone, PartialEq)]
pub struct FanOutReopened {
    /// Who writes.
    pub lead: Lead,
    /// The fan-out.
    pub fan_out: FanOutId,
    /// True when its items were all known.
    pub is_sealed: bool,
    /// The items by state, now that what did not succeed is pending again.
    pub counts: BarrierCounts,
    /// When.
    pub at: Timestamp,
}

/// A page of items, with how far the reader got.
#[derive(Debug, Clone, PartialEq)]
pub struct PageRow {
    /// The number of its first item: as many as came before.
    pub first: u64,
    /// How many items it has. A page without any moves the cursor, and is not kept.
    pub len: u64,
    /// Where batches start in it.
    pub batch_starts: PartitionSet,
    /// The items; opaque to the store. Empty where only the rest was asked for.
    pub body: Bytes,
}

/// Items that are about to be tried, all of one page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemClaim {
    /// The number of the claim within the fan-out; each has its own, and a new one is greater than all before.
    pub chunk: u64,
    /// The items.
    pub items: PartitionSet,
    /// How often a process died while these items were claimed.
    pub crashes: u32,
    /// True while somebody works at them; else this remembers that they were in flight at a death.
    pub is_held: bool,
}

/// Results of items of one claim. Never changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The number of the first item of the page that the items are of.
    pub page: u64,
    /// The claim.
    pub chunk: u64,
    /// The number within the claim, from 0; it grows.
    pub seq: u32,
    /// The items that gave a value.
    pub succeeded: PartitionSet,
    /// The items that found nothing to do.
    pub skipped: PartitionSet,
    /// The values, in the order of the items, and why items were skipped; opaque to the store.
    pub body: Bytes,
}

/// The last failure of an item.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemFailure {
    /// The item.
    pub item: u64,
    /// Its key.
    pub key: String,
    /// The epoch of the fan-out in which it failed.
    pub epoch: u32,
    /// The attempt within that epoch, from 1.
    pub attempt: u32,
    /// True when no other attempt follows.
    pub is_final: bool,
    /// What happened.
    pub error: ErrorRecord,
    /// When.
    pub at: Timestamp,
}

/// Something happened to a fan-out. What is empty or `None` did not change.
#[derive(Debug, Clone, PartialEq)]
pub struct FanOutProgress {
    /// Who writes.
    pub lead: Lead,
    /// The fan-out.
    pub fan_out: FanOutId,
    /// Items that were read.
    pub page: Option<PageRow>,
    /// How far the reader got; always together with the items up to there. `None` beside a page says that the source ended
    /// with it.
    pub cursor: Option<Cursor>,
    /// Items that are about to be tried, or were when their worker died; replaces what was known of the same claim.
    pub claimed: Vec<ItemClaim>,
    /// Claims that are over, by number.
    pub closed: Vec<u64>,
    /// Results.
    pub segments: Vec<Segment>,
    /// Attempts that failed; a later failure of an item replaces an earlier one.
    pub failed: Vec<ItemFailure>,
    /// How it goes about its items from now on.
    pub options: Option<FanOutOptions>,
    /// The state after this.
    pub state: BarrierState,
    /// The items by state after this. What is claimed counts as leased.
    pub counts: BarrierCounts,
    /// When the next item is on schedule, under a rate limit.
    pub on_schedule_at: Option<Timestamp>,
    /// Why it did not go well, if it has ended.
    pub error: Option<ErrorRecord>,
    /// When.
    pub at: Timestamp,
}

impl FanOutProgress {
    /// Progress with nothing in it, of a fan-out without items.
    pub fn empty(lead: Lead, fan_out: FanOutId, at: Timestamp) -> Self {
        Self {
            lead,
            fan_out,
            page: None,
            cursor: None,
            claimed: Vec::new(),
            closed: Vec::new(),
            segments: Vec::new(),
            failed: Vec::new(),
            options: None,
            state: BarrierState::Filling,
            counts: BarrierCounts::default(),
            on_schedule_at: None,
            error: None,
            at,
        }
    }
}

/// A fan-out as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct FanOutRow {
    /// The fan-out.
    pub fan_out: FanOutId,
    /// The run that it belongs to.
    pub run: RunId,
    /// The asset of the step.
    pub asset: AssetId,
    /// The partition of the step.
    pub partition: u64,
    /// The fan-out and the item that it stands within.
    pub parent: Option<(FanOutId, u64)>,
    /// How often it was opened, from 1.
    pub epoch: u32,
    /// The state.
    pub state: BarrierState,
    /// True once all its items are known, in any epoch.
    pub is_sealed: bool,
    /// How it goes about its items.
    pub options: FanOutOptions,
    /// What all its items share.
    pub shared: Option<Bytes>,
    /// How far the reader got.
    pub cursor: Option<Cursor>,
    /// The items by state.
    pub counts: BarrierCounts,
    /// How many of them were left to be tried again when this epoch began.
    pub redriven: u64,
    /// When the next item is on schedule.
    pub on_schedule_at: Option<Timestamp>,
    /// Why it did not go well.
    pub error: Option<ErrorRecord>,
    /// When it was first opened.
    pub opened_at: Timestamp,
    /// When something last happened to it.
    pub moved_at: Timestamp,
}

impl FanOutRow {
    /// True when the death of the process that led it is on the account of its items and not of its step: some were at work.
    /// `claims` are those that are not over.
    pub fn spares_step(&self, claims: &[ItemClaim]) -> bool {
        !self.state.is_terminal() && claims.iter().any(|claim| claim.is_held)
    }

    /// True when its source was not read to the end, as far as is known.
    pub fn has_more_to_read(&self) -> bool {
        !self.is_sealed || self.cursor.is_some() || (self.counts.total == 0 && self.options.items_max == Some(0))
    }
}

/// How the items of a fan-out ended, as its segments tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ItemEnds {
    /// The items that gave a value.
    pub succeeded: PartitionSet,
    /// The items that found nothing to do.
    pub skipped: PartitionSet,
    /// Greater than the number of any claim that was ever made.
    pub next_chunk: u64,
}

/// Which fan-outs are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FanOutFilter {
    /// One.
    One(FanOutId),
    /// Those that belong to a run, by the time they were opened.
    OfRun(RunId),
    /// Those that stand within another, by item.
    Within(FanOutId),
    /// The outermost ones of an asset's partition, in whatever run, by the time they were opened.
    OfStep(AssetId, u64),
}
