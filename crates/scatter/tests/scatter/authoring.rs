//! What the functions of a scatter are handed, and what is made of what they give.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use flowstone_core::asset::{Asset, AssetContext, In, Outcome};
use flowstone_core::partition::Daily;
use flowstone_core::reader::{Cursor, Item as RawItem, ItemReader, ItemSource, Page};
use flowstone_core::{Error, Result, Value};
use flowstone_scatter::{Gather, Gathered, Item, Items, ResultCounts, Results, Scatter, Shared};

use crate::drive::{Lab, failures};

fn numbers() -> (&'static str, Value) {
    ("numbers", Value::new(vec![3_u64, 1, 2]))
}

fn list(count: u64) -> (&'static str, Value) {
    ("numbers", Value::new((0..count).collect::<Vec<u64>>()))
}

async fn all(In(numbers): In<Vec<u64>>) -> Vec<u64> {
    numbers
}

/// Fails for 1, skips 2.
async fn picky(number: Item<u64>) -> Result<Outcome<u64>> {
    match *number {
        1 => Err(Error::permanent("one is refused")),
        2 => Ok(Outcome::skip("two is nothing")),
        other => Ok(Outcome::Value(other * 10)),
    }
}

#[test]
fn each_function_reads_its_own_upstreams() {
    let scatter = Scatter::items("numbers", all)
        .shared("offset", |In(offset): In<u64>| async move { offset })
        .each(
            ["factor", "text"],
            |In(factor): In<u64>, number: Item<u64>, text: Arc<String>, offset: Shared<u64>| async move {
                format!("{text}{}", *number * factor + *offset)
            },
        )
        .gather("last", |In(last): In<String>, gather: Gather<String>| async move {
            let mut all: Vec<String> = gather
                .collect()
                .await?
                .into_iter()
                .filter_map(Gathered::into_value)
                .collect();
            all.push(last);
            Ok::<_, Error>(all.join(" "))
        });
    let lab = Lab::new(
        scatter.asset("joined"),
        vec![
            numbers(),
            ("offset", Value::new(100_u64)),
            ("factor", Value::new(2_u64)),
            ("text", Value::new("x".to_owned())),
            ("last", Value::new("end".to_owned())),
        ],
    )
    .unwrap();

    assert_eq!(lab.run().unwrap().value::<String>(), "x106 x102 x104 end");
}

#[test]
fn a_thousand_items_load_what_they_share_once() {
    let asset = Scatter::items("numbers", all)
        .each("factor", |number: Item<u64>, factor: Arc<u64>| async move {
            *number * *factor
        })
        .fold(0_u64, |sum, gathered| sum + gathered.into_value().unwrap_or(0))
        .asset("sum");
    let lab = Lab::new(asset, vec![list(1_000), ("factor", Value::new(3_u64))]).unwrap();

    assert_eq!(lab.run().unwrap().value::<u64>(), 3 * 999 * 1_000 / 2);
    assert_eq!(lab.loads(), 2);
}

#[test]
fn no_items_and_one_item_are_gathered_too() {
    for count in [0, 1] {
        let gathered = Scatter::items("numbers", all)
            .each((), |number: Item<u64>| async move { *number + 7 })
            .gather((), |gather: Gather<u64>| async move {
                Ok::<_, Error>(gather.collect().await?.len() as u64)
            });
        let reduced = Scatter::items("numbers", all)
            .each((), |number: Item<u64>| async move { *number + 7 })
            .reduce(|left, right| left + right);

        let gathered = Lab::new(gathered.asset("gathered"), vec![list(count)]).unwrap();
        let reduced = Lab::new(reduced.asset("reduced"), vec![list(count)]).unwrap();

        assert_eq!(gathered.run().unwrap().value::<u64>(), count);
        assert_eq!(reduced.run().unwrap().value::<Option<u64>>(), (count == 1).then_some(7));
    }
}

