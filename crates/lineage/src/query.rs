//! Asks a store what a materialization was made from, or what was made from it.
//!
//! Reading records is left to `links`, deciding what they mean to `walk`.

mod links;
mod span;
mod walk;

use std::collections::BTreeMap;

use flowstone_core::selection::name_in_selection;
use flowstone_core::store::{AssetRow, Store};
use flowstone_core::{AssetId, Error, ErrorKind, Result, Version};

use crate::graph::{Direction, LineageGraph};
use span::Span;
use walk::Walk;

/// The depth that reaches everything.
pub const DEPTH_MAX: u32 = u32::MAX;
/// The number of nodes after which a query stops unless it is told otherwise.
pub const NODES_MAX: usize = 1000;
/// The number of partitions whose records one query reads at most.
pub const LOOKUPS_MAX: u64 = 65_536;

/// What to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineageQuery {
    /// The asset.
    pub asset: AssetId,
    /// The partition.
    pub partition: u64,
    /// The version, or `None` for the current one.
    pub version: Option<Version>,
    /// How many steps to go. What lies behind the last is counted, not listed.
    pub depth_max: u32,
    /// How many nodes to list. Nearer ones go first.
    pub nodes_max: usize,
}

impl LineageQuery {
    /// Everything about the current materialization of a partition, up to [`NODES_MAX`] nodes.
    pub fn new(asset: AssetId, partition: u64) -> Self {
        Self {
            asset,
            partition,
            version: None,
            depth_max: DEPTH_MAX,
            nodes_max: NODES_MAX,
        }
    }

    /// The same for an asset and a partition as a person names them; `assets` is what the store answered.
    ///
    /// # Errors
    /// `NotFound` for an asset that the store does not know or a partition that its space does not hold; `Invalid` when
    /// a partition must be named and is not, or is no partition's name.
    pub fn named(assets: &[AssetRow], name: &str, partition: Option<&str>) -> Result<Self> {
        let rows = || assets.iter().filter(|row| row.key.as_str() == name);
        // What was orphaned is found by the name that it had.
        let is_in = |row: &&AssetRow| partition.is_none_or(|text| row.space.parse(text).is_ok());
        let former = rows().rev().filter(|row| row.is_former).find(is_in);
        let current = rows().find(|row| !row.is_former);
        let row = match current.filter(is_in) {
            Some(row) => Some(row),
            None => former.or(current),
        };
        let row = row.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("the store knows no asset called {name:?}"))
                .code("asset_unknown")
                .fix("check the name with `list`, and that this is the state of the pipeline that you mean")
        })?;
        let partition = match partition {
            Some(text) => row
                .space
                .parse(text)
                .map_err(|error| error.about(format!("{text:?} of {}", row.key)))?,
            None if row.space.is_unit() => 0,
            None => {
                let (space, first) = (row.space.describe(), row.space.label(0));
                return Err(Error::new(ErrorKind::Invalid, format!("it is partitioned ({space})"))
                    .code("partition_needed")
                    .during("read lineage of")
                    .about(name_in_selection(name))
                    .fix(format!("name a partition, as `--partition {first}`")));
            }
        };
        Ok(Self::new(row.id, partition))
    }
}

/// What a materialization was made from, step by step.
///
/// Partitions that neighbor each other and have one version are one node, so that a month that was made from its days
/// has one upstream node and not 31. Versions are exact: the ones that were read, be they current or not.
///
/// # Errors
/// `NotFound` when the partition was never materialized or not at that version; `Corrupt` when a record names an asset
/// that the store does not know; what the store gives.
pub async fn upstream(store: &dyn Store, query: &LineageQuery) -> Result<LineageGraph> {
    trace(store, query, Direction::Upstream).await
}

/// What was made from a materialization, step by step; materializations that have been replaced since are included.
///
/// # Errors
/// As [`upstream`].
pub async fn downstream(store: &dyn Store, query: &LineageQuery) -> Result<LineageGraph> {
    trace(store, query, Direction::Downstream).await
}

async fn trace(store: &dyn Store, query: &LineageQuery, direction: Direction) -> Result<LineageGraph> {
    let assets: BTreeMap<AssetId, AssetRow> = store.assets().await?.into_iter().map(|row| (row.id, row)).collect();
    let version = materialized_version(store, query, &assets).await?;
    let root = Span {
        asset: query.asset,
        version,
        first: query.partition,
        last: query.partition,
    };
    let mut walk = Walk::new(direction, root, query.depth_max, query.nodes_max);
    let mut lookups_left = LOOKUPS_MAX;
    while let Some(span) = walk.next_span() {
        let links = links::read(store, direction, span, lookups_left).await?;
        lookups_left -= links.lookups;
        walk.found(links);
    }
    walk.into_graph(&assets)
}

/// The version that is asked about, which exists.
async fn materialized_version(
    store: &dyn Store,
    query: &LineageQuery,
    assets: &BTreeMap<AssetId, AssetRow>,
) -> Result<Version> {
    let row = assets.get(&query.asset).ok_or_else(|| {
        Error::new(
            ErrorKind::NotFound,
            format!("the store knows no asset number {}", query.asset),
        )
    })?;
    if let Some(made) = store
        .materialization(query.asset, query.partition, query.version)
        .await?
    {
        return Ok(made.version);
    }
    let head = store.materialization(query.asset, query.partition, None).await?;
    let (name, label) = (name_in_selection(row.key.as_str()), row.space.label(query.partition));
    let (subject, by_partition) = match row.space.is_unit() {
        true => (name.to_string(), String::new()),
        false => (format!("{name}[{label}]"), format!(" --partition {label}")),
    };
    let error = match (query.version, head) {
        (Some(version), Some(head)) => {
            let current = head.version;
            Error::new(
                ErrorKind::NotFound,
                format!("it has no version {version}, the current one is {current}"),
            )
            .code("version_unknown")
            .fix("leave the version out to get the current one")
        }
        _ => Error::new(ErrorKind::NotFound, "it was never materialized")
            .code("never_materialized")
            .fix(format!("make it with `run {name}{by_partition}`")),
    };
    Err(error.during("read lineage of").about(subject))
}
