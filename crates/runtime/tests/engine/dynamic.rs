//! Partitions that are added and retired while the engine runs.

use std::sync::Arc;

use flowstone_core::asset::{Asset, AssetContext, In, PartitionStream};
use flowstone_core::memory::MemoryStore;
use flowstone_core::partition::{Daily, Partitions};
use flowstone_core::plan::SavedPlan;
use flowstone_core::run::RunState;
use flowstone_core::{Error, ErrorKind};

use crate::support::{all_of, engine_on, forced, one_of, within};

/// An order by customer, what each bought, and the sum of all.
fn assets() -> [Asset; 3] {
    let customers = || Partitions::dynamic("customers");
    [
        Asset::new("orders")
            .partitions(customers())
            .run(|context: AssetContext| async move { context.partition_label().len() as i64 }),
        Asset::new("bills")
            .partitions(customers())
            .upstream("orders")
            .run(|In(orders): In<i64>| async move { orders * 10 }),
        Asset::new("income")
            .upstream("bills")
            .run(|bills: PartitionStream<i64>| async move { Ok::<i64, Error>(bills.collect().await?.iter().sum()) }),
    ]
}

#[tokio::test]
async fn what_is_added_is_made_and_what_is_retired_is_kept_and_not_planned() {
    let store = Arc::new(MemoryStore::default());
    let engine = engine_on(Arc::clone(&store) as _, 2, assets()).await;
    let all = all_of(&["orders", "bills", "income"]);
    assert_eq!(
        engine.add_partitions("customers", ["ann", "robert"]).await.unwrap(),
        [0, 1]
    );
    within(engine.run(all.clone())).await.unwrap();
    assert_eq!(engine.load::<i64>("income", "").await.unwrap(), 90);

    assert_eq!(engine.add_partitions("customers", ["ann", "jo"]).await.unwrap(), [0, 2]);
    let plan = engine.plan(&all).await.unwrap();
    assert_eq!((plan.assets[0].steps.to_string(), plan.steps()), ("2".to_owned(), 3));
    within(engine.run(all.clone())).await.unwrap();
    assert_eq!(engine.load::<i64>("income", "").await.unwrap(), 110);

    engine.retire_partitions("customers", ["robert"]).await.unwrap();
    let refused = engine.plan(&one_of("orders", "robert")).await.unwrap_err();
    assert_eq!(
        (refused.stable_code(), refused.kind()),
        ("partition_retired", ErrorKind::Invalid)
    );
    let forced = engine.plan(&forced(&["orders"])).await.unwrap();
    assert_eq!(forced.assets[0].steps.to_string(), "0,2");
    assert_eq!(
        engine.load::<i64>("orders", "robert").await.unwrap(),
        6,
        "its head stays"
    );
    engine.shutdown().await.unwrap();

    // Another engine on the same store knows the same, one on another store nothing.
    let again = engine_on(store, 2, assets()).await;
    assert_eq!(
        again.plan(&one_of("orders", "robert")).await.unwrap_err().stable_code(),
        "partition_retired"
    );
    again.add_partitions("customers", ["robert"]).await.unwrap();
    assert!(again.plan(&one_of("orders", "robert")).await.unwrap().is_empty());
    let elsewhere = engine_on(Arc::new(MemoryStore::default()), 2, assets()).await;
    assert_eq!(
        elsewhere.load::<i64>("orders", "ann").await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

#[tokio::test]
async fn a_step_adds_the_partitions_that_it_finds() {
    let found = Asset::new("found").run(|context: AssetContext| async move {
        let indices = context.add_partitions("customers", ["ann", "jo"]).await?;
        Ok::<u64, Error>(indices.len() as u64)
    });
    let [orders, ..] = assets();
    let engine = engine_on(Arc::new(MemoryStore::default()), 2, [found, orders]).await;

    within(engine.run(all_of(&["found"]))).await.unwrap();
    let report = within(engine.run(all_of(&["orders"]))).await.unwrap();

    assert_eq!((report.state, report.counts.succeeded), (RunState::Succeeded, 2));
    assert_eq!(engine.load::<i64>("orders", "jo").await.unwrap(), 2);
}

#[tokio::test]
async fn a_dynamic_dimension_grows_in_a_product() {
    let by_day = Partitions::dimension("day", Daily::from("2024-01-01").until("2024-01-03"))
        .by("customer", Partitions::dynamic("customers"));
    let visits = Asset::new("visits")
        .partitions(by_day)
        .run(|context: AssetContext| async move { context.partition_label() });
    let engine = engine_on(Arc::new(MemoryStore::default()), 2, [visits]).await;
    engine.add_partitions("customers", ["ann", "jo"]).await.unwrap();
    within(engine.run(all_of(&["visits"]))).await.unwrap();

    engine.add_partitions("customers", ["kim"]).await.unwrap();
    engine.retire_partitions("customers", ["ann"]).await.unwrap();
    let report = within(engine.run(all_of(&["visits"]))).await.unwrap();

    assert_eq!(report.counts.succeeded, 2);
    let value = engine.load::<String>("visits", "2024-01-02|kim").await.unwrap();
    assert_eq!(value, "2024-01-02|kim");
    assert_eq!(
        engine.load::<String>("visits", "2024-01-01|ann").await.unwrap(),
        "2024-01-01|ann"
    );
}

#[tokio::test]
async fn a_set_that_no_asset_names_is_refused() {
    let engine = engine_on(Arc::new(MemoryStore::default()), 2, assets()).await;

    let refused = engine.add_partitions("customer", ["ann"]).await.unwrap_err();

    assert_eq!(refused.stable_code(), "partition_set_unknown");
    assert!(refused.advice().unwrap().contains("customers"), "{refused:?}");
    let unknown = engine.retire_partitions("customers", ["ann"]).await.unwrap_err();
    assert_eq!(unknown.stable_code(), "partition_unknown");
}

#[tokio::test]
async fn a_saved_plan_is_not_outdated_by_what_is_added_but_by_what_is_retired() {
    let engine = engine_on(Arc::new(MemoryStore::default()), 2, assets()).await;
    engine.add_partitions("customers", ["ann", "jo"]).await.unwrap();
    let save = async |names: &[&str]| {
        let (request, pipeline) = (all_of(names), engine.pipeline());
        let plan = engine.plan(&request).await.unwrap();
        SavedPlan::new(pipeline.name(), pipeline.graph(), request, plan).unwrap()
    };
    let (orders, bills) = (save(&["orders"]).await, save(&["orders", "bills"]).await);

    engine.add_partitions("customers", ["kim"]).await.unwrap();
    let report = within(engine.apply(orders).await.unwrap().wait()).await.unwrap();
    engine.retire_partitions("customers", ["jo"]).await.unwrap();
    let refused = engine.apply(bills).await.unwrap_err();

    assert_eq!(report.counts.succeeded, 2);
    assert_eq!(refused.stable_code(), "plan_outdated");
    assert!(refused.to_string().contains("bills[jo] is retired"), "{refused}");
}

#[tokio::test]
async fn what_failed_and_is_retired_since_is_not_redriven() {
    let fails = Asset::new("orders")
        .partitions(Partitions::dynamic("customers"))
        .run(|| async { Err::<i64, _>(Error::new(ErrorKind::Invalid, "nothing was ordered")) });
    let engine = engine_on(Arc::new(MemoryStore::default()), 2, [fails]).await;
    engine.add_partitions("customers", ["ann", "jo"]).await.unwrap();
    let report = within(engine.run(all_of(&["orders"]))).await.unwrap();
    assert_eq!(report.counts.failed, 2);

    engine.retire_partitions("customers", ["ann"]).await.unwrap();
    let again = within(engine.redrive(report.run).await.unwrap().wait()).await.unwrap();

    assert_eq!(again.counts.total, 1);
    assert_eq!(again.failures[0].label, "jo");
}
