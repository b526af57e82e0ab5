//! Partitions that are defined anew over values that are there.

use std::sync::Arc;

use flowstone_core::asset::{Asset, AssetContext, In, PartitionStream};
use flowstone_core::memory::MemoryStore;
use flowstone_core::partition::{Daily, Partitions};
use flowstone_core::plan::{RunPlan, RunRequest};
use flowstone_core::run::{RunCounts, RunState};
use flowstone_core::store::{Record, RunRow, Store};
use flowstone_core::{Error, ErrorKind, Incarnation, Result, RunId, Version};
use flowstone_runtime::{Engine, EngineOptions, plan, redefined};
use jiff::Timestamp;

use crate::support::{Kept, all_of, one_of, options, pipeline, within};

fn days(partitions: impl Into<Partitions>) -> Asset {
    let label = |context: AssetContext| async move { context.partition_label() };
    Asset::new("days").partitions(partitions).run(label)
}

/// Days from `start` on, a copy of each, and all of them together.
fn assets(start: &str) -> Vec<Asset> {
    let range = || Daily::from(start).until("2013-01-05");
    let copies = Asset::new("copies")
        .partitions(range())
        .upstream("days")
        .run(|In(day): In<String>| async move { format!("copy of {day}") });
    let total = Asset::new("total")
        .upstream("days")
        .run(|days: PartitionStream<String>| async move { Ok::<_, Error>(days.collect().await?.join(" ")) });
    vec![days(range()), copies, total]
}

const ALL: [&str; 3] = ["days", "copies", "total"];

/// What outlives an engine.
#[derive(Clone)]
struct World {
    store: Arc<dyn Store>,
    values: Kept,
}

impl World {
    fn new() -> Self {
        Self {
            store: Arc::new(MemoryStore::default()),
            values: Kept::default(),
        }
    }

    /// One in which everything was made, with days from the first of January on.
    async fn made() -> Self {
        let world = Self::new();
        let engine = world.engine(assets("2013-01-01")).await;
        within(engine.run(all_of(&ALL))).await.unwrap();
        within(engine.shutdown()).await.unwrap();
        world
    }

    async fn engine(&self, assets: Vec<Asset>) -> Engine {
        self.start(assets, false).await.unwrap()
    }

    async fn start(&self, assets: Vec<Asset>, accepts_orphans: bool) -> Result<Engine> {
        let options = EngineOptions {
            default_io: Arc::new(self.values.clone()),
            accepts_orphans,
            ..options(2)
        };
        within(Engine::start(pipeline(assets), Arc::clone(&self.store), options)).await
    }

    async fn refusal(&self, assets: Vec<Asset>) -> Error {
        self.start(assets, false).await.map(|_| ()).unwrap_err()
    }
}

fn steps(plan: &RunPlan) -> Vec<(String, u64)> {
    plan.assets
        .iter()
        .map(|planned| (planned.key.to_string(), planned.steps.len()))
        .collect()
}

#[tokio::test]
async fn values_follow_their_partitions_and_nothing_runs_without_a_cause() {
    let world = World::made().await;

    let engine = world.engine(assets("2012-12-30")).await;

    for day in ["2013-01-01", "2013-01-04"] {
        assert_eq!(engine.load::<String>("days", day).await.unwrap(), day);
        let copy = engine.load::<String>("copies", day).await.unwrap();
        assert_eq!(copy, format!("copy of {day}"));
        let nothing = within(engine.run(one_of("copies", day))).await.unwrap();
        assert_eq!(nothing.counts.total, 0, "{day}");
    }
    let ids = engine.asset_ids();
    let inputs = world.store.inputs_of(ids[1], 3, Version(1)).await.unwrap();
    assert_eq!(inputs.len(), 1);
    assert_eq!((inputs[0].upstream, inputs[0].upstream_of(3)), (ids[0], Some((3, 3))));
    let report = within(engine.run(all_of(&ALL))).await.unwrap();
    assert_eq!(report.counts.succeeded, 5, "two days, their copies, and all together");
    let total = engine.load::<String>("total", "").await.unwrap();
    assert!(total.starts_with("2012-12-30 2012-12-31 2013-01-01"), "{total}");
    within(engine.shutdown()).await.unwrap();
}

#[tokio::test]
async fn what_would_be_orphaned_is_refused_and_nothing_changes() {
    let world = World::made().await;
    let before = world.store.assets().await.unwrap();

    let refused = world.refusal(assets("2013-01-02")).await;

    assert_eq!(
        (refused.kind(), refused.stable_code()),
        (ErrorKind::Conflict, "partitions_orphaned")
    );
    let text = refused.to_string();
    assert!(text.contains("the value of 2013-01-01 would be orphaned"), "{text}");
    assert!(text.contains("so it is with copies"), "{text}");
    assert_eq!(world.store.assets().await.unwrap(), before);
}

#[tokio::test]
async fn what_is_orphaned_on_request_comes_back_with_its_definition() {
    let world = World::made().await;

    let engine = world.start(assets("2013-01-02"), true).await.unwrap();
    assert_eq!(engine.load::<String>("days", "2013-01-02").await.unwrap(), "2013-01-02");
    let current = within(engine.run(all_of(&["days", "copies"]))).await.unwrap();
    assert_eq!(current.counts.total, 0);
    engine.collect_garbage(false).await.unwrap();
    within(engine.shutdown()).await.unwrap();
    let rows = world.store.assets().await.unwrap();
    let left = world.store.status(rows[0].id).await.unwrap().materialized();
    assert!(rows[0].is_former && left.iter().eq([0]), "the first of January is kept");

    let engine = world.engine(assets("2013-01-01")).await;
    let nothing = within(engine.run(all_of(&["days", "copies"]))).await.unwrap();
    assert_eq!(nothing.counts.total, 0);
    assert_eq!(
        engine.load::<String>("copies", "2013-01-01").await.unwrap(),
        "copy of 2013-01-01"
    );
    within(engine.shutdown()).await.unwrap();
}

