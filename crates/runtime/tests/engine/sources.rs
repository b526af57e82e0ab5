//! Partitions that name what they read of the outside world.

use std::sync::Arc;

use flowstone_core::asset::{Asset, In};
use flowstone_core::memory::MemoryStore;
use flowstone_core::partition::PartitionSet;
use flowstone_core::pipeline::Pipeline;
use flowstone_core::plan::Reason;

use crate::support::{all_of, engine_on, numbered, pipeline, within};

/// Five partitions that read files with these checksums, and what is made of them.
fn assets(checksums: &[(i64, &str)]) -> [Asset; 2] {
    let read = Asset::new("read")
        .partitions(numbered(5))
        .source_versions(checksums.to_vec());
    let made = Asset::new("made").partitions(numbered(5)).upstream("read");
    [
        read.run(|| async { 1_i64 }),
        made.run(|In(read): In<i64>| async move { read }),
    ]
}

#[tokio::test]
async fn a_partition_whose_source_has_another_name_is_made_again_and_no_other() {
    let store = Arc::new(MemoryStore::default());
    let all = all_of(&["read", "made"]);
    let first = engine_on(Arc::clone(&store) as _, 2, assets(&[(0, "a"), (1, "a"), (2, "b")])).await;
    within(first.run(all.clone())).await.unwrap();
    assert!(first.plan(&all).await.unwrap().is_empty());
    first.shutdown().await.unwrap();

    // The second has another name, the third none any more, the fourth one for the first time.
    let second = engine_on(store, 2, assets(&[(0, "a"), (1, "b"), (3, "c")])).await;
    let plan = second.plan(&all).await.unwrap();

    let changed = PartitionSet::from_range(1..=3);
    assert_eq!(plan.assets[0].reasons, [(Reason::CodeChanged, changed.clone())]);
    assert_eq!(plan.assets[1].reasons, [(Reason::UpstreamPlanned, changed)]);
    within(second.run(all.clone())).await.unwrap();
    assert!(second.plan(&all).await.unwrap().is_empty());
}

#[test]
fn a_source_of_a_partition_that_there_is_not_is_refused() {
    let refused = Pipeline::builder("test").assets(assets(&[(9, "a")])).build();

    assert!(refused.unwrap_err().to_string().contains("find partition"));
    let twice = Pipeline::builder("test").assets(assets(&[(1, "a"), (1, "b")])).build();
    assert!(twice.unwrap_err().to_string().contains("two source versions"));
    assert_eq!(pipeline(assets(&[(1, "a"), (1, "a")])).graph().len(), 2);
}
