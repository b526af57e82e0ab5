//! How the items of a fan-out ended, one after the other.

use std::fmt;

use futures::StreamExt;
use futures::stream::BoxStream;

use super::barrier::BarrierCounts;
use super::body::ItemResult;
use crate::reader::Item;
use crate::{ErrorRecord, Result};

/// How an item ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemOutcome {
    /// With a value, or with nothing to do.
    Ended(ItemResult),
    /// It failed and was not tried again, or was quarantined.
    Failed(ErrorRecord),
}

/// An item with how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawOutcome {
    /// The number of the item.
    pub index: u64,
    /// The item.
    pub item: Item,
    /// How it ended.
    pub outcome: ItemOutcome,
}

/// The outcomes of all items in the order of their numbers, read page by page, so that a million take no more memory than
/// a thousand.
pub struct Outcomes {
    counts: BarrierCounts,
    stream: BoxStream<'static, Result<RawOutcome>>,
}

impl Outcomes {
    /// The outcomes that `stream` gives.
    pub fn new(counts: BarrierCounts, stream: BoxStream<'static, Result<RawOutcome>>) -> Self {
        Self { counts, stream }
    }

    /// The items by how they ended.
    pub fn counts(&self) -> &BarrierCounts {
        &self.counts
    }

    /// The outcome of the next item, or `None` after the last.
    ///
    /// # Errors
    /// What reading it gives.
    pub async fn next(&mut self) -> Result<Option<RawOutcome>> {
        self.stream.next().await.transpose()
    }

    /// The same as a stream.
    pub fn into_stream(self) -> BoxStream<'static, Result<RawOutcome>> {
        self.stream
    }
}

impl fmt::Debug for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcomes")
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}
