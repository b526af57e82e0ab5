//! Functions that are called for many partitions at once.

use std::collections::BTreeSet;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flowstone_core::asset::{
    Asset, AssetContext, Batch, BatchContext, BatchOutcome, BatchPartition, In, Outcome, PartitionStream, Retry,
};
use flowstone_core::memory::MemoryStore;
use flowstone_core::partition::Mapping;
use flowstone_core::pipeline::Pipeline;
use flowstone_core::run::RunState;
use flowstone_core::store::Store;
use flowstone_core::{Error, ErrorClass, ErrorKind, Version};
use flowstone_runtime::{Engine, RunReport};
use tokio::time::Instant;

use crate::support::{Count, Gate, all_of, engine, engine_on, forced, numbered, options, within};

/// The partitions of a call, as numbers, and the attempt of the first.
type NotedCall = (Vec<u64>, u32);

#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<NotedCall>>>);

impl Calls {
    fn note(&self, context: &BatchContext) {
        let numbers: Vec<u64> = context.partitions().map(|partition| number(&partition)).collect();
        let first = context.partitions().next().and_then(|first| context.attempt(&first));
        self.0.lock().unwrap().push((numbers, first.unwrap()));
    }

    fn lens(&self) -> Vec<usize> {
        self.0.lock().unwrap().iter().map(|(call, _)| call.len()).collect()
    }

    fn all(&self) -> Vec<NotedCall> {
        self.0.lock().unwrap().clone()
    }
}

fn number(partition: &BatchPartition) -> u64 {
    partition.label().parse().unwrap()
}

/// Squares of numbers, which notes its calls.
fn squares(count: i64, batch: u64, calls: &Calls) -> Asset {
    let calls = calls.clone();
    Asset::new("squares")
        .partitions(numbered(count))
        .run_batch(batch, move |context: BatchContext| {
            calls.note(&context);
            async move { squares_of(&context, |_| Ok(())) }
        })
}

/// A value for each partition, unless `refuse` has something against it.
fn squares_of(context: &BatchContext, refuse: impl Fn(u64) -> Result<(), Error>) -> BatchOutcome<u64> {
    let one = |partition: BatchPartition| {
        let number = number(&partition);
        let made = refuse(number).map(|()| number * number);
        (partition, made)
    };
    context.partitions().map(one).collect()
}

fn assert_failed(report: &RunReport, failed: &[&str]) {
    let mut found: Vec<_> = report.failures.iter().map(|failure| &failure.label).collect();
    found.sort();
    assert_eq!(found, failed, "{report:?}");
    assert_eq!(report.counts.failed, failed.len() as u64);
}

#[tokio::test]
async fn partitions_that_are_ready_together_are_called_for_together() {
    let calls = Calls::default();
    let engine = engine([squares(365, 50, &calls)]).await;

    let report = within(engine.run(all_of(&["squares"]))).await.unwrap();

    assert_eq!((report.state, report.counts.succeeded), (RunState::Succeeded, 365));
    let mut lens = calls.lens();
    lens.sort_unstable();
    assert_eq!(lens, [15, 50, 50, 50, 50, 50, 50, 50]);
    for partition in [0, 1, 364] {
        let made: u64 = engine.load("squares", &partition.to_string()).await.unwrap();
        assert_eq!(made, partition * partition);
    }
    let again = within(engine.run(all_of(&["squares"]))).await.unwrap();
    assert_eq!(again.counts.total, 0, "each partition is current by itself");
}

#[tokio::test]
async fn a_call_waits_to_be_full_while_its_upstream_goes_on_and_no_longer() {
    let (calls, fed) = (Calls::default(), Count::default());
    let (noting, feeding) = (calls.clone(), fed.clone());
    let engine = engine_on(
        Arc::new(MemoryStore::default()),
        4,
        [
            Asset::new("slow").partitions(numbered(60)).run(move || {
                let fed = feeding.clone();
                async move {
                    tokio::time::sleep(Duration::from_millis(3)).await;
                    fed.add() as u64
                }
            }),
            Asset::new("fast").partitions(numbered(60)).upstream("slow").run_batch(
                25,
                move |context: BatchContext, slow: Batch<In<u64>>| {
                    noting.note(&context);
                    async move { slow.map(|In(slow)| slow).into_iter().collect::<BatchOutcome<_>>() }
                },
            ),
        ],
    )
    .await;

    let report = within(engine.run(all_of(&["slow", "fast"]))).await.unwrap();

    assert_eq!(report.counts.succeeded, 120, "{report:?}");
    // A call that was given out first may come to its function later.
    let mut lens = calls.lens();
    lens.sort_unstable();
    assert_eq!(lens, [10, 25, 25]);
}

