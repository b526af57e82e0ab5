//! A source of items with something between its readers and those who read, and the usual trouble ready-made.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use flowstone_core::reader::{Cursor, ItemReader, ItemSource, Page};
use flowstone_core::{Error, ErrorKind, Result};

/// No reader's own version: a cursor that stands for the start of a source, from which an empty page goes on.
const START_VERSION: u8 = 0;

/// Stands between a source of items and those who read it.
#[async_trait]
pub trait AroundRead: Send + Sync + 'static {
    /// Opens the reader with this number, from 0, by `source`, or does whatever it is there for.
    ///
    /// # Errors
    /// What [`ItemSource::open`] may say.
    async fn open(&self, source: &dyn ItemSource, _reader: usize) -> Result<Box<dyn ItemReader>> {
        source.open().await
    }

    /// Reads a page by `reader`, or does whatever it is there for.
    ///
    /// # Errors
    /// What [`ItemReader::read`] may say.
    async fn read(&self, reader: &mut dyn ItemReader, cursor: Option<&Cursor>, items_max: usize) -> Result<Page>;

    /// Hears that the reader with this number is closed.
    fn closed(&self, _reader: usize) {}
}

/// A source whose readers go through an [`AroundRead`].
pub struct SourceAround<A> {
    source: Arc<dyn ItemSource>,
    around: Arc<A>,
    opened: Mutex<usize>,
}

impl<A> SourceAround<A> {
    /// Puts `around` in front of every reader of `source`.
    pub fn new(source: Arc<dyn ItemSource>, around: Arc<A>) -> Self {
        Self {
            source,
            around,
            opened: Mutex::default(),
        }
    }
}

impl<A> fmt::Debug for SourceAround<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceAround").finish_non_exhaustive()
    }
}

#[async_trait]
impl<A: AroundRead> ItemSource for SourceAround<A> {
    async fn open(&self) -> Result<Box<dyn ItemReader>> {
        let number = {
            let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
            *opened += 1;
            *opened - 1
        };
        Ok(Box::new(ReaderAround {
            reader: self.around.open(&*self.source, number).await?,
            around: Arc::clone(&self.around),
            number,
        }))
    }
}

struct ReaderAround<A> {
    reader: Box<dyn ItemReader>,
    around: Arc<A>,
    number: usize,
}

#[async_trait]
impl<A: AroundRead> ItemReader for ReaderAround<A> {
    fn has_distinct_keys(&self) -> bool {
        self.reader.has_distinct_keys()
    }

    async fn read(&mut self, cursor: Option<&Cursor>, items_max: usize) -> Result<Page> {
        self.around.read(&mut *self.reader, cursor, items_max).await
    }

    async fn close(&mut self) {
        self.around.closed(self.number);
        self.reader.close().await;
    }
}

/// The trouble that readers make: reads that fail, pages that are empty or short, slowness. Counts what was done.
///
/// Without any trouble set it only counts. Trouble comes by the number of the read, counted over all readers of the source
/// from 1, so it is the same each time.
///
/// ```
/// use std::sync::Arc;
/// use flowstone_testkit::around::{ReadTrouble, SourceAround};
/// # use flowstone_core::reader::{Cursor, Item, ItemReader, ItemSource, Page};
/// # use flowstone_core::Result;
/// # struct Hundred;
/// # #[async_trait::async_trait]
/// # impl ItemSource for Hundred {
/// #     async fn open(&self) -> Result<Box<dyn ItemReader>> { Ok(Box::new(Hundred)) }
/// # }
/// # #[async_trait::async_trait]
/// # impl ItemReader for Hundred {
/// #     async fn read(&mut self, cursor: Option<&Cursor>, items_max: usize) -> Result<Page> {
/// #         let start = cursor.map_or(0, |cursor| cursor.position[0]);
/// #         let end = (start + items_max as u8).min(100);
/// #         let items = (start..end).map(|n| Item::new(n.to_string(), &n)).collect::<Result<_>>()?;
/// #         Ok(Page { items, next: (end < 100).then(|| Cursor { version: 1, position: vec![end] }) })
/// #     }
/// #     async fn close(&mut self) {}
/// # }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let trouble = Arc::new(ReadTrouble::default().fail_every(3).pages_of_at_most(10));
/// let source = SourceAround::new(Arc::new(Hundred), Arc::clone(&trouble));
///
/// let mut reader = source.open().await?;
/// let first = reader.read(None, 50).await?;
/// assert_eq!(first.items.len(), 10);
/// assert!(reader.read(first.next.as_ref(), 50).await.is_ok());
/// assert!(reader.read(first.next.as_ref(), 50).await.is_err());
/// reader.close().await;
///
/// assert_eq!(trouble.counts().failed, 1);
/// trouble.assert_each_was_closed_once();
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct ReadTrouble {
    fail_every: Option<u64>,
    empty_every: Option<u64>,
    items_max: Option<usize>,
    yields: usize,
    counts: Mutex<ReadCounts>,
}

