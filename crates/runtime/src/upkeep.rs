//! Removes what nobody needs any more: rows that outlived their time, the values behind them, and what attempts left that
//! never became a value.
//!
//! What may go is decided in core and found by the store. Rows go first and values after them: a crash in between leaves
//! values that nobody names, which the next look for left-overs removes.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use flowstone_core::graph::NodeIx;
use flowstone_core::io::{Address, IoManager, Listed};
use flowstone_core::partition::PartitionSet;
use flowstone_core::pipeline::Pipeline;
use flowstone_core::retention::{Keep, Retention, is_left_over};
use flowstone_core::run::RunState;
use flowstone_core::store::{Prune, Pruned, Store};
use flowstone_core::{AssetId, AssetKey, Error, Result, RunId};
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;

use crate::engine::{EngineOptions, Shared, former, open_io};

/// Rows that are looked at when nobody asked.
const ROWS_MAX: u64 = 5_000;
/// Objects of one asset that are looked at when nobody asked.
const OBJECTS_MAX: usize = 50_000;
/// Objects that are judged at a time.
const OBJECTS_AT_ONCE: usize = 1_000;
/// Values that are deleted at the same time.
const DELETES_AT_ONCE: usize = 8;

/// What was removed, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Garbage {
    /// Rows by table of the store.
    pub rows: BTreeMap<String, u64>,
    /// Values of old versions.
    pub old_values: u64,
    /// Their bytes.
    pub old_bytes: u64,
    /// What attempts left that never became a value.
    pub left_over: u64,
    /// Its bytes.
    pub left_over_bytes: u64,
    /// What lies there of runs that this store has never heard of; it is left alone.
    pub unknown: u64,
    /// Assets whose IO manager cannot tell what it keeps, so that nothing left over is found.
    pub unlisted: Vec<AssetKey>,
}

/// Removes what nobody needs any more, or with `is_dry_run` says what that is. No engine must own `store`, except for a
/// dry run; a running one is asked with [`Engine::collect_garbage`](crate::Engine::collect_garbage). No user code runs.
///
/// # Errors
/// What the store and the IO managers say, and as [`check_retention`].
pub async fn collect_garbage(
    pipeline: &Pipeline,
    store: Arc<dyn Store>,
    options: &EngineOptions,
    is_dry_run: bool,
) -> Result<Garbage> {
    check_retention(pipeline, &options.retention)?;
    let rows = store.assets().await?;
    let current = rows.iter().filter(|row| !row.is_former);
    let known: HashMap<_, _> = current.map(|row| (&row.key, row.id)).collect();
    let io = open_io(pipeline, options)?;
    let former = of_former(&former(pipeline.graph(), &rows), &io);
    let nodes = pipeline.graph().nodes().zip(io);
    // What the store does not know has nothing that could go.
    let assets = nodes.filter_map(|((ix, node), io)| Some((*known.get(node.key())?, ix, io)));
    let upkeep = Upkeep {
        pipeline,
        store: &*store,
        assets: assets.collect(),
        former,
        retention: &options.retention,
        now: options.clock.now(),
    };
    upkeep.all(is_dry_run).await
}

/// Refuses a retention that names assets which there are not.
///
/// # Errors
/// `NotFound` with the nearest name.
pub fn check_retention(pipeline: &Pipeline, retention: &Retention) -> Result<()> {
    for key in retention.by_asset.keys() {
        let found = pipeline.graph().find(key.as_str());
        found.map_err(|error| error.during("keep versions of").about(key))?;
    }
    Ok(())
}

/// Each with the IO manager of its node.
fn of_former(former: &[(AssetId, NodeIx)], io: &[Arc<dyn IoManager>]) -> Vec<(AssetId, NodeIx, Arc<dyn IoManager>)> {
    let former = former.iter().map(|(id, ix)| (*id, *ix, Arc::clone(&io[ix.index()])));
    former.collect()
}

/// The work on one store, with what it needs.
pub(crate) struct Upkeep<'a> {
    pipeline: &'a Pipeline,
    store: &'a dyn Store,
    assets: Vec<(AssetId, NodeIx, Arc<dyn IoManager>)>,
    /// The same under the numbers that they had before. What lies there may be named by any of an asset's numbers, so it is
    /// not looked through for left-overs.
    former: Vec<(AssetId, NodeIx, Arc<dyn IoManager>)>,
    retention: &'a Retention,
    now: Timestamp,
}

impl<'a> Upkeep<'a> {
    pub(crate) fn of(shared: &'a Shared) -> Self {
        let nodes = shared.pipeline.graph().nodes().zip(&shared.ids).zip(&shared.io);
        Self {
            pipeline: &shared.pipeline,
            store: &*shared.store,
            assets: nodes.map(|(((ix, _), id), io)| (*id, ix, Arc::clone(io))).collect(),
            former: of_former(&shared.former, &shared.io),
            retention: &shared.retention,
            now: shared.clock.now(),
        }
    }

