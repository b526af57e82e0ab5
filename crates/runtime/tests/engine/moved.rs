//! Partitions that are defined anew over data that is there.

use std::sync::Arc;

use flowstone_core::ErrorKind;
use flowstone_core::asset::{Asset, AssetContext};
use flowstone_core::memory::MemoryStore;
use flowstone_core::partition::{Daily, Partitions};
use flowstone_core::store::Store;
use flowstone_runtime::{Engine, plan};
use jiff::Timestamp;

use crate::support::{all_of, engine_on, options, pipeline, within};

fn days(partitions: impl Into<Partitions>) -> Asset {
    let label = |context: AssetContext| async move { context.partition_label() };
    Asset::new("days").partitions(partitions).run(label)
}

#[tokio::test]
async fn partitions_that_would_be_taken_for_others_are_refused_and_nothing_changes() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let engine = engine_on(
        Arc::clone(&store),
        2,
        [days(Daily::from("2013-01-01").until("2013-01-04"))],
    )
    .await;
    within(engine.run(all_of(&["days"]))).await.unwrap();
    within(engine.shutdown()).await.unwrap();
    let before = store.assets().await.unwrap();

    let earlier = || pipeline([days(Daily::from("2012-12-31").until("2013-01-04"))]);
    let started = Engine::start(earlier(), Arc::clone(&store), options(2))
        .await
        .map(|_| ());
    let planned = plan(&earlier(), &*store, &all_of(&["days"]), Timestamp::UNIX_EPOCH).await;

    for refused in [started.unwrap_err(), planned.unwrap_err()] {
        assert_eq!(
            (refused.kind(), refused.stable_code()),
            (ErrorKind::Conflict, "partitions_moved")
        );
        let text = refused.to_string();
        assert!(
            text.contains("2013-01-01 has a value, and would be taken for 2012-12-31"),
            "{text}"
        );
    }
    assert_eq!(store.assets().await.unwrap(), before);
}

#[tokio::test]
async fn partitions_may_be_added_behind_the_others() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let engine = engine_on(Arc::clone(&store), 2, [days(Partitions::keys(["a", "b"]))]).await;
    within(engine.run(all_of(&["days"]))).await.unwrap();
    within(engine.shutdown()).await.unwrap();

    let engine = engine_on(Arc::clone(&store), 2, [days(Partitions::keys(["a", "b", "c"]))]).await;
    let report = within(engine.run(all_of(&["days"]))).await.unwrap();

    assert_eq!(report.counts.total, 1, "only the new one is missing");
}
