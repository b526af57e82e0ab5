//! Reads fan-outs, and what belongs to them, out of rows.

use std::collections::BTreeMap;

use flowstone_core::reader::Cursor;
use flowstone_core::store::{FanOutRow, FanOutStanding, ItemClaim, ItemFailure, PageRow, Segment};
use flowstone_core::{FanOutId, Result, RunId};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::body::unpack;
use super::cache::KnownFanOut;
use super::row::{array, asset_id, json, nanos, number, set, set_or_empty, small};
use super::word;
use crate::error::{corrupt, sort};

/// The columns that [`fan_out_row`] reads, of `fan_out` joined with `run`.
pub(super) const FAN_OUT_COLUMNS: &str = "fan_out.fan_out, run.run, asset, partition, fan_out.parent, item, epoch, fan_out.state, \
                                          is_sealed, options, cursor, fan_out.counts, on_schedule_ns, fan_out.error, \
                                          opened_ns, moved_ns, redriven";

/// The columns that [`standing`] reads, of the same.
pub(super) const STANDING_COLUMNS: &str = "fan_out.fan_out, run.run, asset, partition, fan_out.parent, item, epoch, fan_out.state, \
                                           is_sealed, options, cursor, fan_out.counts, on_schedule_ns, fan_out.error, \
                                           opened_ns, moved_ns, redriven, fan_out.id, fan_out.run, items, next_chunk";

/// A fan-out without what its items share.
pub(super) fn fan_out_row(row: &SqliteRow) -> Result<FanOutRow> {
    let text = |column: usize| row.try_get::<&str, _>(column).map_err(sort);
    let error: Option<&str> = row.try_get(13).map_err(sort)?;
    let on_schedule_ns: Option<i64> = row.try_get(12).map_err(sort)?;
    Ok(FanOutRow {
        fan_out: FanOutId(Uuid::from_bytes(array("fan-out id", row, 0)?)),
        run: RunId(Uuid::from_bytes(array("run id", row, 1)?)),
        asset: asset_id(row.try_get(2).map_err(sort)?)?,
        partition: number("partition", row.try_get(3).map_err(sort)?)?,
        parent: parent(row)?,
        epoch: small("epoch", row.try_get(6).map_err(sort)?)?,
        state: word::barrier_state(row.try_get(7).map_err(sort)?)?,
        is_sealed: row.try_get(8).map_err(sort)?,
        options: json("options of a fan-out", text(9)?.as_bytes())?,
        shared: None,
        cursor: cursor(row)?,
        counts: json("counts of items", text(11)?.as_bytes())?,
        on_schedule_at: on_schedule_ns.map(nanos).transpose()?,
        error: error.map(|error| json("error", error.as_bytes())).transpose()?,
        opened_at: nanos(row.try_get(14).map_err(sort)?)?,
        moved_at: nanos(row.try_get(15).map_err(sort)?)?,
        redriven: number("number of items", row.try_get(16).map_err(sort)?)?,
    })
}

/// Where a fan-out stands, but for the claims that are open.
pub(super) fn standing(row: &SqliteRow) -> Result<KnownFanOut> {
    Ok(KnownFanOut {
        number: row.try_get(17).map_err(sort)?,
        run: row.try_get(18).map_err(sort)?,
        standing: FanOutStanding {
            row: fan_out_row(row)?,
            items: number("number of items", row.try_get(19).map_err(sort)?)?,
            next_chunk: number("number of a claim", row.try_get(20).map_err(sort)?)?,
            open: BTreeMap::new(),
        },
    })
}

fn parent(row: &SqliteRow) -> Result<Option<(FanOutId, u64)>> {
    let item: Option<i64> = row.try_get(5).map_err(sort)?;
    let Some(item) = item else { return Ok(None) };
    let parent = FanOutId(Uuid::from_bytes(array("fan-out id", row, 4)?));
    Ok(Some((parent, number("item", item)?)))
}

fn cursor(row: &SqliteRow) -> Result<Option<Cursor>> {
    let stored: Option<&[u8]> = row.try_get(10).map_err(sort)?;
    let Some(stored) = stored else { return Ok(None) };
    let (version, position) = stored.split_first().ok_or_else(|| corrupt("cursor", "it is empty"))?;
    Ok(Some(Cursor {
        version: *version,
        position: position.to_vec(),
    }))
}

/// A row of `SELECT first, len, batch_starts` and, where the items are asked for, `body`.
pub(super) fn page_row(row: &SqliteRow) -> Result<PageRow> {
    let body: Option<&[u8]> = if row.len() > 3 {
        row.try_get(3).map_err(sort)?
    } else {
        None
    };
    Ok(PageRow {
        first: number("number of an item", row.try_get(0).map_err(sort)?)?,
        len: number("number of items", row.try_get(1).map_err(sort)?)?,
        batch_starts: set_or_empty(row, 2)?,
        body: unpack(body)?,
    })
}

/// A row of `SELECT chunk, crashes, is_held, items`.
pub(super) fn claim(row: &SqliteRow) -> Result<ItemClaim> {
    Ok(ItemClaim {
        chunk: number("number of a claim", row.try_get(0).map_err(sort)?)?,
        crashes: small("number of crashes", row.try_get(1).map_err(sort)?)?,
        is_held: row.try_get(2).map_err(sort)?,
        items: set(row, 3)?,
    })
}

/// A row of `SELECT chunk, seq, succeeded, skipped, body`.
pub(super) fn segment(page: u64, row: &SqliteRow) -> Result<Segment> {
    Ok(Segment {
        page,
        chunk: number("number of a claim", row.try_get(0).map_err(sort)?)?,
        seq: small("number of a segment", row.try_get(1).map_err(sort)?)?,
        succeeded: set_or_empty(row, 2)?,
        skipped: set_or_empty(row, 3)?,
        body: unpack(row.try_get(4).map_err(sort)?)?,
    })
}

/// A row of `SELECT item, key, epoch, attempt, is_final, at_ns, error`.
pub(super) fn failure(row: &SqliteRow) -> Result<ItemFailure> {
    let error: &str = row.try_get(6).map_err(sort)?;
    Ok(ItemFailure {
        item: number("item", row.try_get(0).map_err(sort)?)?,
        key: row.try_get(1).map_err(sort)?,
        epoch: small("epoch", row.try_get(2).map_err(sort)?)?,
        attempt: small("attempt", row.try_get(3).map_err(sort)?)?,
        is_final: row.try_get(4).map_err(sort)?,
        at: nanos(row.try_get(5).map_err(sort)?)?,
        error: json("error", error.as_bytes())?,
    })
}
