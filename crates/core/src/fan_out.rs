//! One step that becomes many items and comes back: what is decided about it.
//!
//! [`Barrier`] counts and opens once; [`FanOutMachine`] is told what happened to the items and answers what to do. Both
//! are total functions over values, the same for the live path and for recovery. What the items are, and what is made of
//! them, a [`FanOut`] says, which plugins implement; how they come to run is the engine's affair.

mod barrier;
mod body;
mod machine;
mod options;
mod outcomes;
mod page;
mod rate;
mod seen;
mod segment;
mod take_up;

pub use barrier::{Barrier, BarrierCounts, BarrierState, ChildState};
pub use body::{
    AdaptiveBatches, Batching, BlockingItem, EachItem, EachItemBlocking, FanOut, GatheredValue, ItemCall, ItemResult,
    ItemResults, ItemSlot, ItemWork, ManyItems,
};
pub use machine::{
    FanOutEffect, FanOutEvent, FanOutMachine, ItemChunk, ItemEnd, ItemEnded, RecordedFanOut, SessionId, next_claim_len,
};
pub use options::{FailurePolicy, FanOutOptions, ItemOrder, OptionsChange, RateLimit, Tolerance};
pub use outcomes::{ItemOutcome, Outcomes, RawOutcome};
pub use page::ItemPage;
pub use segment::SegmentBody;
pub use take_up::TakeUp;

/// The most items that are claimed at once.
pub const ITEM_CHUNK_LEN_MAX: u64 = 1_000;

/// How deep fan-outs may stand within each other.
pub const NESTING_MAX: usize = 8;
