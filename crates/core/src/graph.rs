//! The assets of a pipeline and how they depend on each other, checked.
//!
//! Nodes stand in topological order: an asset comes after everything it is made from. What a selection or a run makes
//! of the graph is decided elsewhere.

mod check;
mod order;

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use crate::asset::{Asset, Body, InputKind, Retry, SourceLocation};
use crate::partition::{DynamicSpace, Mapping, PartitionSet, PartitionSpace, SetSnapshot};
use crate::pool::{PoolUse, own_pool};
use crate::retention::Keep;
use crate::{AssetKey, CodeVersion, Result, TypeInfo};

/// The place of an asset in its graph; only valid within one pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeIx(pub u32);

impl NodeIx {
    /// The same as an index into a slice.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// One upstream of an asset.
#[derive(Debug, Clone)]
pub struct Input {
    /// What is read.
    pub upstream: NodeIx,
    /// How it is read.
    pub kind: InputKind,
    /// Which upstream partitions a partition needs.
    pub mapping: Mapping,
}

/// An asset in its graph.
#[derive(Clone)]
pub struct Node {
    key: AssetKey,
    asset: Asset,
    space: PartitionSpace,
    sources: Vec<(CodeVersion, PartitionSet)>,
    inputs: Vec<Input>,
    downstream: Vec<NodeIx>,
    body: Body,
    output: TypeInfo,
}

impl Node {
    /// The name.
    pub fn key(&self) -> &AssetKey {
        &self.key
    }

    /// All slices of the asset.
    pub fn space(&self) -> &PartitionSpace {
        &self.space
    }

    /// What partitions read of the outside world, by name; see [`Asset::source_versions`].
    pub fn sources(&self) -> &[(CodeVersion, PartitionSet)] {
        &self.sources
    }

    /// What it is made from, in the order of the function's arguments.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// The assets that read this one, each once; the asset itself if it reads earlier partitions of its own.
    pub fn downstream(&self) -> &[NodeIx] {
        &self.downstream
    }

    /// True when its steps fan out.
    pub fn fans_out(&self) -> bool {
        matches!(self.body(), Body::FanOut(_))
    }

    /// The function that makes it.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// The type of its value.
    pub fn output(&self) -> TypeInfo {
        self.output
    }

    /// Where it is defined.
    pub fn location(&self) -> SourceLocation {
        self.asset.location
    }

    /// A sentence or two for people.
    pub fn description(&self) -> Option<&str> {
        self.asset.description.as_deref()
    }

    /// The group.
    pub fn group(&self) -> Option<&str> {
        self.asset.group.as_deref()
    }

    /// The tags.
    pub fn tags(&self) -> &[String] {
        &self.asset.tags
    }

    /// The name of the IO manager that the asset asks for.
    pub fn io(&self) -> Option<&str> {
        self.asset.io.as_deref()
    }

    /// When a failed attempt is followed by another.
    pub fn retry(&self) -> Retry {
        self.asset.retry
    }

    /// How long one attempt may take.
    pub fn deadline(&self) -> Option<std::time::Duration> {
        self.asset.deadline
    }

    /// The fingerprint of the code.
    pub fn code_version(&self) -> CodeVersion {
        self.asset.code_version
    }

    /// True when steps must not run ahead of the disk.
    pub fn acts_outside(&self) -> bool {
        self.asset.acts_outside
    }

    /// The pools that each step takes slots of.
    pub fn pools(&self) -> &[PoolUse] {
        &self.asset.pools
    }

    /// How many of its steps may run at once, if the definition says.
    pub fn max_concurrent(&self) -> Option<u32> {
        self.asset.max_concurrent
    }

    /// How many partitions its function may be called for at once, if it is one that is called for many.
    pub fn batch(&self) -> Option<u64> {
        self.asset.batch
    }

    /// Everything that a step takes while it runs, the asset's own limit among it.
    pub fn slot_uses(&self) -> Vec<PoolUse> {
        let own = self.asset.max_concurrent.map(|_| PoolUse {
            pool: own_pool(self.key().as_str()),
            weight: 1,
        });
        self.asset.pools.iter().cloned().chain(own).collect()
    }

    /// Which versions of each partition are kept, if the definition says.
    pub fn keep_versions(&self) -> Option<Keep> {
        self.asset.keep_versions
    }

    /// True when its function takes a section of the run configuration.
    pub fn takes_config(&self) -> bool {
        let mut arguments = self.asset.arguments.iter();
        arguments.any(|argument| matches!(argument, crate::asset::Argument::Config { .. }))
    }

