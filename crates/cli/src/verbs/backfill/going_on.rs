//! `backfill resume` and `backfill redrive`: a process that holds the state is asked; without one, this one does the work.

use flowstone_core::pipeline::Pipeline;
use flowstone_core::{Error, ErrorKind, RunId};
use serde::Serialize;

use super::super::run::tell_how_it_went;
use super::pause::{Turned, refuse_ended};
use crate::args::OneRunArgs;
use crate::control::{Answer, Ask, Reached, reach};
use crate::entry::Context;
use crate::exit::{Exit, Failure};
use crate::session::{Carried, Work, carry_out};
use crate::state;

#[derive(Serialize)]
struct Redriven {
    run: RunId,
    /// The run of which it makes what is left.
    redrive_of: RunId,
}

pub(super) async fn resume(context: &Context, args: &OneRunArgs) -> Result<Exit, Failure> {
    let row = state::find_run(&*state::read_existing(context.state_dir()).await?, &args.run).await?;
    refuse_ended(&row, "resume")?;
    let run = row.run;
    match go_on(context, &Ask::Resume(run), "resume", Work::Resume(run)).await? {
        Reached::Here(carried) => tell_how_it_went(context, &carried),
        Reached::There(Answer::Turned(state)) => {
            let turned = Turned { run, state };
            context
                .out
                .data("flowstone.resume/1", &turned, |Turned { run, state }| {
                    format!("run {run} is {state}: the process that holds the state goes on with it")
                })?;
            Ok(Exit::Done)
        }
        Reached::There(_) => Err(other_answer()),
    }
}

pub(super) async fn redrive(context: &Context, args: &OneRunArgs) -> Result<Exit, Failure> {
    let row = state::find_run(&*state::read_existing(context.state_dir()).await?, &args.run).await?;
    let of = row.run;
    match go_on(context, &Ask::Redrive(of), "redrive", Work::Redrive(of)).await? {
        Reached::Here(carried) => tell_how_it_went(context, &carried),
        Reached::There(Answer::Redriven(run)) => {
            let redriven = Redriven { run, redrive_of: of };
            context
                .out
                .data("flowstone.redrive/1", &redriven, |Redriven { run, redrive_of }| {
                    format!("run {run} makes what is left of run {redrive_of}, in the process that holds the state")
                })?;
            Ok(Exit::Done)
        }
        Reached::There(_) => Err(other_answer()),
    }
}

/// Asks the process that holds the state; without one, carries the work out here.
pub(in crate::verbs) async fn go_on(
    context: &Context,
    ask: &Ask,
    verb: &'static str,
    work: Work,
) -> Result<Reached<Carried>, Failure> {
    let pipeline: Pipeline = context.pipeline()?;
    let here = async || match carry_out(context, pipeline.clone(), verb, work.clone()).await {
        Err(Failure::Failed(error)) if error.kind() == ErrorKind::Locked => Err(error),
        other => Ok(other),
    };
    Ok(match reach(context.state_dir(), ask, here).await? {
        Reached::There(answer) => Reached::There(answer),
        Reached::Here(carried) => Reached::Here(carried?),
    })
}

pub(in crate::verbs) fn other_answer() -> Failure {
    Error::new(ErrorKind::Internal, "the running process gave another answer").into()
}