/// What readers in trouble were asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadCounts {
    /// Pages that were asked for.
    pub reads: u64,
    /// Reads that failed on purpose.
    pub failed: u64,
    /// Pages that were empty on purpose.
    pub empty: u64,
    /// Items that were given, again or not.
    pub items: u64,
    /// How often each reader was closed, in the order in which they were opened.
    pub closes: Vec<u32>,
}

impl ReadTrouble {
    /// Lets every `n`th read fail with a passing fault, before anything is read.
    #[must_use]
    pub fn fail_every(mut self, n: u64) -> Self {
        self.fail_every = Some(n);
        self
    }

    /// Makes every `n`th page empty, with a cursor that goes on where it was.
    #[must_use]
    pub fn empty_every(mut self, n: u64) -> Self {
        self.empty_every = Some(n);
        self
    }

    /// Asks for so many items at most, whatever is asked for: what a source does that has a limit of its own.
    #[must_use]
    pub fn pages_of_at_most(mut self, items_max: usize) -> Self {
        self.items_max = Some(items_max);
        self
    }

    /// Lets everyone else run so many times before each read.
    #[must_use]
    pub fn slow(mut self, yields: usize) -> Self {
        self.yields = yields;
        self
    }

    /// What was done so far.
    pub fn counts(&self) -> ReadCounts {
        self.locked().clone()
    }

    /// Says that every reader that was opened was closed exactly once.
    ///
    /// # Panics
    /// When one was not.
    #[track_caller]
    pub fn assert_each_was_closed_once(&self) {
        let closes = self.counts().closes;
        assert!(!closes.is_empty(), "no reader was opened");
        assert!(closes.iter().all(|count| *count == 1), "closed so often: {closes:?}");
    }

    fn locked(&self) -> MutexGuard<'_, ReadCounts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl AroundRead for ReadTrouble {
    async fn open(&self, source: &dyn ItemSource, reader: usize) -> Result<Box<dyn ItemReader>> {
        let opened = source.open().await?;
        let closes = &mut self.locked().closes;
        if closes.len() <= reader {
            closes.resize(reader + 1, 0);
        }
        Ok(opened)
    }

    async fn read(&self, reader: &mut dyn ItemReader, cursor: Option<&Cursor>, items_max: usize) -> Result<Page> {
        for _ in 0..self.yields {
            tokio::task::yield_now().await;
        }
        let read = {
            let counts = &mut self.locked();
            counts.reads += 1;
            counts.reads
        };
        let is_turn = |every: Option<u64>| every.is_some_and(|every| read.is_multiple_of(every));
        if is_turn(self.fail_every) {
            self.locked().failed += 1;
            return Err(
                Error::new(ErrorKind::Unavailable, "the source does not answer, on purpose")
                    .during("read")
                    .about(format!("page {read}")),
            );
        }
        let start = Cursor {
            version: START_VERSION,
            position: Vec::new(),
        };
        let cursor = cursor.filter(|cursor| **cursor != start);
        if is_turn(self.empty_every) {
            self.locked().empty += 1;
            return Ok(Page {
                items: Vec::new(),
                next: Some(cursor.cloned().unwrap_or(start)),
            });
        }
        let items_max = self.items_max.map_or(items_max, |own| own.min(items_max));
        let page = reader.read(cursor, items_max).await?;
        self.locked().items += page.items.len() as u64;
        Ok(page)
    }

    fn closed(&self, reader: usize) {
        if let Some(count) = self.locked().closes.get_mut(reader) {
            *count += 1;
        }
    }
}
