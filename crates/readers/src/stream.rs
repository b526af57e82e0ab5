//! Any stream of items as a source.
//!
//! A stream cannot be wound back: going on means opening it anew and passing over what was read.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use flowstone_core::Result;
use flowstone_core::reader::{Cursor, Item, ItemReader, ItemSource, Page};
use futures::{Stream, StreamExt};
use tokio::time::{Instant, timeout_at};

use crate::cursor::CursorFormat;
use crate::error::moved;
use crate::page::PageBuilder;

const FORMAT: CursorFormat = CursorFormat {
    reader: "a stream",
    tag: b't',
    version: 1,
};

/// A page that has an item waits so long for others.
const PAGE_WAIT: Duration = Duration::from_millis(100);

type Opened = Pin<Box<dyn Stream<Item = Result<Item>> + Send>>;

/// A stream that can be opened again; see [`from_stream`].
#[derive(Clone)]
pub struct StreamSource {
    open: Arc<dyn Fn() -> Opened + Send + Sync>,
    has_distinct_keys: bool,
}

/// Makes a source of a stream, which `open` opens as often as the reading starts or goes on after a crash.
///
/// A stream cannot resume by itself, so a cursor counts items, and going on means that the stream is opened anew and that
/// many items are passed over. **Nothing is lost or read twice as long as the stream gives the same items in the same order
/// each time**; one that gave fewer is refused with `source_changed`. Where passing over is too slow, or the order
/// changes, take [`from_fn`](crate::from_fn), which goes on from where it says.
///
/// A slow stream does not hold back what it gave: a page that waited a tenth of a second for more is given as it is.
///
/// ```
/// use flowstone_core::reader::{Item, ItemSource};
/// use flowstone_readers::from_stream;
/// use futures::{StreamExt, stream};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> flowstone_core::Result<()> {
/// let words = from_stream(|| stream::iter(["one", "two", "three"]).map(|word| Item::new(word, word)));
/// let mut reader = words.open().await?;
/// let page = reader.read(None, 2).await?;
/// assert_eq!(page.items[1].key, "two");
/// # reader.close().await;
/// # Ok(())
/// # }
/// ```
pub fn from_stream<S>(open: impl Fn() -> S + Send + Sync + 'static) -> StreamSource
where
    S: Stream<Item = Result<Item>> + Send + 'static,
{
    StreamSource {
        open: Arc::new(move || Box::pin(open())),
        has_distinct_keys: false,
    }
}

impl StreamSource {
    /// Says that no two items have the same key; nobody remembers them then.
    #[must_use]
    pub fn distinct_keys(mut self) -> Self {
        self.has_distinct_keys = true;
        self
    }
}

impl fmt::Debug for StreamSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamSource")
            .field("has_distinct_keys", &self.has_distinct_keys)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl ItemSource for StreamSource {
    async fn open(&self) -> Result<Box<dyn ItemReader>> {
        Ok(Box::new(StreamReader {
            source: self.clone(),
            opened: None,
        }))
    }
}

struct StreamReader {
    source: StreamSource,
    opened: Option<OpenStream>,
}

/// A stream and how many of its items were given.
struct OpenStream {
    stream: Opened,
    given: u64,
}

impl StreamReader {
    /// The stream at the item after the first `start`.
    async fn stream_at(&mut self, start: u64) -> Result<OpenStream> {
        if let Some(opened) = self.opened.take_if(|opened| opened.given == start) {
            return Ok(opened);
        }
        let mut stream = (self.source.open)();
        for given in 0..start {
            if stream.next().await.transpose()?.is_none() {
                return Err(moved(FORMAT.reader, start, given));
            }
        }
        Ok(OpenStream { stream, given: start })
    }
}

#[async_trait]
impl ItemReader for StreamReader {
    fn has_distinct_keys(&self) -> bool {
        self.source.has_distinct_keys
    }

    async fn read(&mut self, cursor: Option<&Cursor>, items_max: usize) -> Result<Page> {
        let start = match cursor {
            None => 0,
            Some(cursor) => {
                let mut position = FORMAT.open(cursor)?;
                let start = position.u64()?;
                position.end()?;
                start
            }
        };
        // Given up half-way, the stream is gone with what it gave; the next read opens it anew.
        let mut opened = self.stream_at(start).await?;
        let mut page = PageBuilder::new(items_max);
        let mut until = None;
        while !page.is_full() {
            let next = match until {
                None => opened.stream.next().await,
                Some(until) => match timeout_at(until, opened.stream.next()).await {
                    Ok(next) => next,
                    Err(_) => break,
                },
            };
            let Some(item) = next.transpose()? else {
                return Ok(page.finish(None));
            };
            page.push(item)?;
            if until.is_none() {
                until = Some(Instant::now() + PAGE_WAIT);
            }
        }
        opened.given += page.len() as u64;
        let next = FORMAT.cursor(|position| position.extend(opened.given.to_le_bytes()));
        self.opened = Some(opened);
        Ok(page.finish(Some(next)))
    }

    async fn close(&mut self) {
        self.opened = None;
    }
}
