//! Forgets old versions of one asset, and what was recorded of their inputs.
//!
//! A version of a partition can only be old where the head has a greater one, so what is looked at are the ranges of
//! such heads. A version that something was made from which is still there stays: then a head can be asked what it was
//! made from, to the end.

use std::collections::BTreeMap;

use flowstone_core::partition::PartitionSet;
use flowstone_core::retention::Keep;
use flowstone_core::store::HeadSet;
use flowstone_core::{AssetId, Result, Version};
use futures::TryStreamExt as _;
use jiff::Timestamp;
use sqlx::{AssertSqlSafe, Row as _};

use super::super::batch::Rows;
use super::super::read::{self, STORED_VERSIONS};
use super::super::row::{address, number};
use super::super::span::classes_of;
use super::{BATCH_LEN, Pass, signed};
use crate::error::{corrupt, sort};

/// What there is of one version, besides its heads.
#[derive(Default)]
struct Replaced {
    /// The partitions of which it was looked at, with the bytes of those values that lie outside the ledger.
    seen: BTreeMap<u64, (Timestamp, Option<u64>)>,
    /// Those of which it was not.
    unseen: PartitionSet,
}

/// An interval of lineage inputs, as stored.
struct Interval {
    class: i64,
    first: u64,
    last: u64,
}

