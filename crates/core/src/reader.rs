//! What an item reader is: a resumable source of items, page by page.
//!
//! It says what there is, not what becomes of it; the cursor that it gives with each page is committed together with
//! the items of that page.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Result, Value};

/// How far a reader got: opaque bytes with the version of the reader's own format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The version of the format of `position`.
    pub version: u8,
    /// Where the next page starts, as the reader wrote it.
    pub position: Vec<u8>,
}

/// One item and its stable identity.
#[derive(Debug, Clone)]
pub struct Item {
    /// The identity of the item; two items with one key are one item.
    pub key: String,
    /// The item itself.
    pub value: Value,
}

/// One read of a reader. An empty page with a cursor means "go on".
#[derive(Debug, Clone)]
pub struct Page {
    /// The items, in the order of the source.
    pub items: Vec<Item>,
    /// Where to go on, or `None` when the source has ended.
    pub next: Option<Cursor>,
}

/// Reads items from a source.
///
/// Implementors promise that reading on from a cursor yields the items that follow it, that a page holds at most
/// `items_max` items, that a cursor of an unknown version is refused with `Unsupported`, and that dropping a read
/// half-way loses nothing.
#[async_trait]
pub trait ItemReader: Send + 'static {
    /// Reads the page that starts at `cursor`, or the first one.
    ///
    /// # Errors
    /// `Unavailable` for passing faults, `Corrupt` for a source that cannot be read, `Unsupported` for a cursor of
    /// another version.
    async fn read(&mut self, cursor: Option<&Cursor>, items_max: usize) -> Result<Page>;

    /// Ends the reader; called exactly once, whatever happened before.
    async fn close(&mut self);
}
