//! Small implementations that keep the promises, and some that do not: the suites must tell them apart.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use flowstone_core::coordinator::{ChildOutcome, Coordinator, Verdict};
use flowstone_core::lineage::{LineageCommit, LineageSink};
use flowstone_core::partition::PartitionSet;
use flowstone_core::reader::{Cursor, Item, ItemReader, Page};
use flowstone_core::{AssetId, Error, ErrorKind, Result, Version};
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
    waiting: PartitionSet,
    running: PartitionSet,
    admitted: PartitionSet,
    ended: BTreeMap<u64, ChildOutcome>,
    is_sealed: bool,
    is_over: bool,
    /// Counts what it is told twice, twice.
    is_careless: bool,
    told: u64,
}

impl Limited {
    fn new(at_once: u64, failures_max: u64, is_careless: bool) -> Self {
        Self {
            at_once,
            failures_max,
            waiting: PartitionSet::new(),
            running: PartitionSet::new(),
            admitted: PartitionSet::new(),
            ended: BTreeMap::new(),
            is_sealed: false,
            is_over: false,
            is_careless,
            told: 0,
        }
    }

    fn verdict(&mut self) -> Verdict {
        if self.is_over {
            return Verdict::Wait;
        }
        let failed = |outcome: &&ChildOutcome| matches!(outcome, ChildOutcome::Failed(_));
        let failures = self.ended.values().filter(failed).count() as u64;
        let ended = if self.is_careless {
            self.told
        } else {
            self.ended.len() as u64
        };
        if self.is_sealed && ended >= self.admitted.len() {
            self.is_over = true;
            if failures > self.failures_max {
                return Verdict::Fail(Error::permanent("too many failed").to_record());
            }
            return Verdict::Gather;
        }
        let room = self.at_once.saturating_sub(self.running.len());
        let started = self.waiting.split_off_first(room);
        if started.is_empty() {
            return Verdict::Wait;
        }
        self.running.union_with(&started);
        Verdict::Start(started)
    }
}

impl Coordinator for Limited {
    fn admit(&mut self, children: &PartitionSet) -> Result<Verdict> {
        if self.is_sealed {
            return Err(Error::new(ErrorKind::IllegalTransition, "it is sealed"));
        }
        self.admitted.union_with(children);
        self.waiting.union_with(children);
        Ok(self.verdict())
    }

    fn seal(&mut self) -> Result<Verdict> {
        if self.is_sealed {
            return Err(Error::new(ErrorKind::IllegalTransition, "it is sealed already"));
        }
        self.is_sealed = true;
        Ok(self.verdict())
    }

    fn ended(&mut self, child: u64, outcome: ChildOutcome) -> Result<Verdict> {
        if !self.admitted.contains(child) {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("no child {child} was admitted"),
            ));
        }
        self.told += 1;
        self.running.remove(child);
        self.ended.entry(child).or_insert(outcome);
        Ok(self.verdict())
    }
}

mod coordinator_that_wants_all {
    use super::*;

    flowstone_testkit::coordinator_conformance!(CoordinatorUnderTest::new(|| Limited::new(u64::MAX, 0, false)));
}

mod coordinator_with_limits {
    use super::*;

    flowstone_testkit::coordinator_conformance!(CoordinatorUnderTest::new(|| Limited::new(2, 3, false)));
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
            let careless = CoordinatorUnderTest::new(|| Limited::new(u64::MAX, 0, true));
            flowstone_testkit::coordinator::an_outcome_told_twice_counts_once(&careless);
        }),
        fails(|| {
            let test = flowstone_testkit::sink::a_commit_received_twice_is_kept_once(list(true));
            flowstone_testkit::run(test);
        }),
    );

    assert_eq!((reader, coordinator, sink), (true, true, true));
}
