//! Pools: what is scarce is used by so many steps and no more, whatever becomes of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use flowstone_core::ErrorKind;
use flowstone_core::asset::{Asset, Retry};
use flowstone_core::memory::MemoryStore;
use flowstone_core::pipeline::Pipeline;
use flowstone_core::run::RunState;
use flowstone_runtime::{Engine, EngineOptions};

use crate::support::{Gate, all_of, numbered, options, within};

/// Counts who is inside, and the most that ever were.
#[derive(Clone, Default)]
struct Inside(Arc<(AtomicUsize, AtomicUsize)>);

impl Inside {
    async fn pass(&self, weight: usize) {
        self.0
            .1
            .fetch_max(self.0.0.fetch_add(weight, Ordering::SeqCst) + weight, Ordering::SeqCst);
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        self.0.0.fetch_sub(weight, Ordering::SeqCst);
    }

    fn most(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }
}

fn passing(name: &str, count: i64, weight: u32, inside: &Inside) -> Asset {
    let inside = inside.clone();
    Asset::new(name)
        .partitions(numbered(count))
        .pool("api", weight)
        .run(move || {
            let inside = inside.clone();
            async move {
                inside.pass(weight as usize).await;
                1_i64
            }
        })
}

async fn engine(slots: u32, workers: usize, assets: Vec<Asset>) -> Engine {
    let pipeline = Pipeline::builder("pooled")
        .pool("api", slots)
        .assets(assets)
        .build()
        .unwrap();
    Engine::start(pipeline, Arc::new(MemoryStore::default()), options(workers))
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_slots_are_used_than_there_are_over_all_runs() {
    let inside = Inside::default();
    let assets = vec![
        passing("a", 60, 1, &inside),
        passing("b", 60, 2, &inside),
        passing("c", 60, 3, &inside),
    ];
    let engine = engine(3, 8, assets).await;

    let runs = ["a", "b", "c"].map(|name| engine.submit(all_of(&[name])));
    let runs = within(futures::future::try_join_all(runs)).await.unwrap();
    for run in runs {
        assert_eq!(within(run.wait()).await.unwrap().counts.succeeded, 60);
    }

    assert!((1..=3).contains(&inside.most()), "{}", inside.most());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_asset_has_a_limit_of_its_own() {
    let inside = Inside::default();
    let counting = inside.clone();
    let limited = Asset::new("limited")
        .partitions(numbered(50))
        .max_concurrent(2)
        .run(move || {
            let inside = counting.clone();
            async move {
                inside.pass(1).await;
                1_i64
            }
        });
    let engine = engine(1, 8, vec![limited]).await;

    assert_eq!(
        within(engine.run(all_of(&["limited"]))).await.unwrap().counts.succeeded,
        50
    );

    assert!((1..=2).contains(&inside.most()), "{}", inside.most());
}

#[tokio::test]
async fn runs_that_want_one_slot_take_turns() {
    let (gate, log) = (Gate::new(), Arc::new(std::sync::Mutex::new(Vec::new())));
    let logged = |name: &'static str| {
        let (gate, log) = (gate.clone(), Arc::clone(&log));
        Asset::new(name).partitions(numbered(40)).pool("api", 1).run(move || {
            let (gate, log) = (gate.clone(), Arc::clone(&log));
            async move {
                gate.pass().await;
                log.lock().unwrap().push(name);
            }
        })
    };
    let engine = engine(1, 4, vec![logged("first"), logged("second")]).await;
    let first = engine.submit(all_of(&["first"])).await.unwrap();
    gate.arrived().await;
    let second = engine.submit(all_of(&["second"])).await.unwrap();
    // There is one thread: in so many turns everything has happened that can.
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    gate.let_through(1_000);
    within(async { tokio::try_join!(first.wait(), second.wait()) })
        .await
        .unwrap();

    let log = log.lock().unwrap();
    let changes = log.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(changes >= 3, "one run keeps the slot from the other: {log:?}");
}

#[tokio::test]
async fn a_slot_comes_back_from_a_panic_a_failure_a_cancel_and_code_that_hangs() {
    let (hang, stay) = (Gate::new(), Gate::new());
    let stays = stay.clone();
    let engine = engine(
        1,
        3,
        vec![
            Asset::new("panics").pool("api", 1).run(|| async {
                if true {
                    panic!("it panics");
                }
                1_i64
            }),
            Asset::new("fails")
                .pool("api", 1)
                .run(|| async { Err::<i64, _>(flowstone_core::Error::permanent("it fails")) }),
            Asset::new("hangs")
                .pool("api", 1)
                .retry(Retry::never())
                .deadline(Duration::from_millis(30))
                .run(move || {
                    let hang = hang.clone();
                    async move { hang.pass().await }
                }),
            Asset::new("stays").pool("api", 1).run(move || {
                let stays = stays.clone();
                async move { stays.pass().await }
            }),
            Asset::new("works").pool("api", 1).run(|| async { 1_i64 }),
        ],
    )
    .await;
    for name in ["panics", "fails", "hangs"] {
        let report = within(engine.run(all_of(&[name]))).await.unwrap();
        assert_eq!(report.state, RunState::Failed, "{name}");
    }
    let cancelled = engine.submit(all_of(&["stays"])).await.unwrap();
    stay.arrived().await;
    let waiting = engine.submit(all_of(&["works"])).await.unwrap();
    within(cancelled.cancel()).await.unwrap();

    assert_eq!(within(waiting.wait()).await.unwrap().state, RunState::Succeeded);
    assert_eq!(within(cancelled.wait()).await.unwrap().state, RunState::Cancelled);
}

#[test]
fn a_pool_that_cannot_work_is_refused_when_the_pipeline_is_built() {
    let build = |slots: u32, asset: Asset| {
        let asset = asset.run(|| async { 1_i64 });
        Pipeline::builder("p")
            .pool("api", slots)
            .asset(asset)
            .build()
            .unwrap_err()
            .to_string()
    };

    assert!(build(1, Asset::new("a").pool("apo", 1)).contains("did you mean \"api\""));
    assert!(build(2, Asset::new("a").pool("api", 3)).contains("takes 3 slots"));
    assert!(build(0, Asset::new("a")).contains("has no slots"));
    assert!(build(1, Asset::new("a").pool("api", 0)).contains("takes no slots"));
    assert!(build(1, Asset::new("a").max_concurrent(0)).contains("none of its steps"));
}

#[tokio::test]
async fn an_engine_refuses_slots_that_do_not_fit_its_pipeline() {
    let start = async |name: &str, slots: u32| {
        let asset = Asset::new("a").pool("api", 2).run(|| async { 1_i64 });
        let pipeline = Pipeline::builder("p").pool("api", 2).asset(asset).build().unwrap();
        let options = EngineOptions {
            pools: BTreeMap::from([(name.to_owned(), slots)]),
            ..options(1)
        };
        Engine::start(pipeline, Arc::new(MemoryStore::default()), options)
            .await
            .map(drop)
    };

    assert_eq!(start("apo", 1).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(start("api", 1).await.unwrap_err().stable_code(), "pool_too_small");
    assert_eq!(start("api", 0).await.unwrap_err().stable_code(), "limit_zero");
    assert!(start("api", 5).await.is_ok());
}
