//! What of a lineage graph is drawn, and its JSON.

use flowstone_core::selection::name_in_selection;
use serde::Serialize;

use super::json::Document;
use super::picture::{Edge, Node, Picture};
use crate::graph::{Direction, LineageGraph, LineageNode};

pub(super) fn picture(graph: &LineageGraph) -> Picture {
    let nodes = graph.nodes.iter().enumerate().map(|(index, node)| Node {
        name: name_in_selection(node.key.as_str()).into_owned(),
        detail: Some(match node.range() {
            Some(range) => format!("{range} v{}", node.version),
            None => format!("v{}", node.version),
        }),
        line: node.label(),
        group: None,
        note: note(node),
        is_subject: index == 0,
    });
    let edges = graph.edges.iter().map(|edge| Edge {
        upstream: edge.upstream,
        downstream: edge.downstream,
        is_optional: false,
    });
    Picture {
        nodes: nodes.collect(),
        edges: edges.collect(),
        roots: vec![0],
        growth: graph.direction,
    }
}

fn note(node: &LineageNode) -> Option<String> {
    match (node.left_out, node.unread) {
        (0, 0) => None,
        (left_out, 0) => Some(format!("… and {left_out} more")),
        (0, unread) => Some(format!("… {unread} partitions not followed")),
        (left_out, unread) => Some(format!(
            "… and {left_out} more, and what follows on {unread} partitions"
        )),
    }
}

#[derive(Serialize)]
pub(super) struct Content<'a> {
    direction: &'static str,
    /// False when nodes are left out.
    complete: bool,
    nodes: Vec<NodeJson<'a>>,
    edges: Vec<EdgeJson>,
}

#[derive(Serialize)]
struct NodeJson<'a> {
    /// The place in the list, as edges name it.
    id: usize,
    asset: &'a str,
    /// `null` when the asset is not partitioned.
    partitions: Option<PartitionsJson<'a>>,
    version: u64,
    /// Left out unless the asset does not define these partitions any more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    orphaned: bool,
    depth: u32,
    left_out: u64,
    unread: u64,
}

#[derive(Serialize)]
struct PartitionsJson<'a> {
    first: &'a str,
    last: &'a str,
    count: u64,
}

#[derive(Serialize)]
struct EdgeJson {
    upstream: usize,
    downstream: usize,
}

pub(super) fn document(graph: &LineageGraph) -> Document<Content<'_>> {
    let nodes = graph.nodes.iter().enumerate().map(|(id, node)| NodeJson {
        id,
        asset: node.key.as_str(),
        partitions: node.labels.as_ref().map(|(first, last)| PartitionsJson {
            first,
            last,
            count: node.partition_count(),
        }),
        version: node.version.0,
        orphaned: node.is_orphaned,
        depth: node.depth,
        left_out: node.left_out,
        unread: node.unread,
    });
    let edges = graph.edges.iter().map(|edge| EdgeJson {
        upstream: edge.upstream,
        downstream: edge.downstream,
    });
    Document {
        format: "flowstone.lineage",
        version: 1,
        content: Content {
            direction: match graph.direction {
                Direction::Upstream => "upstream",
                Direction::Downstream => "downstream",
            },
            complete: graph.is_complete(),
            nodes: nodes.collect(),
            edges: edges.collect(),
        },
    }
}
