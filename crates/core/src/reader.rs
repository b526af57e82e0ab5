//! What an item reader is: a resumable source of items, page by page.
//!
//! It says what there is, not what becomes of it; the cursor that it gives with each page is committed together with
//! the items of that page, so whoever goes on after a crash reads on from there.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

/// How many bytes the key of an item may have.
pub const ITEM_KEY_LEN_MAX: usize = 4_096;
/// How many bytes the JSON text of an item may have.
pub const ITEM_LEN_MAX: usize = 16 << 20;
/// A reader ends a page early once its items have more bytes than this.
pub const PAGE_BYTES_MAX: usize = 8 << 20;
/// How many items are asked for at once unless told otherwise.
pub const PAGE_LEN: usize = 1_000;

/// How far a reader got: opaque bytes with the version of the reader's own format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The version of the format of `position`.
    pub version: u8,
    /// Where the next page starts, as the reader wrote it.
    pub position: Vec<u8>,
}

/// One item and its stable identity.
#[derive(Clone, PartialEq, Eq)]
pub struct Item {
    /// The identity of the item; two items with one key are one item.
    pub key: String,
    /// The item itself as JSON text.
    pub json: Bytes,
}

impl Item {
    /// An item that holds `value`.
    ///
    /// # Errors
    /// `Invalid` when `value` cannot be written as JSON; `LimitExceeded` as for [`check`](Self::check).
    pub fn new<T: Serialize + ?Sized>(key: impl Into<String>, value: &T) -> Result<Self> {
        let key = key.into();
        let json = serde_json::to_vec(value).map_err(|error| {
            Error::new(ErrorKind::Invalid, error.to_string())
                .code("item_invalid")
                .during("write item")
                .about(&key)
        })?;
        let item = Self { key, json: json.into() };
        item.check()?;
        Ok(item)
    }

    /// Reads the item as a `T`.
    ///
    /// # Errors
    /// `Invalid` with code `item_invalid` when it is none.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.json).map_err(|error| {
            Error::new(
                ErrorKind::Invalid,
                format!("it is not a `{}`: {error}", std::any::type_name::<T>()),
            )
            .code("item_invalid")
            .during("read item")
            .about(&self.key)
            .fix("take it as a type that fits what the reader gives, or as `serde_json::Value`")
        })
    }

    /// Says whether key and text keep within their bounds.
    ///
    /// # Errors
    /// `LimitExceeded` when the key has more than [`ITEM_KEY_LEN_MAX`] bytes or the text more than [`ITEM_LEN_MAX`].
    pub fn check(&self) -> Result<()> {
        let over = |what: &str, bytes: usize, bytes_max: usize| {
            let start: String = self.key.chars().take(60).collect();
            Err(Error::new(
                ErrorKind::LimitExceeded,
                format!("{what} has {bytes} bytes, {bytes_max} are allowed"),
            )
            .code("item_too_large")
            .during("take in item")
            .about(start)
            .fix("let an item be a short reference to what is large, with a short key"))
        };
        if self.key.len() > ITEM_KEY_LEN_MAX {
            return over("its key", self.key.len(), ITEM_KEY_LEN_MAX);
        }
        if self.json.len() > ITEM_LEN_MAX {
            return over("it", self.json.len(), ITEM_LEN_MAX);
        }
        Ok(())
    }
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.key, String::from_utf8_lossy(&self.json))
    }
}

/// One read of a reader. An empty page with a cursor means "go on".
#[derive(Debug, Clone)]
pub struct Page {
    /// The items, in the order of the source.
    pub items: Vec<Item>,
    /// Where to go on, or `None` when the source has ended.
    pub next: Option<Cursor>,
}

impl Page {
    /// Says whether it is what a reader may give that was asked for `items_max` items.
    ///
    /// # Errors
    /// `LimitExceeded` with code `page_too_long` when it has more, or as for [`Item::check`].
    pub fn check(&self, items_max: usize) -> Result<()> {
        let len = self.items.len();
        if len > items_max {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                format!("the page has {len} items, {items_max} were asked for"),
            )
            .code("page_too_long")
            .fix("give at most as many items as are asked for, and where to go on with the others"));
        }
        self.items.iter().try_for_each(Item::check)
    }
}

/// Reads items from a source.
///
/// Implementors promise that reading on from a cursor yields the items that follow it, that a page holds at most
/// `items_max` items (and ends early once they have more than [`PAGE_BYTES_MAX`] bytes), that a cursor of an unknown
/// version is refused with `Unsupported`, and that dropping a read half-way loses nothing.
///
/// A source may change while it is read. What was read stays as it was read; what is read later is as it is then. Readers
/// say in their docs what a cursor means in a source that changed.
#[async_trait]
pub trait ItemReader: Send + 'static {
    /// True when no two items of the source can have the same key, by the way in which this reader names them. Nobody
    /// need remember them then.
    fn has_distinct_keys(&self) -> bool {
        false
    }

    /// Reads the page that starts at `cursor`, or the first one.
    ///
    /// # Errors
    /// `Unavailable` for passing faults, `Corrupt` for a source that cannot be read, `Unsupported` for a cursor of
    /// another version.
    async fn read(&mut self, cursor: Option<&Cursor>, items_max: usize) -> Result<Page>;

    /// Ends the reader; called exactly once, whatever happened before.
    async fn close(&mut self);
}

/// Where items come from: says how to open a reader, and can be asked again after a crash.
#[async_trait]
pub trait ItemSource: Send + Sync + 'static {
    /// Opens a reader.
    ///
    /// # Errors
    /// `NotFound` for a source that is not there, `PermissionDenied`, `Unavailable` for passing faults.
    async fn open(&self) -> Result<Box<dyn ItemReader>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_at_most_what_was_asked_for_and_no_item_beyond_its_bounds() {
        let page = |key: &str| Page {
            items: vec![Item {
                key: key.to_owned(),
                json: Bytes::from_static(b"1"),
            }],
            next: None,
        };

        let checked = [
            page("a").check(1),
            page("a").check(0),
            page(&"a".repeat(ITEM_KEY_LEN_MAX + 1)).check(1),
        ];

        let codes = checked.map(|checked| checked.err().map(|error| error.stable_code().to_owned()));
        assert_eq!(
            codes.each_ref().map(Option::as_deref),
            [None, Some("page_too_long"), Some("item_too_large")]
        );
    }
}