    /// Checks a section of the run configuration against the function's arguments; `None` when it takes none.
    pub fn check_config(&self, section: &serde_json::Value) -> Option<Result<()>> {
        self.asset.arguments.iter().find_map(|argument| match argument {
            crate::asset::Argument::Config { check } => Some(check(section)),
            _ => None,
        })
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("key", &self.key)
            .field("inputs", &self.inputs)
            .finish_non_exhaustive()
    }
}

/// The assets of a pipeline, in topological order.
#[derive(Debug, Clone, Default)]
pub struct AssetGraph {
    nodes: Vec<Node>,
    by_key: HashMap<AssetKey, NodeIx>,
}

impl AssetGraph {
    /// The dynamic sets that assets are partitioned by, by name.
    pub fn dynamic_sets(&self) -> BTreeMap<&str, &DynamicSpace> {
        let sets = self.nodes.iter().flat_map(|node| node.space.dynamic_sets());
        sets.map(|set| (set.name(), set)).collect()
    }

    /// What is known now of the dynamic sets that matter to `assets`: theirs, and those of what they read and of what reads
    /// them.
    pub fn snapshots(&self, assets: impl IntoIterator<Item = NodeIx>) -> Vec<SetSnapshot> {
        let mut sets = BTreeMap::new();
        if self.nodes.iter().all(|node| node.space().dynamic_sets().is_empty()) {
            return Vec::new();
        }
        for ix in assets {
            let node = self.node(ix);
            let upstream = node.inputs().iter().map(|input| input.upstream);
            let near = std::iter::once(ix)
                .chain(upstream)
                .chain(node.downstream().iter().copied());
            for set in near.flat_map(|ix| self.node(ix).space().dynamic_sets()) {
                sets.entry(set.name()).or_insert(set);
            }
        }
        sets.into_values().map(DynamicSpace::snapshot).collect()
    }

    /// The same graph with other knowledge of its dynamic sets.
    pub(crate) fn with_sets(&self, known: &BTreeMap<String, DynamicSpace>) -> Self {
        let mut graph = self.clone();
        for node in &mut graph.nodes {
            node.space = node
                .space
                .with_sets(&mut |set| known.get(set.name()).unwrap_or(set).clone());
        }
        graph
    }

    /// The number of assets.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The asset at `node`.
    pub fn node(&self, node: NodeIx) -> &Node {
        &self.nodes[node.index()]
    }

    /// All assets with their places, upstream first.
    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = (NodeIx, &Node)> + ExactSizeIterator {
        self.nodes
            .iter()
            .enumerate()
            .map(|(index, node)| (node_ix(index), node))
    }

    /// The asset called `name`.
    ///
    /// # Errors
    /// `NotFound`, with the name that may have been meant.
    pub fn find(&self, name: &str) -> Result<NodeIx> {
        let found = self.by_key.get(name).copied();
        found.ok_or_else(|| check::unknown_asset(name, self.nodes.iter().map(|node| node.key.as_str())))
    }

    /// The assets called `names`, one after the other; fast where these stand in the order of the nodes, as those of a plan
    /// do.
    ///
    /// # Errors
    /// As [`find`](Self::find), in the place of a name that is unknown.
    pub fn find_each<'a>(
        &'a self,
        names: impl IntoIterator<Item = &'a AssetKey> + 'a,
    ) -> impl Iterator<Item = Result<NodeIx>> + 'a {
        let mut next = 0;
        names.into_iter().map(move |name| {
            let found = match self.nodes.get(next) {
                Some(node) if node.key == *name => node_ix(next),
                _ => self.find(name.as_str())?,
            };
            next = found.index() + 1;
            Ok(found)
        })
    }

    /// Everything upstream of `node`, itself excluded, up to `depth` steps away.
    pub fn upstream_of(&self, node: NodeIx, depth: usize) -> Vec<NodeIx> {
        self.reach(node, depth, |node| {
            node.inputs.iter().map(|input| input.upstream).collect()
        })
    }

    /// Everything downstream of `node`, itself excluded, up to `depth` steps away.
    pub fn downstream_of(&self, node: NodeIx, depth: usize) -> Vec<NodeIx> {
        self.reach(node, depth, |node| node.downstream.clone())
    }

    fn reach(&self, from: NodeIx, depth: usize, next: impl Fn(&Node) -> Vec<NodeIx>) -> Vec<NodeIx> {
        let mut seen = vec![false; self.nodes.len()];
        let mut edge = vec![from];
        for _ in 0..depth {
            let mut beyond = Vec::new();
            for node in edge {
                for found in next(self.node(node)) {
                    if !std::mem::replace(&mut seen[found.index()], true) {
                        beyond.push(found);
                    }
                }
            }
            if beyond.is_empty() {
                break;
            }
            edge = beyond;
        }
        // An asset that reads earlier partitions of its own is reached by itself.
        seen[from.index()] = false;
        (0..self.nodes.len())
            .filter(|index| seen[*index])
            .map(node_ix)
            .collect()
    }
}

pub(crate) fn node_ix(index: usize) -> NodeIx {
    NodeIx(u32::try_from(index).expect("a pipeline has fewer than 2³² assets"))
}
