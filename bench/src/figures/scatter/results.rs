//! `results_jsonl_1m_s`, `results_parquet_1m_s` and `results_1m_rss_mb`: what it costs to keep the results of a million items
//! as they are, a row for each, instead of gathering them.
//!
//! An item gives a row of a number and two texts. Each round is a process of its own; the time is that of the whole run: items,
//! barrier, and the file with all rows.

use std::path::Path;

use flowstone::prelude::Parquet;
use flowstone_core::partition::PartitionSet;
use flowstone_core::pipeline::Pipeline;
use flowstone_core::store::Store as _;
use flowstone_core::{Error, ErrorKind, Result};
use flowstone_io_object::ObjectFormats;
use flowstone_readers::Jsonl;
use flowstone_scatter::{Item, Scatter};
use flowstone_store::SqliteStore;
use serde::{Deserialize, Serialize};

use super::{CHILD_ARGUMENT, ITEMS, Line, write_lines};
use crate::figures::{Figure, Measured, Setup};
use crate::{child, disk, engine, machine, rounds};

const ROUNDS: usize = 3;

pub(crate) const JSONL: Figure = Figure {
    name: "results_jsonl_1m_s",
    unit: "s",
    what: "1,000,000 items, their results as a file of JSON lines",
    measure: |setup| time(setup, "jsonl"),
};

pub(crate) const PARQUET: Figure = Figure {
    name: "results_parquet_1m_s",
    unit: "s",
    what: "1,000,000 items, their results as a Parquet file",
    measure: |setup| time(setup, "parquet"),
};

pub(crate) const MEMORY: Figure = Figure {
    name: "results_1m_rss_mb",
    unit: "MB",
    what: "most memory of the processes that do it",
    measure: memory,
};

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Row {
    number: u64,
    name: String,
    kind: Option<String>,
}

async fn row(line: Item<Line>) -> Row {
    let number = line.into_inner().n;
    Row {
        number,
        name: format!("item {number}"),
        kind: number.is_multiple_of(2).then(|| "even".to_owned()),
    }
}

/// Seconds, megabytes of memory, bytes of the file.
fn measure(setup: &Setup, io: &str) -> Result<[f64; 3]> {
    let folder = setup.new_folder()?;
    let lines = folder.path().join("items.jsonl");
    write_lines(&lines, ITEMS)?;
    child::ask([
        CHILD_ARGUMENT.as_ref(),
        "results".as_ref(),
        io.as_ref(),
        lines.as_os_str(),
        folder.path().join("state").as_os_str(),
    ])
}

fn time(setup: &Setup, io: &str) -> Result<Measured> {
    let (mut seconds, mut bytes) = (Vec::new(), 0.0);
    for _ in 0..ROUNDS {
        let [took, _, size] = measure(setup, io)?;
        seconds.push(took);
        bytes = size;
    }
    Ok(Measured {
        value: Some(rounds::median(seconds)),
        rounds: ROUNDS,
        doubt: None,
        note: format!("the file has {:.0} MB", bytes / 1e6),
    })
}

fn memory(setup: &Setup) -> Result<Measured> {
    let [_, jsonl, _] = measure(setup, "jsonl")?;
    let [_, parquet, _] = measure(setup, "parquet")?;
    Ok(Measured {
        value: Some(jsonl.max(parquet)),
        rounds: 1,
        doubt: None,
        note: format!("{jsonl:.0} MB for JSON lines, {parquet:.0} for Parquet"),
    })
}

async fn rows_stored(state: &Path) -> Result<Option<u64>> {
    let store = SqliteStore::open(state).await?;
    let mut rows = None;
    for asset in store.assets().await? {
        for head in store.heads(asset.id, &PartitionSet::single(0)).await? {
            rows = head.stored.rows;
        }
    }
    store.close().await?;
    Ok(rows)
}

/// The child.
pub(super) async fn run(io: &str, lines: &Path, state: &Path) -> Result<Vec<f64>> {
    let scatter = Scatter::read(Jsonl::file(lines)).each((), row);
    let asset = scatter.asset("rows").io(io.to_owned());
    let pipeline = Pipeline::builder("results")
        .plugin(ObjectFormats)
        .plugin(Parquet::default())
        .assets([asset])
        .build()?;
    let round = engine::durable(&pipeline, &engine::all_assets(&pipeline), 1, state).await?;
    let rss_mb = machine::memory_most_mb().unwrap_or(f64::NAN);
    let bytes = disk::bytes_below(&state.join("data"))?;
    let rows = rows_stored(state).await?;
    if rows != Some(ITEMS) {
        return Err(Error::new(ErrorKind::Internal, format!("{rows:?} rows were stored")));
    }
    Ok(vec![round.wall.as_secs_f64(), rss_mb, bytes as f64])
}
