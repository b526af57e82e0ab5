//! Forgets what may go: events, runs that have ended, old versions (in `versions`).
//!
//! What goes is found by the readers and removed by the writer, a batch at a time and each in a transaction of its own, so
//! that commits wait for one batch at most and a pass can be dropped anywhere. Nothing that is found here can become
//! needed meanwhile: a run that has ended stays so, and a head that was replaced never comes back.

mod versions;

use std::collections::HashSet;

use flowstone_core::store::{Prune, Pruned};
use flowstone_core::{AssetId, Result};
use sqlx::SqlitePool;
use tokio::sync::Mutex;

use super::row::{asset_id, number};
use super::writer::Writer;
use crate::error::sort;

/// Rows that one transaction removes of a table; a commit waits no longer than for these.
const BATCH_LEN: u64 = 1_000;

/// Forgets what may go. Without a writer only counts it.
pub(super) async fn prune(readers: &SqlitePool, writer: Option<&Mutex<Writer>>, prune: &Prune) -> Result<Pruned> {
    let mut pass = Pass {
        readers,
        writer,
        prune,
        pruned: Pruned::default(),
    };
    pass.events().await?;
    pass.runs().await?;
    // Upstreams have smaller numbers as a rule, so that what was made of an old version goes before it.
    let replaced = pass.with_old_versions().await?;
    for (asset, keep) in prune
        .versions
        .iter()
        .rev()
        .filter(|(asset, _)| replaced.contains(asset))
    {
        pass.versions(*asset, *keep).await?;
    }
    Ok(pass.pruned)
}

struct Pass<'a> {
    readers: &'a SqlitePool,
    writer: Option<&'a Mutex<Writer>>,
    prune: &'a Prune,
    pruned: Pruned,
}

