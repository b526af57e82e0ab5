//! What functions take and give back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use flowstone_core::asset::{Asset, Config, In, Outcome, PartitionStream, Res};
use flowstone_core::memory::MemoryStore;
use flowstone_core::pipeline::Pipeline;
use flowstone_core::run::RunState;
use flowstone_core::store::{RunFilter, Store};
use flowstone_core::{Error, ErrorKind};
use flowstone_runtime::Engine;
use serde::{Deserialize, Serialize};

use crate::support::{all_of, engine, engine_on, numbered, options, within};

#[tokio::test]
async fn nothing_is_a_value() {
    let engine = engine([
        Asset::new("done").run(|| async {}),
        Asset::new("after")
            .upstream("done")
            .run(|In(()): In<()>| async { 1_i64 }),
    ])
    .await;

    let report = within(engine.run(all_of(&["done", "after"]))).await.unwrap();

    assert_eq!((report.state, report.counts.succeeded), (RunState::Succeeded, 2));
    engine.load::<()>("done", "").await.unwrap();
}

#[tokio::test]
async fn an_optional_upstream_may_be_missing_and_a_needed_one_may_not() {
    let store = Arc::new(MemoryStore::default());
    let made = || Asset::new("made").run(|| async { 1_i64 });
    let engine = engine_on(
        Arc::clone(&store) as _,
        2,
        [
            made(),
            Asset::new("maybe")
                .upstream("made")
                .run(|made: Option<In<i64>>| async move { made.map_or(-1, |In(made)| made) }),
            Asset::new("needs")
                .upstream("made")
                .run(|In(made): In<i64>| async move { made }),
        ],
    )
    .await;

    within(engine.run(all_of(&["maybe"]))).await.unwrap();
    assert_eq!(engine.load::<i64>("maybe", "").await.unwrap(), -1);
    let refused = within(engine.run(all_of(&["needs"]))).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound);
    assert_eq!(
        store.runs(RunFilter::All, 9).await.unwrap().len(),
        1,
        "a refused request leaves nothing"
    );

    within(engine.run(all_of(&["made", "maybe"]))).await.unwrap();
    assert_eq!(engine.load::<i64>("maybe", "").await.unwrap(), 1);
}

