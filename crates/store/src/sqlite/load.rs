//! Fills in what the writer must know to decide about a group, where it does not remember it.
//!
//! In the steady state there is nothing to load: a run is loaded once, an asset's status once, and a chunk number that
//! was never claimed needs no question.

mod fan_out;

use std::collections::{BTreeMap, HashSet};

use flowstone_core::store::{ChunkState, Record};
use flowstone_core::{AssetId, ChunkNo, CodeVersion, FanOutId, Incarnation, Result, RunId, Version};
use sqlx::{Row, SqliteConnection};

use self::fan_out::Asked;
use super::batch::Rows;
use super::cache::{Cache, CachedRun, ChunkKey, KnownRun, Marks};
use super::row::{array, asset_id, chunk_row, number, set, set_or_empty, small};
use super::word;
use crate::error::{corrupt, sort};

/// The part that is always remembered.
pub(super) async fn base(connection: &mut SqliteConnection) -> Result<Cache> {
    const ASK: &str = "SELECT (SELECT count(*) FROM asset), (SELECT coalesce(max(id), -1) + 1 FROM run),
                              (SELECT coalesce(max(id), -1) + 1 FROM fan_out)";
    let (asset_count, run_next, fan_out_next): (i64, i64, i64) =
        sqlx::query_as(ASK).fetch_one(&mut *connection).await.map_err(sort)?;
    let asset_count = u32::try_from(asset_count).map_err(|error| corrupt("number of assets", error))?;
    let mut cache = Cache {
        asset_count,
        run_next,
        fan_out_next,
        ..Cache::default()
    };
    let codes = sqlx::query("SELECT id, version FROM code")
        .fetch_all(connection)
        .await
        .map_err(sort)?;
    for row in codes {
        let version = CodeVersion(u128::from_be_bytes(array("code version", &row, 1)?));
        cache.codes.insert(version, row.try_get(0).map_err(sort)?);
    }
    Ok(cache)
}

/// An attempt at a step: run, asset, partition, number.
pub(super) type Attempt = (RunId, AssetId, u64, u32);

/// What of a group the ledger has already.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) idempotency_keys: HashSet<String>,
    /// Attempts that have failed.
    pub(super) failed: HashSet<Attempt>,
    /// The fan-outs that were loaded for it.
    pub(super) fan_outs: Vec<FanOutId>,
}

/// Loads into `cache` what `records` ask about, and gives what of them is there already.
pub(super) async fn load(connection: &mut SqliteConnection, cache: &mut Cache, records: &[Record]) -> Result<Kept> {
    let mut kept = Kept::default();
    let mut attempts = Vec::new();
    let mut touched = HashSet::new();
    let mut fan_outs = Asked::default();
    for record in records {
        match record {
            Record::RunCreated(row) => {
                run(connection, cache, row.run).await?;
                if let Some(key) = &row.idempotency_key
                    && is_taken(connection, key).await?
                {
                    kept.idempotency_keys.insert(key.clone());
                }
            }
            Record::RunPlanned { run: id, .. }
            | Record::RunTaken { run: id, .. }
            | Record::RunMoved { run: id, .. } => {
                run(connection, cache, *id).await?;
            }
            Record::ChunkClaimed(claim) => {
                run(connection, cache, claim.run).await?;
                ended_chunk(connection, cache, claim.run, (claim.asset, claim.chunk)).await?;
            }
            Record::ChunkProgress(progress) => {
                run(connection, cache, progress.run).await?;
                touched.insert(progress.asset);
                touched.extend(progress.materialized.iter().map(|made| made.asset));
                touched.extend(progress.outdated.iter().map(|(asset, _)| *asset));
                for failure in &progress.failed {
                    touched.insert(failure.asset);
                    attempts.push((progress.run, failure.asset, failure.partition, failure.attempt));
                }
            }
            Record::FanOutOpened(opened) => {
                run(connection, cache, opened.lead.run).await?;
                fan_outs.ones.insert(opened.fan_out);
                fan_outs.ones.extend(opened.parent.map(|(parent, _)| parent));
            }
            Record::FanOutReopened(reopened) => {
                run(connection, cache, reopened.lead.run).await?;
                fan_outs.whole.insert(reopened.fan_out);
            }
            Record::FanOutProgress(progress) => {
                run(connection, cache, progress.lead.run).await?;
                fan_outs.ones.insert(progress.fan_out);
            }
        }
    }
    statuses(connection, cache, touched).await?;
    kept.fan_outs = fan_outs.load(connection, cache).await?;
    kept.failed = failed(connection, cache, &attempts).await?;
    Ok(kept)
}

/// Those of `attempts` that the ledger has as failed.
async fn failed(connection: &mut SqliteConnection, cache: &Cache, attempts: &[Attempt]) -> Result<HashSet<Attempt>> {
    let mut rows = Rows::default();
    for (run, asset, partition, attempt) in attempts {
        let number = cache.runs.get(run).map_or(-1, |cached| cached.known.number);
        // A partition that does not fit is refused later.
        let partition = i64::try_from(*partition).unwrap_or(-1);
        rows.row()
            .int(number)
            .int(asset.0.into())
            .int(partition)
            .int((*attempt).into());
    }
    let Some(rows) = rows.into_json() else {
        return Ok(HashSet::new());
    };
    const ASK: &str = "SELECT asked.key FROM jsonb_each(?) AS asked JOIN step_failure AS known
                       ON known.run = asked.value->>0 AND known.asset = asked.value->>1
                          AND known.partition = asked.value->>2 AND known.attempt = asked.value->>3";
    let found: Vec<i64> = sqlx::query_scalar(ASK)
        .bind(rows)
        .fetch_all(connection)
        .await
        .map_err(sort)?;
    let attempt = |place: i64| {
        let place = usize::try_from(place).ok();
        place.and_then(|place| attempts.get(place)).copied()
    };
    Ok(found.into_iter().filter_map(attempt).collect())
}

