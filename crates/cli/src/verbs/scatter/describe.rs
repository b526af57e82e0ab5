//! Fan-outs as people and programs read them.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use flowstone_core::fan_out::{BarrierCounts, BarrierState, FanOutOptions, ItemOrder, Tolerance};
use flowstone_core::io::{Manifest, Stored};
use flowstone_core::partition::PartitionSet;
use flowstone_core::store::{FanOutRow, Store};
use flowstone_core::{AssetId, FanOutId, Result, RunId};
use jiff::Timestamp;
use serde::Serialize;

use crate::control::{LiveItems, LiveResults};
use crate::output::{ErrorJson, counted, size};
use crate::progress::duration;
use crate::state::KnownAssets;

/// A fan-out as it is.
#[derive(Serialize)]
pub(super) struct FanOutJson<'a> {
    pub(super) fan_out: FanOutId,
    pub(super) run: RunId,
    pub(super) asset: String,
    pub(super) partition: String,
    /// The fan-out and the item that it stands within.
    pub(super) within: Option<Within>,
    /// How often it was opened, from 1.
    pub(super) epoch: u32,
    /// Items that were left to be tried again when it was opened the last time; none at the first time.
    pub(super) redriven: u64,
    pub(super) state: BarrierState,
    /// True when a process runs it, which says how far it is; else the ledger says it.
    pub(super) is_live: bool,
    pub(super) counts: ItemCounts,
    /// Items that have ended, in whatever way.
    pub(super) ended: u64,
    /// Those that are known and have not.
    pub(super) left: u64,
    /// Items that ended in a second, since the process took it up; none while nobody runs it.
    pub(super) per_second: Option<f64>,
    /// At that rate; none while more items may come.
    pub(super) left_ms: Option<u64>,
    pub(super) options: OptionsJson,
    /// The fan-outs that stand within it, at any depth.
    pub(super) nested: Option<Nested>,
    /// How many rows of what its items gave are stored; none before, without a process that says so, and where a function
    /// gathers them.
    pub(super) results: Option<LiveResults>,
    /// What was made of what its items gave; none until then, and once another run has made the partition again.
    pub(super) value: Option<ValueJson>,
    pub(super) opened_at: Timestamp,
    pub(super) moved_at: Timestamp,
    pub(super) error: Option<ErrorJson<'a>>,
}

/// Where a value lies, and what is known of it without reading it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct ValueJson {
    /// Below the root of its IO manager; none when it lies in the ledger.
    pub(super) place: Option<String>,
    pub(super) bytes: u64,
    pub(super) rows: Option<u64>,
    /// What whoever made it says about it.
    pub(super) manifest: Option<serde_json::Value>,
}

impl ValueJson {
    fn of(stored: &Stored) -> Result<Self> {
        Ok(Self {
            place: stored.address.place().map(str::to_owned),
            bytes: stored.bytes,
            rows: stored.rows,
            manifest: stored.manifest.as_ref().map(Manifest::read).transpose()?,
        })
    }

    /// The same in words.
    pub(super) fn to_text(&self) -> String {
        let size = size(self.bytes);
        let rows = self.rows.map(|rows| format!("{}, ", counted(rows, "row")));
        let place = self.place.as_deref().map_or("in the ledger", |place| place);
        let manifest = self.manifest.as_ref().map(|manifest| format!(" {manifest}"));
        let (rows, manifest) = (rows.unwrap_or_default(), manifest.unwrap_or_default());
        format!("{rows}{size}: {place}{manifest}")
    }
}

/// The values that the fan-outs in `rows` were gathered into, as far as they are current.
pub(super) async fn values(store: &dyn Store, rows: &[FanOutRow]) -> Result<HashMap<FanOutId, ValueJson>> {
    let gathered =
        |row: &&FanOutRow| row.parent.is_none() && matches!(row.state, BarrierState::Complete | BarrierState::Partial);
    let mut by_asset: BTreeMap<AssetId, Vec<&FanOutRow>> = BTreeMap::new();
    for row in rows.iter().filter(gathered) {
        by_asset.entry(row.asset).or_default().push(row);
    }
    let mut values = HashMap::new();
    for (asset, rows) in by_asset {
        let partitions: PartitionSet = rows.iter().map(|row| row.partition).collect();
        for head in store.heads(asset, &partitions).await? {
            let of_head = |row: &&&FanOutRow| (row.partition, row.run) == (head.partition, head.run);
            if let Some(row) = rows.iter().find(of_head) {
                values.insert(row.fan_out, ValueJson::of(&head.stored)?);
            }
        }
    }
    Ok(values)
}

