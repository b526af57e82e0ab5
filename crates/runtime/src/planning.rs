//! Plans without writing anything.

use std::collections::{BTreeSet, HashMap};

use flowstone_core::partition::SetSnapshot;
use flowstone_core::pipeline::Pipeline;
use flowstone_core::plan::{Planner, RunPlan, RunRequest};
use flowstone_core::store::{AssetStatus, Store};
use flowstone_core::{AssetId, Result};
use jiff::Timestamp;

use crate::sets::attach;
use crate::spaces::check_spaces;

/// What `request` would do now. Reads the store and writes nothing; an asset that the store does not know is new.
///
/// # Errors
/// As [`Planner::plan`], and what the store says.
pub async fn plan(pipeline: &Pipeline, store: &dyn Store, request: &RunRequest, now: Timestamp) -> Result<RunPlan> {
    let pipeline = &attach(pipeline, store).await?;
    let known = store.assets().await?;
    check_spaces(pipeline.graph(), store, &known).await?;
    let known: HashMap<_, _> = known.into_iter().map(|row| (row.key, row.id)).collect();
    let mut next = known.len();
    let mut ids = Vec::with_capacity(pipeline.graph().len());
    for (_, node) in pipeline.graph().nodes() {
        ids.push(known.get(node.key()).copied().unwrap_or_else(|| {
            next += 1;
            AssetId(u32::try_from(next - 1).unwrap_or(u32::MAX))
        }));
    }
    plan_with(pipeline, store, &ids, request, now, None).await
}

/// The same, with the ids of the assets at hand and the pipeline attached.
pub(crate) async fn plan_with(
    pipeline: &Pipeline,
    store: &dyn Store,
    ids: &[AssetId],
    request: &RunRequest,
    now: Timestamp,
    sets: Option<&[SetSnapshot]>,
) -> Result<RunPlan> {
    let graph = pipeline.graph();
    let mut statuses = vec![AssetStatus::default(); graph.len()];
    let mut read = BTreeSet::new();
    for key in &request.assets {
        let ix = graph.find(key.as_str())?;
        read.insert(ix.index());
        read.extend(graph.node(ix).inputs().iter().map(|input| input.upstream.index()));
    }
    let asked: Vec<_> = read.iter().map(|index| ids[*index]).collect();
    for (index, status) in read.into_iter().zip(store.statuses(&asked).await?) {
        statuses[index] = status;
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
