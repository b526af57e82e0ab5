//! A function that is called for several items at once.

use std::sync::Arc;
use std::time::Duration;

use flowstone_core::asset::In;
use flowstone_core::fan_out::ItemWork;
use flowstone_core::{Error, Value};
use flowstone_scatter::{Batches, ItemBatch, ItemOutcomes, Results, Scatter, Shared};

use crate::drive::{Lab, failures};

fn list(count: u64) -> Vec<(&'static str, Value)> {
    vec![("numbers", Value::new((0..count).collect::<Vec<u64>>()))]
}

async fn all(In(numbers): In<Vec<u64>>) -> Vec<u64> {
    numbers
}

async fn doubled(numbers: ItemBatch<u64>) -> Vec<u64> {
    numbers.iter().map(|number| **number * 2).collect()
}

#[test]
fn a_call_is_for_so_many_items_of_one_page() {
    let asset = Scatter::items("numbers", all)
        .each_batch(Batches::count(4), (), doubled)
        .asset("doubled");
    let lab = Lab::new(asset, list(23)).unwrap().pages_of(10);

    let driven = lab.run().unwrap();

    let sizes: Vec<usize> = driven.calls.iter().map(Vec::len).collect();
    assert_eq!(sizes, [4, 4, 2, 4, 4, 2, 3]);
    let values: Vec<u64> = driven.value::<Results<u64>>().into_values().collect();
    assert_eq!(values, (0..23).map(|number| number * 2).collect::<Vec<_>>());
}

#[test]
fn batches_that_are_cut_again_are_the_same() {
    let asset = Scatter::items("numbers", all)
        .each_batch(Batches::group(|number: &u64| number % 3).count_max(2), (), doubled)
        .asset("doubled");
    let lab = Lab::new(asset, list(10)).unwrap();

    let (first, again) = (lab.run().unwrap(), lab.run().unwrap());

    assert_eq!(first.calls[..3], [vec![0, 3], vec![6, 9], vec![1, 4]]);
    assert_eq!(first.calls, again.calls);
}

#[test]
fn every_call_is_given_upstreams_and_what_is_shared() {
    let asset = Scatter::items("numbers", all)
        .shared("offset", |In(offset): In<u64>| async move { offset })
        .each_batch(
            Batches::count(2),
            "factor",
            |factor: Arc<u64>, numbers: ItemBatch<u64>, offset: Shared<u64>| async move {
                numbers
                    .into_iter()
                    .map(|number| *number * *factor + *offset)
                    .collect::<Vec<u64>>()
            },
        )
        .reduce(|left, right| left + right)
        .asset("sum");
    let mut upstreams = list(5);
    upstreams.extend([("offset", Value::new(1_u64)), ("factor", Value::new(10_u64))]);
    let lab = Lab::new(asset, upstreams).unwrap();

    assert_eq!(lab.run().unwrap().value::<Option<u64>>(), Some(105));
    assert_eq!(lab.loads(), 3);
}

#[test]
fn one_item_fails_or_is_skipped_without_the_others() {
    let asset =
        Scatter::items("numbers", all).each_batch(Batches::count(10), (), |numbers: ItemBatch<u64>| async move {
            let mut outcomes = ItemOutcomes::new();
            for number in &numbers {
                match **number {
                    1 => outcomes.fail(number, Error::permanent("refused").code("one")),
                    2 => outcomes.skip(number, "nothing"),
                    other => outcomes.value(number, other),
                }
            }
            outcomes
        });
    let lab = Lab::new(asset.asset("picked"), list(4)).unwrap();

    let driven = lab.run().unwrap();

    assert_eq!(failures(&driven.ended), [(1, "one".to_owned())]);
    let results = driven.value::<Results<u64>>();
    assert_eq!((results.counts().succeeded, results.counts().skipped), (2, 1));
}

#[test]
fn items_without_an_outcome_and_with_two_fail() {
    let asset =
        Scatter::items("numbers", all).each_batch(Batches::count(10), (), |numbers: ItemBatch<u64>| async move {
            let mut outcomes = ItemOutcomes::new();
            outcomes.value(&numbers[0], 1_u64);
            outcomes.value(&numbers[2], 1);
            outcomes.value(&numbers[2], 2);
            outcomes
        });
    let lab = Lab::new(asset.asset("picked"), list(3)).unwrap();

    let ended = lab.run().unwrap().ended;

    let expected = [
        (1, "item_outcome_missing".to_owned()),
        (2, "item_outcome_twice".to_owned()),
    ];
    assert_eq!(failures(&ended), expected);
}

#[test]
fn too_few_values_fail_the_call_and_not_the_next_one() {
    let asset =
        Scatter::items("numbers", all).each_batch(Batches::count(2), (), |numbers: ItemBatch<u64>| async move {
            let few = if numbers[0].index() == 0 { 1 } else { 2 };
            numbers.iter().take(few).map(|number| **number).collect::<Vec<u64>>()
        });
    let lab = Lab::new(asset.asset("short"), list(4)).unwrap();

    let ended = lab.run().unwrap().ended;

    assert_eq!(
        failures(&ended),
        [(0, "batch_values".to_owned()), (1, "batch_values".to_owned())]
    );
}

#[test]
fn batches_by_measured_time_are_left_to_the_engine() {
    let asset = Scatter::items("numbers", all)
        .each_batch(Batches::adaptive(Duration::from_millis(100), 500), (), doubled)
        .asset("doubled");
    let lab = Lab::new(asset, list(3)).unwrap();

    let fan_out = lab.fan_out();

    assert!(fan_out.batching().is_none());
    let ItemWork::Many {
        adaptive: Some(adaptive),
        ..
    } = fan_out.work()
    else {
        panic!("its calls are for several items")
    };
    assert_eq!(
        (adaptive.call_time, adaptive.items_max),
        (Duration::from_millis(100), 500)
    );
    assert_eq!(lab.run().unwrap().calls.len(), 1);
}
