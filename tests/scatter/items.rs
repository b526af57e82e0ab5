//! What becomes of items, and what their functions see.

use std::sync::Arc;

use flowstone::asset::Outcome;
use flowstone::fan_out::BarrierState;
use flowstone::prelude::*;
use flowstone::scatter::Gathered;
use flowstone_core::run::RunState;

use crate::support::{Notes, World, all, numbers};

/// Each item as text, in the order in which it is gathered.
async fn told(gather: Gather<u64>) -> Result<Vec<String>> {
    let told = gather
        .collect()
        .await?
        .into_iter()
        .map(|Gathered { index, key, outcome }| match outcome {
            Ok(Outcome::Value(value)) => format!("{index} {key} {value}"),
            Ok(Outcome::Skipped(reason)) => format!("{index} {key} {reason}"),
            Err(error) => format!("{index} {key} {error}"),
        });
    Ok(told.collect())
}

/// Refuses 1, finds nothing in 2.
async fn picky(number: Item<u64>) -> Result<Outcome<u64>> {
    match *number {
        1 => Err(Error::permanent("one is refused")),
        2 => Ok(Outcome::skip("two is nothing")),
        other => Ok(Outcome::Value(other * 10)),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_number_of_items_is_gathered_in_order_and_what_is_downstream_runs() -> Result<()> {
    for count in [0, 1, 2_500] {
        let doubled = Scatter::items("numbers", all)
            .each((), |number: Item<u64>| async move { *number * 2 })
            .gather((), |mut gather: Gather<u64>| async move {
                let mut gathered = Vec::new();
                while let Some(value) = gather.next_value().await? {
                    gathered.push(value);
                }
                Ok::<_, Error>(gathered)
            })
            .asset("doubled");
        let total = Asset::new("total")
            .upstream("doubled")
            .run(|doubled: Arc<Vec<u64>>| async move { doubled.iter().sum::<u64>() });
        let world = World::new([numbers(count), doubled, total]).await?;

        let total: u64 = world.make("total").await?;

        assert_eq!(total, count * count.saturating_sub(1));
        let doubled: Vec<u64> = world.engine.load("doubled", "").await?;
        assert!(
            doubled
                .iter()
                .enumerate()
                .all(|(index, value)| *value == 2 * index as u64)
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_failed_is_gathered_where_it_may_and_nothing_is_where_it_may_not() -> Result<()> {
    let notes = Notes::default();
    let asset = |tolerated| {
        let notes = notes.clone();
        let scatter = Scatter::items("numbers", all).each((), picky).tolerate_count(tolerated);
        let gather = move |gather: Gather<u64>| {
            notes.add(&"gathered");
            told(gather)
        };
        scatter.gather((), gather).asset("told")
    };
    let world = World::new([numbers(4), asset(1)]).await?;
    let partial = world.run().await?;
    assert_eq!(world.state(&partial).await?, BarrierState::Partial);
    let told: Vec<String> = world.engine.load("told", "").await?;
    assert_eq!(told, ["0 0 0", "1 1 one is refused", "2 2 two is nothing", "3 3 30"]);
    assert_eq!(notes.take(), ["gathered"]);

    let world = World::new([numbers(4), asset(0)]).await?;
    let failed = world.run().await?;

    assert_eq!(
        (failed.state, world.state(&failed).await?),
        (RunState::Failed, BarrierState::Failed)
    );
    assert!(
        failed.failures[0].error.to_string().contains("one is refused"),
        "{failed:?}"
    );
    assert!(notes.take().is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_with_one_key_are_one_item_on_any_page() -> Result<()> {
    let asset = Scatter::items("numbers", all)
        .key(|number: &u64| number % 700)
        .each((), |number: Item<u64>| async move { *number })
        .fold(Vec::new(), |mut all: Vec<u64>, gathered| {
            all.extend(gathered.into_value());
            all
        })
        .page_len(1_000)
        .asset("distinct");
    let world = World::new([numbers(2_500), asset]).await?;

    let distinct: Vec<u64> = world.make("distinct").await?;

    assert_eq!(distinct, (0..700).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_items_of_a_list_are_items_of_their_own() -> Result<()> {
    let asset = Scatter::items((), || async { vec![7_u64; 1_500] })
        .each((), |number: Item<u64>| async move { *number })
        .reduce(|left, right| left + right)
        .asset("sum");
    let world = World::new([asset]).await?;

    assert_eq!(world.make::<Option<u64>>("sum").await?, Some(7 * 1_500));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_sixteen_mebibytes_fails_the_step_with_a_fix() -> Result<()> {
    let asset = Scatter::items("numbers", all)
        .key(|_: &u64| "k".repeat(16 << 20))
        .each((), picky)
        .asset("named");
    let world = World::new([numbers(3), asset]).await?;

    let report = world.run().await?;

    let error = &report.failures[0].error;
    assert_eq!((report.state, error.kind), (RunState::Failed, ErrorKind::LimitExceeded));
    assert!(error.fix.is_some() && error.message.len() < 500, "{error:?}");
    Ok(())
}

fn days() -> Daily {
    Daily::from("2013-01-01").until("2013-01-06")
}

#[asset(partitions = days())]
async fn flights(ctx: AssetContext) -> Vec<String> {
    let day = ctx.partition_label();
    vec![format!("{day} a"), format!("{day} b")]
}

#[asset]
async fn airlines() -> String {
    "airline".to_owned()
}

async fn flights_of(flights: Arc<Vec<String>>) -> Vec<String> {
    Vec::clone(&flights)
}

async fn last(flights: Arc<Vec<String>>, gather: Gather<String>) -> Result<Vec<String>> {
    let mut all: Vec<String> = gather
        .collect()
        .await?
        .into_iter()
        .filter_map(Gathered::into_value)
        .collect();
    all.push(format!("of {}", flights.len()));
    Ok(all)
}

/// Each flight of the day.
#[asset(partitions = days(), scatter(items = flights_of(flights), gather = last(flights) -> Vec<String>))]
async fn checked(ctx: AssetContext, flight: Item<String>, flights: Arc<Vec<String>>, airlines: Arc<String>) -> String {
    assert!(flights.contains(&flight));
    format!("{}: {} {airlines}", ctx.partition_label(), *flight)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scatter_of_a_partition_sees_it_and_what_is_pinned_for_it() -> Result<()> {
    let world = World::new(assets![flights, airlines, checked]).await?;

    let report = world.run().await?;

    assert!(report.failures.is_empty(), "{report:?}");
    assert_eq!(world.fan_outs(&report).await?.len(), 5);
    for day in ["2013-01-01", "2013-01-05"] {
        let made: Vec<String> = world.engine.load("checked", day).await?;
        let expected = [
            format!("{day}: {day} a airline"),
            format!("{day}: {day} b airline"),
            "of 2".to_owned(),
        ];
        assert_eq!(made, expected);
    }
    // Nothing changed, so nothing is made again.
    assert_eq!(world.run().await?.counts.succeeded, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scatters_within_items_are_gathered_within_them() -> Result<()> {
    let inner = Scatter::items((), |outer: Item<u64>| async move { (0..*outer).collect::<Vec<u64>>() })
        .each("factor", |number: Item<u64>, factor: Arc<u64>| async move {
            *number * *factor
        })
        .fold(0_u64, |sum, gathered| sum + gathered.into_value().unwrap_or(0));
    let asset = Scatter::items("numbers", all).each_scatter(inner).asset("sums");
    let factor = Asset::new("factor").run(|| async { 10_u64 });
    let world = World::new([numbers(40), factor, asset]).await?;

    let sums: Results<u64> = world.make("sums").await?;

    let expected: Vec<u64> = (0..40)
        .map(|outer: u64| 10 * outer * outer.saturating_sub(1) / 2)
        .collect();
    assert_eq!(sums.into_values().collect::<Vec<_>>(), expected);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inner_scatter_that_fails_fails_its_outer_item() -> Result<()> {
    let inner = Scatter::items((), |outer: Item<u64>| async move { vec![*outer] }).each((), picky);
    let asset = Scatter::items("numbers", all)
        .each_scatter(inner.reduce(|left, _| left))
        .tolerate_count(1)
        .asset("nested");
    let world = World::new([numbers(4), asset]).await?;

    let nested: Results<Option<u64>> = world.make("nested").await?;

    assert_eq!((nested.counts().succeeded, nested.counts().failed), (3, 1));
    let error = nested.rows()[1].error.as_deref().unwrap_or_default();
    assert!(error.contains("one is refused"), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_failed_is_redriven_alone_and_gathered_with_the_rest() -> Result<()> {
    let notes = Notes::default();
    let is_mended = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (noted, mended) = (notes.clone(), Arc::clone(&is_mended));
    let asset = Scatter::items("numbers", all)
        .each((), move |number: Item<u64>| {
            noted.add(&*number);
            let is_refused = *number % 10 == 3 && !mended.load(std::sync::atomic::Ordering::SeqCst);
            async move {
                match is_refused {
                    true => Err(Error::permanent("a three")),
                    false => Ok(*number),
                }
            }
        })
        .reduce(|left, right| left + right)
        .tolerate(0.1)
        .asset("sum");
    let world = World::new([numbers(50), asset]).await?;
    let first = world.run().await?;
    let row = world.fan_outs(&first).await?.remove(0);
    assert_eq!((row.state, row.counts.failed), (BarrierState::Partial, 5));
    assert_eq!(notes.take().len(), 50);
    is_mended.store(true, std::sync::atomic::Ordering::SeqCst);

    let second = world.engine.redrive_fan_out(row.fan_out).await?.wait().await?;

    assert_eq!(second.state, RunState::Succeeded, "{second:?}");
    let mut again = notes.take();
    again.sort();
    assert_eq!(again, ["13", "23", "3", "33", "43"]);
    assert_eq!(world.engine.load::<Option<u64>>("sum", "").await?, Some(49 * 50 / 2));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_deadline_of_the_asset_is_that_of_the_whole() -> Result<()> {
    let asset = Scatter::items("numbers", all)
        .each((), |_: Item<u64>| async { std::future::pending::<u64>().await })
        .asset("endless")
        .deadline(Duration::from_millis(300))
        .retry(Retry::never());
    let world = World::new([numbers(3), asset]).await?;

    let report = world.engine.run(world.everything()).await?;

    assert_eq!(report.state, RunState::Failed);
    assert_eq!(report.failures[0].error.kind, ErrorKind::TimedOut, "{report:?}");
    Ok(())
}
