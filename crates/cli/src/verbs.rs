//! The verbs, one file each.

mod apply;
mod backfill;
mod cancel;
mod check;
mod doctor;
mod gc;
mod graph;
mod lineage;
mod list;
mod partitions;
mod plan;
mod run;
mod runs;
mod scatter;
mod show;
mod status;

use crate::args::Verb;
use crate::entry::{Context, block_on};
use crate::exit::{Exit, Failure};

/// Performs `verb`.
pub(crate) fn perform(context: &Context, verb: &Verb) -> Result<Exit, Failure> {
    // Steps run on as many threads as there are workers; two more keep the engine and its commits going meanwhile.
    let running = context.settings.workers.value + 2;
    match verb {
        Verb::Check => block_on(0, check::perform(context))?,
        Verb::List(args) => list::perform(context, args),
        Verb::Graph(args) => graph::perform(context, args),
        Verb::Plan(args) => block_on(0, plan::perform(context, args))?,
        Verb::Apply(args) => block_on(running, apply::perform(context, args))?,
        Verb::Run(args) => block_on(running, run::perform(context, args))?,
        Verb::Backfill(args) => block_on(running, backfill::perform(context, args))?,
        Verb::Scatter(args) => block_on(scatter::threads(args, running), scatter::perform(context, args))?,
        Verb::Partitions(args) => block_on(0, partitions::perform(context, args))?,
        Verb::Status(args) => block_on(0, status::perform(context, args))?,
        Verb::Runs(args) => block_on(0, runs::perform(context, args))?,
        Verb::Show(args) => block_on(0, show::perform(context, args))?,
        Verb::Cancel(args) => block_on(0, cancel::perform(context, args))?,
        Verb::Lineage(args) => block_on(0, lineage::perform(context, args))?,
        Verb::Gc(args) => block_on(0, gc::perform(context, args))?,
        Verb::Doctor(_) => block_on(0, doctor::perform(context))?,
    }
}
