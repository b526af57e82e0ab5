//! The questions about assets, materializations and lineage.

use std::collections::HashMap;

use flowstone_core::partition::PartitionSet;
use flowstone_core::store::{AssetRow, AssetStatus, HeadSet, LineageInput, Materialization, Versions};
use flowstone_core::{AssetId, AssetKey, CodeVersion, Result, Version};
use sqlx::sqlite::SqliteExecutor;
use sqlx::{AssertSqlSafe, Row, SqlitePool};

use super::batch::Rows;
use super::cache::piece_of;
use super::row::{
    INPUT_COLUMNS, MADE_COLUMNS, array, asset_id, json, lineage_input, materialization, number, set, set_or_empty,
};
use super::span::classes_of;
use super::word;
use crate::error::{corrupt, sort};

pub(super) async fn assets(executor: impl SqliteExecutor<'_>) -> Result<Vec<AssetRow>> {
    let rows: Vec<(i64, String, String, bool)> =
        sqlx::query_as("SELECT id, key, space, is_former FROM asset ORDER BY id")
            .fetch_all(executor)
            .await
            .map_err(sort)?;
    rows.into_iter()
        .map(|(id, key, space, is_former)| {
            let key = AssetKey::new(key).map_err(|error| corrupt("asset name", error))?;
            Ok(AssetRow {
                id: asset_id(id)?,
                key,
                space: json("partition space", space.as_bytes())?,
                is_former,
            })
        })
        .collect()
}

pub(super) async fn statuses(readers: &SqlitePool, assets: &[AssetId]) -> Result<Vec<AssetStatus>> {
    let statuses = statuses_between(readers, assets, (0, i64::MAX)).await?;
    let status = |asset| statuses.get(asset).cloned().unwrap_or_default();
    Ok(assets.iter().map(status).collect())
}

/// The status of the pieces from `pieces.0` to `pieces.1`; one statement, so all is of one moment.
async fn statuses_between(
    readers: &SqlitePool,
    assets: &[AssetId],
    pieces: (i64, i64),
) -> Result<HashMap<AssetId, AssetStatus>> {
    const ASK: &str = "SELECT 0, asset, head_set.version, code.version, partitions
                       FROM head_set JOIN code ON code.id = head_set.code
                       WHERE asset IN (SELECT value FROM json_each(?1)) AND hi BETWEEN ?2 AND ?3
                       UNION ALL SELECT kind, asset, NULL, NULL, partitions FROM status_set
                       WHERE asset IN (SELECT value FROM json_each(?1)) AND hi BETWEEN ?2 AND ?3";
    let wanted: Vec<_> = assets.iter().map(|asset| asset.0).collect();
    let wanted = serde_json::to_string(&wanted).map_err(|error| corrupt("asset ids", error))?;
    let asked = sqlx::query(ASK).bind(wanted).bind(pieces.0).bind(pieces.1);
    let mut statuses = HashMap::<AssetId, AssetStatus>::new();
    for row in asked.fetch_all(readers).await.map_err(sort)? {
        let asset = asset_id(row.try_get(1).map_err(sort)?)?;
        let status = statuses.entry(asset).or_default();
        match row.try_get::<i64, _>(0).map_err(sort)? {
            word::STATUS_HEAD => {
                let version = Version(number("version", row.try_get(2).map_err(sort)?)?);
                let code_version = CodeVersion(u128::from_be_bytes(array("code version", &row, 3)?));
                add_head(
                    &mut status.heads,
                    HeadSet {
                        version,
                        code_version,
                        partitions: set(&row, 4)?,
                    },
                );
            }
            word::STATUS_FAILED => status.failed.union_with(&set_or_empty(&row, 4)?),
            word::STATUS_STALE => status.stale.union_with(&set_or_empty(&row, 4)?),
            other => return Err(corrupt("status", format!("{other} stands for no kind"))),
        }
    }
    Ok(statuses)
}

/// Keeps the sets sorted by version and code, one for each.
fn add_head(heads: &mut Vec<HeadSet>, piece: HeadSet) {
    match heads.binary_search_by_key(&(piece.version, piece.code_version), |head| {
        (head.version, head.code_version)
    }) {
        Ok(found) => heads[found].partitions.union_with(&piece.partitions),
        Err(place) => heads.insert(place, piece),
    }
}

/// Materializations never change, so it does no harm that the heads are asked a moment earlier.
pub(super) async fn heads(
    readers: &SqlitePool,
    asset: AssetId,
    partitions: &PartitionSet,
) -> Result<Vec<Materialization>> {
    let (Some(min), Some(max)) = (partitions.min(), partitions.max()) else {
        return Ok(Vec::new());
    };
    let pieces = (piece_of(min) as i64, piece_of(max) as i64);
    match statuses_between(readers, &[asset], pieces).await?.remove(&asset) {
        Some(status) => materializations(readers, asset, &status.versions_of(partitions)).await,
        None => Ok(Vec::new()),
    }
}

