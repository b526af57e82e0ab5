//! The conformance suite of [`ItemReader`]: one test for each promise, adopted with [`reader_conformance!`].
//!
//! [`reader_conformance!`]: crate::reader_conformance

use std::collections::HashSet;
use std::fmt;
use std::task::Poll;

use flowstone_core::reader::{Cursor, Item, ItemReader, Page};
use flowstone_core::{BoxFuture, ErrorKind, Result};

type Open = Box<dyn Fn() -> BoxFuture<'static, Result<Box<dyn ItemReader>>> + Send + Sync>;

/// More pages than a source of a test has; whoever reads more never comes to the end.
const PAGES_MAX: usize = 10_000;

/// A source, the way to read it, and what there is to read.
pub struct ReaderUnderTest {
    open: Open,
    keys: Vec<String>,
    kept: Vec<Box<dyn std::any::Any + Send + Sync>>,
}

impl ReaderUnderTest {
    /// Tests the readers that `open` makes of one source, which holds the items with these keys, in this order; at
    /// least five.
    pub fn new<R, O, K>(open: O, keys: impl IntoIterator<Item = K>) -> Self
    where
        R: ItemReader,
        O: Fn() -> BoxFuture<'static, Result<R>> + Send + Sync + 'static,
        K: Into<String>,
    {
        let keys: Vec<String> = keys.into_iter().map(Into::into).collect();
        assert!(keys.len() >= 5, "a source with fewer than five items shows too little");
        Self {
            open: Box::new(move || {
                let opening = open();
                Box::pin(async move { Ok(Box::new(opening.await?) as Box<dyn ItemReader>) })
            }),
            keys,
            kept: Vec::new(),
        }
    }

    /// Keeps something for as long as the source, such as its temporary folder.
    #[must_use]
    pub fn keeping(mut self, guard: impl std::any::Any + Send + Sync) -> Self {
        self.kept.push(Box::new(guard));
        self
    }

    async fn open(&self) -> Box<dyn ItemReader> {
        (self.open)().await.expect("the source can be opened")
    }
}

impl fmt::Debug for ReaderUnderTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReaderUnderTest")
            .field("keys", &self.keys.len())
            .finish_non_exhaustive()
    }
}

/// Reads from `cursor` to the end, so many items at a time; gives the pages.
async fn pages(reader: &mut dyn ItemReader, mut cursor: Option<Cursor>, items_max: usize) -> Vec<Page> {
    let mut pages = Vec::new();
    loop {
        let page = reader.read(cursor.as_ref(), items_max).await.expect("a page is read");
        cursor.clone_from(&page.next);
        pages.push(page);
        if cursor.is_none() {
            return pages;
        }
        assert!(pages.len() < PAGES_MAX, "the source does not end");
    }
}

fn keys<'a>(pages: impl IntoIterator<Item = &'a Page>) -> Vec<String> {
    let items = pages.into_iter().flat_map(|page| &page.items);
    items.map(|item: &Item| item.key.clone()).collect()
}

/// Every item comes once, in the order of the source, whatever the size of the pages.
pub async fn every_item_comes_once_in_order(source: ReaderUnderTest) {
    for items_max in [1, 2, 3, source.keys.len(), 10_000] {
        let mut reader = source.open().await;

        let pages = pages(&mut *reader, None, items_max).await;

        assert_eq!(keys(&pages), source.keys, "at most {items_max} items a page");
        reader.close().await;
    }
}

/// A page never holds more than was asked for.
pub async fn a_page_holds_at_most_what_was_asked_for(source: ReaderUnderTest) {
    for items_max in 1..=source.keys.len() {
        let mut reader = source.open().await;

        for page in pages(&mut *reader, None, items_max).await {
            assert!(
                page.items.len() <= items_max,
                "{} items, {items_max} at most",
                page.items.len()
            );
        }
        reader.close().await;
    }
}

/// Another reader goes on from any cursor with the items that follow it, with pages of another size too.
pub async fn reading_on_from_a_cursor_gives_what_follows(source: ReaderUnderTest) {
    let mut reader = source.open().await;
    let pages_read = pages(&mut *reader, None, 2).await;
    reader.close().await;
    let mut seen = 0;
    for page in pages_read {
        seen += page.items.len();
        let Some(cursor) = page.next else { break };
        for items_max in [1, 3, 10_000] {
            let mut other = source.open().await;

            let rest = pages(&mut *other, Some(cursor.clone()), items_max).await;

            assert_eq!(keys(&rest), source.keys[seen..], "after {seen} items");
            other.close().await;
        }
    }
}

