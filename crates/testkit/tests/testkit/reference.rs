//! Small implementations that keep the promises, and some that do not: the suites must tell them apart.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use flowstone_core::coordinator::{Coordinator, Verdict};
use flowstone_core::fan_out::{Barrier, ChildState, FailurePolicy};
use flowstone_core::lineage::{LineageCommit, LineageSink};
use flowstone_core::partition::PartitionSet;
use flowstone_core::reader::{Cursor, Item, ItemReader, Page};
use flowstone_core::{AssetId, Error, ErrorKind, ErrorRecord, Result, Version};
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
