//! What materializations were made from, as the fewest intervals.

use super::edge::Edge;
use super::lane::Lane;
use super::lists::Lists;
use super::state::StepState;
use crate::Version;
use crate::partition::{EdgeShape, PartitionSet};
use crate::store::{LineageInput, Versions};

/// The inputs of `made` partitions of lane number `number`, all of which were made at the version after their base.
pub(super) fn inputs(lanes: &[Lane], edges: &Lists<Edge>, number: usize, made: &PartitionSet) -> Vec<LineageInput> {
    let (lane, edges) = (&lanes[number], edges.get(number));
    let mut rows = Vec::with_capacity(edges.len());
    if edges.is_empty() {
        return rows;
    }
    for_each_made_version(lane, made, |version, partitions| {
        for edge in edges {
            match edge.mapping.kind() {
                EdgeShape::OneToOne { shift } => one_to_one(lanes, lane, edge, shift, version, partitions, &mut rows),
                EdgeShape::Broadcast => {
                    let first = partitions.min().unwrap_or_default();
                    for (lo, hi) in partitions.intervals() {
                        many(lanes, lane, edge, version, (lo, hi), first, &mut rows);
                    }
                }
                EdgeShape::Many => {
                    for partition in partitions.iter() {
                        many(lanes, lane, edge, version, (partition, partition), partition, &mut rows);
                    }
                }
            }
        }
    });
    rows
}

/// Sorts `made` partitions of a lane by the version that they got.
fn for_each_made_version(lane: &Lane, made: &PartitionSet, mut take: impl FnMut(Version, &PartitionSet)) {
    let mut first = made.clone();
    for (base, partitions) in lane.plan.base.iter() {
        let here = made.intersect(partitions);
        if !here.is_empty() {
            first.subtract(&here);
            take(base.next(), &here);
        }
    }
    if !first.is_empty() {
        take(Version::NONE.next(), &first);
    }
}

fn one_to_one(
    lanes: &[Lane],
    lane: &Lane,
    edge: &Edge,
    shift: i64,
    version: Version,
    partitions: &PartitionSet,
    rows: &mut Vec<LineageInput>,
) {
    let needed = edge.mapping.upstream_of(partitions);
    for_each_upstream_version(lanes, edge, &needed, |upstream_version, upstream| {
        for (lo, hi) in upstream.intervals() {
            let back = |index: u64| index.wrapping_add_signed(shift.wrapping_neg());
            rows.push(LineageInput {
                asset: lane.plan.id,
                partitions: (back(lo), back(hi)),
                version,
                upstream: edge.upstream,
                from: (lo, hi),
                one_to_one: true,
                upstream_version,
            });
        }
    });
}

fn many(
    lanes: &[Lane],
    lane: &Lane,
    edge: &Edge,
    version: Version,
    partitions: (u64, u64),
    sample: u64,
    rows: &mut Vec<LineageInput>,
) {
    let needed = edge.mapping.upstream_of_one(sample);
    for_each_upstream_version(lanes, edge, &needed, |upstream_version, upstream| {
        for from in upstream.intervals() {
            rows.push(LineageInput {
                asset: lane.plan.id,
                partitions,
                version,
                upstream: edge.upstream,
                from,
                one_to_one: false,
                upstream_version,
            });
        }
    });
}

/// Sorts `needed` upstream partitions by the version that a step of this run reads; those without a value are left out.
fn for_each_upstream_version(
    lanes: &[Lane],
    edge: &Edge,
    needed: &PartitionSet,
    mut take: impl FnMut(Version, &PartitionSet),
) {
    let mut versions = Versions::default();
    for (version, partitions) in edge.pinned.iter() {
        versions.add(version, partitions.intersect(needed));
    }
    if let Some(upstream) = edge.lane.map(|number| &lanes[number]) {
        let made = upstream.steps.get(StepState::Succeeded).intersect(needed);
        if versions.is_empty() && upstream.plan.base.is_empty() {
            // Nothing was there before this run.
            return for_each_made_version(upstream, &made, take);
        }
        for_each_made_version(upstream, &made, |version, partitions| {
            versions.add(version, partitions.clone());
        });
        // Left alone in this run: the head that was there before.
        let kept = upstream.steps.get(StepState::Skipped).intersect(needed);
        for (version, partitions) in upstream.plan.base.iter() {
            versions.add(version, partitions.intersect(&kept));
        }
    }
    for (version, partitions) in versions.iter() {
        take(version, partitions);
    }
}