impl Pass<'_> {
    async fn events(&mut self) -> Result<()> {
        let keep = self.prune.events;
        let Some(cutoff) = keep.cutoff(self.prune.now).map(nanos) else {
            return Ok(());
        };
        let newest: Option<i64> =
            sqlx::query_scalar("SELECT sequence FROM event ORDER BY sequence DESC LIMIT 1 OFFSET ?")
                .bind(signed(keep.count.max(1) - 1))
                .fetch_optional(self.readers)
                .await
                .map_err(sort)?;
        let Some(newest) = newest else { return Ok(()) };
        let young: Option<i64> =
            sqlx::query_scalar("SELECT sequence FROM event WHERE at_ns >= ? ORDER BY sequence LIMIT 1")
                .bind(cutoff)
                .fetch_optional(self.readers)
                .await
                .map_err(sort)?;
        let first_kept = young.map_or(newest, |young| young.min(newest));
        let old: i64 = sqlx::query_scalar("SELECT count(*) FROM (SELECT 1 FROM event WHERE sequence < ? LIMIT ?)")
            .bind(first_kept)
            .bind(signed(self.prune.rows_max.saturating_add(1)))
            .fetch_one(self.readers)
            .await
            .map_err(sort)?;
        let mut left = self.at_most(number("number of events", old)?);
        self.pruned.count("event", left);
        let Some(writer) = self.writer else { return Ok(()) };
        while left > 0 {
            const DELETE: &str = "DELETE FROM event WHERE sequence IN
                                  (SELECT sequence FROM event WHERE sequence < ? ORDER BY sequence LIMIT ?)";
            let mut writer = writer.lock().await;
            let mut transaction = writer.begin().await?;
            sqlx::query(DELETE)
                .bind(first_kept)
                .bind(signed(left.min(BATCH_LEN)))
                .execute(&mut *transaction)
                .await
                .map_err(sort)?;
            transaction.commit().await.map_err(sort)?;
            left -= left.min(BATCH_LEN);
        }
        Ok(())
    }

    async fn runs(&mut self) -> Result<()> {
        let keep = self.prune.runs;
        let Some(cutoff) = keep.cutoff(self.prune.now).map(nanos) else {
            return Ok(());
        };
        const NEWEST: &str = "SELECT run FROM run WHERE state >= 4 AND request IS NOT NULL
                              ORDER BY run DESC LIMIT 1 OFFSET ?";
        const OLD: &str = "SELECT id FROM run WHERE state >= 4 AND request IS NOT NULL AND moved_at_ns < ?1
                           AND (?2 IS NULL OR run < ?2) ORDER BY run LIMIT ?3";
        let mut newest: Option<Vec<u8>> = None;
        if keep.count > 0 {
            newest = sqlx::query_scalar(NEWEST)
                .bind(signed(keep.count - 1))
                .fetch_optional(self.readers)
                .await
                .map_err(sort)?;
            if newest.is_none() {
                return Ok(());
            }
        }
        let old: Vec<i64> = sqlx::query_scalar(OLD)
            .bind(cutoff)
            .bind(newest)
            .bind(signed(self.prune.rows_max.saturating_add(1)))
            .fetch_all(self.readers)
            .await
            .map_err(sort)?;
        let most = self.at_most(old.len() as u64);
        for run in old.into_iter().take(usize::try_from(most).unwrap_or(usize::MAX)) {
            self.forget(run).await?;
        }
        Ok(())
    }

    /// Takes care that no fan-out of a run is taken over by another while it goes.
    async fn hide_fan_outs(&self, run: i64) -> Result<()> {
        let Some(writer) = self.writer else { return Ok(()) };
        let mut writer = writer.lock().await;
        let mut transaction = writer.begin().await?;
        sqlx::query("UPDATE fan_out SET is_gone = 1 WHERE run = ? AND is_gone = 0")
            .bind(run)
            .execute(&mut *transaction)
            .await
            .map_err(sort)?;
        transaction.commit().await.map_err(sort)
    }

    /// Forgets one run: first what it consists of, at last the run.
    async fn forget(&mut self, run: i64) -> Result<()> {
        const PARTS: [(&str, &str, &str); 9] = [
            (
                "failed_item",
                "SELECT count(*) FROM failed_item WHERE fan_out IN (SELECT id FROM fan_out WHERE run = ?)",
                "DELETE FROM failed_item WHERE (fan_out, item) IN
                     (SELECT fan_out, item FROM failed_item
                      WHERE fan_out IN (SELECT id FROM fan_out WHERE run = ?) LIMIT ?)",
            ),
            (
                "segment",
                "SELECT count(*) FROM segment WHERE fan_out IN (SELECT id FROM fan_out WHERE run = ?)",
                "DELETE FROM segment WHERE (fan_out, page, chunk, seq) IN
                     (SELECT fan_out, page, chunk, seq FROM segment
                      WHERE fan_out IN (SELECT id FROM fan_out WHERE run = ?) LIMIT ?)",
            ),
            (
                "item_claim",
                "SELECT count(*) FROM item_claim WHERE fan_out IN (SELECT id FROM fan_out WHERE run = ?)",
                "DELETE FROM item_claim WHERE (fan_out, chunk) IN
                     (SELECT fan_out, chunk FROM item_claim
                      WHERE fan_out IN (SELECT id FROM fan_out WHERE run = ?) LIMIT ?)",
            ),
            (
                "item_page",
                "SELECT count(*) FROM item_page WHERE fan_out IN (SELECT id FROM fan_out WHERE run = ?)",
                "DELETE FROM item_page WHERE (fan_out, first) IN
                     (SELECT fan_out, first FROM item_page
                      WHERE fan_out IN (SELECT id FROM fan_out WHERE run = ?) LIMIT ?)",
            ),
            (
                "fan_out_shared",
                "SELECT count(*) FROM fan_out_shared WHERE fan_out IN (SELECT id FROM fan_out WHERE run = ?)",
                "DELETE FROM fan_out_shared WHERE fan_out IN
                     (SELECT fan_out FROM fan_out_shared
                      WHERE fan_out IN (SELECT id FROM fan_out WHERE run = ?) LIMIT ?)",
            ),
            (
                "fan_out",
                "SELECT count(*) FROM fan_out WHERE run = ?",
                "DELETE FROM fan_out WHERE id IN (SELECT id FROM fan_out WHERE run = ? LIMIT ?)",
            ),
            (
                "chunk",
                "SELECT count(*) FROM chunk WHERE run = ?",
                "DELETE FROM chunk WHERE (run, asset, chunk) IN
                     (SELECT run, asset, chunk FROM chunk WHERE run = ? LIMIT ?)",
            ),
            (
                "step_failure",
                "SELECT count(*) FROM step_failure WHERE run = ?",
                "DELETE FROM step_failure WHERE id IN (SELECT id FROM step_failure WHERE run = ? LIMIT ?)",
            ),
            (
                "run_plan",
                "SELECT count(*) FROM run_plan WHERE run = ?",
                "DELETE FROM run_plan WHERE run IN (SELECT run FROM run_plan WHERE run = ? LIMIT ?)",
            ),
        ];
        self.pruned.count("run", 1);
        self.hide_fan_outs(run).await?;
        for (table, count, delete) in PARTS {
            let rows: i64 = sqlx::query_scalar(count)
                .bind(run)
                .fetch_one(self.readers)
                .await
                .map_err(sort)?;
            let mut left = number("number of rows", rows)?;
            self.pruned.count(table, left);
            let Some(writer) = self.writer else { continue };
            while left > 0 {
                let mut writer = writer.lock().await;
                let mut transaction = writer.begin().await?;
                sqlx::query(delete)
                    .bind(run)
                    .bind(signed(BATCH_LEN))
                    .execute(&mut *transaction)
                    .await
                    .map_err(sort)?;
                transaction.commit().await.map_err(sort)?;
                left -= left.min(BATCH_LEN);
            }
        }
        if let Some(writer) = self.writer {
            const FORGET: &str = "UPDATE run SET pipeline = '', idempotency_key = NULL, request = NULL, counts = '',
                                  error = NULL WHERE id = ?";
            let mut writer = writer.lock().await;
            let mut transaction = writer.begin().await?;
            sqlx::query(FORGET)
                .bind(run)
                .execute(&mut *transaction)
                .await
                .map_err(sort)?;
            transaction.commit().await.map_err(sort)?;
        }
        Ok(())
    }

    /// The assets that have partitions which were made more than once.
    async fn with_old_versions(&self) -> Result<HashSet<AssetId>> {
        if self.prune.versions.is_empty() {
            return Ok(HashSet::new());
        }
        let assets: Vec<i64> = sqlx::query_scalar("SELECT DISTINCT asset FROM head_set WHERE version > 1")
            .fetch_all(self.readers)
            .await
            .map_err(sort)?;
        assets.into_iter().map(asset_id).collect()
    }

    /// How many of `count` may go in this pass.
    fn at_most(&mut self, count: u64) -> u64 {
        if count > self.prune.rows_max {
            self.pruned.has_more = true;
        }
        count.min(self.prune.rows_max)
    }
}

fn nanos(at: jiff::Timestamp) -> i64 {
    // Whatever lies outside lies outside of everything that is stored, too.
    let bounds = i128::from(i64::MIN)..=i128::from(i64::MAX);
    at.as_nanosecond().clamp(*bounds.start(), *bounds.end()) as i64
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
