//! What `#[asset(scatter(…))]` writes is what the builder gives.

use std::sync::Arc;
use std::time::Duration;

use flowstone_core::asset::{Asset, AssetContext, AssetDefinition, Config, In, Outcome, Retry};
use flowstone_core::fan_out::{FailurePolicy, ItemOrder};
use flowstone_core::graph::Node;
use flowstone_core::partition::Daily;
use flowstone_core::pipeline::Pipeline;
use flowstone_core::{Error, Result, Value};
use flowstone_macros::{asset, assets};
use flowstone_scatter::{Batches, Gather, Item, ItemBatch, ItemOutcomes, Results, Scatter, Shared};
use serde::Deserialize;

use crate::drive::Lab;

/// What the macro looks for in the crate that is called `flowstone`.
mod facade {
    pub(super) use flowstone_core::__private;
    pub(super) use flowstone_scatter as scatter;
}

#[asset(crate = facade)]
fn numbers() -> Vec<u64> {
    vec![1, 2, 3]
}

#[asset(crate = facade)]
fn factor() -> u64 {
    10
}

#[asset(crate = facade)]
fn label() -> String {
    "sum".to_owned()
}

async fn all(In(numbers): In<Vec<u64>>) -> Result<Vec<u64>> {
    Ok(numbers)
}

async fn offset(factor: Arc<u64>) -> u64 {
    *factor / 10
}

async fn told(label: Arc<String>, mut gather: Gather<u64>) -> Result<String> {
    let mut sum = 0;
    while let Some(value) = gather.next_value().await? {
        sum += value;
    }
    Ok(format!("{label}: {sum}"))
}

/// Everything at once.
#[asset(
    crate = facade,
    group = "reports",
    deadline = Duration::from_secs(60),
    scatter(
        items = all(numbers),
        select = |number: u64| (number > 1).then_some(number),
        key = |number: &u64| format!("n{number}"),
        shared = offset(factor),
        gather = told("label") -> String,
        max_concurrent = 3,
        rate_limit(100, Duration::from_secs(1)),
        burst = 5,
        tolerate = 0.5,
        retry = Retry::never(),
        item_timeout = Duration::from_secs(2),
        order = ItemOrder::Depth,
        priority = 2,
        items_max = 50,
        page_len = 20,
        step_functions,
    )
)]
async fn scaled(number: Item<u64>, factor: Arc<u64>, offset: Shared<u64>, ctx: AssetContext) -> Result<u64> {
    assert_eq!(ctx.asset(), "scaled");
    Ok(*number * *factor + *offset)
}

fn scaled_by_hand() -> Asset {
    Scatter::items("numbers", all)
        .step_functions()
        .select(|number: u64| (number > 1).then_some(number))
        .key(|number: &u64| format!("n{number}"))
        .shared("factor", offset)
        .each(["factor"], scaled)
        .gather("label", told)
        .max_concurrent(3)
        .rate_limit(100, Duration::from_secs(1))
        .burst(5)
        .tolerate(0.5)
        .retry(Retry::never())
        .item_timeout(Duration::from_secs(2))
        .order(ItemOrder::Depth)
        .priority(2)
        .items_max(50)
        .page_len(20)
        .asset("scaled")
        .description("Everything at once.")
        .group("reports")
        .deadline(Duration::from_secs(60))
}

fn told_of(node: &Node) -> String {
    let shown = (node.description(), node.group(), node.deadline(), node.output());
    format!("{:?}", (node.key(), node.space(), node.inputs(), shown))
}

#[test]
fn the_macro_says_what_the_builder_says() {
    let with = |scattered| {
        let others = assets![crate = facade; numbers, factor, label];
        Pipeline::builder("test")
            .assets(others)
            .asset(scattered)
            .build()
            .unwrap()
    };
    let (written, built) = (with(scaled::asset()), with(scaled_by_hand()));
    let node = |pipeline: &Pipeline| told_of(pipeline.graph().node(pipeline.graph().find("scaled").unwrap()));

    assert_eq!(node(&written), node(&built));
    let values = || {
        let factor = Value::new(10_u64);
        vec![
            ("numbers", Value::new(vec![1_u64, 2, 3])),
            ("factor", factor.clone()),
            ("factor", factor),
            ("label", Value::new("sum".to_owned())),
        ]
    };
    let written = Lab::new(scaled::asset(), values()).unwrap();
    let built = Lab::new(scaled_by_hand(), values()).unwrap();
    assert_eq!(written.fan_out().options(), built.fan_out().options());
    let (written, built) = (written.run().unwrap(), built.run().unwrap());
    assert_eq!(written.ended, built.ended);
    assert_eq!(written.value::<String>(), "sum: 52");
}