#[derive(Serialize)]
pub(super) struct Within {
    fan_out: FanOutId,
    item: u64,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Nested {
    pub(super) fan_outs: u64,
    /// Those that have not ended.
    pub(super) open: u64,
    /// Their items.
    pub(super) counts: ItemCounts,
}

/// Items by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct ItemCounts {
    pub(crate) total: u64,
    pub(crate) pending: u64,
    /// In the hands of a worker: running, or next in its queue.
    pub(crate) running: u64,
    pub(crate) succeeded: u64,
    pub(crate) skipped: u64,
    pub(crate) failed: u64,
    pub(crate) quarantined: u64,
    pub(crate) cancelled: u64,
}

impl From<BarrierCounts> for ItemCounts {
    fn from(counts: BarrierCounts) -> Self {
        let BarrierCounts {
            total,
            pending,
            leased,
            succeeded,
            skipped,
            failed,
            quarantined,
            cancelled,
        } = counts;
        Self {
            total,
            pending,
            running: leased,
            succeeded,
            skipped,
            failed,
            quarantined,
            cancelled,
        }
    }
}

impl ItemCounts {
    /// The counts in words, without those that are zero.
    pub(crate) fn to_text(self) -> String {
        let told = [
            (self.succeeded, "ok"),
            (self.skipped, "skipped"),
            (self.failed, "failed"),
            (self.quarantined, "quarantined"),
            (self.cancelled, "cancelled"),
            (self.running, "running"),
            (self.pending, "pending"),
        ];
        let told: Vec<String> = told
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        if told.is_empty() {
            "none".to_owned()
        } else {
            told.join(", ")
        }
    }
}

/// How a fan-out goes about its items.
#[derive(Serialize)]
pub(super) struct OptionsJson {
    max_concurrent: u32,
    rate_limit: Option<Rate>,
    tolerate: Tolerance,
    attempts_max: u32,
    item_timeout_ms: Option<u64>,
    order: ItemOrder,
    priority: i32,
    items_max: Option<u64>,
    page_len: u32,
}

#[derive(Serialize)]
struct Rate {
    count: u32,
    per_ms: u64,
    burst: u32,
}

impl From<&FanOutOptions> for OptionsJson {
    fn from(options: &FanOutOptions) -> Self {
        Self {
            max_concurrent: options.max_concurrent.get(),
            rate_limit: options.rate_limit.map(|limit| Rate {
                count: limit.count(),
                per_ms: ms(limit.per()),
                burst: limit.burst_len(),
            }),
            tolerate: options.failure.tolerance(),
            attempts_max: options.retry.attempts_max(),
            item_timeout_ms: options.item_timeout.map(ms),
            order: options.order,
            priority: options.priority,
            items_max: options.items_max,
            page_len: options.page_len.get(),
        }
    }
}

impl OptionsJson {
    /// The options in words.
    pub(super) fn to_text(&self) -> String {
        let mut text = format!("at most {} at once", self.max_concurrent);
        if let Some(Rate { count, per_ms, burst }) = self.rate_limit {
            let per = duration(Duration::from_millis(per_ms));
            text.push_str(&format!(", {count} in {per}"));
            if burst > 1 {
                text.push_str(&format!(" and {burst} at once after a rest"));
            }
        }
        text.push_str(&match self.tolerate {
            Tolerance::Count(0) => ", none may fail".to_owned(),
            Tolerance::Count(count) => format!(", {count} may fail"),
            Tolerance::Share(share) => format!(", a share of {share} may fail"),
        });
        text.push_str(&match self.attempts_max {
            1 => ", 1 attempt at each".to_owned(),
            attempts => format!(", {attempts} attempts at each"),
        });
        if let Some(timeout) = self.item_timeout_ms {
            text.push_str(&format!(" of at most {}", duration(Duration::from_millis(timeout))));
        }
        if self.order == ItemOrder::Depth {
            text.push_str(", depth first");
        }
        if self.priority != 0 {
            text.push_str(&format!(", priority {}", self.priority));
        }
        if let Some(max) = self.items_max {
            text.push_str(&format!(", {max} items at most"));
        }
        text
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What is known of the fan-outs of a run.
pub(super) struct FanOuts<'a> {
    pub(super) rows: &'a [FanOutRow],
    pub(super) live: HashMap<FanOutId, LiveItems>,
    pub(super) values: HashMap<FanOutId, ValueJson>,
    pub(super) known: &'a KnownAssets,
    pub(super) now: Timestamp,
}

impl<'a> FanOuts<'a> {
    /// The outermost ones, each with those that stand within it.
    pub(super) fn outermost(&self) -> Vec<FanOutJson<'a>> {
        let mut nested = self.nested();
        let outermost = self.rows.iter().filter(|row| row.parent.is_none());
        outermost
            .map(|row| self.describe(row, nested.remove(&row.fan_out)))
            .collect()
    }

