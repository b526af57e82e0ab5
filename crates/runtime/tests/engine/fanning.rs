//! Steps that fan out: items run on the workers, their ends are durable, and what did not succeed can be tried again.

mod going_on;
mod rows;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use flowstone_core::asset::{Asset, Outcome, Retry, Step};
use flowstone_core::fan_out::{
    BarrierState, FailurePolicy, FanOut, FanOutOptions, GatheredValue, ItemOutcome, ItemResult, ItemWork,
    OptionsChange, Outcomes, RateLimit,
};
use flowstone_core::memory::MemoryStore;
use flowstone_core::partition::Daily;
use flowstone_core::plan::RunRequest;
use flowstone_core::reader::{Cursor, Item, ItemReader, Page};
use flowstone_core::run::RunState;
use flowstone_core::store::{FanOutFilter, FanOutRow, Store};
use flowstone_core::{BoxFuture, Error, ErrorKind, Result, RunId, TypeInfo, Value};
use flowstone_runtime::{Engine, EngineOptions};

use crate::support::{Gate, Kept, all_of, engine, engine_on, options, pipeline, within};

type ItemFunction = Arc<dyn Fn(u64, u32) -> BoxFuture<'static, Result<Outcome<u64>>> + Send + Sync>;

/// Numbers from zero on; what is done with each is given.
#[derive(Clone)]
struct Numbers {
    len: u64,
    options: FanOutOptions,
    each: ItemFunction,
    /// What was read, item by item.
    read: Arc<AtomicU64>,
    closed: Arc<AtomicU32>,
    /// The keys are those of so many different numbers.
    keys: u64,
    inner: Option<Arc<dyn FanOut>>,
}

/// What the items gave: the sum of their values, how many found nothing, and those that failed.
type Summed = (u64, u64, Vec<(u64, String)>);

struct Reader {
    of: Numbers,
    outer: u64,
}

#[async_trait]
impl ItemReader for Reader {
    async fn read(&mut self, cursor: Option<&Cursor>, items_max: usize) -> Result<Page> {
        let start = cursor.map_or(0, |cursor| u64::from_be_bytes(cursor.position[..].try_into().unwrap()));
        let end = (start + items_max as u64).min(self.of.len);
        let items = (start..end).map(|number| Item::new(format!("n{}", number % self.of.keys), &(self.outer + number)));
        self.of.read.fetch_add(end - start, Ordering::Relaxed);
        Ok(Page {
            items: items.collect::<Result<_>>()?,
            next: (end < self.of.len).then(|| Cursor {
                version: 1,
                position: end.to_be_bytes().to_vec(),
            }),
        })
    }