#[tokio::test]
async fn each_partition_has_what_it_would_read_alone() {
    let store = Arc::new(MemoryStore::default());
    let engine = engine_on(
        Arc::clone(&store) as _,
        2,
        [
            Asset::new("factor").run(|| async { 10_u64 }),
            Asset::new("numbers")
                .partitions(numbered(30))
                .run(|context: AssetContext| async move {
                    let number: u64 = context.partition_label().parse().unwrap();
                    match number {
                        7 => Outcome::skip("not seven"),
                        number => Outcome::Value(number),
                    }
                }),
            Asset::new("products")
                .partitions(numbered(30))
                .upstream("factor")
                .upstream("numbers")
                .upstream(flowstone_core::asset::Upstream::new("numbers").mapping(Mapping::All))
                .run_batch(
                    8,
                    |In(factor): In<u64>, one: Batch<Option<In<u64>>>, mut all: PartitionStream<u64>| async move {
                        let mut sum = 0;
                        while let Some(number) = all.next().await? {
                            sum += number;
                        }
                        let product = |(partition, one): (BatchPartition, Option<In<u64>>)| {
                            let In(one) = one.unwrap_or(In(1_000));
                            (partition, factor * one + sum)
                        };
                        Ok::<_, Error>(one.into_iter().map(product).collect::<BatchOutcome<u64>>())
                    },
                ),
        ],
    )
    .await;

    let report = within(engine.run(all_of(&["factor", "numbers", "products"])))
        .await
        .unwrap();

    assert_eq!(
        (report.state, report.counts.skipped),
        (RunState::Succeeded, 1),
        "{report:?}"
    );
    let sum: u64 = (0..30).filter(|number| *number != 7).sum();
    for (partition, wanted) in [("0", sum), ("7", 10_000 + sum), ("29", 290 + sum)] {
        assert_eq!(engine.load::<u64>("products", partition).await.unwrap(), wanted);
    }
    let assets = store.assets().await.unwrap();
    let id = |name: &str| assets.iter().find(|row| row.key.as_str() == name).unwrap().id;
    for (reader, read) in [(0, 0), (29, 29)] {
        let rows = store.inputs_of(id("products"), reader, Version(1)).await.unwrap();
        let of_numbers: BTreeSet<_> = rows
            .iter()
            .filter(|row| row.upstream == id("numbers") && row.one_to_one)
            .filter_map(|row| row.upstream_of(reader))
            .collect();
        assert_eq!(of_numbers, BTreeSet::from([(read, read)]), "its own lineage: {rows:?}");
    }
}

