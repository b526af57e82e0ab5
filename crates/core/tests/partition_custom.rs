//! Mappings that are functions of the author's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use flowstone_core::ErrorKind;
use flowstone_core::asset::{Asset, Batch, BatchOutcome, PartitionStream, Upstream};
use flowstone_core::partition::{
    BoundMapping, CUSTOM_LEN_MAX, Daily, EveryMinutes, Mapping, PartitionKey, PartitionSet, PartitionSpace, Partitions,
};
use flowstone_core::pipeline::Pipeline;
use jiff::Timestamp;
use jiff::civil::Weekday;

fn built(partitions: impl Into<Partitions>) -> PartitionSpace {
    partitions.into().build().unwrap()
}

fn now() -> Timestamp {
    "2024-03-05T06:00:00Z".parse().unwrap()
}

fn days() -> Daily {
    // A Monday.
    Daily::from("2024-01-01")
}

/// A working day reads the one before it; the first of all reads nothing.
fn working_day_before(day: &PartitionKey) -> Option<PartitionKey> {
    let PartitionKey::Date(day) = day else { return None };
    let back = match day.weekday() {
        Weekday::Monday => 3,
        Weekday::Saturday | Weekday::Sunday => return None,
        _ => 1,
    };
    let before = day.checked_sub(jiff::Span::new().days(back)).ok()?;
    (before >= jiff::civil::date(2024, 1, 1)).then_some(PartitionKey::Date(before))
}

fn working_days() -> Mapping {
    Mapping::custom("working day before", "1", working_day_before)
}

#[test]
fn both_directions_follow_from_what_the_function_says() {
    let space = built(days());
    let bound = BoundMapping::new(&working_days(), &space, &space, now()).unwrap();

    assert_eq!(bound.upstream_of_one(0), PartitionSet::new());
    assert_eq!(bound.upstream_of_one(1), PartitionSet::single(0));
    assert_eq!(bound.upstream_of_one(7), PartitionSet::single(4), "Monday reads Friday");
    assert_eq!(bound.downstream_of(&PartitionSet::single(4)), PartitionSet::single(7));
    assert!(
        bound.downstream_of(&PartitionSet::single(5)).is_empty(),
        "nobody reads Saturday"
    );
    for reader in 0..bound.down_len() {
        for read in bound.upstream_of_one(reader).iter() {
            assert!(bound.downstream_of(&PartitionSet::single(read)).contains(reader));
        }
    }
    let week = PartitionSet::from_range(7..14);
    let by_one = week
        .iter()
        .fold(PartitionSet::new(), |all, one| all.union(&bound.upstream_of_one(one)));
    assert_eq!(bound.upstream_of(&week), by_one);
}

#[test]
fn an_asset_may_read_its_own_past_by_a_function() {
    let space = built(days());
    let bound = BoundMapping::new(&working_days(), &space, &space, now()).unwrap();
    assert!(bound.reads_only_earlier());

    let own = Asset::new("total")
        .partitions(days())
        .upstream(Upstream::new("total").mapping(working_days()))
        .run(|_: PartitionStream<u64>| async { 1_u64 });

    Pipeline::builder("test").asset(own).build().unwrap();
}

#[test]
fn what_is_not_there_yet_is_not_read() {
    let space = built(days());
    let tomorrow = Mapping::custom("tomorrow", "1", |day: &PartitionKey| match day {
        PartitionKey::Date(day) => day.tomorrow().ok().map(PartitionKey::Date),
        _ => None,
    });

    let bound = BoundMapping::new(&tomorrow, &space, &space, now()).unwrap();

    let last = bound.down_len() - 1;
    assert_eq!(bound.upstream_of_one(last - 1), PartitionSet::single(last));
    assert!(bound.upstream_of_one(last).is_empty());
}

