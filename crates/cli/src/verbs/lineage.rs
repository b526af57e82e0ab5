//! `lineage`: what a partition was made from, or what was made from it.

use flowstone_core::store::AssetRow;
use flowstone_core::{Error, ErrorKind, Result, Version};
use flowstone_lineage::{DEPTH_MAX, LineageQuery, downstream, render, upstream};

use super::graph::tell_drawing;
use crate::args::{Direction, LineageArgs};
use crate::entry::Context;
use crate::exit::{Exit, Failure, OrUsage as _};
use crate::state;

pub(super) async fn perform(context: &Context, args: &LineageArgs) -> std::result::Result<Exit, Failure> {
    let pipeline = context.pipeline()?;
    let known = pipeline.graph().find(&args.asset).map(drop);
    let store = match state::read_existing(context.state_dir()).await {
        Ok(store) => store,
        // A name that is wrong everywhere is the better complaint.
        Err(error) => return Err(known.map_or_else(Failure::Usage, |()| Failure::Failed(error))),
    };
    let mut query = query(&store.assets().await?, known, args).or_usage()?;
    query.version = args.version.map(Version);
    query.depth_max = args.depth.unwrap_or(DEPTH_MAX);
    let found = match args.direction {
        Direction::Up => upstream(&*store, &query).await?,
        Direction::Down => downstream(&*store, &query).await?,
    };
    tell_drawing(context, "flowstone.lineage/1", args.format, |format| {
        render::lineage(&found, format)
    })?;
    Ok(Exit::Done)
}

/// An asset that the pipeline no longer has keeps its lineage; one that nobody knows gets the pipeline's complaint, which
/// says what may have been meant.
fn query(assets: &[AssetRow], known: Result<()>, args: &LineageArgs) -> Result<LineageQuery> {
    if !assets.iter().any(|row| row.key.as_str() == args.asset) {
        known?;
        return Err(Error::new(ErrorKind::NotFound, "it was never materialized")
            .code("never_materialized")
            .during("read lineage of")
            .about(&args.asset)
            .fix(format!("run {} first", args.asset)));
    }
    LineageQuery::named(assets, &args.asset, args.partition.as_deref())
}