    /// One, with those that stand within it.
    pub(super) fn one(&self, fan_out: FanOutId) -> Option<FanOutJson<'a>> {
        let row = self.rows.iter().find(|row| row.fan_out == fan_out)?;
        Some(self.describe(row, self.nested().remove(&fan_out)))
    }

    /// What stands within each, at any depth.
    fn nested(&self) -> BTreeMap<FanOutId, Nested> {
        let parents: HashMap<FanOutId, FanOutId> = self
            .rows
            .iter()
            .filter_map(|row| Some((row.fan_out, row.parent?.0)))
            .collect();
        let mut counts: BTreeMap<FanOutId, (u64, u64, BarrierCounts)> = BTreeMap::new();
        for row in self.rows {
            let mut outer = parents.get(&row.fan_out);
            while let Some(at) = outer {
                let (fan_outs, open, sum) = counts.entry(*at).or_default();
                *fan_outs += 1;
                *open += u64::from(!row.state.is_terminal());
                *sum += self.counts(row);
                outer = parents.get(at);
            }
        }
        let nested = counts.into_iter().map(|(outer, (fan_outs, open, sum))| {
            let counts = sum.into();
            (outer, Nested { fan_outs, open, counts })
        });
        nested.collect()
    }

    fn counts(&self, row: &FanOutRow) -> BarrierCounts {
        self.live.get(&row.fan_out).map_or(row.counts, |live| live.counts)
    }

    fn describe(&self, row: &'a FanOutRow, nested: Option<Nested>) -> FanOutJson<'a> {
        let counts = self.counts(row);
        let live = self.live.get(&row.fan_out);
        let (asset, partition) = self.known.name(row.asset, row.partition);
        let left = counts.pending + counts.leased;
        let goes_on = live.filter(|_| !row.state.is_terminal());
        let per_second = goes_on.and_then(|live| rate(live, self.now));
        let value = self.values.get(&row.fan_out);
        // What was stored as rows has a manifest.
        let stored = value
            .filter(|value| value.manifest.is_some())
            .and_then(|value| value.rows);
        let results = match stored {
            Some(rows) => Some(LiveResults {
                written: rows,
                total: rows,
            }),
            None => live.and_then(|live| live.results),
        };
        let is_filling = live.map_or(row.state == BarrierState::Filling, |live| live.is_filling);
        FanOutJson {
            fan_out: row.fan_out,
            run: row.run,
            asset,
            partition,
            within: row.parent.map(|(fan_out, item)| Within { fan_out, item }),
            epoch: row.epoch,
            redriven: row.redriven,
            state: row.state,
            is_live: live.is_some(),
            counts: counts.into(),
            ended: counts.ended(),
            left,
            per_second,
            left_ms: per_second
                .filter(|_| !is_filling)
                .map(|rate| (left as f64 / rate * 1000.0) as u64),
            options: (&row.options).into(),
            nested,
            results,
            value: value.cloned(),
            opened_at: row.opened_at,
            moved_at: row.moved_at,
            error: row.error.as_ref().map(ErrorJson::from),
        }
    }
}