#[tokio::test]
async fn a_skip_spreads_to_what_needs_the_value() {
    let engine = engine([
        Asset::new("empty").run(|| async { Outcome::<i64>::skip("a holiday") }),
        Asset::new("needs")
            .upstream("empty")
            .run(|In(empty): In<i64>| async move { empty }),
        Asset::new("needs_that")
            .upstream("needs")
            .run(|In(needs): In<i64>| async move { needs }),
        Asset::new("copes")
            .upstream("empty")
            .run(|empty: Option<In<i64>>| async move { empty.is_none() }),
    ])
    .await;

    let report = within(engine.run(all_of(&["empty", "needs", "needs_that", "copes"])))
        .await
        .unwrap();

    assert_eq!(report.state, RunState::Succeeded);
    assert_eq!((report.counts.skipped, report.counts.succeeded), (3, 1));
    assert!(engine.load::<bool>("copes", "").await.unwrap());
    assert_eq!(
        engine.load::<i64>("needs", "").await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

#[tokio::test]
async fn a_failure_stops_what_rests_on_it_and_nothing_else() {
    let engine = engine([
        Asset::new("broken").run(|| async { Err::<i64, _>(Error::permanent("no such luck")) }),
        Asset::new("below")
            .upstream("broken")
            .run(|In(broken): In<i64>| async move { broken }),
        Asset::new("further_below")
            .upstream("below")
            .run(|In(below): In<i64>| async move { below }),
        Asset::new("apart").run(|| async { 1_i64 }),
        Asset::new("below_apart")
            .upstream("apart")
            .run(|In(apart): In<i64>| async move { apart }),
    ])
    .await;

    let names = ["broken", "below", "further_below", "apart", "below_apart"];
    let report = within(engine.run(all_of(&names))).await.unwrap();

    assert_eq!(report.state, RunState::Failed);
    let counts = report.counts;
    assert_eq!((counts.failed, counts.dependency_failed, counts.succeeded), (1, 2, 2));
    assert!(counts.adds_up());
    let root = report.error.expect("the report names the root cause");
    assert!(
        root.message.contains("materialize broken") && root.message.contains("no such luck"),
        "{root:?}"
    );
    assert_eq!(report.failures.len(), 1);
    assert_eq!(report.failures[0].asset.as_str(), "broken");
    assert_eq!(engine.load::<i64>("below_apart", "").await.unwrap(), 1);
}

/// A value that knows how many of it there are.
#[derive(Debug, Serialize, Deserialize)]
struct Tracked {
    number: i64,
    #[serde(skip)]
    alive: Arc<AtomicUsize>,
}

impl Tracked {
    fn new(number: i64, alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::SeqCst);
        Self {
            number,
            alive: Arc::clone(alive),
        }
    }
}

impl Clone for Tracked {
    fn clone(&self) -> Self {
        Self::new(self.number, &self.alive)
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_stream_of_partitions_comes_in_order_and_one_at_a_time() {
    let alive = Arc::new(AtomicUsize::new(0));
    let (making, reading) = (Arc::clone(&alive), Arc::clone(&alive));
    let engine = engine([
        Asset::new("days")
            .partitions(numbered(31))
            .run(move |context: flowstone_core::asset::AssetContext| {
                let alive = Arc::clone(&making);
                async move { Tracked::new(context.partition_label().parse().unwrap(), &alive) }
            }),
        Asset::new("month")
            .upstream("days")
            .run(move |mut days: PartitionStream<Tracked>| {
                let alive = Arc::clone(&reading);
                async move {
                    let kept = alive.load(Ordering::SeqCst);
                    let (mut numbers, mut most) = (Vec::new(), 0);
                    while let Some(day) = days.next().await? {
                        most = most.max(alive.load(Ordering::SeqCst) - kept);
                        numbers.push(day.number);
                    }
                    Ok::<_, Error>((days.total(), numbers, most as u64))
                }
            }),
    ])
    .await;

    let report = within(engine.run(all_of(&["days", "month"]))).await.unwrap();

    assert_eq!(report.counts.succeeded, 32, "{report:?}");
    let (total, numbers, most) = engine.load::<(u64, Vec<i64>, u64)>("month", "").await.unwrap();
    assert_eq!((total, most), (31, 1));
    assert_eq!(numbers, (0..31).collect::<Vec<_>>());
}

#[derive(Clone, Deserialize)]
struct Factor {
    by: i64,
}

#[tokio::test]
async fn configuration_and_resources_reach_the_function() {
    let pipeline = Pipeline::builder("test")
        .resource(7_i64)
        .asset(Asset::new("product").run(|factor: Config<Factor>, base: Res<i64>| async move { factor.by * *base }))
        .build()
        .unwrap();
    let engine = Engine::start(pipeline, Arc::new(MemoryStore::default()), options(1))
        .await
        .unwrap();
    let with = |by: serde_json::Value| {
        let mut request = all_of(&["product"]);
        let section = serde_json::Map::from_iter([("by".to_owned(), by)]);
        request.config.0.insert("product".parse().unwrap(), section);
        request
    };

    let refused = within(engine.run(with("six".into()))).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(engine.store().runs(RunFilter::All, 9).await.unwrap().is_empty());

    assert_eq!(within(engine.run(with(6.into()))).await.unwrap().counts.succeeded, 1);
    assert_eq!(engine.load::<i64>("product", "").await.unwrap(), 42);
    assert_eq!(
        within(engine.run(with(6.into()))).await.unwrap().counts.total,
        0,
        "it is current"
    );
    within(engine.run(with(5.into()))).await.unwrap();
    assert_eq!(
        engine.load::<i64>("product", "").await.unwrap(),
        35,
        "other configuration is other code"
    );
}
