//! A function that gives one page after the other, as a source.
//!
//! The function says where it goes on in words of its own; keeping them is left to whoever keeps cursors.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use flowstone_core::reader::{Cursor, Item, ItemReader, ItemSource, Page};
use flowstone_core::{BoxFuture, Error, ErrorKind, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cursor::CursorFormat;

const FORMAT: CursorFormat = CursorFormat {
    reader: "a function",
    tag: b'f',
    version: 1,
};

type Read = dyn Fn(Option<&[u8]>, usize) -> Result<BoxFuture<'static, Answer>> + Send + Sync;
type Answer = Result<(Vec<Item>, Option<Vec<u8>>)>;

/// A function that gives pages; see [`from_fn`].
#[derive(Clone)]
pub struct PageFn {
    read: Arc<Read>,
    has_distinct_keys: bool,
}

/// Makes a source of a function that is told where to go on, `None` at the start, and how many items it may give at most.
/// It gives items and where to go on, `None` at the end.
///
/// `C` is any serde type: the number of a page, a token that a web service gave, a timestamp. What going on from it means in
/// a source that changed is the function's to say. Called again with the same `C` it should give what follows, whatever
/// it gave before.
///
/// ```
/// use flowstone_core::reader::{Item, ItemSource};
/// use flowstone_readers::from_fn;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> flowstone_core::Result<()> {
/// let squares = from_fn(|start: Option<u64>, items_max| async move {
///     let start = start.unwrap_or(1);
///     let end = (start + items_max as u64).min(101);
///     let items = (start..end).map(|root| Item::new(root.to_string(), &(root * root)));
///     Ok((items.collect::<Result<_, _>>()?, (end < 101).then_some(end)))
/// });
/// let mut reader = squares.open().await?;
/// let page = reader.read(None, 30).await?;
/// assert_eq!(page.items[29].read::<u64>()?, 900);
/// # reader.close().await;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The reader says `LimitExceeded` when the function gives more items than it was asked for, and `Unsupported` when a
/// cursor that was kept is no `C` any more. Errors of the function pass through as they are.
pub fn from_fn<C, F, R>(read: F) -> PageFn
where
    C: Serialize + DeserializeOwned,
    F: Fn(Option<C>, usize) -> R + Send + Sync + 'static,
    R: Future<Output = Result<(Vec<Item>, Option<C>)>> + Send + 'static,
{
    let read = move |start: Option<&[u8]>, items_max| -> Result<BoxFuture<'static, Answer>> {
        let start = start.map(serde_json::from_slice).transpose().map_err(|error| {
            Error::new(
                ErrorKind::Unsupported,
                format!("the cursor is no `{}`: {error}", std::any::type_name::<C>()),
            )
            .code("cursor_version")
            .during("go on reading")
            .about(FORMAT.reader)
            .fix("let the type of the cursor read its older forms too, or start the reading anew")
        })?;
        let reading = read(start, items_max);
        Ok(Box::pin(async move {
            let (items, next) = reading.await?;
            let next = next.as_ref().map(serde_json::to_vec).transpose().map_err(|error| {
                Error::new(ErrorKind::Invalid, format!("where to go on cannot be written: {error}"))
                    .code("cursor_invalid")
                    .during("read")
                    .about(FORMAT.reader)
                    .fix("go on from something that is written as JSON, such as a number or a text")
            })?;
            Ok((items, next))
        }))
    };
    PageFn {
        read: Arc::new(read),
        has_distinct_keys: false,
    }
}

impl PageFn {
    /// Says that no two items have the same key; nobody remembers them then.
    #[must_use]
    pub fn distinct_keys(mut self) -> Self {
        self.has_distinct_keys = true;
        self
    }
}

impl fmt::Debug for PageFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageFn")
            .field("has_distinct_keys", &self.has_distinct_keys)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl ItemSource for PageFn {
    async fn open(&self) -> Result<Box<dyn ItemReader>> {
        Ok(Box::new(self.clone()))
    }
}

#[async_trait]
impl ItemReader for PageFn {
    fn has_distinct_keys(&self) -> bool {
        self.has_distinct_keys
    }

    async fn read(&mut self, cursor: Option<&Cursor>, items_max: usize) -> Result<Page> {
        let start = cursor.map(|cursor| FORMAT.open(cursor)).transpose()?;
        let reading = (self.read)(start.map(|position| position.rest()), items_max)?;
        let (items, next) = reading.await?;
        let page = Page {
            items,
            next: next.map(|next| FORMAT.cursor(|position| position.extend(next))),
        };
        let checked = page.check(items_max);
        checked.map_err(|error| error.during("read").about(FORMAT.reader))?;
        Ok(page)
    }

    async fn close(&mut self) {}
}