#[tokio::test]
async fn what_was_made_of_orphans_and_is_none_is_made_again() {
    let world = World::made().await;
    let request = all_of(&ALL);
    let planned = plan(
        &pipeline(assets("2013-01-03")),
        &*world.store,
        &request,
        Timestamp::UNIX_EPOCH,
    )
    .await;
    assert_eq!(
        steps(&planned.unwrap()),
        [("total".to_owned(), 1)],
        "copies of orphans are orphans too"
    );

    let engine = world.start(assets("2013-01-03"), true).await.unwrap();
    let shorter = within(engine.run(all_of(&ALL))).await.unwrap();
    assert_eq!((shorter.counts.total, shorter.counts.succeeded), (1, 1));
    let total = engine.load::<String>("total", "").await.unwrap();
    assert_eq!(total, "2013-01-03 2013-01-04");
    within(engine.shutdown()).await.unwrap();

    let engine = world.engine(assets("2013-01-01")).await;
    let longer = within(engine.run(all_of(&ALL))).await.unwrap();
    assert_eq!((longer.counts.total, longer.counts.succeeded), (1, 1));
    let total = engine.load::<String>("total", "").await.unwrap();
    assert_eq!(total, "2013-01-01 2013-01-02 2013-01-03 2013-01-04");
    within(engine.shutdown()).await.unwrap();
}

#[tokio::test]
async fn a_plan_of_what_is_defined_anew_is_the_one_that_is_made_then() {
    let world = World::made().await;
    let defined = || pipeline(assets("2012-12-31"));
    let now = options(2).clock.now();

    let foreseen = plan(&defined(), &*world.store, &all_of(&ALL), now).await.unwrap();

    let pending = redefined(defined().graph(), &*world.store, now).await.unwrap();
    assert_eq!(pending.len(), 2, "nothing is written");
    let engine = world.engine(assets("2012-12-31")).await;
    let made = engine.plan(&all_of(&ALL)).await.unwrap();
    assert_eq!(made.assets, foreseen.assets);
    assert_eq!(
        steps(&made),
        [
            ("days".to_owned(), 1),
            ("copies".to_owned(), 1),
            ("total".to_owned(), 1)
        ]
    );
    within(engine.shutdown()).await.unwrap();
}

/// A run that some process left open.
fn open(number: u128, request: &RunRequest) -> RunRow {
    RunRow {
        run: RunId(uuid::Uuid::from_u128(number)),
        pipeline: "test".to_owned(),
        idempotency_key: None,
        request: request.encode().unwrap(),
        plan: None,
        state: RunState::Queued,
        incarnation: Incarnation::NONE,
        created_at: Timestamp::UNIX_EPOCH,
        moved_at: Timestamp::UNIX_EPOCH,
        counts: RunCounts::default(),
        error: None,
    }
}

#[tokio::test]
async fn partitions_are_not_moved_under_an_open_run_that_makes_or_reads_them() {
    for name in ["days", "total"] {
        let world = World::made().await;
        let row = open(7, &all_of(&[name]));
        let run = row.run;
        world.store.commit(&[Record::RunCreated(row)]).await.unwrap();

        let refused = world.refusal(assets("2012-12-31")).await;

        assert_eq!(
            (refused.kind(), refused.stable_code()),
            (ErrorKind::Conflict, "partitions_in_use")
        );
        assert!(refused.to_string().contains(&run.to_string()), "{refused}");
        let cancelled = Record::RunMoved {
            run,
            to: RunState::Cancelled,
            at: Timestamp::UNIX_EPOCH,
            counts: RunCounts::default(),
            error: None,
        };
        world.store.commit(&[cancelled]).await.unwrap();
        let engine = world.engine(assets("2012-12-31")).await;
        within(engine.shutdown()).await.unwrap();
    }
}

#[tokio::test]
async fn a_run_that_ended_before_is_not_redriven_on_other_partitions() {
    let failing = |start: &str| {
        let fail = |context: AssetContext| async move {
            match context.partition_label().as_str() {
                "2013-01-02" => Err(Error::permanent("not this one")),
                label => Ok(label.to_owned()),
            }
        };
        vec![
            Asset::new("days")
                .partitions(Daily::from(start).until("2013-01-05"))
                .run(fail),
        ]
    };
    let world = World::new();
    let engine = world.engine(failing("2013-01-01")).await;
    let report = within(engine.run(all_of(&["days"]))).await.unwrap();
    within(engine.shutdown()).await.unwrap();

    let engine = world.engine(failing("2012-12-31")).await;
    let refused = engine.redrive_request(report.run).await.unwrap_err();

    assert_eq!(refused.stable_code(), "code_changed", "{refused}");
    let status = world.store.status(engine.asset_ids()[0]).await.unwrap();
    assert!(status.failed.iter().eq([2]), "what failed is found at its new place");
    within(engine.shutdown()).await.unwrap();
}

#[tokio::test]
async fn partitions_may_be_added_behind_the_others() {
    let world = World::new();
    let engine = world.engine(vec![days(Partitions::keys(["a", "b"]))]).await;
    within(engine.run(all_of(&["days"]))).await.unwrap();
    within(engine.shutdown()).await.unwrap();

    let engine = world.engine(vec![days(Partitions::keys(["a", "b", "c"]))]).await;
    let report = within(engine.run(all_of(&["days"]))).await.unwrap();

    assert_eq!(report.counts.total, 1, "only the new one is missing");
    assert_eq!(world.store.assets().await.unwrap().len(), 1);
}