impl Pass<'_> {
    pub(super) async fn versions(&mut self, asset: AssetId, keep: Keep) -> Result<()> {
        if keep.cutoff(self.prune.now).is_none() {
            return Ok(());
        }
        let statuses = read::statuses(self.readers, &[asset]).await?;
        let heads: Vec<HeadSet> = statuses.into_iter().flat_map(|status| status.heads).collect();
        let replaced = self.replaced(asset, &heads).await?;
        let mut doomed: BTreeMap<Version, PartitionSet> = BTreeMap::new();
        for (partition, versions) in by_partition(&replaced, &heads, self.prune.now) {
            for version in keep.outlived(&versions, self.prune.now) {
                doomed.entry(version).or_default().insert(partition);
            }
        }
        for (version, mut partitions) in doomed {
            partitions.subtract(&self.used(asset, version).await?);
            if partitions.is_empty() {
                continue;
            }
            let seen = &replaced[&version];
            let mut left: PartitionSet = seen.seen.keys().copied().collect();
            left.subtract(&partitions);
            left.union_with(&seen.unseen);
            for head in heads.iter().filter(|head| head.version == version) {
                left.union_with(&head.partitions);
            }
            let mut intervals = self.intervals(asset, version).await?;
            intervals.retain(|interval| range(interval.first, interval.last).is_disjoint(&left));
            self.pruned.count("materialization", partitions.len());
            if self.writer.is_some() {
                self.remove(asset, version, partitions, intervals).await?;
            } else {
                let rows = self.input_rows(asset, &intervals).await?;
                self.pruned.count("lineage_input", rows);
                let bytes = partitions.iter().filter_map(|partition| seen.seen[&partition].1);
                for bytes in bytes {
                    self.pruned.value_count += 1;
                    self.pruned.value_bytes += bytes;
                }
            }
        }
        Ok(())
    }

    /// What there is of versions that are no head.
    async fn replaced(&mut self, asset: AssetId, heads: &[HeadSet]) -> Result<BTreeMap<Version, Replaced>> {
        let mut replaced = BTreeMap::new();
        let newest = heads.iter().map(|head| head.version).max().unwrap_or(Version::NONE);
        if newest <= Version(1) {
            return Ok(replaced);
        }
        let ask = format!("{STORED_VERSIONS} SELECT present FROM stored WHERE present < ?2");
        let stored: Vec<i64> = sqlx::query_scalar(AssertSqlSafe(ask))
            .bind(i64::from(asset.0))
            .bind(signed(newest.0))
            .fetch_all(self.readers)
            .await
            .map_err(sort)?;
        let mut left = self.prune.rows_max;
        for version in stored {
            let version = Version(number("version", version)?);
            let mut behind = PartitionSet::new();
            for head in heads.iter().filter(|head| head.version > version) {
                behind.union_with(&head.partitions);
            }
            let found = self.look_at(asset, version, behind, left).await?;
            left -= found.seen.len() as u64;
            replaced.insert(version, found);
        }
        Ok(replaced)
    }

    /// Those of `behind` that have `version`, at most `count_max` of them.
    async fn look_at(
        &mut self,
        asset: AssetId,
        version: Version,
        behind: PartitionSet,
        count_max: u64,
    ) -> Result<Replaced> {
        const ASK: &str = "SELECT made.partition, started_ms + took_ms, iif(typeof(address) = 'text', bytes, NULL)
                           FROM jsonb_each(?1) AS wanted CROSS JOIN materialization AS made
                           ON made.asset = ?2 AND made.version = ?3
                           AND made.partition BETWEEN wanted.value->>0 AND wanted.value->>1 LIMIT ?4";
        let mut wanted = Rows::default();
        for (first, last) in behind.intervals() {
            wanted.row().uint(first).uint(last);
        }
        let mut found = Replaced::default();
        let Some(wanted) = wanted.into_json() else {
            return Ok(found);
        };
        let mut rows = sqlx::query(ASK)
            .bind(wanted)
            .bind(i64::from(asset.0))
            .bind(signed(version.0))
            .bind(signed(count_max.saturating_add(1)))
            .fetch(self.readers);
        while let Some(row) = rows.try_next().await.map_err(sort)? {
            let partition = number("partition", row.try_get(0).map_err(sort)?)?;
            if found.seen.len() as u64 == count_max {
                // Ranges are asked for in order, so everything from here on was not looked at.
                found.unseen = behind.difference(&PartitionSet::from_range(0..partition));
                self.pruned.has_more = true;
                break;
            }
            let made_at = row.try_get(1).map_err(sort)?;
            let made_at = Timestamp::from_millisecond(made_at).map_err(|error| corrupt("time", error))?;
            let bytes: Option<i64> = row.try_get(2).map_err(sort)?;
            let bytes = bytes.map(|bytes| number("size", bytes)).transpose()?;
            found.seen.insert(partition, (made_at, bytes));
        }
        Ok(found)
    }

    /// The partitions of `asset` whose `version` something was made from that is still there.
    async fn used(&self, asset: AssetId, version: Version) -> Result<PartitionSet> {
        const ASK: &str = "SELECT DISTINCT upstream_first, upstream_span FROM lineage_input
                           WHERE upstream = ? AND upstream_class BETWEEN ? AND ?";
        let (least, greatest) = classes_of(version);
        let rows: Vec<(i64, i64)> = sqlx::query_as(ASK)
            .bind(i64::from(asset.0))
            .bind(least)
            .bind(greatest)
            .fetch_all(self.readers)
            .await
            .map_err(sort)?;
        let mut used = PartitionSet::new();
        for (first, span) in rows {
            let first = number("partition", first)?;
            used.union_with(&range(first, first + number("interval", span)?));
        }
        Ok(used)
    }

    /// The intervals for which inputs of `version` are recorded, by where they end.
    async fn intervals(&self, asset: AssetId, version: Version) -> Result<Vec<Interval>> {
        const ASK: &str = "SELECT DISTINCT class, first, span FROM lineage_input
                           WHERE asset = ? AND class BETWEEN ? AND ?";
        let (least, greatest) = classes_of(version);
        let rows: Vec<(i64, i64, i64)> = sqlx::query_as(ASK)
            .bind(i64::from(asset.0))
            .bind(least)
            .bind(greatest)
            .fetch_all(self.readers)
            .await
            .map_err(sort)?;
        let mut intervals = Vec::with_capacity(rows.len());
        for (class, first, span) in rows {
            let first = number("partition", first)?;
            let last = first + number("interval", span)?;
            intervals.push(Interval { class, first, last });
        }
        intervals.sort_unstable_by_key(|interval| interval.last);
        Ok(intervals)
    }

    async fn input_rows(&self, asset: AssetId, intervals: &[Interval]) -> Result<u64> {
        const COUNT: &str = "SELECT count(*) FROM lineage_input WHERE asset = ?1 AND (class, first, span) IN
                             (SELECT value->>0, value->>1, value->>2 FROM jsonb_each(?2))";
        let Some(wanted) = rows_of(intervals).into_json() else {
            return Ok(0);
        };
        let rows: i64 = sqlx::query_scalar(COUNT)
            .bind(i64::from(asset.0))
            .bind(wanted)
            .fetch_one(self.readers)
            .await
            .map_err(sort)?;
        number("number of rows", rows)
    }

    /// Removes a version, batch by batch in order of partition; inputs go with the last partition that they stand for.
    async fn remove(
        &mut self,
        asset: AssetId,
        version: Version,
        mut partitions: PartitionSet,
        mut intervals: Vec<Interval>,
    ) -> Result<()> {
        const MADE: &str = "DELETE FROM materialization WHERE asset = ?1 AND version = ?2 AND partition IN
                            (SELECT value->>0 FROM jsonb_each(?3)) RETURNING bytes, address";
        const INPUTS: &str = "DELETE FROM lineage_input WHERE asset = ?1 AND (class, first, span) IN
                              (SELECT value->>0, value->>1, value->>2 FROM jsonb_each(?2))";
        let Some(writer) = self.writer else { return Ok(()) };
        while !partitions.is_empty() {
            let part = partitions.split_off_first(BATCH_LEN);
            let ended = partitions.min().map_or(intervals.len(), |next| {
                intervals.partition_point(|interval| interval.last < next)
            });
            let ended: Vec<Interval> = intervals.drain(..ended).collect();
            let mut wanted = Rows::default();
            for partition in part.iter() {
                wanted.row().uint(partition);
            }

            let mut writer = writer.lock().await;
            let mut transaction = writer.begin().await?;
            let gone = sqlx::query(MADE)
                .bind(i64::from(asset.0))
                .bind(signed(version.0))
                .bind(wanted.into_json())
                .fetch_all(&mut *transaction)
                .await
                .map_err(sort)?;
            let mut inputs = 0;
            if let Some(ended) = rows_of(&ended).into_json() {
                let asked = sqlx::query(INPUTS).bind(i64::from(asset.0)).bind(ended);
                inputs = asked.execute(&mut *transaction).await.map_err(sort)?.rows_affected();
            }
            transaction.commit().await.map_err(sort)?;
            drop(writer);

            self.pruned.count("lineage_input", inputs);
            for row in &gone {
                let bytes = number("size", row.try_get(0).map_err(sort)?)?;
                self.pruned.lose(asset, address(row, 1)?, bytes);
            }
        }
        Ok(())
    }
}

/// The versions of each partition that was looked at, oldest first, its head last.
fn by_partition(
    replaced: &BTreeMap<Version, Replaced>,
    heads: &[HeadSet],
    now: Timestamp,
) -> BTreeMap<u64, Vec<(Version, Timestamp)>> {
    let mut by_partition: BTreeMap<u64, Vec<_>> = BTreeMap::new();
    for (version, found) in replaced {
        for (partition, (made_at, _)) in &found.seen {
            by_partition.entry(*partition).or_default().push((*version, *made_at));
        }
    }
    for (partition, versions) in &mut by_partition {
        let head = heads.iter().find(|head| head.partitions.contains(*partition));
        // It stays whenever it was made.
        versions.extend(head.map(|head| (head.version, now)));
    }
    by_partition
}

fn range(first: u64, last: u64) -> PartitionSet {
    PartitionSet::from_range(first..last.saturating_add(1))
}

fn rows_of(intervals: &[Interval]) -> Rows {
    let mut rows = Rows::default();
    for interval in intervals {
        let Interval { class, first, last } = *interval;
        rows.row().int(class).uint(first).uint(last - first);
    }
    rows
}
