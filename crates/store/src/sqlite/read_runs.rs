//! The questions about runs, their chunks, failures and events, and about the ledger's size.

use std::collections::BTreeMap;

use flowstone_core::run::RunState;
use flowstone_core::store::{ChunkRow, Event, RunFilter, RunRow, StepFailure, StoreStats};
use flowstone_core::{Result, RunId};
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, SqlitePool};

use super::row::{RUN_COLUMNS, chunk_row, event, number, run_row, step_failure};
use super::{schema, word};
use crate::error::sort;

pub(super) async fn runs(readers: &SqlitePool, filter: RunFilter, count_max: usize) -> Result<Vec<RunRow>> {
    // Ids sort by the time they were made.
    let which = match filter {
        RunFilter::All => "WHERE request IS NOT NULL ORDER BY run.run DESC",
        RunFilter::Open => "WHERE state < 4 ORDER BY run.run",
    };
    let ask = format!("SELECT {RUN_COLUMNS} FROM run LEFT JOIN run_plan ON run_plan.run = run.id {which} LIMIT ?");
    let asked = sqlx::query(AssertSqlSafe(ask)).bind(limit(count_max));
    asked
        .fetch_all(readers)
        .await
        .map_err(sort)?
        .iter()
        .map(run_row)
        .collect()
}

pub(super) async fn run(readers: &SqlitePool, run: RunId) -> Result<Option<RunRow>> {
    let ask = format!(
        "SELECT {RUN_COLUMNS} FROM run LEFT JOIN run_plan ON run_plan.run = run.id
         WHERE run.run = ? AND request IS NOT NULL"
    );
    let asked = sqlx::query(AssertSqlSafe(ask)).bind(&run.0.as_bytes()[..]);
    one_run(asked.fetch_optional(readers).await.map_err(sort)?.as_ref())
}

pub(super) async fn run_state(readers: &SqlitePool, run: RunId) -> Result<Option<RunState>> {
    let asked = sqlx::query_scalar("SELECT state FROM run WHERE run = ?").bind(&run.0.as_bytes()[..]);
    let state: Option<i64> = asked.fetch_optional(readers).await.map_err(sort)?;
    state.map(word::run_state).transpose()
}

pub(super) async fn run_by_key(readers: &SqlitePool, idempotency_key: &str) -> Result<Option<RunRow>> {
    let ask =
        format!("SELECT {RUN_COLUMNS} FROM run LEFT JOIN run_plan ON run_plan.run = run.id WHERE idempotency_key = ?");
    let asked = sqlx::query(AssertSqlSafe(ask)).bind(idempotency_key);
    one_run(asked.fetch_optional(readers).await.map_err(sort)?.as_ref())
}

fn one_run(row: Option<&SqliteRow>) -> Result<Option<RunRow>> {
    row.map(run_row).transpose()
}

pub(super) async fn chunks(readers: &SqlitePool, run: RunId) -> Result<Vec<ChunkRow>> {
    const ASK: &str = "SELECT chunk.* FROM run JOIN chunk ON chunk.run = run.id WHERE run.run = ?
                       ORDER BY asset, chunk";
    let asked = sqlx::query(ASK).bind(&run.0.as_bytes()[..]);
    asked
        .fetch_all(readers)
        .await
        .map_err(sort)?
        .iter()
        .map(|row| chunk_row(run, row))
        .collect()
}

pub(super) async fn failures(readers: &SqlitePool, run: RunId) -> Result<Vec<StepFailure>> {
    const ASK: &str = "SELECT asset, partition, attempt, is_final, at_ns, step_failure.error
                       FROM run JOIN step_failure ON step_failure.run = run.id WHERE run.run = ?
                       ORDER BY step_failure.id";
    let asked = sqlx::query(ASK).bind(&run.0.as_bytes()[..]);
    asked
        .fetch_all(readers)
        .await
        .map_err(sort)?
        .iter()
        .map(step_failure)
        .collect()
}

pub(super) async fn events(readers: &SqlitePool, after: u64, count_max: usize) -> Result<Vec<Event>> {
    const ASK: &str = "SELECT sequence, at_ns, run.run, kind, asset, detail FROM event JOIN run ON run.id = event.run
                       WHERE sequence > ? ORDER BY sequence LIMIT ?";
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let asked = sqlx::query(ASK).bind(after).bind(limit(count_max));
    asked
        .fetch_all(readers)
        .await
        .map_err(sort)?
        .iter()
        .map(event)
        .collect()
}

/// Counts rows and bytes. Reads the whole file, so it is for people and not for a hot path.
pub(super) async fn stats(readers: &SqlitePool) -> Result<StoreStats> {
    const TABLES: &str = "SELECT part.tbl_name, sum(size.pgsize)
                          FROM sqlite_schema AS part LEFT JOIN dbstat AS size
                              ON size.name = part.name AND size.aggregate = 1
                          WHERE part.type IN ('table', 'index') AND part.tbl_name NOT LIKE 'sqlite_%'
                          GROUP BY part.tbl_name";
    const BYTES: &str = "SELECT page_count * page_size, freelist_count * page_size
                         FROM pragma_page_count, pragma_freelist_count, pragma_page_size";
    let sizes: Vec<(String, Option<i64>)> = sqlx::query_as(TABLES).fetch_all(readers).await.map_err(sort)?;
    let mut tables = BTreeMap::new();
    for (table, bytes) in sizes {
        // The names are those of our own schema.
        let ask = format!("SELECT count(*) FROM {table}");
        let rows: i64 = sqlx::query_scalar(AssertSqlSafe(ask))
            .fetch_one(readers)
            .await
            .map_err(sort)?;
        let bytes = bytes.map(|bytes| number("size", bytes)).transpose()?;
        tables.insert(table, (number("number of rows", rows)?, bytes));
    }
    let (bytes, free): (i64, i64) = sqlx::query_as(BYTES).fetch_one(readers).await.map_err(sort)?;
    Ok(StoreStats {
        schema_version: schema::newest(),
        tables,
        bytes: number("size", bytes)?,
        free_bytes: number("size", free)?,
    })
}

fn limit(count_max: usize) -> i64 {
    i64::try_from(count_max).unwrap_or(i64::MAX)
}
