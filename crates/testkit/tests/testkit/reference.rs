//! Small implementations that keep the promises, and some that do not: the suites must tell them apart.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use flowstone_core::coordinator::{Coordinator, Verdict};
use flowstone_core::fan_out::{Barrier, ChildState, FailurePolicy};
use flowstone_core::lineage::{LineageCommit, LineageSink};
use flowstone_core::partition::PartitionSet;
use flowstone_core::reader::{Cursor, Item, ItemReader, ItemSource, Page};
use flowstone_core::{AssetId, Error, ErrorKind, ErrorRecord, Result, Version};
use flowstone_testkit::around::{ReadTrouble, SourceAround};
use flowstone_testkit::coordinator::CoordinatorUnderTest;
use flowstone_testkit::reader::ReaderUnderTest;
use flowstone_testkit::sink::SinkUnderTest;

/// Reads the words of a text; now and then an empty page that goes on.
struct Words {
    words: Vec<&'static str>,
    /// Forgets where it was asked to go on.
    is_forgetful: bool,
}

const WORDS: [&str; 6] = ["zero", "one", "two", "three", "four", "five"];

#[async_trait]
impl ItemReader for Words {
    async fn read(&mut self, cursor: Option<&Cursor>, items_max: usize) -> Result<Page> {
        tokio::task::yield_now().await;
        let start = match cursor {
            None => 0,
            Some(cursor) if cursor.version == 1 && !self.is_forgetful => usize::from(cursor.position[0]),
            Some(cursor) if cursor.version == 1 => usize::from(cursor.position[0]).saturating_sub(1),
            Some(cursor) => {
                let version = cursor.version;
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("a cursor of version {version}"),
                ));
            }
        };
        let end = (start + items_max).min(self.words.len());
        let items = self.words[start..end].iter().map(|word| Item::new(*word, word));
        let next = (end < self.words.len()).then(|| Cursor {
            version: 1,
            position: vec![end as u8],
        });
        Ok(Page {
            items: items.collect::<Result<_>>()?,
            next,
        })
    }

    async fn close(&mut self) {
        self.words.clear();
    }
}

fn words(is_forgetful: bool) -> ReaderUnderTest {
    let open = move || {
        Box::pin(async move {
            Ok(Words {
                words: WORDS.to_vec(),
                is_forgetful,
            })
        }) as _
    };
    ReaderUnderTest::new(open, WORDS)
}

mod reader {
    flowstone_testkit::reader_conformance!(super::words(false));
}

mod reader_in_trouble {
    use super::*;

    struct Text;

    #[async_trait]
    impl ItemSource for Text {
        async fn open(&self) -> Result<Box<dyn ItemReader>> {
            Ok(Box::new(Words {
                words: WORDS.to_vec(),
                is_forgetful: false,
            }))
        }
    }

    /// A reader behind a box is a reader.
    struct Boxed(Box<dyn ItemReader>);

    #[async_trait]
    impl ItemReader for Boxed {
        async fn read(&mut self, cursor: Option<&Cursor>, items_max: usize) -> Result<Page> {
            self.0.read(cursor, items_max).await
        }

        async fn close(&mut self) {
            self.0.close().await;
        }
    }

    /// Short pages and slowness break no promise.
    fn words_in_trouble() -> ReaderUnderTest {
        let open = || {
            let trouble = ReadTrouble::default().pages_of_at_most(2).slow(2);
            let source = SourceAround::new(Arc::new(Text), Arc::new(trouble));
            Box::pin(async move { Ok(Boxed(source.open().await?)) }) as _
        };
        ReaderUnderTest::new(open, WORDS)
    }

    flowstone_testkit::reader_conformance!(words_in_trouble());

    #[test]
    fn who_tries_again_and_goes_on_after_empty_pages_gets_every_item_once() {
        let trouble = Arc::new(ReadTrouble::default().fail_every(5).empty_every(2).pages_of_at_most(1));
        let source = SourceAround::new(Arc::new(Text), Arc::clone(&trouble));
        let (mut seen, mut cursor) = (Vec::new(), None);

        flowstone_testkit::run(async {
            let mut reader = source.open().await.unwrap();
            loop {
                let Ok(page) = reader.read(cursor.as_ref(), 10).await else {
                    reader.close().await;
                    reader = source.open().await.unwrap();
                    continue;
                };
                seen.extend(page.items.into_iter().map(|item| item.key));
                cursor = page.next;
                if cursor.is_none() {
                    return reader.close().await;
                }
            }
        });

        let counts = trouble.counts();
        assert_eq!(seen, WORDS);
        assert_eq!(counts.items, 6);
        assert!(counts.failed >= 2 && counts.empty >= 2, "{counts:?}");
        assert_eq!(counts.closes.len() as u64, counts.failed + 1);
        trouble.assert_each_was_closed_once();
    }

