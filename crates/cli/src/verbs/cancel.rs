//! `cancel`: ends a run. A process that runs it is asked; without one, what the run left open is closed in the ledger.

mod offline;

use std::time::Duration;

use flowstone_core::run::RunState;
use flowstone_core::{Error, ErrorKind, RunId};
use serde::Serialize;

use crate::args::OneRunArgs;
use crate::control::{Answer, Ask, ask};
use crate::entry::Context;
use crate::exit::{Exit, Failure};
use crate::state;

/// How often is looked again while the process that holds the state begins or ends, and so does not listen.
const LOOKS_MAX: u32 = 50;
/// The pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

#[derive(Serialize)]
struct Cancelled {
    run: RunId,
    state: RunState,
}

pub(in crate::verbs) async fn perform(context: &Context, args: &OneRunArgs) -> Result<Exit, Failure> {
    let dir = context.state_dir();
    let store = state::read_existing(dir).await?;
    let run = state::find_run(&*store, &args.run).await?.run;
    for look in 0..LOOKS_MAX {
        if look > 0 {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let row = state::find_run(&*store, &run.to_string()).await?;
        if row.state.is_terminal() {
            return tell(context, run, row.state);
        }
        match ask(dir, &Ask::Cancel(run)).await? {
            Some(Answer::Cancelled(state)) => return tell(context, run, state),
            // It ended between the look and the question; the next look tells how.
            Some(Answer::Error(record)) if record.kind == ErrorKind::NotFound => continue,
            Some(Answer::Error(record)) => {
                let mut error = Error::new(record.kind, record.message).during("cancel").about(run);
                if let Some(fix) = record.fix {
                    error = error.fix(fix);
                }
                return Err(error.into());
            }
            Some(_) => {
                return Err(Error::new(ErrorKind::Internal, "the running process gave another answer").into());
            }
            None => {}
        }
        // A pipeline that does not fit together any more keeps nobody from cancelling its runs.
        match offline::cancel(context.pipeline().ok().as_ref(), dir, run).await {
            Ok(state) => return tell(context, run, state),
            // Its owner does not listen yet, or no longer.
            Err(error) if error.kind() == ErrorKind::Locked => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(
        Error::new(ErrorKind::Locked, "the process that holds the state does not answer")
            .code("state_locked")
            .during("cancel")
            .about(run)
            .fix("see `doctor` for the process; Ctrl-C there cancels its run too")
            .into(),
    )
}

/// A run that ended otherwise cannot be cancelled any more; one that was cancelled before is what was asked for.
fn tell(context: &Context, run: RunId, state: RunState) -> Result<Exit, Failure> {
    if matches!(state, RunState::Succeeded | RunState::Failed) {
        return Err(
            Error::new(ErrorKind::Conflict, format!("it has ended already: it {state}"))
                .code("run_ended")
                .during("cancel")
                .about(format!("run {run}"))
                .into(),
        );
    }
    let cancelled = Cancelled { run, state };
    context.out.data(
        "flowstone.cancel/1",
        &cancelled,
        |Cancelled { run, state }| match state {
            RunState::Cancelled => format!("run {run} is cancelled"),
            _ => format!("run {run} is being cancelled: what runs is asked to end, nothing more is started"),
        },
    )?;
    Ok(Exit::Done)
}
