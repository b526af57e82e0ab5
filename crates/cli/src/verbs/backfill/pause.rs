//! `backfill pause`: lets a run wait. A process that runs it is asked; without one, the ledger is told.

use std::path::Path;

use flowstone_core::pipeline::Pipeline;
use flowstone_core::plan::RunPlan;
use flowstone_core::run::{RunCounts, RunState};
use flowstone_core::store::{Record, RunRow, Store};
use flowstone_core::{Error, ErrorKind, Result, RunId};
use flowstone_store::SqliteStore;
use jiff::Timestamp;
use serde::Serialize;

use crate::args::OneRunArgs;
use crate::control::{Answer, Ask, Reached, reach};
use crate::entry::Context;
use crate::exit::{Exit, Failure};
use crate::state::{self, KnownAssets, rebuild};

#[derive(Serialize)]
pub(super) struct Turned {
    pub(super) run: RunId,
    pub(super) state: RunState,
}

pub(super) async fn perform(context: &Context, args: &OneRunArgs) -> std::result::Result<Exit, Failure> {
    let dir = context.state_dir();
    let row = state::find_run(&*state::read_existing(dir).await?, &args.run).await?;
    refuse_ended(&row, "pause")?;
    // A pipeline that does not fit together any more keeps nobody from pausing its runs.
    let pipeline = context.pipeline().ok();
    let here = async || pause(pipeline.as_ref(), dir, row.run).await;
    let state = match reach(dir, &Ask::Pause(row.run), here).await? {
        Reached::Here(state) | Reached::There(Answer::Turned(state)) => state,
        Reached::There(_) => {
            return Err(Error::new(ErrorKind::Internal, "the running process gave another answer").into());
        }
    };
    let turned = Turned { run: row.run, state };
    let program = &context.program;
    context
        .out
        .data("flowstone.pause/1", &turned, |Turned { run, state }| {
            format!(
                "run {run} is {state}: what runs ends, nothing more is started until `{program} backfill resume {run}`"
            )
        })?;
    Ok(Exit::Done)
}

/// A run that has ended stays as it is.
pub(super) fn refuse_ended(row: &RunRow, verb: &'static str) -> Result<()> {
    if !row.state.is_terminal() && row.state != RunState::Cancelling {
        return Ok(());
    }
    let ended = if row.state.is_terminal() {
        "it has ended already"
    } else {
        "it is being ended"
    };
    Err(Error::new(ErrorKind::Conflict, format!("{ended}: it is {}", row.state))
        .code("run_ended")
        .during(verb)
        .about(format!("run {}", row.run))
        .fix("`backfill redrive` makes what it did not bring to a good end"))
}

/// Pauses a run that no process runs.
async fn pause(pipeline: Option<&Pipeline>, dir: &Path, run: RunId) -> Result<RunState> {
    let store = SqliteStore::open(dir).await?;
    let row = store.run(run).await?;
    let row = row.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no run {run}")))?;
    refuse_ended(&row, "pause")?;
    if row.state != RunState::Paused {
        let moved = Record::RunMoved {
            run,
            to: RunState::Paused,
            at: Timestamp::now(),
            counts: counts(pipeline, &store, &row).await,
            error: None,
        };
        for verdict in store.commit(&[moved]).await? {
            verdict?;
        }
    }
    store.close().await?;
    Ok(RunState::Paused)
}

/// Where the run is, as far as the pipeline tells; else where it was when it moved last.
async fn counts(pipeline: Option<&Pipeline>, store: &SqliteStore, row: &RunRow) -> RunCounts {
    let rebuilt = async {
        let plan = RunPlan::decode(row.plan.as_ref()?).ok()?;
        let known = KnownAssets::read(store).await.ok()?;
        let (machine, _) = rebuild(pipeline?, store, &known, row, &plan, Timestamp::now())
            .await
            .ok()?;
        Some(machine.counts())
    };
    rebuilt.await.unwrap_or(row.counts)
}
