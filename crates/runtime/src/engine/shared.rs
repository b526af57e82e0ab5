//! What the actors of an engine share.

use std::sync::Arc;
use std::time::Duration;

use flowstone_core::clock::Clock;
use flowstone_core::graph::NodeIx;
use flowstone_core::io::IoManager;
use flowstone_core::pipeline::Pipeline;
use flowstone_core::plan::{RunPlan, RunRequest};
use flowstone_core::retention::Retention;
use flowstone_core::store::Store;
use flowstone_core::{AssetId, AssetKey, Error, ErrorKind, Result, RunId};

use crate::dispatcher::DispatcherHandle;
use crate::fan_out::LiveFanOuts;
use crate::handle::{FailedStep, RunReport};
use crate::ledger::LedgerHandle;
use crate::planning::plan_with;
use crate::pools::PoolTable;
use crate::sets::EngineSets;

/// What the actors of an engine share.
pub(crate) struct Shared {
    pub(crate) pipeline: Pipeline,
    pub(crate) ids: Vec<AssetId>,
    /// The numbers under which the assets were known before their partitions were defined anew.
    pub(crate) former: Vec<(AssetId, NodeIx)>,
    /// The IO manager of each node.
    pub(crate) io: Vec<Arc<dyn IoManager>>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) cancel_grace: Duration,
    pub(crate) retention: Retention,
    pub(crate) pools: PoolTable,
    pub(crate) sets: Arc<EngineSets>,
    pub(crate) ledger: LedgerHandle,
    pub(crate) dispatcher: DispatcherHandle,
    pub(crate) fan_outs: LiveFanOuts,
}

impl Shared {
    pub(crate) async fn plan(&self, request: &RunRequest) -> Result<RunPlan> {
        let now = self.clock.now();
        plan_with(&self.pipeline, &*self.store, &self.ids, &[], request, now, None).await
    }

    /// The same, with open-ended and dynamic partitions as `plan` saw them.
    pub(crate) async fn plan_as(&self, request: &RunRequest, plan: &RunPlan) -> Result<RunPlan> {
        let (time, sets) = (plan.planned_at, Some(&plan.sets[..]));
        plan_with(&self.pipeline, &*self.store, &self.ids, &[], request, time, sets).await
    }

    /// How a run ended, from the store.
    pub(crate) async fn report(&self, run: RunId) -> Result<RunReport> {
        let row = self.store.run(run).await?;
        let row = row.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no run {run}")))?;
        let failures = self
            .store
            .failures(run)
            .await?
            .into_iter()
            .filter(|failure| failure.is_final);
        let failures = failures.map(|failure| {
            let node = self.ids.iter().position(|id| *id == failure.asset);
            let node = node
                .and_then(|index| self.pipeline.graph().nodes().nth(index))
                .map(|(_, node)| node);
            FailedStep {
                asset: node.map_or_else(unknown_asset, |node| node.key().clone()),
                partition: failure.partition,
                label: node.map_or_else(String::new, |node| node.space().label(failure.partition)),
                attempt: failure.attempt,
                error: failure.error,
            }
        });
        let failures = failures.collect();
        let elapsed = row.moved_at.duration_since(row.created_at).unsigned_abs();
        Ok(RunReport {
            run,
            state: row.state,
            counts: row.counts,
            error: row.error,
            failures,
            elapsed,
        })
    }
}

fn unknown_asset() -> AssetKey {
    AssetKey::new("(an asset that the pipeline no longer has)").expect("the text is a valid name")
}