#[derive(Debug, Deserialize)]
struct Limits {
    #[serde(default)]
    shortest: usize,
}

/// A plain function, without a gather.
#[asset(crate = facade, partitions = Daily::from("2013-01-01"), scatter(items = words, tolerate_count = 3))]
fn lengths(word: Item<String>, limits: Config<Limits>) -> Outcome<usize> {
    match word.len() {
        len if len < limits.shortest => Outcome::skip("it is short"),
        len => Outcome::Value(len),
    }
}

async fn words(ctx: AssetContext) -> Vec<String> {
    vec![ctx.partition_label()]
}

#[asset(crate = facade, scatter(items = all(numbers), batch = Batches::count(2), reduce = |left, right| left + right))]
async fn summed(numbers: ItemBatch<u64>) -> ItemOutcomes<u64> {
    let mut outcomes = ItemOutcomes::new();
    for number in &numbers {
        match **number {
            2 => outcomes.fail(number, Error::permanent("two is refused")),
            other => outcomes.value(number, other),
        }
    }
    outcomes
}

#[test]
fn a_plain_function_without_a_gather_gives_results() {
    let lab = Lab::new(lengths::asset(), Vec::new()).unwrap().config("{}");

    assert_eq!(lab.fan_out().options().failure, FailurePolicy::tolerate_count(3));
    let results: Results<usize> = lab.run().unwrap().value::<<lengths as AssetDefinition>::Output>();
    assert_eq!(results.into_values().collect::<Vec<_>>(), [10]);
}

#[test]
fn items_are_batched_and_reduced() {
    let lab = Lab::new(summed::asset(), vec![("numbers", Value::new(vec![1_u64, 2, 3]))]).unwrap();

    let driven = lab.run().unwrap();

    assert_eq!(driven.calls, [vec![0, 1], vec![2]]);
    assert_eq!(driven.value::<<summed as AssetDefinition>::Output>(), Some(4));
}

#[test]
fn the_functions_stay_callable() {
    let word = Item::new(0, "w", "word".to_owned());

    let outcome = lengths(word, Config(Limits { shortest: 9 }));

    assert_eq!(outcome, Outcome::skip("it is short"));
}

#[test]
fn where_items_come_from_is_part_of_the_code_and_how_fast_they_run_is_not() {
    mod slow {
        use flowstone_scatter::Item;

        use super::{all, facade, numbers};

        #[flowstone_macros::asset(crate = facade, scatter(items = all(numbers), max_concurrent = 1))]
        pub(super) async fn same(number: Item<u64>) -> u64 {
            *number
        }
    }
    mod fast {
        use flowstone_scatter::Item;

        use super::{all, facade, numbers};

        #[flowstone_macros::asset(crate = facade, scatter(items = all(numbers), max_concurrent = 9))]
        pub(super) async fn same(number: Item<u64>) -> u64 {
            *number
        }
    }
    mod other {
        use flowstone_scatter::Item;

        use super::{all, facade};

        #[flowstone_macros::asset(crate = facade, scatter(items = all("numbers"), max_concurrent = 9))]
        pub(super) async fn same(number: Item<u64>) -> u64 {
            *number
        }
    }
    let version = |asset| {
        let pipeline = Pipeline::builder("test")
            .asset(numbers::asset())
            .asset(asset)
            .build()
            .unwrap();
        pipeline
            .graph()
            .node(pipeline.graph().find("same").unwrap())
            .code_version()
    };

    assert_eq!(version(slow::same::asset()), version(fast::same::asset()));
    assert_ne!(version(slow::same::asset()), version(other::same::asset()));
}