#[tokio::test]
async fn a_partition_that_fails_or_is_skipped_leaves_the_others_alone() {
    let calls = Calls::default();
    let noting = calls.clone();
    let engine = engine([
        Asset::new("some")
            .partitions(numbered(20))
            .run_batch(20, move |context: BatchContext| {
                noting.note(&context);
                async move {
                    let mut outcome = BatchOutcome::new();
                    for partition in context.partitions() {
                        match number(&partition) {
                            3 => outcome.fail(partition, Error::permanent("three is wrong")),
                            5 => outcome.skip(partition, "five is empty"),
                            number => outcome.value(partition, number),
                        }
                    }
                    outcome
                }
            }),
        Asset::new("below")
            .partitions(numbered(20))
            .upstream("some")
            .run_batch(6, |some: Batch<In<u64>>| async move {
                some.map(|In(some)| some).into_iter().collect::<BatchOutcome<_>>()
            }),
    ])
    .await;

    let report = within(engine.run(all_of(&["some", "below"]))).await.unwrap();

    assert_failed(&report, &["3"]);
    let counts = report.counts;
    assert_eq!((counts.succeeded, counts.skipped, counts.dependency_failed), (36, 2, 1));
    assert_eq!(calls.lens(), [20]);
    let error = &report.failures[0].error;
    assert!(
        error.message.contains("some[3]") && error.message.contains("three is wrong"),
        "{error:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_failed_in_passing_is_tried_again_without_the_others() {
    let calls = Calls::default();
    let noting = calls.clone();
    let engine = engine([Asset::new("flaky")
        .partitions(numbered(40))
        .retry(Retry::exponential(3))
        .run_batch(40, move |context: BatchContext| {
            noting.note(&context);
            let attempt = |number| noting.all().iter().filter(|(call, _)| call.contains(&number)).count();
            let outcome = squares_of(&context, |number| match number {
                7 | 9 if attempt(number) < 2 => Err(Error::transient("not yet")),
                11 => Err(Error::transient("never")),
                _ => Ok(()),
            });
            async move { outcome }
        })])
    .await;

    let report = within(engine.run(all_of(&["flaky"]))).await.unwrap();

    assert_failed(&report, &["11"]);
    assert_eq!(report.failures[0].attempt, 3);
    let calls = calls.all();
    assert_eq!(calls[1..], [(vec![7, 9, 11], 2), (vec![11], 3)]);
    let failures = engine.store().failures(report.run).await.unwrap();
    assert_eq!(failures.len(), 5);
}

#[tokio::test]
async fn an_outcome_that_is_missing_or_given_twice_fails_its_partition_only() {
    let engine = engine([Asset::new("loose")
        .partitions(numbered(10))
        .retry(Retry::exponential(3).on_any_error())
        .run_batch(10, |context: BatchContext| async move {
            let mut outcome = BatchOutcome::new();
            for partition in context.partitions().filter(|partition| number(partition) != 4) {
                let number = number(&partition);
                outcome.value(&partition, number);
                if number == 6 {
                    outcome.value(partition, number);
                }
            }
            outcome
        })])
    .await;

    let report = within(engine.run(all_of(&["loose"]))).await.unwrap();

    assert_failed(&report, &["4", "6"]);
    for (failure, (code, text)) in report.failures.iter().zip([
        ("batch_outcome_missing", "gave no outcome"),
        ("batch_outcome_twice", "gave two outcomes"),
    ]) {
        assert_eq!(failure.error.class, ErrorClass::Contract);
        assert_eq!(failure.error.code, code);
        assert!(failure.error.message.contains(text), "{failure:?}");
    }
    assert_eq!(report.counts.succeeded, 8);
}

#[tokio::test]
async fn an_outcome_for_a_partition_of_another_call_counts_for_nothing() {
    let kept: Arc<Mutex<Option<BatchPartition>>> = Arc::default();
    let keeping = Arc::clone(&kept);
    let engine = engine_on(
        Arc::new(MemoryStore::default()),
        1,
        [Asset::new("strange")
            .partitions(numbered(6))
            .run_batch(3, move |context: BatchContext| {
                let mut outcome = BatchOutcome::new();
                let mut kept = keeping.lock().unwrap();
                for partition in context.partitions() {
                    match kept.take() {
                        Some(other) if other != partition => outcome.value(other, 99_u64),
                        _ => outcome.value(&partition, number(&partition)),
                    }
                    if number(&partition) == 0 {
                        *kept = Some(partition.clone());
                        // One that the next call will give an outcome for.
                        break;
                    }
                }
                for partition in context
                    .partitions()
                    .filter(|partition| [1, 2].contains(&number(partition)))
                {
                    outcome.value(partition, 1);
                }
                async move { outcome }
            })],
    )
    .await;

    let report = within(engine.run(all_of(&["strange"]))).await.unwrap();

    assert_failed(&report, &["3"]);
    let error = &report.failures[0].error;
    assert!(error.message.contains("but for 0, which it was not for"), "{error:?}");
    assert_eq!(engine.load::<u64>("strange", "0").await.unwrap(), 0, "it kept its own");
}

#[tokio::test]
async fn one_that_spoils_its_calls_does_not_take_its_neighbours_with_it() {
    for is_blocking in [false, true] {
        let calls = Calls::default();
        let noting = calls.clone();
        let body = move |context: &BatchContext| {
            noting.note(context);
            squares_of(context, |number| {
                assert!(number != 77, "seventy-seven is too much");
                Ok(())
            })
        };
        let asset = Asset::new("spoiled").partitions(numbered(100));
        let asset = match is_blocking {
            true => asset.run_batch_blocking(100, move |context: BatchContext| body(&context)),
            false => asset.run_batch(100, move |context: BatchContext| {
                let body = body.clone();
                async move { body(&context) }
            }),
        };
        let engine = engine([asset]).await;

        let report = within(engine.run(all_of(&["spoiled"]))).await.unwrap();

        assert_failed(&report, &["77"]);
        assert_eq!((report.counts.succeeded, report.failures[0].attempt), (99, 1));
        assert_eq!(report.failures[0].error.kind, ErrorKind::Panicked);
        let calls = calls.all();
        assert!(calls.len() <= 1 + 10 + 10, "{} calls", calls.len());
        for neighbour in [70, 76, 78, 79] {
            let times = calls.iter().filter(|(call, _)| call.contains(&neighbour)).count();
            assert!(times <= 3, "{neighbour} was called for {times} times");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_whole_call_is_waited_for_and_then_tried_in_smaller_calls() {
    let (calls, times) = (Calls::default(), Arc::new(Mutex::new(Vec::new())));
    let (noting, timing) = (calls.clone(), Arc::clone(&times));
    let engine = engine_on(
        Arc::new(MemoryStore::default()),
        1,
        [Asset::new("remote")
            .partitions(numbered(16))
            .run_batch(16, move |context: BatchContext| {
                noting.note(&context);
                timing.lock().unwrap().push(Instant::now());
                let is_first = noting.all().len() == 1;
                async move {
                    if is_first {
                        return Err(Error::rate_limited("come again later", Duration::from_secs(100)));
                    }
                    Ok(squares_of(&context, |_| Ok(())))
                }
            })],
    )
    .await;

    let report = within(engine.run(all_of(&["remote"]))).await.unwrap();

    assert_eq!((report.state, report.counts.succeeded), (RunState::Succeeded, 16));
    assert_eq!(calls.lens(), [16, 4, 4, 4, 4]);
    assert!(calls.all()[1..].iter().all(|(_, attempt)| *attempt == 2));
    let times = times.lock().unwrap().clone();
    assert!(times[1] - times[0] >= Duration::from_secs(100));
    let failures = engine.store().failures(report.run).await.unwrap();
    assert_eq!(failures.len(), 16, "it is an attempt of each");
}

#[tokio::test(start_paused = true)]
async fn an_error_that_never_passes_fails_each_after_its_attempts() {
    let calls = Calls::default();
    let noting = calls.clone();
    let engine = engine([Asset::new("down")
        .partitions(numbered(16))
        .retry(Retry::exponential(2))
        .run_batch(16, move |context: BatchContext| {
            noting.note(&context);
            async { Err::<BatchOutcome<u64>, _>(Error::transient("nobody answers")) }
        })])
    .await;

    let report = within(engine.run(all_of(&["down"]))).await.unwrap();

    assert_eq!((report.counts.failed, report.failures[0].attempt), (16, 2));
    let lens = calls.lens();
    assert_eq!(lens.iter().filter(|len| **len == 16).count(), 1);
    assert_eq!(lens.iter().filter(|len| **len == 4).count(), 4);
    assert_eq!(lens.iter().filter(|len| **len == 1).count(), 16);
    let failures = engine.store().failures(report.run).await.unwrap();
    assert_eq!(failures.len(), 32, "two attempts of each are recorded");
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_end_costs_itself_only() {
    let calls = Calls::default();
    let noting = calls.clone();
    let engine = engine([Asset::new("slow")
        .partitions(numbered(25))
        .deadline(Duration::from_secs(10))
        .retry(Retry::never())
        .run_batch(25, move |context: BatchContext| {
            noting.note(&context);
            async move {
                if context.partitions().any(|partition| number(&partition) == 13) {
                    std::future::pending::<()>().await;
                }
                squares_of(&context, |_| Ok(()))
            }
        })])
    .await;

    let report = within(engine.run(all_of(&["slow"]))).await.unwrap();

    assert_failed(&report, &["13"]);
    assert_eq!(report.failures[0].error.kind, ErrorKind::TimedOut);
    assert_eq!(calls.lens().len(), 1 + 5 + 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_call_whose_thread_hangs_is_given_up_and_the_others_are_made() {
    let (release, barrier) = sync_channel::<()>(0);
    let barrier = Arc::new(Mutex::new(barrier));
    let engine = engine_on(
        Arc::new(MemoryStore::default()),
        1,
        [Asset::new("hangs")
            .partitions(numbered(4))
            // Longer than a call takes that does not hang, however busy the machine is.
            .deadline(Duration::from_secs(2))
            .retry(Retry::never())
            .run_batch(4, move |context: BatchContext| {
                if context.partitions().any(|partition| number(&partition) == 2) {
                    // Ends when the test drops the other end.
                    let _ = barrier.lock().unwrap_or_else(std::sync::PoisonError::into_inner).recv();
                }
                async move { squares_of(&context, |_| Ok(())) }
            })],
    )
    .await;

    let report = within(engine.run(all_of(&["hangs"]))).await.unwrap();

    drop(release);
    assert_failed(&report, &["2"]);
    assert_eq!(report.failures[0].error.kind, ErrorKind::TimedOut);
    within(engine.shutdown()).await.unwrap();
}

#[tokio::test]
async fn a_cancelled_call_is_asked_to_end_and_publishes_nothing() {
    let gate = Gate::new();
    let at_gate = gate.clone();
    let engine = engine([Asset::new("long")
        .partitions(numbered(10))
        .run_batch(10, move |context: BatchContext| {
            let gate = at_gate.clone();
            async move {
                tokio::select! {
                    () = gate.pass() => {}
                    () = context.cancelled() => {}
                }
                squares_of(&context, |_| Ok(()))
            }
        })])
    .await;
    let run = engine.submit(all_of(&["long"])).await.unwrap();
    gate.arrived().await;

    within(run.cancel()).await.unwrap();

    let report = within(run.wait()).await.unwrap();
    assert_eq!((report.state, report.counts.cancelled), (RunState::Cancelled, 10));
    assert_eq!(
        engine.load::<u64>("long", "1").await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_holds_the_slots_of_one_step() {
    let (inside, most) = (Count::default(), Arc::new(Mutex::new((0, 0))));
    let (entering, noting) = (inside.clone(), Arc::clone(&most));
    let pipeline = Pipeline::builder("pooled")
        .pool("api", 4)
        .asset(Asset::new("calls").partitions(numbered(100)).pool("api", 2).run_batch(
            10,
            move |context: BatchContext| {
                entering.add();
                let most = Arc::clone(&noting);
                async move {
                    let now = {
                        let mut most = most.lock().unwrap();
                        *most = (most.0 + 1, most.1.max(most.0 + 1));
                        most.0
                    };
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    most.lock().unwrap().0 -= 1;
                    squares_of(&context, |_| {
                        if now > 2 {
                            Err(Error::permanent("too many"))
                        } else {
                            Ok(())
                        }
                    })
                }
            },
        ))
        .build()
        .unwrap();
    let engine = Engine::start(pipeline, Arc::new(MemoryStore::default()), options(8))
        .await
        .unwrap();

    let report = within(engine.run(all_of(&["calls"]))).await.unwrap();

    assert_eq!((report.state, inside.get()), (RunState::Succeeded, 10), "{report:?}");
    assert_eq!(most.lock().unwrap().1, 2);
}

#[tokio::test]
async fn content_that_did_not_change_stops_at_its_partition() {
    let (era, below) = (Count::default(), Calls::default());
    let (now, noting) = (era.clone(), below.clone());
    let engine = engine([
        Asset::new("source")
            .partitions(numbered(12))
            .run_batch(5, move |context: BatchContext| {
                let era = now.get() as u64;
                let value = |partition: BatchPartition| {
                    let is_new = number(&partition) == 8;
                    (partition, if is_new { era } else { 0 })
                };
                let outcome: BatchOutcome<u64> = context.partitions().map(value).collect();
                async move { outcome }
            }),
        Asset::new("below")
            .partitions(numbered(12))
            .upstream("source")
            .run_batch(12, move |context: BatchContext, source: Batch<In<u64>>| {
                noting.note(&context);
                async move { source.map(|In(source)| source).into_iter().collect::<BatchOutcome<_>>() }
            }),
    ])
    .await;
    within(engine.run(all_of(&["source", "below"]))).await.unwrap();
    era.add();

    let mut again = forced(&["source"]);
    again.assets.push("below".parse().unwrap());
    again.force = flowstone_core::plan::Force::Target;
    within(engine.run(again)).await.unwrap();

    assert_eq!(below.all()[1..], [(vec![8], 1)]);
}