#[test]
fn what_is_gathered_stands_in_the_order_of_the_items_with_what_failed() {
    let asset = Scatter::items("numbers", all)
        .each((), picky)
        .gather((), |mut gather: Gather<u64>| async move {
            let mut told = Vec::new();
            while let Some(Gathered { index, key, outcome }) = gather.next().await? {
                told.push(match outcome {
                    Ok(Outcome::Value(value)) => format!("{index}/{key}: {value}"),
                    Ok(Outcome::Skipped(reason)) => format!("{index}/{key}: {reason}"),
                    Err(error) => format!("{index}/{key}: {error}"),
                });
            }
            Ok::<_, Error>(told.join(", "))
        });
    let lab = Lab::new(asset.asset("told"), vec![numbers()]).unwrap();

    let told = lab.run().unwrap().value::<String>();

    assert_eq!(told, "0/0: 30, 1/1: one is refused, 2/2: two is nothing");
}

#[test]
fn without_a_gather_the_outcomes_are_the_value() {
    let lab = Lab::new(
        Scatter::items("numbers", all).each((), picky).asset("rows"),
        vec![numbers()],
    )
    .unwrap();

    let results = lab.run().unwrap().value::<Results<u64>>();

    let counts = ResultCounts {
        succeeded: 1,
        skipped: 1,
        failed: 1,
    };
    assert_eq!(results.counts(), counts);
    assert_eq!(results.values().collect::<Vec<_>>(), [&30]);
    assert_eq!(results.rows()[1].error.as_deref(), Some("one is refused"));
    let json = serde_json::to_string(&results).unwrap();
    assert!(
        json.starts_with(r#"[{"index":0,"key":"0","value":30,"skipped":null,"error":null}"#),
        "{json}"
    );
    assert_eq!(serde_json::from_str::<Results<u64>>(&json).unwrap(), results);
}

#[test]
fn a_plain_function_may_block() {
    let asset = Scatter::items("numbers", all)
        .each_blocking("factor", |number: Item<u64>, factor: Arc<u64>| {
            Ok::<_, Error>(number.into_inner() * *factor)
        })
        .reduce(u64::max);
    let lab = Lab::new(asset.asset("greatest"), vec![numbers(), ("factor", Value::new(2_u64))]).unwrap();

    assert_eq!(lab.run().unwrap().value::<Option<u64>>(), Some(6));
}

#[test]
fn items_may_be_chosen_changed_and_named() {
    let asset = Scatter::items("numbers", all)
        .select(|number: u64| (number > 1).then(|| format!("n{number}")))
        .key(|text: &String| text.to_uppercase())
        .each(
            (),
            |text: Item<String>| async move { format!("{}={}", text.key(), *text) },
        );
    let lab = Lab::new(asset.asset("named"), vec![numbers()]).unwrap();

    let driven = lab.run().unwrap();

    let keys: Vec<&str> = driven.ended.iter().map(|ended| ended.item.key.as_str()).collect();
    assert_eq!(keys, ["N3", "N2"]);
    assert_eq!(
        driven.value::<Results<String>>().into_values().collect::<Vec<_>>(),
        ["N3=n3", "N2=n2"]
    );
}

#[test]
fn keys_of_the_users_may_come_twice_and_places_may_not() {
    let distinct = |asset| {
        let lab = Lab::new(asset, vec![numbers()]).unwrap();
        let reader = futures::FutureExt::now_or_never(lab.fan_out().open(&lab.step())).unwrap();
        reader.unwrap().has_distinct_keys()
    };
    let placed = Scatter::items("numbers", all).each((), picky).asset("placed");
    let named = Scatter::items("numbers", all)
        .key(|number: &u64| number % 2)
        .each((), picky)
        .asset("named");

    assert!(distinct(placed));
    assert!(!distinct(named));
}

#[test]
fn items_and_keys_that_are_too_long_are_refused_with_a_fix() {
    let key = Scatter::items("numbers", all)
        .key(|_: &u64| "k".repeat(16 << 20))
        .each((), picky);
    let item = Scatter::items("numbers", all)
        .select(|_: u64| Some("x".repeat(16 << 20)))
        .each((), |_: Item<String>| async {});
    for asset in [key.asset("key"), item.asset("item")] {
        let error = Lab::new(asset, vec![numbers()]).unwrap().run().err().unwrap();

        assert_eq!(error.stable_code(), "item_too_large");
        assert!(error.advice().is_some());
    }
}

#[test]
fn an_item_of_another_type_fails_by_itself_and_says_what_was_expected() {
    let asset = Scatter::items("numbers", all).each((), |text: Item<String>| async move { text.into_inner() });
    let lab = Lab::new(asset.asset("texts"), vec![numbers()]).unwrap();

    let ended = lab.run().unwrap().ended;

    assert_eq!(failures(&ended).len(), 3);
    assert_eq!(failures(&ended)[0].1, "item_invalid");
}

#[test]
fn every_function_sees_the_partition() {
    let asset = Scatter::items((), |ctx: AssetContext| async move { vec![ctx.partition_label()] })
        .each((), |ctx: AssetContext, day: Item<String>| async move {
            format!("{} {}", *day, ctx.partition_label())
        })
        .gather((), |ctx: AssetContext, mut gather: Gather<String>| async move {
            let day = gather.next_value().await?.unwrap_or_default();
            Ok::<_, Error>(format!("{day} {}", ctx.partition_label()))
        })
        .asset("days")
        .partitions(Daily::from("2013-01-01").until("2013-01-10"));
    let lab = Lab::new(asset, Vec::new()).unwrap().partition(4);

    assert_eq!(lab.run().unwrap().value::<String>(), "2013-01-05 2013-01-05 2013-01-05");
}

#[test]
fn what_all_items_share_is_evaluated_once() {
    static EVALUATED: AtomicUsize = AtomicUsize::new(0);
    let asset = Scatter::items("numbers", all)
        .shared((), || async {
            EVALUATED.fetch_add(1, Ordering::Relaxed);
            vec![5_u64]
        })
        .each((), |number: Item<u64>, shared: Shared<Vec<u64>>| async move {
            *number + shared[0]
        })
        .reduce(|left, right| left + right);
    let lab = Lab::new(asset.asset("sum"), vec![numbers()]).unwrap();

    assert_eq!(lab.run().unwrap().value::<Option<u64>>(), Some(21));
    assert_eq!(EVALUATED.load(Ordering::Relaxed), 1);
}

/// Two items on pages of their own, with an empty page between.
struct Letters;

struct LetterReader;

#[async_trait]
impl ItemSource for Letters {
    async fn open(&self) -> Result<Box<dyn ItemReader>> {
        Ok(Box::new(LetterReader))
    }
}

#[async_trait]
impl ItemReader for LetterReader {
    async fn read(&mut self, cursor: Option<&Cursor>, _: usize) -> Result<Page> {
        let at = cursor.map_or(0, |cursor| cursor.position[0]);
        let next = (at < 2).then(|| Cursor {
            version: 1,
            position: vec![at + 1],
        });
        let pages: [&[&str]; 3] = [&["a"], &[], &["b"]];
        let items = pages[usize::from(at)]
            .iter()
            .map(|letter| RawItem::new(*letter, letter));
        let items = items.collect::<Result<_>>()?;
        Ok(Page { items, next })
    }

    async fn close(&mut self) {}
}

#[test]
fn items_may_come_from_any_reader() {
    let fixed = Scatter::read(Letters);
    let found = Scatter::items((), || async { Ok::<_, Error>(Items::from_source(Letters)) });
    for scatter in [fixed, found] {
        let asset = scatter.each((), |letter: Item<String>| async move { letter.into_inner() });
        let lab = Lab::new(asset.reduce(|left, right| left + &right).asset("letters"), Vec::new()).unwrap();

        assert_eq!(lab.run().unwrap().value::<Option<String>>().as_deref(), Some("ab"));
    }
}

#[test]
fn the_place_is_that_of_the_definition() {
    let asset: Asset = Scatter::read(Letters).each((), picky).asset("letters");

    let error = Lab::new(asset.upstream("nothing"), Vec::new())
        .err()
        .unwrap()
        .to_string();

    assert!(error.contains("tests/scatter/authoring.rs:"), "{error}");
}
