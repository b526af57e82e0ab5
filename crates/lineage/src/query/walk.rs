//! Decides where a query goes next and what it has found, from the links that it is told.
//!
//! Goes level by level. What was reached is kept as one set per asset and version, so that nothing is followed twice,
//! whatever the records say, and neighbors fuse. Does not touch the store.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use flowstone_core::partition::PartitionSet;
use flowstone_core::store::AssetRow;
use flowstone_core::{AssetId, Error, ErrorKind, Result, Version};

use super::links::Links;
use super::span::Span;
use crate::graph::{Direction, LineageEdge, LineageGraph, LineageNode};

type Lanes = BTreeMap<(AssetId, Version), PartitionSet>;

/// A query under way.
pub(super) struct Walk {
    direction: Direction,
    depth_max: u32,
    nodes_max: usize,
    /// No more than so many nodes have been reached.
    nodes: usize,
    reached: Lanes,
    /// What was reached and is followed with the next level.
    next_level: Lanes,
    /// What is followed, in this order.
    visits: Vec<Visit>,
    /// How many of them have begun.
    begun: usize,
}

struct Visit {
    span: Span,
    depth: u32,
    far: BTreeSet<Span>,
    unread: u64,
}

impl Walk {
    pub(super) fn new(direction: Direction, root: Span, depth_max: u32, nodes_max: usize) -> Self {
        Self {
            direction,
            depth_max,
            nodes_max,
            nodes: 1,
            reached: Lanes::from([(root.lane(), PartitionSet::single(root.first))]),
            next_level: Lanes::new(),
            visits: vec![Visit {
                span: root,
                depth: 0,
                far: BTreeSet::new(),
                unread: 0,
            }],
            begun: 0,
        }
    }

    /// The span whose links are to be [`found`](Self::found) now; `None` when all is known.
    pub(super) fn next_span(&mut self) -> Option<Span> {
        if self.begun == self.visits.len() {
            self.begin_level();
        }
        let visit = self.visits.get(self.begun)?;
        self.begun += 1;
        Some(visit.span)
    }

    fn begin_level(&mut self) {
        let depth = self.visits.last().map_or(0, |visit| visit.depth + 1);
        for span in spans(&std::mem::take(&mut self.next_level)) {
            self.visits.push(Visit {
                span,
                depth,
                far: BTreeSet::new(),
                unread: 0,
            });
        }
    }

    /// Takes in the links of the span that [`next_span`](Self::next_span) gave last.
    pub(super) fn found(&mut self, links: Links) {
        if self.visits[self.begun - 1].depth < self.depth_max {
            for span in &links.far {
                self.reach(*span);
            }
        }
        let visit = &mut self.visits[self.begun - 1];
        visit.far = links.far;
        visit.unread = links.unread;
    }

    /// Counts `span` in, unless that takes one more node than there may be.
    fn reach(&mut self, span: Span) {
        let before = self.reached.entry(span.lane()).or_default();
        let touches = before.count_in(span.first.saturating_sub(1)..=span.last.saturating_add(1)) > 0;
        if !touches {
            if self.nodes >= self.nodes_max {
                return;
            }
            self.nodes += 1;
        }
        let mut new = partitions_of(&span);
        new.subtract(before);
        before.union_with(&new);
        self.next_level.entry(span.lane()).or_default().union_with(&new);
    }

    /// What was found, named as `assets` names it.
    pub(super) fn into_graph(self, assets: &BTreeMap<AssetId, AssetRow>) -> Result<LineageGraph> {
        let spans: Vec<Span> = spans(&self.reached).collect();
        let mut drafts: Vec<Draft> = spans.iter().map(|span| Draft::new(*span)).collect();
        let mut edges = BTreeSet::new();
        for visit in &self.visits {
            let near = overlapping(&spans, &visit.span).start;
            drafts[near].depth = drafts[near].depth.min(visit.depth);
            drafts[near].unread += visit.unread;
            for far in &visit.far {
                edges.extend(overlapping(&spans, far).map(|far| (near, far)));
                let mut rest = partitions_of(far);
                if let Some(reached) = self.reached.get(&far.lane()) {
                    rest.subtract(reached);
                }
                drafts[near].left_out.entry(far.lane()).or_default().union_with(&rest);
            }
        }
        let mut order: Vec<usize> = (0..drafts.len()).collect();
        order.sort_by_key(|index| drafts[*index].rank());
        let mut place = vec![0; order.len()];
        for (new, old) in order.iter().enumerate() {
            place[*old] = new;
        }
        let nodes = order
            .iter()
            .map(|index| drafts[*index].node(assets))
            .collect::<Result<Vec<_>>>()?;
        let mut edges: Vec<LineageEdge> = edges
            .into_iter()
            .map(|(near, far)| {
                let (upstream, downstream) = self.direction.edge_to(place[near], place[far]);
                LineageEdge { upstream, downstream }
            })
            .collect();
        edges.sort_unstable();
        Ok(LineageGraph {
            direction: self.direction,
            nodes,
            edges,
        })
    }
}

/// A node before it has its place.
struct Draft {
    span: Span,
    depth: u32,
    left_out: Lanes,
    unread: u64,
}

impl Draft {
    fn new(span: Span) -> Self {
        Self {
            span,
            depth: u32::MAX,
            left_out: Lanes::new(),
            unread: 0,
        }
    }

    /// Nearest first, then neighbors side by side.
    fn rank(&self) -> impl Ord + use<> {
        let Span {
            asset, version, first, ..
        } = self.span;
        (self.depth, asset, first, version)
    }

    fn node(&self, assets: &BTreeMap<AssetId, AssetRow>) -> Result<LineageNode> {
        let Span {
            asset,
            version,
            first,
            last,
        } = self.span;
        let row = assets.get(&asset).ok_or_else(|| {
            Error::new(
                ErrorKind::Corrupt,
                format!("a record names asset number {asset}, which the store does not know"),
            )
            .during("read lineage")
        })?;
        Ok(LineageNode {
            asset,
            key: row.key.clone(),
            partitions: (first, last),
            labels: (!row.space.is_unit()).then(|| (row.space.label(first), row.space.label(last))),
            is_orphaned: row.is_former,
            version,
            depth: self.depth,
            left_out: spans(&self.left_out).count() as u64,
            unread: self.unread,
        })
    }
}

fn partitions_of(span: &Span) -> PartitionSet {
    PartitionSet::from_range(span.first..=span.last)
}

/// All intervals, in the order of spans.
fn spans(lanes: &Lanes) -> impl Iterator<Item = Span> + '_ {
    lanes.iter().flat_map(|((asset, version), partitions)| {
        partitions.intervals().map(|(first, last)| Span {
            asset: *asset,
            version: *version,
            first,
            last,
        })
    })
}

/// The places of those of `spans`, which are in order and apart from each other, that share partitions with `wanted`.
fn overlapping(spans: &[Span], wanted: &Span) -> Range<usize> {
    let start = spans.partition_point(|span| (span.lane(), span.last) < (wanted.lane(), wanted.first));
    let end = spans.partition_point(|span| (span.lane(), span.first) <= (wanted.lane(), wanted.last));
    start..end
}