async fn is_taken(connection: &mut SqliteConnection, key: &str) -> Result<bool> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM run WHERE idempotency_key = ?)")
        .bind(key)
        .fetch_one(connection)
        .await
        .map_err(sort)
}

async fn run(connection: &mut SqliteConnection, cache: &mut Cache, run: RunId) -> Result<()> {
    if cache.runs.contains_key(&run) {
        return Ok(());
    }
    let found: Option<(i64, i64, i64)> = sqlx::query_as("SELECT id, state, incarnation FROM run WHERE run = ?")
        .bind(&run.0.as_bytes()[..])
        .fetch_optional(&mut *connection)
        .await
        .map_err(sort)?;
    let Some((id, state, incarnation)) = found else {
        return Ok(());
    };
    let mut cached = CachedRun::new(KnownRun {
        number: id,
        state: word::run_state(state)?,
        incarnation: Incarnation(small("incarnation", incarnation)?),
    });

    let last: Vec<(i64, i64)> = sqlx::query_as("SELECT asset, max(chunk) FROM chunk WHERE run = ? GROUP BY asset")
        .bind(id)
        .fetch_all(&mut *connection)
        .await
        .map_err(sort)?;
    for (asset, chunk) in last {
        cached
            .last_chunks
            .insert(asset_id(asset)?, ChunkNo(number("chunk number", chunk)?));
    }

    let rows = sqlx::query("SELECT * FROM chunk WHERE run = ? AND state = ?")
        .bind(id)
        .bind(word::CHUNK_RUNNING)
        .fetch_all(connection)
        .await
        .map_err(sort)?;
    for row in rows {
        let chunk = chunk_row(run, &row)?;
        cached.chunks.insert((chunk.claim.asset, chunk.claim.chunk), chunk);
    }
    cache.runs.insert(run, cached);
    Ok(())
}

/// Loads a chunk that is ended and about to be claimed again.
async fn ended_chunk(connection: &mut SqliteConnection, cache: &mut Cache, run: RunId, key: ChunkKey) -> Result<()> {
    let Some(cached) = cache.runs.get_mut(&run).filter(|cached| cached.may_have_ended(key)) else {
        return Ok(());
    };
    let found = sqlx::query("SELECT * FROM chunk WHERE run = ? AND asset = ? AND chunk = ?")
        .bind(cached.known.number)
        .bind(i64::from(key.0.0))
        .bind(i64::try_from(key.1.0).unwrap_or(i64::MAX))
        .fetch_optional(connection)
        .await
        .map_err(sort)?;
    if let Some(row) = found {
        let chunk = chunk_row(run, &row)?;
        debug_assert_eq!(chunk.state, ChunkState::Ended, "running chunks are remembered");
        cached.chunks.insert(key, chunk);
    }
    Ok(())
}

/// Loads the status of those of `touched` that are not remembered, with one statement for all of them.
pub(super) async fn statuses(
    connection: &mut SqliteConnection,
    cache: &mut Cache,
    touched: HashSet<AssetId>,
) -> Result<()> {
    let mut unknown = Rows::default();
    for asset in touched {
        if asset.0 < cache.asset_count && !cache.marks.contains_key(&asset) {
            unknown.row().int(asset.0.into());
            cache.marks.insert(asset, BTreeMap::new());
        }
    }
    let Some(unknown) = unknown.into_json() else {
        return Ok(());
    };
    const ASK: &str = "SELECT 0, hi, head_set.version, code.version, partitions, asset
                       FROM jsonb_each(?1) AS asked CROSS JOIN head_set ON asset = asked.value->>0
                       JOIN code ON code.id = head_set.code
                       UNION ALL SELECT kind, hi, NULL, NULL, partitions, asset
                       FROM jsonb_each(?1) AS asked CROSS JOIN status_set ON asset = asked.value->>0";
    let rows = sqlx::query(ASK)
        .bind(unknown)
        .fetch_all(connection)
        .await
        .map_err(sort)?;
    for row in rows {
        let piece = number("piece", row.try_get(1).map_err(sort)?)?;
        let asset = asset_id(row.try_get(5).map_err(sort)?)?;
        let marks: &mut Marks = cache.marks.entry(asset).or_default().entry(piece).or_default();
        match row.try_get::<i64, _>(0).map_err(sort)? {
            word::STATUS_HEAD => {
                let version = Version(number("version", row.try_get(2).map_err(sort)?)?);
                let code = CodeVersion(u128::from_be_bytes(array("code version", &row, 3)?));
                marks.heads.insert((version, code), set(&row, 4)?);
            }
            word::STATUS_FAILED => marks.failed = set_or_empty(&row, 4)?,
            word::STATUS_STALE => marks.stale = set_or_empty(&row, 4)?,
            other => return Err(corrupt("status", format!("{other} stands for no kind"))),
        }
    }
    Ok(())
}
