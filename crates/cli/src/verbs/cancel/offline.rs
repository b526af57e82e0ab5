//! Cancels a run that no process runs, without running anything.
//!
//! The engine would take up every open run, and with it user code. So core's machine is rebuilt as for a restart, told
//! that the run is cancelled, and what it wants committed is committed by the owner of the ledger: this process.

use std::path::Path;

use flowstone_core::pipeline::Pipeline;
use flowstone_core::plan::RunPlan;
use flowstone_core::run::{RunEvent, RunState, close_open};
use flowstone_core::store::{Record, RunRow, Store};
use flowstone_core::{Error, ErrorKind, Result, RunId};
use flowstone_store::SqliteStore;
use jiff::Timestamp;

use crate::state::{KnownAssets, rebuild};

/// Cancels `run` and says what became of it: it may turn out to have ended before. Without its pipeline the steps that had
/// ended since the run last moved are not told from the others.
///
/// # Errors
/// `Locked` when another process holds the state.
pub(super) async fn cancel(pipeline: Option<&Pipeline>, state_dir: &Path, run: RunId) -> Result<RunState> {
    let store = SqliteStore::open(state_dir).await?;
    let state = close(pipeline, &store, run).await;
    store.close().await?;
    state
}

async fn close(pipeline: Option<&Pipeline>, store: &SqliteStore, run: RunId) -> Result<RunState> {
    let row = store.run(run).await?;
    let row = row.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no run {run}")))?;
    if row.state.is_terminal() {
        return Ok(row.state);
    }
    let records = records(pipeline, store, &row, Timestamp::now()).await?;
    for verdict in store.commit(&records).await? {
        verdict?;
    }
    let row = store.run(run).await?;
    row.map(|row| row.state)
        .ok_or_else(|| Error::new(ErrorKind::Internal, format!("run {run} is gone")))
}

/// What must be committed so that the run is cancelled.
async fn records(
    pipeline: Option<&Pipeline>,
    store: &SqliteStore,
    row: &RunRow,
    now: Timestamp,
) -> Result<Vec<Record>> {
    let plan = row
        .plan
        .as_deref()
        .filter(|_| matches!(row.state, RunState::Running | RunState::Paused));
    let incarnation = row.incarnation.next();
    let mut records = vec![Record::RunTaken {
        run: row.run,
        incarnation,
    }];
    let unplanned = async |mut records: Vec<Record>| {
        records.extend(close_open(&store.chunks(row.run).await?, incarnation, now));
        records.extend(moves(row, now));
        Ok(records)
    };
    let (Some(plan), Some(pipeline)) = (plan, pipeline) else {
        return unplanned(records).await;
    };
    let plan = RunPlan::decode(plan)?;
    let known = KnownAssets::read(store).await?;
    let (mut machine, mut decision) = match rebuild(pipeline, store, &known, row, &plan, now).await {
        Ok(rebuilt) => rebuilt,
        // The pipeline has changed since, so the machine cannot be had; the run ends all the same.
        Err(error) if error.stable_code() == "code_changed" || !known.fit(pipeline.graph()) => {
            return unplanned(records).await;
        }
        Err(error) => return Err(error),
    };
    if !machine.is_over() {
        machine.apply(RunEvent::CancelAsked, now, &mut decision)?;
    }
    // Nothing runs here that could be started, stopped, woken or told.
    records.extend(decision.records);
    Ok(records)
}

/// The moves from the state of `row` to cancelled, with all that had not ended counted as cancelled.
fn moves(row: &RunRow, at: Timestamp) -> Vec<Record> {
    let counts = row.counts.with_rest_cancelled();
    let path: &[RunState] = match row.state {
        RunState::Running | RunState::Paused => &[RunState::Cancelling, RunState::Cancelled],
        _ => &[RunState::Cancelled],
    };
    path.iter()
        .map(|to| Record::RunMoved {
            run: row.run,
            to: *to,
            at,
            counts,
            error: None,
        })
        .collect()
}
