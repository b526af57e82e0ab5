//! Scatters that an engine leaves behind, and the next one goes on with.

use flowstone::prelude::*;
use flowstone_core::run::RunState;

use crate::support::{Notes, World};

/// Numbers that are asked for again after a restart, each with what all share.
fn shared_sum(notes: &Notes, first: u64, delay: Duration) -> Asset {
    let (of_items, of_shared, of_each) = (notes.clone(), notes.clone(), notes.clone());
    Scatter::items((), move || {
        of_items.add(&"items");
        async move { (first..first + 400).collect::<Vec<u64>>() }
    })
    .shared((), move || {
        of_shared.add(&"shared");
        async { 1_000_u64 }
    })
    .each((), move |number: Item<u64>, shared: Shared<u64>| {
        of_each.add(&*number);
        async move {
            tokio::time::sleep(delay).await;
            *number + *shared
        }
    })
    .reduce(|left, right| left + right)
    .page_len(100)
    .max_concurrent(20)
    .asset("sum")
}

/// Runs until some items have ended, then stops.
async fn stopped_half_way(notes: &Notes) -> Result<World> {
    // A second in all, of which a fifth has passed when it is stopped.
    let world = World::new([shared_sum(notes, 0, Duration::from_millis(50))]).await?;
    let run = world.engine.submit(world.everything()).await?;
    while notes.count() < 60 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(run);
    Ok(world)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_shared_is_evaluated_once_and_ended_items_do_not_run_again() -> Result<()> {
    let notes = Notes::default();
    let world = stopped_half_way(&notes).await?;

    let world = world.reopened([shared_sum(&notes, 0, Duration::ZERO)]).await?;

    let report = world.engine.recovered()[0].wait().await?;
    assert_eq!(report.state, RunState::Succeeded, "{report:?}");
    let sum: Option<u64> = world.engine.load("sum", "").await?;
    assert_eq!(sum, Some(399 * 400 / 2 + 400 * 1_000));
    let noted = notes.take();
    let times = |what: &str| noted.iter().filter(|note| *note == what).count();
    assert_eq!(times("shared"), 1);
    assert!((1..=2).contains(&times("items")));
    let calls = noted.len() - times("shared") - times("items");
    assert!((400..=420).contains(&calls), "{calls} calls for 400 items, 20 at once");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_is_another_one_after_a_restart_fails_the_step() -> Result<()> {
    let notes = Notes::default();
    let asset = |first: u64, delay| {
        let notes = notes.clone();
        // Few items are read ahead, so that some are still to be read when it stops.
        Scatter::items((), move || async move { (first..first + 5_000).collect::<Vec<u64>>() })
            .each((), move |number: Item<u64>| {
                notes.add(&*number);
                async move {
                    tokio::time::sleep(delay).await;
                    *number
                }
            })
            .page_len(50)
            .max_concurrent(5)
            .asset("listed")
    };
    let world = World::new([asset(0, Duration::from_millis(20))]).await?;
    let run = world.engine.submit(world.everything()).await?;
    while notes.count() < 10 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(run);

    let world = world.reopened([asset(1, Duration::ZERO)]).await?;

    let report = world.engine.recovered()[0].wait().await?;
    assert_eq!(report.state, RunState::Failed, "{report:?}");
    let error = &report.failures[0].error;
    assert!(
        error.message.contains("gave other items than it did before"),
        "{error:?}"
    );
    assert_eq!(report.failures[0].attempt, 1, "it is not tried again");
    Ok(())
}
