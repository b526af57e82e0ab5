//! Values that are there already, as a source.
//!
//! They are written as JSON at once, so a value that cannot be is found where the source is made.

use std::sync::Arc;

use async_trait::async_trait;
use flowstone_core::Result;
use flowstone_core::reader::{Cursor, Item, ItemReader, ItemSource, Page};
use serde::Serialize;

use crate::cursor::CursorFormat;
use crate::error::moved;
use crate::page::PageBuilder;

const FORMAT: CursorFormat = CursorFormat {
    reader: "a list of items",
    tag: b'i',
    version: 1,
};

/// Items that are held in memory; see [`items_from`].
#[derive(Debug, Clone)]
pub struct Items {
    items: Arc<[Item]>,
    has_distinct_keys: bool,
}

/// Makes a source of values. The key of each is its number, from 1.
///
/// A cursor counts items: whoever goes on after a crash must make the source of the same values again.
///
/// ```
/// use flowstone_core::reader::ItemSource;
/// use flowstone_readers::items_from;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> flowstone_core::Result<()> {
/// let months = items_from(["2013-01", "2013-02", "2013-03"])?;
/// let mut reader = months.open().await?;
///
/// let page = reader.read(None, 2).await?;
/// assert_eq!((page.items[1].key.as_str(), page.items[1].read::<String>()?.as_str()), ("2", "2013-02"));
///
/// let last = reader.read(page.next.as_ref(), 2).await?;
/// assert_eq!(last.items.len(), 1);
/// assert!(last.next.is_none());
/// # reader.close().await;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `Invalid` for a value that cannot be written as JSON, `LimitExceeded` for one that is too large.
pub fn items_from<T: Serialize>(values: impl IntoIterator<Item = T>) -> Result<Items> {
    let items = values.into_iter().zip(1_u64..);
    Ok(Items {
        items: items
            .map(|(value, number)| Item::new(number.to_string(), &value))
            .collect::<Result<_>>()?,
        has_distinct_keys: true,
    })
}

/// Makes a source of values, each under the key that `key` gives it. Two values with one key are one item.
///
/// # Errors
/// As [`items_from`].
pub fn keyed_items_from<T: Serialize, K: Into<String>>(
    values: impl IntoIterator<Item = T>,
    key: impl Fn(&T) -> K,
) -> Result<Items> {
    let items = values.into_iter();
    Ok(Items {
        items: items
            .map(|value| Item::new(key(&value), &value))
            .collect::<Result<_>>()?,
        has_distinct_keys: false,
    })
}

#[async_trait]
impl ItemSource for Items {
    async fn open(&self) -> Result<Box<dyn ItemReader>> {
        Ok(Box::new(self.clone()))
    }
}

#[async_trait]
impl ItemReader for Items {
    fn has_distinct_keys(&self) -> bool {
        self.has_distinct_keys
    }

    async fn read(&mut self, cursor: Option<&Cursor>, items_max: usize) -> Result<Page> {
        let start = match cursor {
            None => 0,
            Some(cursor) => {
                let mut position = FORMAT.open(cursor)?;
                let start = position.u64()?;
                position.end()?;
                usize::try_from(start).unwrap_or(usize::MAX)
            }
        };
        let rest = self
            .items
            .get(start..)
            .ok_or_else(|| moved(FORMAT.reader, start as u64, self.items.len() as u64))?;
        let mut page = PageBuilder::new(items_max.min(rest.len()));
        for item in rest {
            if page.is_full() {
                break;
            }
            page.push(item.clone())?;
        }
        let end = start + page.len();
        let next =
            (end < self.items.len()).then(|| FORMAT.cursor(|position| position.extend((end as u64).to_le_bytes())));
        Ok(page.finish(next))
    }

    async fn close(&mut self) {
        self.items = Arc::default();
    }
}
