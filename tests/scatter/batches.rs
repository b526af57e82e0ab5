//! Functions that are called for several items, in the engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use flowstone::ErrorClass;
use flowstone::prelude::*;
use flowstone_core::run::RunState;

use crate::support::{Notes, World, all, numbers};

/// Notes the items of each call, and gives each back.
fn noting(notes: &Notes) -> impl Fn(ItemBatch<u64>) -> std::future::Ready<Vec<u64>> + Send + Sync + 'static {
    let notes = notes.clone();
    move |numbers| {
        let values: Vec<u64> = numbers.iter().map(|number| **number).collect();
        notes.add(&format!("{values:?}"));
        std::future::ready(values)
    }
}

async fn calls_of(count: u64, batches: Batches, page_len: u32) -> Result<Vec<String>> {
    let notes = Notes::default();
    let asset = Scatter::items("numbers", all)
        .each_batch(batches, (), noting(&notes))
        .reduce(|left, right| left + right)
        .page_len(page_len)
        .asset("sum");
    let world = World::new([numbers(count), asset]).await?;
    let sum: Option<u64> = world.make("sum").await?;
    assert_eq!(sum.unwrap_or(0), count * count.saturating_sub(1) / 2);
    let mut calls = notes.take();
    calls.sort_by_key(|call| (call.len(), call.clone()));
    Ok(calls)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_one_less_than_a_batch_exactly_one_and_one_more() -> Result<()> {
    for (count, calls) in [(0, 0), (1, 1), (9, 1), (10, 1), (11, 2)] {
        assert_eq!(
            calls_of(count, Batches::default(), 1_000).await?.len(),
            calls,
            "{count}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_batch_spans_two_pages() -> Result<()> {
    let calls = calls_of(7, Batches::count(3), 4).await?;

    assert_eq!(calls, ["[3]", "[0, 1, 2]", "[4, 5, 6]"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_of_a_group_stand_together() -> Result<()> {
    let calls = calls_of(7, Batches::group(|number: &u64| number % 3).count_max(2), 1_000).await?;

    assert_eq!(calls, ["[6]", "[0, 3]", "[1, 4]", "[2, 5]"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_grow_until_a_call_takes_as_long_as_it_should() -> Result<()> {
    let calls = calls_of(600, Batches::adaptive(Duration::from_secs(5), 50), 1_000).await?;

    let longest = calls.iter().map(|call| call.split(',').count()).max();
    assert!(longest > Some(8) && longest <= Some(50), "{calls:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_that_leave_items_out_fail_the_step_by_name() -> Result<()> {
    let asset = Scatter::items("numbers", all)
        .each_batch(
            Batches::custom(|items: &[u64]| Ok(vec![(1..items.len()).collect()])),
            (),
            noting(&Notes::default()),
        )
        .asset("dropped");
    let world = World::new([numbers(3), asset]).await?;

    let report = world.run().await?;

    let error = &report.failures[0].error;
    assert_eq!((report.state, error.class), (RunState::Failed, ErrorClass::Contract));
    assert!(error.message.contains("leave out \"0\""), "{error:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_fails_is_made_again_for_the_same_items_and_one_item_alone() -> Result<()> {
    let notes = Notes::default();
    let (noted, was_down) = (notes.clone(), Arc::new(AtomicBool::new(false)));
    let asset = Scatter::items("numbers", all)
        .each_batch(
            Batches::count(3),
            (),
            move |numbers: ItemBatch<u64>, ctx: AssetContext| {
                let values: Vec<u64> = numbers.iter().map(|number| **number).collect();
                noted.add(&format!("{values:?}"));
                let is_down = values.contains(&0) && !was_down.swap(true, Ordering::SeqCst);
                async move {
                    if is_down {
                        return Err(Error::transient("not yet"));
                    }
                    let mut outcomes = ItemOutcomes::new();
                    for number in &numbers {
                        match **number {
                            4 if ctx.attempt() == 1 => outcomes.fail(number, Error::transient("four takes two")),
                            value => outcomes.value(number, value),
                        }
                    }
                    Ok(outcomes)
                }
            },
        )
        .retry(Retry::exponential(3).between(Duration::ZERO, Duration::ZERO))
        .reduce(|left, right| left + right)
        .asset("sum");
    let world = World::new([numbers(6), asset]).await?;

    assert_eq!(world.make::<Option<u64>>("sum").await?, Some(15));
    let mut calls = notes.take();
    calls.sort();
    assert_eq!(calls, ["[0, 1, 2]", "[0, 1, 2]", "[3, 4, 5]", "[4]"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_tolerated_counts_items() -> Result<()> {
    let asset = |tolerated| {
        Scatter::items("numbers", all)
            .each_batch(Batches::count(5), (), |numbers: ItemBatch<u64>| async move {
                match *numbers[0] {
                    0 => Err(Error::permanent("the first batch fails")),
                    _ => Ok(numbers.iter().map(|number| **number).collect::<Vec<u64>>()),
                }
            })
            .tolerate_count(tolerated)
            .asset("kept")
    };

    let four = World::new([numbers(10), asset(4)]).await?.run().await?;
    let five = World::new([numbers(10), asset(5)]).await?.run().await?;

    assert_eq!((four.state, five.state), (RunState::Failed, RunState::Succeeded));
    Ok(())
}
