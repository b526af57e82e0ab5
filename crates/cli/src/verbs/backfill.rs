//! `backfill`: a run over many partitions, and what can be done with it once it was asked for.

pub(super) mod going_on;
mod pause;
mod show;

use flowstone_core::{Error, ErrorKind};
use jiff::Timestamp;

use super::run::carry_out_and_tell;
use super::{cancel, plan};
use crate::args::{BackfillArgs, BackfillVerb, PartitionArgs};
use crate::entry::Context;
use crate::exit::{Exit, Failure, OrUsage as _};
use crate::request::request;
use crate::session::Work;
use crate::state;

pub(super) async fn perform(context: &Context, args: &BackfillArgs) -> Result<Exit, Failure> {
    match &args.verb {
        None => start(context, args).await,
        Some(BackfillVerb::Pause(args)) => pause::perform(context, args).await,
        Some(BackfillVerb::Resume(args)) => going_on::resume(context, &args.run).await,
        Some(BackfillVerb::Cancel(args)) => cancel::perform(context, args).await,
        Some(BackfillVerb::Redrive(args)) => going_on::redrive(context, &args.run).await,
        Some(BackfillVerb::Show(args)) => show::perform(context, args).await,
    }
}

async fn start(context: &Context, args: &BackfillArgs) -> Result<Exit, Failure> {
    let pipeline = state::pipeline(context).await?;
    let partitions = PartitionArgs {
        partition: None,
        range: args.range.clone(),
        all: args.all,
    };
    let mut request = request(&pipeline, &args.selection, &partitions, &args.how, Timestamp::now()).or_usage()?;
    request.pace = args.pace.pace();
    let graph = pipeline.graph();
    let is_partitioned = |key: &flowstone_core::AssetKey| {
        graph
            .find(key.as_str())
            .is_ok_and(|ix| !graph.node(ix).space().is_unit())
    };
    if !request.assets.iter().any(is_partitioned) {
        let error = Error::new(ErrorKind::Invalid, "none of the selected assets is partitioned")
            .code("partitions_not_taken")
            .fix("make them with `run`");
        return Err(Failure::Usage(error));
    }
    if args.preview {
        return plan::tell(context, &pipeline, request, None).await;
    }
    carry_out_and_tell(context, pipeline, "backfill", Work::Request(request)).await
}