    #[test]
    fn an_empty_page_may_be_the_first() {
        let trouble = Arc::new(ReadTrouble::default().empty_every(1));
        let source = SourceAround::new(Arc::new(Text), Arc::clone(&trouble));

        flowstone_testkit::run(async {
            let mut reader = source.open().await.unwrap();
            let empty = reader.read(None, 10).await.unwrap();
            let again = reader.read(empty.next.as_ref(), 10).await.unwrap();
            reader.close().await;

            assert!(empty.items.is_empty() && again.items.is_empty());
            assert_eq!(empty.next, again.next);
            assert!(empty.next.is_some());
        });
    }

    #[test]
    #[should_panic(expected = "closed so often: [0]")]
    fn a_reader_that_is_not_closed_is_found() {
        let trouble = Arc::new(ReadTrouble::default());
        let source = SourceAround::new(Arc::new(Text), Arc::clone(&trouble));

        flowstone_testkit::run(async { drop(source.open().await.unwrap()) });

        trouble.assert_each_was_closed_once();
    }
}

/// Starts so many at once, and fails when more than so many did.
struct Limited {
    at_once: u64,
    failures_max: u64,
    /// Does not look at what still runs.
    is_careless: bool,
}

impl Coordinator for Limited {
    fn startable(&self, barrier: &Barrier) -> PartitionSet {
        let room = self.at_once.saturating_sub(barrier.get(ChildState::Leased).len());
        barrier.get(ChildState::Pending).clone().split_off_first(room)
    }

    fn verdict(&self, barrier: &Barrier, _: Option<&ErrorRecord>) -> Verdict {
        let counts = barrier.counts();
        let left = counts.pending + if self.is_careless { 0 } else { counts.leased };
        if !barrier.is_sealed() || left > 0 {
            return Verdict::Wait;
        }
        if counts.failed > self.failures_max {
            return Verdict::Fail(Error::permanent("too many failed").to_record());
        }
        Verdict::Gather
    }
}

fn limited(at_once: u64, failures_max: u64) -> CoordinatorUnderTest {
    CoordinatorUnderTest::new(Limited {
        at_once,
        failures_max,
        is_careless: false,
    })
}

mod coordinator_that_wants_all {
    flowstone_testkit::coordinator_conformance!(super::limited(u64::MAX, 0));
}

mod coordinator_with_limits {
    flowstone_testkit::coordinator_conformance!(super::limited(2, 3));
}

mod failure_policy {
    use super::*;

    flowstone_testkit::coordinator_conformance!(CoordinatorUnderTest::new(FailurePolicy::tolerate_count(2)));
}

mod failure_policy_by_share {
    use super::*;

    flowstone_testkit::coordinator_conformance!(CoordinatorUnderTest::new(
        FailurePolicy::tolerate_share(0.3).expect("in range")
    ));
}

type Lines = Arc<Mutex<Vec<(AssetId, u64, Version)>>>;

/// Keeps what was made in a list.
struct List {
    lines: Lines,
    keeps_twice: bool,
}

#[async_trait]
impl LineageSink for List {
    async fn receive(&self, commit: &LineageCommit) -> Result<()> {
        tokio::task::yield_now().await;
        let mut lines = self.lines.lock().unwrap();
        for made in &commit.materialized {
            let line = (made.asset, made.partition, made.version);
            if self.keeps_twice || !lines.contains(&line) {
                lines.push(line);
            }
        }
        Ok(())
    }
}

fn list(keeps_twice: bool) -> SinkUnderTest {
    let lines = Lines::default();
    let sink = List {
        lines: Arc::clone(&lines),
        keeps_twice,
    };
    SinkUnderTest::new(Arc::new(sink), move || {
        let kept = lines.lock().unwrap().clone();
        Box::pin(async move { kept })
    })
}

mod sink {
    flowstone_testkit::sink_conformance!(super::list(false));
}

fn fails(test: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(test)).is_err()
}

#[test]
fn the_suites_find_what_breaks_a_promise() {
    let (reader, coordinator, sink) = (
        fails(|| {
            let test = flowstone_testkit::reader::reading_on_from_a_cursor_gives_what_follows(words(true));
            flowstone_testkit::run(test);
        }),
        fails(|| {
            let careless = CoordinatorUnderTest::new(Limited {
                at_once: u64::MAX,
                failures_max: 0,
                is_careless: true,
            });
            flowstone_testkit::coordinator::nothing_is_gathered_before_the_last_child(&careless);
        }),
        fails(|| {
            let test = flowstone_testkit::sink::a_commit_received_twice_is_kept_once(list(true));
            flowstone_testkit::run(test);
        }),
    );

    assert_eq!((reader, coordinator, sink), (true, true, true));
}