    async fn close(&mut self) {
        self.of.closed.fetch_add(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl FanOut for Numbers {
    fn options(&self) -> FanOutOptions {
        self.options.clone()
    }

    async fn open(&self, step: &Step) -> Result<Box<dyn ItemReader>> {
        let outer = match &step.item {
            Some(slot) => slot.item()?.read::<u64>()? * 1_000,
            None => 0,
        };
        Ok(Box::new(Reader {
            of: self.clone(),
            outer,
        }))
    }

    fn work(&self) -> ItemWork {
        if let Some(inner) = &self.inner {
            return ItemWork::Nested(Arc::clone(inner));
        }
        let each = Arc::clone(&self.each);
        ItemWork::Each(Arc::new(move |step: Step| {
            let each = Arc::clone(&each);
            Box::pin(async move {
                let number = step.item.as_ref().unwrap().item()?.read()?;
                let made = each(number, step.attempt).await?;
                ItemResult::of(match made {
                    Outcome::Value(value) => Outcome::Value(Value::new(value)),
                    Outcome::Skipped(reason) => Outcome::Skipped(reason),
                })
            })
        }))
    }

    async fn gather(&self, _: Step, mut outcomes: Outcomes) -> Result<Outcome<GatheredValue>> {
        let (mut sum, mut skipped, mut failed) = (0, 0_u64, Vec::new());
        let mut next = 0;
        while let Some(outcome) = outcomes.next().await? {
            assert_eq!(outcome.index, next, "the outcomes come in order");
            next += 1;
            match outcome.outcome {
                ItemOutcome::Ended(result) if self.inner.is_some() => {
                    let value = result.read(TypeInfo::of::<Summed>())?.unwrap().take::<Summed>()?;
                    sum += value.0;
                }
                ItemOutcome::Ended(result) => match result.read(TypeInfo::of::<u64>())? {
                    Some(value) => sum += value.take::<u64>()?,
                    None => skipped += 1,
                },
                ItemOutcome::Failed(error) => failed.push((outcome.index, error.to_string())),
            }
        }
        Ok(Outcome::Value(Value::new((sum, skipped, failed)).into()))
    }
}

impl Numbers {
    fn new<F>(len: u64, each: impl Fn(u64, u32) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Outcome<u64>>> + Send + 'static,
    {
        Self {
            len,
            options: FanOutOptions::default(),
            each: Arc::new(move |number, attempt| Box::pin(each(number, attempt))),
            read: Arc::default(),
            closed: Arc::default(),
            keys: u64::MAX,
            inner: None,
        }
    }

    /// Each number is its own value.
    fn plain(len: u64) -> Self {
        Self::new(len, |number, _| async move { Ok(Outcome::Value(number)) })
    }

    fn with(mut self, change: impl FnOnce(&mut FanOutOptions)) -> Self {
        change(&mut self.options);
        self
    }

    fn asset(&self) -> Asset {
        Asset::new("sum").fan_out(Vec::new(), TypeInfo::of::<Summed>(), Arc::new(self.clone()))
    }
}

fn sum_of_all() -> RunRequest {
    all_of(&["sum"])
}

/// An engine on what others left.
async fn engine_with(store: Arc<MemoryStore>, kept: Kept, numbers: Numbers) -> Engine {
    let options = EngineOptions {
        default_io: Arc::new(kept),
        ..options(2)
    };
    within(Engine::start(pipeline([numbers.asset()]), store, options))
        .await
        .unwrap()
}

fn sum_to(len: u64) -> u64 {
    len * len.saturating_sub(1) / 2
}

async fn value(engine: &Engine) -> Summed {
    engine.load("sum", "").await.unwrap()
}

async fn fan_outs(store: &MemoryStore, run: RunId) -> Vec<FanOutRow> {
    store.fan_outs(FanOutFilter::OfRun(run)).await.unwrap()
}

#[tokio::test]
async fn items_of_any_number_are_gathered_in_order() {
    for len in [0, 1, 2, 999, 1_000, 1_001, 12_345] {
        let numbers = Numbers::plain(len);
        let store = Arc::new(MemoryStore::default());
        let engine = engine_on(Arc::clone(&store) as _, 2, [numbers.asset()]).await;

        let report = engine.run(sum_of_all()).await.unwrap();

        assert_eq!(report.state, RunState::Succeeded, "{len}: {report:?}");
        assert_eq!(value(&engine).await, (sum_to(len), 0, vec![]));
        let row = fan_outs(&store, report.run).await.pop().unwrap();
        assert_eq!(row.state, BarrierState::Complete);
        assert!(row.counts.adds_up());
        assert_eq!((row.counts.total, row.counts.succeeded), (len, len));
        assert!(store.item_claims(row.fan_out).await.unwrap().is_empty());
        assert_eq!(numbers.closed.load(Ordering::Relaxed), 1);
    }
}

#[tokio::test]
async fn one_worker_is_enough() {
    let engine = engine_on(Arc::new(MemoryStore::default()), 1, [Numbers::plain(3_000).asset()]).await;

    let report = engine.run(sum_of_all()).await.unwrap();

    assert_eq!(report.state, RunState::Succeeded);
}

#[tokio::test]
async fn more_partitions_fan_out_than_there_are_workers() {
    let asset = Numbers::plain(10).asset();
    let asset = asset.partitions(Daily::from("2013-01-01").until("2013-01-31"));
    let engine = engine([asset]).await;

    let report = within(engine.run(sum_of_all())).await.unwrap();

    assert_eq!((report.state, report.counts.succeeded), (RunState::Succeeded, 30));
}

#[tokio::test]
async fn two_items_with_one_key_are_one_item_on_any_page() {
    let mut numbers = Numbers::plain(2_500);
    numbers.keys = 1_100;
    let engine = engine([numbers.asset()]).await;

    engine.run(sum_of_all()).await.unwrap();

    assert_eq!(value(&engine).await.0, sum_to(1_100));
}

#[tokio::test(start_paused = true)]
async fn no_more_calls_run_at_once_than_may() {
    for at_once in [1, 3, 64, 500] {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counted = (Arc::clone(&now), Arc::clone(&most));
        let numbers = Numbers::new(200, move |number, _| {
            let (now, most) = counted.clone();
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(10)).await;
                now.fetch_sub(1, Ordering::SeqCst);
                Ok(Outcome::Value(number))
            }
        });
        let numbers = numbers.with(|options| options.max_concurrent = NonZeroU32::new(at_once).unwrap());
        let engine = engine([numbers.asset()]).await;

        let report = engine.run(sum_of_all()).await.unwrap();

        assert_eq!(report.state, RunState::Succeeded);
        let most = most.load(Ordering::SeqCst);
        assert!(most <= at_once as usize, "{most} ran at once, {at_once} may");
        assert!(
            most >= (at_once as usize).min(200) / 2,
            "{most} ran at once, {at_once} may"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_item_that_fails_in_passing_is_tried_again() {
    let numbers = Numbers::new(50, |number, attempt| async move {
        match number % 10 {
            3 if attempt < 3 => Err(Error::transient("not yet")),
            4 => Ok(Outcome::skip("nothing there")),
            _ => Ok(Outcome::Value(1)),
        }
    });
    let engine = engine([numbers.asset()]).await;

    let report = engine.run(sum_of_all()).await.unwrap();

    assert_eq!(report.state, RunState::Succeeded);
    assert_eq!(value(&engine).await, (45, 5, vec![]));
}

#[tokio::test(start_paused = true)]
async fn the_first_item_that_fails_for_good_fails_the_whole_unless_some_may() {
    let numbers = |failure| {
        let numbers = Numbers::new(100, |number, _| async move {
            match number {
                7 | 77 => Err(Error::permanent("it is a seven")),
                _ => Ok(Outcome::Value(1)),
            }
        });
        numbers.with(|options| options.failure = failure)
    };
    for (failure, expected) in [
        (FailurePolicy::all_or_nothing(), BarrierState::Failed),
        (FailurePolicy::tolerate_count(1), BarrierState::Failed),
        (FailurePolicy::tolerate_count(2), BarrierState::Partial),
        (FailurePolicy::tolerate_share(0.02).unwrap(), BarrierState::Partial),
        (FailurePolicy::tolerate_share(0.01).unwrap(), BarrierState::Failed),
    ] {
        let store = Arc::new(MemoryStore::default());
        let engine = engine_on(Arc::clone(&store) as _, 2, [numbers(failure).asset()]).await;

        let report = engine.run(sum_of_all()).await.unwrap();

        let row = fan_outs(&store, report.run).await.pop().unwrap();
        assert_eq!(row.state, expected, "{failure:?}");
        assert!(row.counts.adds_up(), "{:?}", row.counts);
        if expected == BarrierState::Failed {
            assert_eq!(report.state, RunState::Failed);
            let error = &report.failures[0].error;
            assert_eq!(error.code, "too_many_items_failed");
            assert!(error.message.contains("it is a seven"), "{error}");
        } else {
            let (sum, _, failed) = value(&engine).await;
            assert_eq!((sum, failed.len()), (98, 2));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn items_start_no_faster_than_the_rate_allows() {
    let starts: Arc<Mutex<Vec<tokio::time::Instant>>> = Arc::default();
    let noted = Arc::clone(&starts);
    let numbers = Numbers::new(30, move |number, _| {
        noted.lock().unwrap().push(tokio::time::Instant::now());
        async move { Ok(Outcome::Value(number)) }
    });
    let limit = RateLimit::per_second(10).unwrap();
    let limit = limit.burst(NonZeroU32::new(5).unwrap());
    let numbers = numbers.with(|options| options.rate_limit = Some(limit));
    let engine = engine([numbers.asset()]).await;

    let report = engine.run(sum_of_all()).await.unwrap();

    assert_eq!(report.state, RunState::Succeeded);
    let starts = starts.lock().unwrap();
    for (number, start) in starts.iter().enumerate() {
        let earliest = Duration::from_millis(100) * (number as u32).saturating_sub(4);
        assert!(
            *start - starts[0] >= earliest,
            "item {number} started after {:?}",
            *start - starts[0]
        );
    }
}

/// On real time: the next item is due sooner than anybody can look.
#[tokio::test]
async fn a_high_rate_keeps_items_coming() {
    let all = Arc::new(tokio::sync::Barrier::new(200));
    let arriving = Arc::clone(&all);
    let numbers = Numbers::new(200, move |number, _| {
        let arriving = Arc::clone(&arriving);
        async move {
            // No item ends before the last has started, so that only the schedule lets others start.
            arriving.wait().await;
            Ok(Outcome::Value(number))
        }
    });
    let numbers = numbers.with(|options| {
        options.max_concurrent = NonZeroU32::new(200).unwrap();
        options.rate_limit = RateLimit::per_second(10_000).ok();
    });
    let engine = engine([numbers.asset()]).await;

    let report = within(engine.run(sum_of_all())).await.unwrap();

    assert_eq!(report.state, RunState::Succeeded);
    assert_eq!(value(&engine).await.0, sum_to(200));
}

#[tokio::test(start_paused = true)]
async fn an_item_that_takes_too_long_fails_by_its_timeout() {
    let numbers = Numbers::new(3, |number, _| async move {
        if number == 1 {
            std::future::pending::<()>().await;
        }
        Ok(Outcome::Value(number))
    });
    let numbers = numbers.with(|options| {
        options.item_timeout = Some(Duration::from_secs(5));
        options.failure = FailurePolicy::tolerate_count(1);
        options.retry = Retry::never();
    });
    let engine = engine([numbers.asset()]).await;

    engine.run(sum_of_all()).await.unwrap();

    let (sum, _, failed) = value(&engine).await;
    assert_eq!((sum, failed[0].0), (2, 1));
    assert!(failed[0].1.contains("5s"), "{failed:?}");
}

#[tokio::test(start_paused = true)]
async fn reading_waits_for_items_and_the_first_runs_before_the_last_is_read() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let numbers = Numbers::new(100_000, move |number, _| {
        let gate = Arc::clone(&opened);
        async move {
            gate.acquire().await.unwrap().forget();
            Ok(Outcome::Value(number))
        }
    });
    let engine = engine([numbers.asset()]).await;
    let run = engine.submit(sum_of_all()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let read = numbers.read.load(Ordering::Relaxed);
    assert!(
        (1_000..10_000).contains(&read),
        "{read} were read though none has ended"
    );

    gate.add_permits(100_000);

    assert_eq!(run.wait().await.unwrap().state, RunState::Succeeded);
    assert_eq!(value(&engine).await.0, sum_to(100_000));
}

#[tokio::test]
async fn items_may_fan_out_again() {
    let mut outer = Numbers::plain(20);
    outer.inner = Some(Arc::new(Numbers::plain(30)));
    let store = Arc::new(MemoryStore::default());
    let engine = engine_on(Arc::clone(&store) as _, 1, [outer.asset()]).await;

    let report = engine.run(sum_of_all()).await.unwrap();

    assert_eq!(report.state, RunState::Succeeded, "{report:?}");
    let expected = (0..20).map(|outer| 30 * 1_000 * outer + sum_to(30)).sum::<u64>();
    assert_eq!(value(&engine).await.0, expected);
    assert_eq!(fan_outs(&store, report.run).await.len(), 21);
}

#[tokio::test]
async fn an_item_that_panics_fails_alone() {
    let numbers = Numbers::new(10, |number, _| async move {
        assert_ne!(number, 4, "four");
        Ok(Outcome::Value(number))
    });
    let numbers = numbers.with(|options| options.failure = FailurePolicy::tolerate_count(1));
    let engine = engine([numbers.asset()]).await;

    engine.run(sum_of_all()).await.unwrap();

    let (sum, _, failed) = value(&engine).await;
    assert_eq!((sum, failed.len()), (41, 1));
    assert!(failed[0].1.contains("panicked"), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 6)]
async fn an_item_that_blocks_its_thread_is_found_out_and_holds_up_nobody_else() {
    let (release, held) = std::sync::mpsc::sync_channel::<()>(1);
    let held = Arc::new(Mutex::new(held));
    let numbers = Numbers::new(40, move |number, _| {
        let held = Arc::clone(&held);
        async move {
            if number == 7 {
                // What nobody should do: it does not give its thread back while the test lasts.
                drop(held.lock().map(|held| held.recv()));
            }
            Ok(Outcome::Value(number))
        }
    });
    let numbers = numbers.with(|options| {
        options.item_timeout = Some(Duration::from_millis(10));
        options.failure = FailurePolicy::tolerate_count(1);
    });
    let engine = engine([numbers.asset()]).await;

    let report = engine.run(sum_of_all()).await.unwrap();

    assert_eq!(report.state, RunState::Succeeded, "{report:?}");
    let (sum, _, failed) = value(&engine).await;
    assert_eq!((sum, failed[0].0), (sum_to(40) - 7, 7));
    assert!(failed[0].1.contains("died 3 times"), "{failed:?}");
    drop(release);
}

/// Others that end all the time keep the lead from nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 6)]
async fn an_item_that_blocks_its_thread_is_found_out_while_others_go_on() {
    let (release, held) = std::sync::mpsc::sync_channel::<()>(1);
    let (held, sevens) = (Arc::new(Mutex::new(held)), Arc::new(AtomicU32::new(0)));
    let numbers = Numbers::new(40, move |number, _| {
        let (held, sevens) = (Arc::clone(&held), Arc::clone(&sevens));
        async move {
            if number == 7 {
                if sevens.fetch_add(1, Ordering::SeqCst) == 0 {
                    drop(held.lock().map(|held| held.recv()));
                }
            } else if sevens.load(Ordering::SeqCst) < 2 {
                return Err(Error::transient("the seven is to be tried again first"));
            }
            Ok(Outcome::Value(number))
        }
    });
    let numbers = numbers.with(|options| {
        options.item_timeout = Some(Duration::from_millis(10));
        options.retry = Retry::exponential(u32::MAX).between(Duration::from_millis(5), Duration::from_millis(5));
    });
    let engine = engine([numbers.asset()]).await;

    let report = tokio::time::timeout(Duration::from_secs(60), engine.run(sum_of_all())).await;

    let report = report.expect("nobody finds out").unwrap();
    assert_eq!(report.state, RunState::Succeeded, "{report:?}");
    assert_eq!(value(&engine).await.0, sum_to(40));
    drop(release);
}
