//! Plans without writing anything.

use flowstone_core::graph::{AssetGraph, NodeIx};
use flowstone_core::partition::SetSnapshot;
use flowstone_core::pipeline::Pipeline;
use flowstone_core::plan::{Planner, RunPlan, RunRequest};
use flowstone_core::store::{AssetStatus, Store};
use flowstone_core::{AssetId, Result};
use jiff::Timestamp;

use crate::sets::attach;
use crate::spaces::{Redefined, carried_out, numbers, redefined_among};

/// What `request` would do now. Reads the store and writes nothing; an asset that the store does not know is new, and what
/// is [`redefined`](crate::redefined) counts as carried out.
///
/// # Errors
/// As [`Planner::plan`], and what the store says.
pub async fn plan(pipeline: &Pipeline, store: &dyn Store, request: &RunRequest, now: Timestamp) -> Result<RunPlan> {
    let pipeline = &attach(pipeline, store).await?;
    let graph = pipeline.graph();
    let known = store.assets().await?;
    let redefined = redefined_among(&known, graph, store, now).await?;
    let ids = numbers(&known, &redefined, graph);
    plan_with(pipeline, store, &ids, &redefined, request, now, None).await
}

/// The same, with the ids of the assets at hand, what is still to be carried out, and the pipeline attached.
pub(crate) async fn plan_with(
    pipeline: &Pipeline,
    store: &dyn Store,
    ids: &[AssetId],
    redefined: &[Redefined],
    request: &RunRequest,
    now: Timestamp,
    sets: Option<&[SetSnapshot]>,
) -> Result<RunPlan> {
    let graph = pipeline.graph();
    let mut statuses = vec![AssetStatus::default(); graph.len()];
    let mut is_read = vec![false; graph.len()];
    for ix in graph.find_each(&request.assets) {
        let ix = ix?;
        is_read[ix.index()] = true;
        for input in graph.node(ix).inputs() {
            is_read[input.upstream.index()] = true;
        }
    }
    let read: Vec<_> = (0..graph.len()).filter(|index| is_read[*index]).collect();
    let asked: Vec<_> = read.iter().map(|index| ids[*index]).collect();
    for (index, status) in read.into_iter().zip(store.statuses(&asked).await?) {
        statuses[index] = status;
    }
    for (status, (_, node)) in statuses.iter_mut().zip(graph.nodes()).filter(|_| !redefined.is_empty()) {
        *status = carried_out(node.key(), std::mem::take(status), redefined);
    }
    Planner {
        graph,
        ids,
        statuses: &statuses,
        now,
        sets,
    }
    .plan(request)
}

/// What is known of `assets`, in that order, with what is [`redefined`](crate::redefined) carried out.
///
/// # Errors
/// What the store says.
pub async fn statuses(
    graph: &AssetGraph,
    store: &dyn Store,
    assets: &[NodeIx],
    now: Timestamp,
) -> Result<Vec<AssetStatus>> {
    let known = store.assets().await?;
    let redefined = redefined_among(&known, graph, store, now).await?;
    let ids = numbers(&known, &redefined, graph);
    let asked: Vec<AssetId> = assets.iter().map(|ix| ids[ix.index()]).collect();
    let statuses = assets.iter().zip(store.statuses(&asked).await?);
    let carried_out = statuses.map(|(ix, status)| carried_out(graph.node(*ix).key(), status, &redefined));
    Ok(carried_out.collect())
}