    /// Everything, however long it takes.
    pub(crate) async fn all(&self, is_dry_run: bool) -> Result<Garbage> {
        let mut garbage = Garbage::default();
        let nothing = Prune {
            now: self.now,
            events: Keep::ALL,
            runs: Keep::ALL,
            versions: BTreeMap::new(),
            rows_max: u64::MAX,
            is_dry_run,
        };
        let history = Prune {
            events: self.retention.events,
            runs: self.retention.runs,
            ..nothing.clone()
        };
        self.prune(&history, &mut garbage).await?;
        // One asset at a time, so that the values of one are gone before those of the next are known. Downstream goes
        // first: what was made of an old version goes before it.
        for (id, ix, _) in self.assets.iter().chain(&self.former).rev() {
            let old_versions = Prune {
                versions: BTreeMap::from([(*id, self.keep(*ix))]),
                ..nothing.clone()
            };
            self.prune(&old_versions, &mut garbage).await?;
        }
        for (id, ix, io) in &self.assets {
            self.sweep(*id, *ix, &**io, usize::MAX, is_dry_run, &mut garbage)
                .await?;
        }
        Ok(garbage)
    }

    /// A bounded part of it: old rows, and what was left of `messy` assets, whose runs did not go well.
    pub(crate) async fn some(&self, messy: &[AssetId]) -> Result<Garbage> {
        let mut garbage = Garbage::default();
        let versions = self
            .assets
            .iter()
            .chain(&self.former)
            .map(|(id, ix, _)| (*id, self.keep(*ix)));
        let some = Prune {
            now: self.now,
            events: self.retention.events,
            runs: self.retention.runs,
            versions: versions.collect(),
            rows_max: ROWS_MAX,
            is_dry_run: false,
        };
        self.prune(&some, &mut garbage).await?;
        for (id, ix, io) in self.assets.iter().filter(|(id, ..)| messy.contains(id)) {
            self.sweep(*id, *ix, &**io, OBJECTS_MAX, false, &mut garbage).await?;
        }
        Ok(garbage)
    }

    fn keep(&self, ix: NodeIx) -> Keep {
        let node = self.pipeline.graph().node(ix);
        self.retention.versions_of(node.key(), node.keep_versions())
    }

    /// Lets the store forget, and deletes the values behind what it forgot.
    async fn prune(&self, asked: &Prune, garbage: &mut Garbage) -> Result<()> {
        let Pruned {
            rows,
            values,
            value_count,
            value_bytes,
            ..
        } = self.store.prune(asked).await?;
        for (table, count) in rows {
            *garbage.rows.entry(table).or_default() += count;
        }
        garbage.old_values += value_count;
        garbage.old_bytes += value_bytes;
        let deletes = values.into_iter().filter_map(|(asset, address)| {
            let (.., io) = self.assets.iter().chain(&self.former).find(|(id, ..)| *id == asset)?;
            Some(async move { io.delete(&address).await })
        });
        futures::stream::iter(deletes)
            .buffer_unordered(DELETES_AT_ONCE)
            .try_collect::<()>()
            .await
    }

    /// Removes what attempts at `asset` left that never became a value.
    async fn sweep(
        &self,
        asset: AssetId,
        ix: NodeIx,
        io: &dyn IoManager,
        objects_max: usize,
        is_dry_run: bool,
        garbage: &mut Garbage,
    ) -> Result<()> {
        let key = self.pipeline.graph().node(ix).key();
        if !io.lists() {
            garbage.unlisted.push(key.clone());
            return Ok(());
        }
        let about = |error: Error| error.during("look for left-overs of").about(key);
        let mut states: HashMap<RunId, Option<RunState>> = HashMap::new();
        let mut listing = io.list(asset)?.take(objects_max).chunks(OBJECTS_AT_ONCE);
        while let Some(found) = listing.next().await {
            let found: Vec<Listed> = found.into_iter().collect::<Result<_>>().map_err(about)?;
            // In this order: what lies there, how its run is, what is named. See `is_left_over`.
            for object in &found {
                if let Entry::Vacant(unknown) = states.entry(object.slot.run) {
                    unknown.insert(self.store.run_state(object.slot.run).await?);
                }
            }
            let partitions: PartitionSet = found.iter().map(|object| object.slot.partition).collect();
            let mut named: HashMap<u64, Vec<_>> = HashMap::new();
            for made in self.store.history(asset, &partitions).await? {
                named.entry(made.partition).or_default().push(made);
            }
            for object in found {
                let run = states[&object.slot.run];
                let named = named.get(&object.slot.partition).map_or(&[][..], Vec::as_slice);
                if run.is_none() {
                    garbage.unknown += 1;
                } else if is_left_over(&object, run, named) {
                    garbage.left_over += 1;
                    garbage.left_over_bytes += object.bytes;
                    if !is_dry_run {
                        io.delete(&Address::Location(object.place.into()))
                            .await
                            .map_err(about)?;
                    }
                }
            }
        }
        Ok(())
    }
}
