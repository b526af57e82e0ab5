//! `backfill`: a run over many partitions.

use flowstone_core::{Error, ErrorKind};
use jiff::Timestamp;

use super::run::carry_out_and_tell;
use crate::args::{BackfillArgs, PartitionArgs};
use crate::entry::Context;
use crate::exit::{Exit, Failure, OrUsage as _};
use crate::request::request;
use crate::session::Work;

pub(super) async fn perform(context: &Context, args: &BackfillArgs) -> Result<Exit, Failure> {
    let pipeline = context.pipeline()?;
    let partitions = PartitionArgs {
        partition: None,
        range: args.range.clone(),
        all: args.all,
    };
    let request = request(&pipeline, &args.selection, &partitions, &args.how, Timestamp::now()).or_usage()?;
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
    carry_out_and_tell(context, pipeline, "backfill", Work::Request(request)).await
}
