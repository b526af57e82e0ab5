//! Reads back what is recorded of a run.

use flowstone_core::plan::RunPlan;
use flowstone_core::run::Recorded;
use flowstone_core::store::Store;
use flowstone_core::{Result, RunId};

/// What the store has of a run, from which [`RunMachine::recover`](flowstone_core::run::RunMachine::recover) rebuilds where it is.
///
/// # Errors
/// What the store says.
pub async fn recorded(store: &dyn Store, run: RunId, plan: &RunPlan) -> Result<Recorded> {
    let ids: Vec<_> = plan.assets.iter().map(|planned| planned.id).collect();
    let statuses = store.statuses(&ids).await?;
    Ok(Recorded {
        chunks: store.chunks(run).await?,
        failures: store.failures(run).await?,
        stale: ids
            .into_iter()
            .zip(statuses.into_iter().map(|status| status.stale))
            .collect(),
    })
}
