//! Reads back what is recorded of a run.

use std::collections::HashMap;

use flowstone_core::partition::PartitionSet;
use flowstone_core::plan::RunPlan;
use flowstone_core::run::{Recorded, RunState};
use flowstone_core::store::{FanOutFilter, RunRow, Store};
use flowstone_core::{AssetId, Result, RunId};

/// What the store has of a run, from which [`RunMachine::recover`](flowstone_core::run::RunMachine::recover) rebuilds where
/// it is. Its incarnation is the one that follows that of `row`, and has not been taken.
///
/// # Errors
/// What the store says.
pub async fn recorded(store: &dyn Store, row: &RunRow, plan: &RunPlan) -> Result<Recorded> {
    let ids: Vec<_> = plan.assets.iter().map(|planned| planned.id).collect();
    let statuses = store.statuses(&ids).await?;
    Ok(Recorded {
        chunks: store.chunks(row.run).await?,
        failures: store.failures(row.run).await?,
        stale: ids
            .into_iter()
            .zip(statuses.into_iter().map(|status| status.stale))
            .collect(),
        spared: spared(store, row.run).await?,
        incarnation: row.incarnation.next(),
        is_paused: row.state == RunState::Paused,
    })
}

/// The steps of a run that fan out and whose items are claimed.
async fn spared(store: &dyn Store, run: RunId) -> Result<HashMap<AssetId, PartitionSet>> {
    let mut spared: HashMap<AssetId, PartitionSet> = HashMap::new();
    for row in store.fan_outs(FanOutFilter::OfRun(run)).await? {
        if !row.state.is_terminal() && row.spares_step(&store.item_claims(row.fan_out).await?) {
            spared.entry(row.asset).or_default().insert(row.partition);
        }
    }
    Ok(spared)
}
