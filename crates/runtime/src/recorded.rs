//! Reads back what is recorded of a run.

use flowstone_core::Result;
use flowstone_core::plan::RunPlan;
use flowstone_core::run::{Recorded, RunState};
use flowstone_core::store::{RunRow, Store};

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
        incarnation: row.incarnation.next(),
        is_paused: row.state == RunState::Paused,
    })
}
