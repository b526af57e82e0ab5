//! One input of a planned asset: what it waits for, and which versions it reads.

use crate::AssetId;
use crate::asset::InputKind;
use crate::partition::{BoundMapping, EdgeShape, PartitionSet};
use crate::store::Versions;

use super::StepState;
use super::steps::StepSets;

/// One input of a planned asset.
#[derive(Debug, Clone)]
pub(super) struct Edge {
    /// The upstream asset.
    pub(super) upstream: AssetId,
    /// Its place in the plan, if it is planned.
    pub(super) lane: Option<usize>,
    /// How it is read.
    pub(super) kind: InputKind,
    /// Which upstream partitions a partition needs.
    pub(super) mapping: BoundMapping,
    /// The versions pinned for upstream partitions that are not planned.
    pub(super) pinned: Versions,
    /// Steps that still wait for this input.
    pub(super) waiting: PartitionSet,
}

impl Edge {
    /// Of the steps that may be touched by `ended` upstream partitions, those for which this input waits for nothing
    /// more; they stop waiting.
    pub(super) fn release(&mut self, ended: &PartitionSet, upstream: &StepSets) -> PartitionSet {
        let touched = self.mapping.downstream_of(ended).intersect(&self.waiting);
        if touched.is_empty() {
            return touched;
        }
        let released = match self.mapping.kind() {
            EdgeShape::OneToOne { .. } => touched,
            EdgeShape::Broadcast | EdgeShape::Many => {
                let open = still_open(upstream, &self.mapping.upstream_of(&touched));
                if open.is_empty() {
                    touched
                } else {
                    touched.difference(&self.mapping.downstream_of(&open))
                }
            }
        };
        self.waiting.subtract(&released);
        released
    }
}

/// Those of `needed` whose steps have not ended.
fn still_open(upstream: &StepSets, needed: &PartitionSet) -> PartitionSet {
    let mut open = upstream.get(StepState::Blocked).intersect(needed);
    for state in [StepState::Ready, StepState::Running] {
        open.union_with(&upstream.get(state).intersect(needed));
    }
    open
}
