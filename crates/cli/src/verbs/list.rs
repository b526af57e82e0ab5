//! `list`: the assets of the pipeline, upstream first.

use flowstone_core::graph::{AssetGraph, NodeIx};
use serde::Serialize;

use crate::args::SelectionArgs;
use crate::entry::Context;
use crate::exit::{Exit, Failure, OrUsage as _};
use crate::output::table;
use crate::request::select;

#[derive(Serialize)]
struct Listed<'a> {
    pipeline: &'a str,
    assets: Vec<ListedAsset<'a>>,
}

#[derive(Serialize)]
struct ListedAsset<'a> {
    asset: &'a str,
    description: Option<&'a str>,
    group: Option<&'a str>,
    tags: &'a [String],
    partitions: String,
    is_partitioned: bool,
    upstream: Vec<&'a str>,
    io: Option<&'a str>,
    value_type: &'a str,
    code_version: String,
    location: String,
}

pub(super) fn perform(context: &Context, args: &SelectionArgs) -> Result<Exit, Failure> {
    let pipeline = context.pipeline()?;
    let graph = pipeline.graph();
    let selected = select(graph, &args.selection).or_usage()?;
    let assets = selected
        .assets
        .iter()
        .map(|ix| describe(graph, *ix, pipeline.default_io()))
        .collect();
    let listed = Listed {
        pipeline: pipeline.name(),
        assets,
    };
    context.out.data("flowstone.list/1", &listed, |listed| {
        if listed.assets.is_empty() {
            return "no assets".to_owned();
        }
        let rows = listed.assets.iter().map(|asset| {
            [
                asset.asset.to_owned(),
                asset.partitions.clone(),
                asset.group.unwrap_or("").to_owned(),
                asset.tags.join(", "),
                asset.upstream.join(", "),
                asset.description.unwrap_or("").to_owned(),
            ]
        });
        table(
            ["asset", "partitions", "group", "tags", "upstream", "description"],
            rows,
        )
    })?;
    Ok(Exit::Done)
}

fn describe<'a>(graph: &'a AssetGraph, ix: NodeIx, default_io: Option<&'a str>) -> ListedAsset<'a> {
    let node = graph.node(ix);
    ListedAsset {
        asset: node.key().as_str(),
        description: node.description(),
        group: node.group(),
        tags: node.tags(),
        partitions: node.space().describe(),
        is_partitioned: !node.space().is_unit(),
        upstream: node
            .inputs()
            .iter()
            .map(|input| graph.node(input.upstream).key().as_str())
            .collect(),
        io: node.io().or(default_io),
        value_type: node.output().name(),
        code_version: node.code_version().to_string(),
        location: node.location().to_string(),
    }
}
