//! `status`: what is known of the partitions of each asset, as counts.

use std::collections::HashMap;
use std::sync::Arc;

use flowstone_core::graph::Node;
use flowstone_core::partition::PartitionSet;
use flowstone_core::plan::{RunPlan, made_by, planned_code_version};
use flowstone_core::run::RunState;
use flowstone_core::store::{AssetStatus, RunFilter, Store};
use flowstone_core::{AssetKey, Result, RunId};
use jiff::Timestamp;
use serde::Serialize;

use crate::args::SelectionArgs;
use crate::entry::Context;
use crate::exit::{Exit, Failure, OrUsage as _};
use crate::labels::Ranges;
use crate::output::{aligned, counted};
use crate::request::select;
use crate::state::{self, NOTHING_YET};

/// How many of the newest runs are looked through for the last one of an asset.
const RUNS_SEARCHED_MAX: usize = 100;

#[derive(Serialize)]
struct Statuses {
    pipeline: String,
    /// False where nothing was run yet.
    has_state: bool,
    assets: Vec<Status>,
}

#[derive(Serialize)]
struct Status {
    asset: String,
    partitions: u64,
    materialized: Ranges,
    missing: Ranges,
    /// Materialized, and made by other code or from something that has changed since.
    stale: Ranges,
    /// The latest step failed for good.
    failed: Ranges,
    /// Not planned any more, and in none of the other counts.
    retired: Ranges,
    /// Values whose partitions were not defined any more when the partitions were defined anew.
    orphaned: Vec<Orphaned>,
    last_run: Option<LastRun>,
}

#[derive(Serialize)]
struct Orphaned {
    /// The definition that they were partitions of.
    was: String,
    partitions: Ranges,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct LastRun {
    run: RunId,
    state: RunState,
    moved_at: Timestamp,
}

pub(super) async fn perform(context: &Context, args: &SelectionArgs) -> std::result::Result<Exit, Failure> {
    let pipeline = state::pipeline(context).await?;
    let graph = pipeline.graph();
    let selected = select(graph, &args.selection).or_usage()?;
    let store = state::read(context.state_dir()).await?;
    let now = Timestamp::now();
    let mut assets = Vec::with_capacity(selected.assets.len());
    let mut last_runs = HashMap::new();
    let mut statuses = vec![AssetStatus::default(); selected.assets.len()];
    let mut orphaned = HashMap::new();
    if let Some(store) = &store {
        let nodes = selected.assets.iter().map(|ix| graph.node(*ix).key());
        last_runs = find_last_runs(store, nodes.collect()).await?;
        statuses = flowstone_runtime::statuses(graph, &**store, &selected.assets, now).await?;
        orphaned = find_orphaned(&**store).await?;
    }
    for (ix, status) in selected.assets.iter().zip(statuses) {
        let node = graph.node(*ix);
        let orphaned = orphaned.remove(node.key()).unwrap_or_default();
        let last_run = last_runs.get(node.key()).copied();
        assets.push(describe(node, &status, orphaned, last_run, now)?);
    }
    let statuses = Statuses {
        pipeline: pipeline.name().to_owned(),
        has_state: store.is_some(),
        assets,
    };
    context.out.data("flowstone.status/1", &statuses, show)?;
    Ok(Exit::Done)
}

/// What is left of each asset under its former definitions.
async fn find_orphaned(store: &dyn Store) -> Result<HashMap<AssetKey, Vec<Orphaned>>> {
    let mut orphaned: HashMap<_, Vec<_>> = HashMap::new();
    for row in store.assets().await?.into_iter().filter(|row| row.is_former) {
        let left = store.status(row.id).await?.materialized();
        if !left.is_empty() {
            orphaned.entry(row.key).or_default().push(Orphaned {
                was: row.space.describe(),
                partitions: Ranges::new(&row.space, &left),
            });
        }
    }
    Ok(orphaned)
}

fn describe(
    node: &Node,
    status: &AssetStatus,
    orphaned: Vec<Orphaned>,
    last_run: Option<LastRun>,
    now: Timestamp,
) -> Result<Status> {
    let space = node.space();
    let existing = space.existing_at(now)?;
    let retired = PartitionSet::full(space.len_at(now)).difference(&existing);
    let materialized = status.materialized().intersect(&existing);
    let missing = existing.difference(&materialized);
    let mut stale = status.stale.intersect(&materialized);
    // With a configuration the code is another; only a plan knows which configuration is meant.
    if !node.takes_config() {
        let current = made_by(node, status, planned_code_version(node, None));
        stale.union_with(&materialized.difference(&current));
    }
    Ok(Status {
        asset: node.key().to_string(),
        partitions: existing.len(),
        materialized: Ranges::new(space, &materialized),
        missing: Ranges::new(space, &missing),
        stale: Ranges::new(space, &stale),
        failed: Ranges::new(space, &status.failed.intersect(&existing)),
        retired: Ranges::new(space, &retired),
        orphaned,
        last_run,
    })
}

/// The newest run that had steps of each asset.
async fn find_last_runs(store: &Arc<dyn Store>, mut wanted: Vec<&AssetKey>) -> Result<HashMap<AssetKey, LastRun>> {
    let mut found = HashMap::new();
    for row in store.runs(RunFilter::All, RUNS_SEARCHED_MAX).await? {
        if wanted.is_empty() {
            break;
        }
        let Some(Ok(plan)) = row.plan.as_deref().map(RunPlan::decode) else {
            continue;
        };
        for planned in plan.assets {
            if let Some(at) = wanted.iter().position(|key| **key == planned.key) {
                wanted.swap_remove(at);
                found.insert(
                    planned.key.clone(),
                    LastRun {
                        run: row.run,
                        state: row.state,
                        moved_at: row.moved_at,
                    },
                );
            }
        }
    }
    Ok(found)
}

fn show(statuses: &Statuses) -> String {
    let rows = statuses.assets.iter().map(|asset| {
        let count = |ranges: &Ranges| ranges.count.to_string();
        let last = asset
            .last_run
            .map_or_else(String::new, |last| format!("{} {:.0}", last.state, last.moved_at));
        [
            asset.asset.clone(),
            asset.partitions.to_string(),
            count(&asset.materialized),
            count(&asset.missing),
            count(&asset.stale),
            count(&asset.failed),
            last,
        ]
    });
    let header = ["asset", "partitions", "made", "missing", "stale", "failed", "last run"];
    let mut text = aligned(header, &[1, 2, 3, 4, 5], rows);
    for asset in statuses.assets.iter().filter(|asset| asset.retired.count > 0) {
        let (count, are) = match asset.retired.count {
            1 => ("one more partition".to_owned(), "is"),
            count => (format!("{count} more partitions"), "are"),
        };
        text.push_str(&format!("\n{count} of {} {are} retired", asset.asset));
    }
    let orphaned = |asset: &Status| !asset.orphaned.is_empty();
    for asset in statuses.assets.iter().filter(|asset| orphaned(asset)) {
        for left in &asset.orphaned {
            let values = counted(left.partitions.count, "value");
            let (partitions, was) = (left.partitions.to_text(), &left.was);
            text.push_str(&format!(
                "\norphaned: {values} of {}, {partitions} ({was})",
                asset.asset
            ));
        }
    }
    if !statuses.has_state {
        text.push('\n');
        text.push_str(NOTHING_YET);
    }
    text
}