#[test]
fn a_function_is_asked_once_for_each_partition_of_the_same_spaces() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&asked);
    let mapping = Mapping::custom("counted", "1", move |key: &PartitionKey| {
        counting.fetch_add(1, Ordering::SeqCst);
        Some(key.clone())
    });
    let space = built(Partitions::keys(0..40));

    for _ in 0..5 {
        BoundMapping::new(&mapping, &space, &space, now()).unwrap();
    }

    assert_eq!(asked.load(Ordering::SeqCst), 40);
}

fn refused(mapping: Mapping, partitions: impl Into<Partitions>) -> flowstone_core::Error {
    let partitions = partitions.into();
    let reader = Asset::new("reader")
        .defined_at("src/lib.rs", 1)
        .partitions(partitions.clone())
        .upstream(Upstream::new("read").mapping(mapping))
        .run_batch(5, |_: Batch<PartitionStream<u64>>| async { BatchOutcome::<u64>::new() });
    let read = Asset::new("read").partitions(partitions).run(|| async { 1_u64 });
    let built = Pipeline::builder("test").assets([reader, read]).build();
    built.expect_err("the mapping is refused")
}

#[test]
fn a_function_that_leaves_the_space_is_refused_when_the_pipeline_is_built() {
    let outside = Mapping::custom("outside", "1", |_: &PartitionKey| [PartitionKey::from("z")]);

    let error = refused(outside, Partitions::keys(["a", "b"]));

    assert_eq!(error.stable_code(), "partition_mapping_out_of_space");
    let text = error.to_string();
    assert!(
        text.contains("lets \"a\" read \"z\"") && text.contains("src/lib.rs:1"),
        "{text}"
    );
}

#[test]
fn a_function_that_panics_is_refused_with_what_it_said() {
    let panics = Mapping::custom("panics", "1", |key: &PartitionKey| -> Option<PartitionKey> {
        panic!("I do not know {key}")
    });

    let error = refused(panics, Partitions::keys(["a"]));

    assert_eq!(error.stable_code(), "partition_mapping_panicked");
    assert!(error.to_string().contains("I do not know \"a\""), "{error}");
}

#[test]
fn a_function_that_changes_its_mind_is_refused() {
    let count = AtomicUsize::new(0);
    let fickle = Mapping::custom("fickle", "1", move |key: &PartitionKey| {
        count
            .fetch_add(1, Ordering::SeqCst)
            .is_multiple_of(2)
            .then(|| key.clone())
    });

    assert_eq!(
        refused(fickle, Partitions::keys(["a"])).stable_code(),
        "partition_mapping_impure"
    );
}

#[test]
fn there_is_a_bound_to_what_a_function_is_asked() {
    let minutes = built(EveryMinutes::from(1, "2000-01-01"));
    assert!(minutes.len_at(now()) > CUSTOM_LEN_MAX);

    let same = Mapping::custom("same", "1", |key: &PartitionKey| [key.clone()]);

    assert!(BoundMapping::at_capacity(&same, &minutes, &minutes).is_ok());
    let error = BoundMapping::new(&same, &minutes, &minutes, now()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    assert_eq!(error.stable_code(), "partition_mapping_too_large");
}

#[test]
fn another_version_of_the_function_is_other_code() {
    let code = |version: &'static str| {
        let mapping = Mapping::custom("same", version, |key: &PartitionKey| [key.clone()]);
        let reader = Asset::new("reader")
            .partitions(Partitions::keys(0..4))
            .upstream(Upstream::new("read").mapping(mapping))
            .run(|_: flowstone_core::asset::In<u64>| async { 1_u64 });
        let read = Asset::new("read")
            .partitions(Partitions::keys(0..4))
            .run(|| async { 1_u64 });
        let pipeline = Pipeline::builder("test").assets([reader, read]).build().unwrap();
        pipeline
            .graph()
            .node(pipeline.graph().find("reader").unwrap())
            .code_version()
    };

    assert_eq!(code("1"), code("1"));
    assert_ne!(code("1"), code("2"));
}
