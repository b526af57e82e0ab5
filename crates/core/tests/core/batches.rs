//! What `build` says about functions that are called for many partitions.

use std::sync::Arc;

use flowstone_core::asset::{Asset, BATCH_LEN_MAX, Batch, BatchContext, BatchOutcome, In, PartitionStream, Upstream};
use flowstone_core::partition::{Daily, Mapping, Monthly, Partitions};
use flowstone_core::pipeline::Pipeline;
use flowstone_core::{Error, ErrorKind};
use insta::assert_snapshot;

fn named(name: &str, partitions: impl Into<Partitions>) -> Asset {
    Asset::new(name).defined_at("src/lib.rs", 1).partitions(partitions)
}

fn days() -> Daily {
    Daily::from("2024-01-01")
}

/// Nothing of any partition.
async fn nothing(_: BatchContext) -> BatchOutcome<u64> {
    BatchOutcome::new()
}

fn refused(assets: impl IntoIterator<Item = Asset>) -> Error {
    let built = Pipeline::builder("test").assets(assets).build();
    built.expect_err("it does not fit together")
}

#[test]
fn a_batch_of_none_or_of_too_many_is_refused() {
    let error = refused([named("a", days()).run_batch(0, nothing)]);
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_snapshot!(error, @r"
    the pipeline does not fit together
      - asset a: it is called for batches of no partition
        at src/lib.rs:1
        fix: give batches of at least 1, or end the definition with `.run(…)`
    ");

    let error = refused([named("a", days()).run_batch(BATCH_LEN_MAX + 1, nothing)]);
    assert_eq!(error.stable_code(), "batch_too_large");
    let most = named("a", days()).run_batch(BATCH_LEN_MAX, nothing);
    Pipeline::builder("test").asset(most).build().unwrap();
}

#[test]
fn an_asset_without_partitions_has_no_batches() {
    assert_snapshot!(refused([named("a", Partitions::unit()).run_batch(5, nothing)]), @r"
    the pipeline does not fit together
      - asset a: it is called for batches of partitions and has only one
        at src/lib.rs:1
        fix: give it partitions, or end the definition with `.run(…)`
    ");
}

#[test]
fn partitions_that_are_made_from_each_other_are_not_made_in_one_call() {
    let own = |mapping| {
        let own = Upstream::new("a").mapping(mapping);
        named("a", days())
            .upstream(own)
            .run_batch(5, |_: Batch<PartitionStream<u64>>| async { BatchOutcome::<u64>::new() })
    };

    for mapping in [Mapping::Offset(-1), Mapping::Offset(-30)] {
        assert_eq!(refused([own(mapping)]).stable_code(), "batch_reads_itself");
    }
    assert_snapshot!(refused([own(Mapping::Preceding(7))]), @r"
    the pipeline does not fit together
      - asset a: its partitions are made from earlier ones, so they cannot be made in one call
        at src/lib.rs:1
        fix: end the definition with `.run(…)`, without a batch: one partition a call
    ");
}

#[test]
fn one_value_for_a_whole_call_is_one_that_all_partitions_read() {
    let source = |partitions: Partitions| named("source", partitions).run(|| async { 1_u64 });
    let reader = || {
        named("reader", days())
            .upstream("source")
            .run_batch(5, |_: Arc<u64>| async { BatchOutcome::<u64>::new() })
    };

    assert_snapshot!(refused([source(days().into()), reader()]), @r#"
    the pipeline does not fit together
      - asset reader: it is called for many partitions, which do not all read the same of "source"
        at src/lib.rs:1
        fix: take it as `Batch<…>`, which has what each partition reads
    "#);
    assert_eq!(
        refused([source(Monthly::from("2024-01").into()), reader()]).stable_code(),
        "input_of_call"
    );
    Pipeline::builder("test")
        .assets([source(Partitions::unit()), reader()])
        .build()
        .unwrap();
}

#[test]
fn each_partition_of_a_batch_reads_one_value_unless_it_takes_a_stream() {
    let month = |name: &str| named(name, Monthly::from("2024-01")).upstream("days");
    let source = || named("days", days()).run(|| async { 1_u64 });
    let one = month("one").run_batch(5, |_: Batch<In<u64>>| async { BatchOutcome::<u64>::new() });
    let many = month("many").run_batch(5, |_: Batch<PartitionStream<u64>>| async { BatchOutcome::<u64>::new() });

    assert_eq!(refused([source(), one]).stable_code(), "input_many_partitions");
    Pipeline::builder("test").assets([source(), many]).build().unwrap();
}

#[test]
fn the_function_that_was_given_last_counts() {
    let asset = named("a", days()).run_batch(5, nothing).run(|| async { 1_u64 });

    let pipeline = Pipeline::builder("test").asset(asset).build().unwrap();

    let (_, node) = pipeline.graph().nodes().next().unwrap();
    assert_eq!(node.batch(), None);
}
