//! What a lineage query finds.

use flowstone_core::selection::name_in_selection;
use flowstone_core::{AssetId, AssetKey, Version};

/// Which way a query goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// To what something was made from.
    Upstream,
    /// To what was made from something.
    Downstream,
}

impl Direction {
    /// Upstream and downstream end of the step from `near` to `far` in this direction.
    pub(crate) fn edge_to<T>(self, near: T, far: T) -> (T, T) {
        match self {
            Self::Upstream => (far, near),
            Self::Downstream => (near, far),
        }
    }
}

/// Materializations and which were made from which, seen from one of them.
///
/// Everything in it belongs to the lineage of the first node: each partition of each node was, in one or more steps,
/// really read by it or made from it, at that version. A node that leaves something out says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineageGraph {
    /// Which way the query went.
    pub direction: Direction,
    /// What was asked for, then the others, nearest first.
    pub nodes: Vec<LineageNode>,
    /// Each pair of nodes at most once, by their places in `nodes`.
    pub edges: Vec<LineageEdge>,
}

/// Materializations of neighboring partitions of one asset at one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineageNode {
    /// The asset's number in the store.
    pub asset: AssetId,
    /// The asset's name.
    pub key: AssetKey,
    /// The partitions, both ends inclusive.
    pub partitions: (u64, u64),
    /// What the two ends are called; `None` when the asset is not partitioned.
    pub labels: Option<(String, String)>,
    /// True when the asset does not define these partitions any more.
    pub is_orphaned: bool,
    /// The version of these partitions.
    pub version: Version,
    /// How many steps away the nearest of them is.
    pub depth: u32,
    /// How many nodes follow on this one that are left out, for their depth or for their number.
    pub left_out: u64,
    /// Of how many of the partitions the records were not read, so that nobody knows what follows.
    pub unread: u64,
}

/// Some of one node were made from some of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LineageEdge {
    /// The node that was read.
    pub upstream: usize,
    /// The node that was made from it.
    pub downstream: usize,
}

impl LineageGraph {
    /// True when nothing is left out.
    pub fn is_complete(&self) -> bool {
        self.nodes.iter().all(|node| node.left_out == 0 && node.unread == 0)
    }
}

impl LineageNode {
    /// The number of partitions.
    pub fn partition_count(&self) -> u64 {
        (self.partitions.1 - self.partitions.0).saturating_add(1)
    }

    /// The partitions as people write them, `2013-01-01..2013-01-31`; `None` when the asset is not partitioned.
    pub fn range(&self) -> Option<String> {
        self.labels.as_ref().map(|(first, last)| {
            if first == last {
                first.clone()
            } else {
                format!("{first}..{last}")
            }
        })
    }

    /// Name, partitions and version: `clean_flights[2013-01-01..2013-01-31] v1`.
    pub fn label(&self) -> String {
        let (name, version) = (name_in_selection(self.key.as_str()), self.version);
        let orphaned = if self.is_orphaned { " (orphaned)" } else { "" };
        match self.range() {
            Some(range) => format!("{name}[{range}] v{version}{orphaned}"),
            None => format!("{name} v{version}{orphaned}"),
        }
    }
}
