//! What of a pipeline's assets is drawn, and their JSON.

use flowstone_core::asset::InputKind;
use flowstone_core::graph::{self, AssetGraph};
use flowstone_core::partition::PartitionSpace;
use flowstone_core::selection::name_in_selection;
use serde::Serialize;

use super::json::Document;
use super::picture::{Edge, Node, Picture};
use crate::graph::Direction;

pub(super) fn picture(graph: &AssetGraph) -> Picture {
    let mut picture = Picture {
        nodes: Vec::new(),
        edges: Vec::new(),
        roots: Vec::new(),
        growth: Direction::Upstream,
    };
    for (ix, asset) in graph.nodes() {
        let name = name_in_selection(asset.key().as_str()).into_owned();
        let detail = kind(asset.space());
        let line = match &detail {
            Some(kind) => format!("{name} ({kind})"),
            None => name.clone(),
        };
        let group = asset.group().map(|group| name_in_selection(group).into_owned());
        picture.nodes.push(Node {
            name,
            detail,
            line,
            group,
            note: None,
            is_subject: false,
        });
        for (position, input) in asset.inputs().iter().enumerate() {
            // An asset may read another one twice, with two mappings; that is one edge.
            let is_first = asset.inputs()[..position]
                .iter()
                .all(|earlier| earlier.upstream != input.upstream);
            if is_first {
                picture.edges.push(Edge {
                    upstream: input.upstream.index(),
                    downstream: ix.index(),
                    is_optional: is_optional(asset, input.upstream),
                });
            }
        }
        if asset.downstream().iter().all(|reader| *reader == ix) {
            picture.roots.push(ix.index());
        }
    }
    picture
}

/// True when an asset can be made without any value of `upstream`.
fn is_optional(asset: &graph::Node, upstream: graph::NodeIx) -> bool {
    let mut inputs = asset.inputs().iter().filter(|input| input.upstream == upstream);
    inputs.all(|input| input.kind == InputKind::Optional)
}

/// How an asset is partitioned, in a word; `None` when it is not.
fn kind(space: &PartitionSpace) -> Option<String> {
    match space {
        PartitionSpace::Unit => None,
        PartitionSpace::Static(_) => Some("static".to_owned()),
        PartitionSpace::Dynamic(_) => Some("dynamic".to_owned()),
        PartitionSpace::Window(space) => Some(space.granularity().to_string()),
        PartitionSpace::Product(space) => {
            let kinds: Vec<String> = space.dimensions().filter_map(|(_, space)| kind(space)).collect();
            Some(kinds.join(" × "))
        }
    }
}

#[derive(Serialize)]
pub(super) struct Content<'a> {
    /// What an asset is made from comes before it.
    assets: Vec<AssetJson<'a>>,
}

#[derive(Serialize)]
struct AssetJson<'a> {
    name: &'a str,
    description: Option<&'a str>,
    group: Option<&'a str>,
    tags: &'a [String],
    io: Option<&'a str>,
    /// `null` when the asset is not partitioned.
    partitions: Option<PartitionsJson>,
    inputs: Vec<InputJson<'a>>,
}

#[derive(Serialize)]
struct PartitionsJson {
    kind: String,
    description: String,
}

#[derive(Serialize)]
struct InputJson<'a> {
    asset: &'a str,
    reads: &'static str,
    mapping: String,
}

pub(super) fn document(graph: &AssetGraph) -> Document<Content<'_>> {
    let assets = graph.nodes().map(|(_, asset)| AssetJson {
        name: asset.key().as_str(),
        description: asset.description(),
        group: asset.group(),
        tags: asset.tags(),
        io: asset.io(),
        partitions: kind(asset.space()).map(|kind| PartitionsJson {
            kind,
            description: asset.space().describe(),
        }),
        inputs: asset.inputs().iter().map(|input| input_json(graph, input)).collect(),
    });
    Document {
        format: "flowstone.graph",
        version: 1,
        content: Content {
            assets: assets.collect(),
        },
    }
}

fn input_json<'a>(graph: &'a AssetGraph, input: &graph::Input) -> InputJson<'a> {
    InputJson {
        asset: graph.node(input.upstream).key().as_str(),
        reads: match input.kind {
            InputKind::Value => "value",
            InputKind::Optional => "optional",
            InputKind::Stream => "stream",
        },
        mapping: input.mapping.to_string(),
    }
}
