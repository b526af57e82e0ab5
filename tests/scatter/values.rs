//! What a scatter makes, as it is stored and read again.

use std::sync::Arc;

use flowstone::fan_out::BarrierState;
use flowstone::prelude::*;
use flowstone::scatter::ResultCounts;
use serde::{Deserialize, Serialize};

use crate::support::{World, all, numbers};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Square {
    number: u64,
    square: f64,
}

async fn squared(number: Item<u64>) -> Result<Outcome<Square>> {
    match *number {
        5 => Err(Error::permanent("five is refused")),
        6 => Ok(Outcome::skip("six is nothing")),
        number => Ok(Outcome::Value(Square {
            number,
            square: (number * number) as f64,
        })),
    }
}

/// Counts the rows with a value, one by one.
async fn succeeded(mut squares: RowStream<Results<Square>>) -> Result<u64> {
    let (mut next, mut succeeded) = (0, 0);
    while let Some(row) = squares.next().await? {
        assert_eq!(row.index, next, "the rows come in order");
        next += 1;
        succeeded += u64::from(row.value.is_some());
    }
    Ok(succeeded)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outcomes_are_rows_of_any_io_manager() -> Result<()> {
    for io in ["json", "jsonl", "bincode", "parquet"] {
        let asset = Scatter::items("numbers", all)
            .each((), squared)
            .tolerate_count(1)
            .asset("squares")
            .io(io);
        let count = Asset::new("count")
            .upstream("squares")
            .run(|squares: Arc<Results<Square>>| async move { squares.counts().succeeded });
        let streamed = Asset::new("streamed").upstream("squares").run(succeeded);
        let world = World::new([numbers(1_500), asset, count, streamed]).await?;

        let report = world.run().await?;

        assert!(report.failures.is_empty(), "{io}: {report:?}");
        assert_eq!(world.state(&report).await?, BarrierState::Partial);
        let squares: Results<Square> = world.engine.load("squares", "").await?;
        let counts = ResultCounts {
            succeeded: 1_498,
            skipped: 1,
            failed: 1,
        };
        assert_eq!(squares.counts(), counts, "{io}");
        assert_eq!(squares.rows()[5].error.as_deref(), Some("five is refused"));
        assert_eq!(squares.rows()[6].skipped.as_deref(), Some("six is nothing"));
        let seven = Square {
            number: 7,
            square: 49.0,
        };
        assert_eq!(squares.rows()[7].value, Some(seven));
        assert_eq!(world.engine.load::<u64>("count", "").await?, 1_498);
        assert_eq!(world.engine.load::<u64>("streamed", "").await?, 1_498);
        let stored = world.head("squares").await?.stored;
        assert_eq!(stored.rows, Some(1_500));
        let manifest = stored.manifest.expect("results have a manifest");
        assert_eq!(manifest.read::<ResultCounts>()?, counts);
        assert_eq!(world.head("count").await?.stored.manifest, None);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outcomes_as_json_lines_are_a_file_that_others_read() -> Result<()> {
    let asset = Scatter::items("numbers", all)
        .each((), squared)
        .tolerate_count(1)
        .asset("squares")
        .io("jsonl");
    let world = World::new([numbers(10_000), asset]).await?;
    let squares: Results<Square> = world.make("squares").await?;

    let place = world.head("squares").await?.stored.address;
    let text = std::fs::read_to_string(world.data().join(place.place().expect("it is a file"))).expect("it is there");

    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("it is JSON"))
        .collect();
    assert_eq!(
        serde_json::to_value(&squares).expect("it is JSON"),
        serde_json::Value::Array(lines)
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_of_items_may_be_larger_than_what_lies_in_the_ledger() -> Result<()> {
    let asset = Scatter::items("numbers", all)
        .each((), |number: Item<u64>| async move { number.to_string().repeat(50_000) })
        .gather((), |mut gather: Gather<String>| async move {
            let mut longest = String::new();
            while let Some(text) = gather.next_value().await? {
                longest = longest.max(text);
            }
            Ok::<_, Error>(longest)
        })
        .asset("greatest");
    let world = World::new([numbers(10), asset]).await?;

    assert_eq!(world.make::<String>("greatest").await?, "9".repeat(50_000));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_is_no_json_fails_its_item() -> Result<()> {
    let asset = Scatter::items("numbers", all)
        .each((), |number: Item<u64>| async move { 1.0 / *number as f64 })
        .tolerate_count(1)
        .asset("inverse");
    let world = World::new([numbers(3), asset]).await?;

    let inverse: Results<f64> = world.make("inverse").await?;

    assert_eq!((inverse.counts().succeeded, inverse.counts().failed), (2, 1));
    assert!(inverse.rows()[0].error.is_some());
    Ok(())
}
