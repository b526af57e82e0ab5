//! What does not fit is told when the pipeline is built, all of it at once.

use std::num::NonZeroU32;
use std::time::Duration;

use flowstone_core::asset::{Asset, In, Retry};
use flowstone_core::fan_out::{FailurePolicy, FanOutOptions, ItemOrder, RateLimit};
use flowstone_core::pipeline::Pipeline;
use flowstone_core::{AssetValue, Error};
use flowstone_scatter::{Batches, Gather, Item, ItemBatch, Makes, NoWork, Results, Scatter, Shared};

use crate::drive::Lab;

fn numbers() -> Scatter<NoWork> {
    Scatter::items((), || async { vec![1_u64] })
}

fn complaints<V: AssetValue>(scatter: Scatter<Makes<V>>) -> Vec<String> {
    let upstream = Asset::new("numbers").run(|| async { vec![1_u64] });
    let built = Pipeline::builder("test")
        .asset(upstream)
        .asset(scatter.asset("scattered"))
        .build();
    let told = built.err().map(|error| error.to_string()).unwrap_or_default();
    let each = told.lines().filter_map(|line| line.trim().strip_prefix("- "));
    each.map(str::to_owned).collect()
}

#[test]
fn options_out_of_range_are_told_at_once() {
    let told = complaints(
        numbers()
            .each_batch(Batches::count(0), (), |numbers: ItemBatch<u64>| async move {
                vec![0; numbers.len()]
            })
            .max_concurrent(0)
            .page_len(0)
            .rate_limit(0, Duration::from_secs(1))
            .tolerate(5.0)
            .item_timeout(Duration::ZERO),
    );

    assert_eq!(told.len(), 6, "{told:#?}");
    assert!(
        told.iter().all(|complaint| complaint.contains("asset scattered: ")),
        "{told:#?}"
    );
}

#[test]
fn an_upstream_too_few_is_told_of_its_function() {
    let told = complaints(numbers().each((), |number: Item<u64>, In(_): In<Vec<u64>>| async move { *number }));

    assert!(
        told[0].contains("the function for an item takes 1 upstream values, 0 are named for it"),
        "{told:#?}"
    );
}

#[test]
fn what_a_function_is_not_given_is_told() {
    let item_in_items = Scatter::items((), |item: Item<u64>| async move { vec![*item] });
    let told = complaints(
        item_in_items
            .each((), |_: ItemBatch<u64>| async {})
            .gather((), |_: Item<u64>, _: Shared<u64>| async {}),
    );

    assert_eq!(told.len(), 4, "{told:#?}");
    assert!(
        told[0].contains("the function that gives the items takes `Item`"),
        "{told:#?}"
    );
}

#[test]
fn what_is_shared_must_be_there_and_of_the_type_that_is_taken() {
    let take = |number: Item<u64>, shared: Shared<u64>| async move { *number + *shared };

    let missing = complaints(numbers().each((), take));
    let other = complaints(numbers().shared((), || async { String::new() }).each((), take));
    let fitting = complaints(numbers().shared((), || async { 1_u64 }).each((), take));

    assert!(missing[0].contains("the items share nothing"), "{missing:#?}");
    assert!(
        other[0].contains("the items share a `alloc::string::String`"),
        "{other:#?}"
    );
    assert!(fitting.is_empty(), "{fitting:#?}");
}

#[test]
fn only_a_scatter_has_items() {
    let item = Asset::new("item").run(|number: Item<u64>| async move { *number });
    let gather = Asset::new("gather").run(|_: Gather<u64>| async {});

    let error = Pipeline::builder("test").assets([item, gather]).build().unwrap_err();

    assert_eq!(
        error
            .to_string()
            .matches("its function takes an item, and it has none")
            .count(),
        2
    );
}

#[test]
fn nesting_has_a_bound() {
    fn deeper<V: AssetValue>(inner: Scatter<Makes<V>>) -> Scatter<Makes<Option<u64>>> {
        let outer = Scatter::items((), || async { vec![1_u64] }).each_scatter(inner);
        outer.gather((), |_: Gather<V>| async { Ok::<_, Error>(Some(1_u64)) })
    }
    let innermost = numbers().each((), |number: Item<u64>| async move { *number });
    let eight = (0..6).fold(deeper(innermost), |inner, _| deeper(inner));

    assert!(complaints(eight).is_empty());
    let innermost = numbers().each((), |number: Item<u64>| async move { *number });
    let nine = (0..7).fold(deeper(innermost), |inner, _| deeper(inner));
    assert!(complaints(nine)[0].contains("more than 8 deep"));
}

fn options<V: AssetValue>(scatter: Scatter<Makes<V>>) -> FanOutOptions {
    Lab::new(scatter.asset("scattered"), Vec::new())
        .unwrap()
        .fan_out()
        .options()
}

fn plain() -> Scatter<Makes<Results<u64>>> {
    numbers().each((), |number: Item<u64>| async move { *number })
}

#[test]
fn every_option_reaches_the_engine() {
    let five = NonZeroU32::new(5).expect("it is not zero");
    let given = plain()
        .max_concurrent(5)
        .rate_limit(7, Duration::from_secs(2))
        .burst(5)
        .tolerate(0.25)
        .retry(Retry::exponential(9))
        .item_timeout(Duration::from_secs(3))
        .order(ItemOrder::Depth)
        .priority(-4)
        .items_max(11)
        .page_len(5);

    let expected = FanOutOptions {
        max_concurrent: five,
        rate_limit: Some(RateLimit::new(7, Duration::from_secs(2)).unwrap().burst(five)),
        failure: FailurePolicy::tolerate_share(0.25).unwrap(),
        retry: Retry::exponential(9),
        item_timeout: Some(Duration::from_secs(3)),
        order: ItemOrder::Depth,
        priority: -4,
        items_max: Some(11),
        page_len: five,
    };
    assert_eq!(options(given), expected);
    assert_eq!(
        options(plain().tolerate_count(3)).failure,
        FailurePolicy::tolerate_count(3)
    );
    assert_eq!(options(plain()), FanOutOptions::default());
}

#[test]
fn the_preset_of_step_functions_gives_way_to_what_follows_it() {
    let preset = options(plain().max_concurrent(1).step_functions());
    let changed = options(plain().step_functions().max_concurrent(40).tolerate(0.1));

    assert_eq!(preset.max_concurrent.get(), 10_000);
    assert_eq!(preset.failure, FailurePolicy::all_or_nothing());
    assert_eq!(preset.retry.attempts_max(), 1);
    assert_eq!(
        (preset.rate_limit, preset.item_timeout, preset.items_max),
        (None, None, None)
    );
    assert_eq!(changed.max_concurrent.get(), 40);
    assert_eq!(changed.failure, FailurePolicy::tolerate_share(0.1).unwrap());
}
