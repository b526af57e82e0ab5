//! The questions about fan-outs and their items. Each is one statement, so that its answer is of one moment.

use bytes::Bytes;
use flowstone_core::store::{FanOutFilter, FanOutRow, ItemClaim, ItemEnds, ItemFailure, PageRow, Segment};
use flowstone_core::{FanOutId, Result, RunId};
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row, SqlitePool};

use super::row::{number, set_or_empty};
use super::row_fan_out::{FAN_OUT_COLUMNS, claim, failure, fan_out_row, page_row, segment};
use crate::error::sort;

pub(super) async fn fan_outs(readers: &SqlitePool, filter: FanOutFilter) -> Result<Vec<FanOutRow>> {
    let which = match &filter {
        FanOutFilter::One(_) => "fan_out.fan_out = ?",
        // Numbers grow in the order in which fan-outs are opened.
        FanOutFilter::OfRun(_) => "run.run = ? ORDER BY fan_out.id",
        FanOutFilter::Within(_) => "fan_out.parent = ? ORDER BY item, fan_out.id",
        FanOutFilter::OfStep(..) => "asset = ? AND partition = ? AND fan_out.parent IS NULL ORDER BY fan_out.id",
    };
    let ask = format!(
        "SELECT {FAN_OUT_COLUMNS}, shared FROM fan_out JOIN run ON run.id = fan_out.run
         LEFT JOIN fan_out_shared ON fan_out_shared.fan_out = fan_out.id WHERE is_gone = 0 AND {which}"
    );
    let asked = sqlx::query(AssertSqlSafe(ask));
    let asked = match &filter {
        FanOutFilter::One(FanOutId(id)) | FanOutFilter::OfRun(RunId(id)) | FanOutFilter::Within(FanOutId(id)) => {
            asked.bind(&id.as_bytes()[..])
        }
        FanOutFilter::OfStep(asset, partition) => {
            let Ok(partition) = i64::try_from(*partition) else {
                return Ok(Vec::new());
            };
            asked.bind(i64::from(asset.0)).bind(partition)
        }
    };
    let row = |row: &SqliteRow| {
        let shared: Option<Vec<u8>> = row.try_get("shared").map_err(sort)?;
        Ok(FanOutRow {
            shared: shared.map(Bytes::from),
            ..fan_out_row(row)?
        })
    };
    asked.fetch_all(readers).await.map_err(sort)?.iter().map(row).collect()
}

pub(super) async fn pages(readers: &SqlitePool, fan_out: FanOutId) -> Result<Vec<PageRow>> {
    const ASK: &str = "SELECT first, len, batch_starts FROM fan_out JOIN item_page ON item_page.fan_out = fan_out.id
                       WHERE is_gone = 0 AND fan_out.fan_out = ? ORDER BY first";
    let asked = sqlx::query(ASK).bind(&fan_out.0.as_bytes()[..]);
    asked
        .fetch_all(readers)
        .await
        .map_err(sort)?
        .iter()
        .map(page_row)
        .collect()
}

pub(super) async fn page(readers: &SqlitePool, fan_out: FanOutId, first: u64) -> Result<Option<PageRow>> {
    const ASK: &str = "SELECT first, len, batch_starts, body
                       FROM fan_out JOIN item_page ON item_page.fan_out = fan_out.id
                       WHERE is_gone = 0 AND fan_out.fan_out = ? AND first = ?";
    let Ok(first) = i64::try_from(first) else {
        return Ok(None);
    };
    let asked = sqlx::query(ASK).bind(&fan_out.0.as_bytes()[..]).bind(first);
    let found = asked.fetch_optional(readers).await.map_err(sort)?;
    found.as_ref().map(page_row).transpose()
}

pub(super) async fn claims(readers: &SqlitePool, fan_out: FanOutId) -> Result<Vec<ItemClaim>> {
    const ASK: &str = "SELECT chunk, crashes, is_held, item_claim.items
                       FROM fan_out JOIN item_claim ON item_claim.fan_out = fan_out.id
                       WHERE is_gone = 0 AND fan_out.fan_out = ? ORDER BY chunk";
    let asked = sqlx::query(ASK).bind(&fan_out.0.as_bytes()[..]);
    asked
        .fetch_all(readers)
        .await
        .map_err(sort)?
        .iter()
        .map(claim)
        .collect()
}

pub(super) async fn ends(readers: &SqlitePool, fan_out: FanOutId) -> Result<ItemEnds> {
    const ASK: &str = "SELECT next_chunk, succeeded, skipped
                       FROM fan_out LEFT JOIN segment ON segment.fan_out = fan_out.id WHERE is_gone = 0 AND fan_out.fan_out = ?";
    let asked = sqlx::query(ASK).bind(&fan_out.0.as_bytes()[..]);
    let mut ends = ItemEnds::default();
    for row in asked.fetch_all(readers).await.map_err(sort)? {
        ends.next_chunk = number("number of a claim", row.try_get(0).map_err(sort)?)?;
        ends.succeeded.union_with(&set_or_empty(&row, 1)?);
        ends.skipped.union_with(&set_or_empty(&row, 2)?);
    }
    Ok(ends)
}

pub(super) async fn segments(readers: &SqlitePool, fan_out: FanOutId, page: u64) -> Result<Vec<Segment>> {
    const ASK: &str = "SELECT chunk, seq, succeeded, skipped, body
                       FROM fan_out JOIN segment ON segment.fan_out = fan_out.id
                       WHERE is_gone = 0 AND fan_out.fan_out = ? AND page = ? ORDER BY chunk, seq";
    let Ok(number) = i64::try_from(page) else {
        return Ok(Vec::new());
    };
    let asked = sqlx::query(ASK).bind(&fan_out.0.as_bytes()[..]).bind(number);
    let found = asked.fetch_all(readers).await.map_err(sort)?;
    found.iter().map(|row| segment(page, row)).collect()
}

pub(super) async fn failures(
    readers: &SqlitePool,
    fan_out: FanOutId,
    from: u64,
    count_max: usize,
) -> Result<Vec<ItemFailure>> {
    const ASK: &str = "SELECT failed_item.item, key, failed_item.epoch, attempt, is_final, at_ns, failed_item.error
                       FROM fan_out JOIN failed_item ON failed_item.fan_out = fan_out.id
                       WHERE is_gone = 0 AND fan_out.fan_out = ? AND failed_item.item >= ? ORDER BY failed_item.item LIMIT ?";
    let asked = sqlx::query(ASK)
        .bind(&fan_out.0.as_bytes()[..])
        .bind(i64::try_from(from).unwrap_or(i64::MAX))
        .bind(i64::try_from(count_max).unwrap_or(i64::MAX));
    asked
        .fetch_all(readers)
        .await
        .map_err(sort)?
        .iter()
        .map(failure)
        .collect()
}