/// Items that ended in a second since the process took them up.
fn rate(live: &LiveItems, now: Timestamp) -> Option<f64> {
    let ended = live.counts.ended().saturating_sub(live.ended_before);
    let seconds = now.duration_since(live.since).as_secs_f64();
    (ended > 0 && seconds > 0.0).then(|| ended as f64 / seconds)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use flowstone_core::fan_out::{FailurePolicy, RateLimit};
    use flowstone_core::memory::MemoryStore;

    use super::*;

    #[test]
    fn a_value_is_told_with_its_manifest() {
        let value = ValueJson {
            place: Some("v1/x.jsonl".to_owned()),
            bytes: 2048,
            rows: Some(3),
            manifest: Some(serde_json::json!({"failed": 1})),
        };
        assert_eq!(value.to_text(), "3 rows, 2.0 KiB: v1/x.jsonl {\"failed\":1}");
        let small = ValueJson {
            place: None,
            bytes: 5,
            rows: None,
            manifest: None,
        };
        assert_eq!(small.to_text(), "5 B: in the ledger");
    }

    #[test]
    fn the_rate_is_that_since_the_process_took_it_up() {
        let live = LiveItems {
            fan_out: "018f4e5c-8c4e-7cc0-9c4b-3c7a5a6d2f10".parse().unwrap(),
            counts: BarrierCounts {
                total: 1_000,
                pending: 700,
                succeeded: 300,
                ..BarrierCounts::default()
            },
            is_filling: false,
            ended_before: 100,
            since: Timestamp::UNIX_EPOCH,
            results: None,
        };
        let after = |seconds| Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(seconds);

        assert_eq!(rate(&live, after(10)), Some(20.0));
        assert_eq!(rate(&live, after(0)), None);
        let idle = LiveItems {
            ended_before: 300,
            ..live
        };
        assert_eq!(rate(&idle, after(10)), None);
    }

    #[tokio::test]
    async fn rows_are_told_while_they_are_stored_and_once_they_are() {
        let id: FanOutId = "018f4e5c-8c4e-7cc0-9c4b-3c7a5a6d2f10".parse().unwrap();
        let counts = BarrierCounts {
            total: 1_000,
            succeeded: 1_000,
            ..BarrierCounts::default()
        };
        let row = FanOutRow {
            fan_out: id,
            run: RunId(id.0),
            asset: AssetId(1),
            partition: 0,
            parent: None,
            epoch: 1,
            state: BarrierState::Complete,
            is_sealed: true,
            options: FanOutOptions::default(),
            shared: None,
            cursor: None,
            counts,
            redriven: 0,
            on_schedule_at: None,
            error: None,
            opened_at: Timestamp::UNIX_EPOCH,
            moved_at: Timestamp::UNIX_EPOCH,
        };
        let live = LiveItems {
            fan_out: id,
            counts,
            is_filling: false,
            ended_before: 0,
            since: Timestamp::UNIX_EPOCH,
            results: Some(LiveResults {
                written: 400,
                total: 1_000,
            }),
        };
        let known = KnownAssets::read(&MemoryStore::default()).await.unwrap();
        let told = |live: Option<LiveItems>, manifest: Option<Option<serde_json::Value>>| {
            let value = |manifest| ValueJson {
                place: None,
                bytes: 5,
                rows: Some(1_000),
                manifest,
            };
            let fan_outs = FanOuts {
                rows: std::slice::from_ref(&row),
                live: live.map(|live| (id, live)).into_iter().collect(),
                values: manifest.map(|manifest| (id, value(manifest))).into_iter().collect(),
                known: &known,
                now: Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(10),
            };
            let told = fan_outs.one(id).unwrap();
            (told.results.map(|rows| (rows.written, rows.total)), told.per_second)
        };

        assert_eq!(told(Some(live), None), (Some((400, 1_000)), None));
        assert_eq!(told(None, None), (None, None), "no process says it");
        let manifest = serde_json::json!({"succeeded": 1_000});
        assert_eq!(told(None, Some(Some(manifest))), (Some((1_000, 1_000)), None));
        assert_eq!(told(None, Some(None)), (None, None), "a function gathered them");
    }

    #[test]
    fn options_read_well() {
        let plain = FanOutOptions::default();
        let limited = FanOutOptions {
            rate_limit: RateLimit::per_minute(600)
                .ok()
                .map(|limit| limit.burst(NonZeroU32::new(5).unwrap())),
            failure: FailurePolicy::tolerate_count(3),
            item_timeout: Some(Duration::from_secs(30)),
            items_max: Some(7),
            priority: -1,
            ..FanOutOptions::default()
        };

        let texts = [plain, limited].map(|options| OptionsJson::from(&options).to_text());

        assert_eq!(
            texts,
            [
                "at most 64 at once, none may fail, 3 attempts at each",
                "at most 64 at once, 600 in 1 min 0 s and 5 at once after a rest, 3 may fail, 3 attempts at each of at most \
                 30.0 s, priority -1, 7 items at most",
            ]
        );
    }
}