/// A cursor survives being stored as text.
pub async fn a_cursor_can_be_stored(source: ReaderUnderTest) {
    let mut reader = source.open().await;
    let first = reader.read(None, 2).await.expect("a page is read");
    let cursor = first.next.clone().expect("there are more than two items");

    let stored = serde_json::to_vec(&cursor).expect("a cursor can be written");
    let cursor: Cursor = serde_json::from_slice(&stored).expect("a cursor can be read");

    let rest = pages(&mut *reader, Some(cursor), 2).await;
    assert_eq!(keys(&rest), source.keys[first.items.len()..]);
    reader.close().await;
}

/// The same page can be read again.
pub async fn a_page_can_be_read_again(source: ReaderUnderTest) {
    let mut reader = source.open().await;
    let first = reader.read(None, 2).await.expect("a page is read");

    for cursor in [None, first.next.as_ref()] {
        let once = reader.read(cursor, 2).await.expect("a page is read");
        let again = reader.read(cursor, 2).await.expect("a page is read again");
        assert_eq!((keys([&once]), once.next), (keys([&again]), again.next));
    }
    reader.close().await;
}

/// A cursor of a version that the reader does not know is refused, and is no cause to start anew.
pub async fn a_cursor_of_an_unknown_version_is_refused(source: ReaderUnderTest) {
    let mut reader = source.open().await;
    let first = reader.read(None, 1).await.expect("a page is read");
    let mut cursor = first.next.expect("there is more than one item");
    cursor.version = u8::MAX;

    let refused = reader.read(Some(&cursor), 1).await.expect_err("the version is unknown");

    assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
    reader.close().await;
}

/// A read that is given up half-way loses nothing.
pub async fn a_read_that_is_dropped_loses_nothing(source: ReaderUnderTest) {
    for polls in 0..4 {
        let mut reader = source.open().await;
        {
            let mut reading = reader.read(None, 3);
            for _ in 0..polls {
                let is_done = futures::future::poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx).is_ready())).await;
                if is_done {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }

        let pages = pages(&mut *reader, None, 3).await;

        assert_eq!(keys(&pages), source.keys);
        reader.close().await;
    }
}

/// A reader that says that its keys are distinct has no two items with one key.
pub async fn keys_that_are_said_to_be_distinct_are(source: ReaderUnderTest) {
    let mut reader = source.open().await;

    let pages = pages(&mut *reader, None, 2).await;

    if reader.has_distinct_keys() {
        let keys = keys(&pages);
        let distinct: HashSet<&String> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len(), "{keys:?}");
    }
    reader.close().await;
}

/// Closing ends a reader that was never read, one in the middle, and one at its end; others go on.
pub async fn it_may_be_closed_at_any_time(source: ReaderUnderTest) {
    source.open().await.close().await;
    let mut half_way = source.open().await;
    let first = half_way.read(None, 2).await.expect("a page is read");
    half_way.close().await;
    drop(half_way);

    let mut other = source.open().await;
    let rest = pages(&mut *other, first.next, 2).await;
    assert_eq!(keys(&rest), source.keys[first.items.len()..]);
    other.close().await;
}

/// Writes one test for each promise of [`ItemReader`](flowstone_core::reader::ItemReader).
///
/// Takes an expression that makes a [`ReaderUnderTest`](crate::reader::ReaderUnderTest); it may await, and is evaluated
/// for each test.
#[macro_export]
macro_rules! reader_conformance {
    ($make:expr) => {
        $crate::reader_conformance! { @tests $make;
            a_cursor_can_be_stored
            a_cursor_of_an_unknown_version_is_refused
            a_page_can_be_read_again
            a_page_holds_at_most_what_was_asked_for
            a_read_that_is_dropped_loses_nothing
            every_item_comes_once_in_order
            it_may_be_closed_at_any_time
            keys_that_are_said_to_be_distinct_are
            reading_on_from_a_cursor_gives_what_follows
        }
    };
    (@tests $make:expr; $($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                $crate::run(async { $crate::reader::$name($make).await });
            }
        )*
    };
}