pub(super) async fn materializations(
    readers: &SqlitePool,
    asset: AssetId,
    versions: &Versions,
) -> Result<Vec<Materialization>> {
    let mut wanted = Rows::default();
    for (version, partitions) in versions.iter() {
        for (first, last) in partitions.intervals() {
            wanted.row().uint(version.0).uint(first).uint(last);
        }
    }
    let Some(wanted) = wanted.into_json() else {
        return Ok(Vec::new());
    };
    let ask = format!(
        "SELECT {MADE_COLUMNS} FROM jsonb_each(?1) AS wanted
         CROSS JOIN materialization AS made
             ON made.asset = ?2 AND made.version = wanted.value->>0
             AND made.partition BETWEEN wanted.value->>1 AND wanted.value->>2
         JOIN run ON run.id = made.run JOIN code ON code.id = made.code"
    );
    let asked = sqlx::query(AssertSqlSafe(ask)).bind(wanted).bind(i64::from(asset.0));
    let rows = asked.fetch_all(readers).await.map_err(sort)?;
    let mut found: Vec<_> = rows
        .iter()
        .map(|row| materialization(asset, row))
        .collect::<Result<_>>()?;
    found.sort_unstable_by_key(|made| made.partition);
    Ok(found)
}

/// All versions that are kept.
pub(super) async fn history(
    readers: &SqlitePool,
    asset: AssetId,
    partitions: &PartitionSet,
) -> Result<Vec<Materialization>> {
    let mut wanted = Rows::default();
    for (first, last) in partitions.intervals() {
        wanted.row().uint(first).uint(last);
    }
    let Some(wanted) = wanted.into_json() else {
        return Ok(Vec::new());
    };
    let ask = format!(
        "{STORED_VERSIONS} SELECT {MADE_COLUMNS} FROM stored CROSS JOIN jsonb_each(?2) AS wanted
         CROSS JOIN materialization AS made
             ON made.asset = ?1 AND made.version = stored.present
             AND made.partition BETWEEN wanted.value->>0 AND wanted.value->>1
         JOIN run ON run.id = made.run JOIN code ON code.id = made.code
         ORDER BY made.partition, made.version"
    );
    let asked = sqlx::query(AssertSqlSafe(ask)).bind(i64::from(asset.0)).bind(wanted);
    let rows = asked.fetch_all(readers).await.map_err(sort)?;
    rows.iter().map(|row| materialization(asset, row)).collect()
}

/// The versions that some partition of asset `?1` has, found by stepping from one to the next.
pub(super) const STORED_VERSIONS: &str = "WITH RECURSIVE stored (present) AS (
         SELECT min(version) FROM materialization WHERE asset = ?1
         UNION ALL
         SELECT (SELECT min(version) FROM materialization WHERE asset = ?1 AND version > stored.present)
         FROM stored WHERE stored.present IS NOT NULL
     )";

pub(super) async fn one_materialization(
    readers: &SqlitePool,
    asset: AssetId,
    partition: u64,
    version: Option<Version>,
) -> Result<Option<Materialization>> {
    let Some(version) = version else {
        return Ok(heads(readers, asset, &PartitionSet::single(partition)).await?.pop());
    };
    let (Ok(partition), Ok(version)) = (i64::try_from(partition), i64::try_from(version.0)) else {
        return Ok(None);
    };
    let ask = format!(
        "SELECT {MADE_COLUMNS} FROM materialization AS made
         JOIN run ON run.id = made.run JOIN code ON code.id = made.code
         WHERE made.asset = ? AND made.version = ? AND made.partition = ?"
    );
    let asked = sqlx::query(AssertSqlSafe(ask))
        .bind(i64::from(asset.0))
        .bind(version)
        .bind(partition);
    let row = asked.fetch_optional(readers).await.map_err(sort)?;
    row.map(|row| materialization(asset, &row)).transpose()
}

/// Which end of a lineage input is asked about.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    /// What was made.
    Made,
    /// What it was made from.
    Upstream,
}

/// The inputs whose interval at `end` holds `partition` of `asset` at `version`, or at any version.
///
/// Steps from one stored class to the next and asks each for the intervals that can reach the partition; see `span`.
pub(super) async fn inputs_at(
    readers: &SqlitePool,
    end: End,
    (asset, partition): (AssetId, u64),
    version: Option<Version>,
) -> Result<Vec<LineageInput>> {
    let Ok(partition) = i64::try_from(partition) else {
        return Ok(Vec::new());
    };
    let (asset_column, class, first, span) = match end {
        End::Made => ("asset", "class", "first", "span"),
        End::Upstream => ("upstream", "upstream_class", "upstream_first", "upstream_span"),
    };
    let ask = format!(
        "WITH RECURSIVE stored (present) AS (
             SELECT min({class}) FROM lineage_input WHERE {asset_column} = ?1 AND {class} >= ?3
             UNION ALL
             SELECT (SELECT min({class}) FROM lineage_input WHERE {asset_column} = ?1 AND {class} > stored.present)
             FROM stored WHERE stored.present < ?4
         )
         SELECT {INPUT_COLUMNS} FROM stored CROSS JOIN lineage_input ON {asset_column} = ?1
             AND {class} = stored.present
             AND {first} BETWEEN iif(stored.present & 63 > 30, 0, ?2 - (1 << (2 * (stored.present & 63))) + 1) AND ?2
         WHERE stored.present <= ?4 AND {first} + {span} >= ?2"
    );
    let (least, greatest) = version.map_or((0, i64::MAX), classes_of);
    let asked = sqlx::query(AssertSqlSafe(ask));
    let asked = asked
        .bind(i64::from(asset.0))
        .bind(partition)
        .bind(least)
        .bind(greatest);
    asked
        .fetch_all(readers)
        .await
        .map_err(sort)?
        .iter()
        .map(lineage_input)
        .collect()
}
