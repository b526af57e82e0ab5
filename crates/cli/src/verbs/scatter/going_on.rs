//! `scatter redrive` and `scatter cancel`: a process that holds the state is asked; without one, a redrive is run here.

use flowstone_core::fan_out::BarrierState;
use flowstone_core::store::FanOutRow;
use flowstone_core::{Error, ErrorKind, FanOutId, Result, RunId};
use flowstone_store::SqliteStore;
use serde::Serialize;

use super::super::backfill::going_on::{go_on, other_answer};
use super::super::run::tell_how_it_went;
use super::find::Finder;
use crate::args::FanOutArgs;
use crate::control::{Answer, Ask, Reached, reach};
use crate::entry::Context;
use crate::exit::{Exit, Failure};
use crate::session::Work;
use crate::state::{self, KnownAssets};

#[derive(Serialize)]
struct Redriven {
    run: RunId,
    /// The fan-out of which it tries again what did not succeed.
    fan_out: FanOutId,
}

#[derive(Serialize)]
struct Cancelled {
    fan_out: FanOutId,
    state: BarrierState,
}

/// The fan-out that was named.
pub(super) async fn named(context: &Context, args: &FanOutArgs) -> Result<FanOutRow> {
    let pipeline = context.pipeline().ok();
    let store = state::read_existing(context.state_dir()).await?;
    let finder = Finder {
        store: &*store,
        known: &KnownAssets::read(&*store).await?,
        pipeline: pipeline.as_ref(),
    };
    finder.one(&args.fan_out).await
}

pub(super) async fn redrive(context: &Context, args: &FanOutArgs) -> std::result::Result<Exit, Failure> {
    let fan_out = named(context, args).await?.fan_out;
    let (ask, work) = (Ask::RedriveFanOut(fan_out), Work::RedriveFanOut(fan_out));
    match go_on(context, &ask, "scatter redrive", work).await? {
        Reached::Here(carried) => tell_how_it_went(context, &carried),
        Reached::There(Answer::Redriven(run)) => {
            let redriven = Redriven { run, fan_out };
            let text = |Redriven { run, fan_out }: &Redriven| {
                format!("run {run} tries again what is left of fan-out {fan_out}, in the process that holds the state")
            };
            context.out.data("flowstone.scatter.redrive/1", &redriven, text)?;
            Ok(Exit::Done)
        }
        Reached::There(_) => Err(other_answer()),
    }
}

pub(super) async fn cancel(context: &Context, args: &FanOutArgs) -> std::result::Result<Exit, Failure> {
    let row = named(context, args).await?;
    let fan_out = row.fan_out;
    // One that was cancelled before is what was asked for.
    if row.state != BarrierState::Cancelled {
        match there(context, &row, &Ask::CancelFanOut(fan_out), "cancel").await? {
            Answer::FanOutCancelled => {}
            _ => return Err(other_answer()),
        }
    }
    let cancelled = Cancelled {
        fan_out,
        state: BarrierState::Cancelled,
    };
    let program = &context.program;
    let text = |Cancelled { fan_out, .. }: &Cancelled| {
        format!(
            "fan-out {fan_out} is cancelled: nothing more is started; what has ended is kept, \
             `{program} scatter redrive {fan_out}` goes on from there"
        )
    };
    context.out.data("flowstone.scatter.cancel/1", &cancelled, text)?;
    Ok(Exit::Done)
}

/// Asks the process that runs a fan-out; nobody else can do what is asked.
///
/// # Errors
/// `Conflict` for one that has ended; `NotFound` when no process runs it; what that process says.
pub(super) async fn there(context: &Context, row: &FanOutRow, ask: &Ask, verb: &'static str) -> Result<Answer> {
    let FanOutRow { fan_out, run, .. } = row;
    let about = format!("fan-out {fan_out}");
    if row.state.is_terminal() {
        return Err(Error::new(
            ErrorKind::Conflict,
            format!("it has ended already: it is {}", row.state),
        )
        .code("fan_out_ended")
        .during(verb)
        .about(about)
        .fix("`scatter redrive` tries again what did not succeed"));
    }
    let dir = context.state_dir();
    let here = async || {
        // Locked when its process begins or ends just now: it is asked again then.
        SqliteStore::open(dir).await?.close().await?;
        Err(Error::new(ErrorKind::NotFound, "no process runs it now")
            .code("fan_out_not_live")
            .during(verb)
            .about(&about)
            .fix(format!(
                "any verb that runs goes on with it, as `backfill resume {run}`; `cancel {run}` ends its run as it is"
            )))
    };
    match reach::<std::convert::Infallible>(dir, ask, here).await? {
        Reached::There(answer) => Ok(answer),
        Reached::Here(never) => match never {},
    }
}
