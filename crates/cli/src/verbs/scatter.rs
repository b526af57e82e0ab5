//! `scatter`: the fan-outs of runs, their items, and what can be done with them.

mod describe;
mod find;
mod going_on;
mod items;
mod set;
mod show;

pub(super) use describe::ItemCounts;
pub(super) use show::items_of;

use crate::args::{ScatterArgs, ScatterVerb};
use crate::entry::Context;
use crate::exit::{Exit, Failure};

/// The threads that it takes: `running` where it may run items itself.
pub(super) fn threads(args: &ScatterArgs, running: usize) -> usize {
    match args.verb {
        ScatterVerb::Redrive(_) => running,
        _ => 0,
    }
}

pub(super) async fn perform(context: &Context, args: &ScatterArgs) -> Result<Exit, Failure> {
    match &args.verb {
        ScatterVerb::Show(args) => show::perform(context, args).await,
        ScatterVerb::Items(args) => items::perform(context, args).await,
        ScatterVerb::Set(args) => set::perform(context, args).await,
        ScatterVerb::Redrive(args) => going_on::redrive(context, &args.of).await,
        ScatterVerb::Cancel(args) => going_on::cancel(context, args).await,
    }
}
