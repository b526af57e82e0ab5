//! What is drawn, whatever the format: nodes, edges between them, frames around them.

use crate::graph::Direction;

/// A graph to draw.
pub(super) struct Picture {
    pub(super) nodes: Vec<Node>,
    pub(super) edges: Vec<Edge>,
    /// The nodes with which a tree begins.
    pub(super) roots: Vec<usize>,
    /// What stands below a node in a tree: what it is made from, or what is made from it.
    pub(super) growth: Direction,
}

/// What stands for an asset, or for some of its materializations.
pub(super) struct Node {
    pub(super) name: String,
    /// What there is to say besides, for a second line.
    pub(super) detail: Option<String>,
    /// All of it on one line.
    pub(super) line: String,
    /// The name of the frame around it.
    pub(super) group: Option<String>,
    /// What is left out behind it.
    pub(super) note: Option<String>,
    /// True for what was asked for.
    pub(super) is_subject: bool,
}

/// From upstream to downstream, by places in `nodes`.
pub(super) struct Edge {
    pub(super) upstream: usize,
    pub(super) downstream: usize,
    /// True when the upstream may be missing.
    pub(super) is_optional: bool,
}

impl Picture {
    /// For each node, those that stand below it in a tree.
    pub(super) fn below(&self) -> Vec<Vec<usize>> {
        let mut below = vec![Vec::new(); self.nodes.len()];
        for edge in &self.edges {
            match self.growth {
                Direction::Upstream => below[edge.downstream].push(edge.upstream),
                Direction::Downstream => below[edge.upstream].push(edge.downstream),
            }
        }
        below
    }

    /// The groups in the order in which they first come, each with its nodes; those without a group last.
    pub(super) fn groups(&self) -> Vec<(Option<&str>, Vec<usize>)> {
        let mut groups: Vec<(Option<&str>, Vec<usize>)> = Vec::new();
        for (index, node) in self.nodes.iter().enumerate() {
            let name = node.group.as_deref();
            match groups.iter_mut().find(|(known, _)| *known == name) {
                Some((_, members)) => members.push(index),
                None => groups.push((name, vec![index])),
            }
        }
        groups.sort_by_key(|(name, _)| name.is_none());
        groups
    }
}
