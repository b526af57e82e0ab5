//! What materializations were made from, as the fewest intervals.

use super::edge::Edge;
use super::lane::Lane;
use super::state::StepState;
use crate::Version;
use crate::partition::{EdgeShape, PartitionSet};
use crate::store::{LineageInput, Versions};

/// The inputs of `made` partitions of lane number `number`, all of which were made at the version after their base.
pub(super) fn inputs(lanes: &[Lane], number: usize, made: &PartitionSet) -> Vec<LineageInput> {
    let lane = &lanes[number];
    let mut rows = Vec::new();
    if lane.edges.is_empty() {
        return rows;
    }
    for (version, partitions) in made_versions(lane, made) {
        for edge in &lane.edges {
            match edge.mapping.kind() {
                EdgeShape::OneToOne { shift } => one_to_one(lanes, lane, edge, shift, version, &partitions, &mut rows),
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
    }
    rows
}

fn made_versions(lane: &Lane, made: &PartitionSet) -> Vec<(Version, PartitionSet)> {
    let mut first = made.clone();
    let mut versions = Vec::new();
    for (base, partitions) in lane.plan.base.iter() {
        let here = made.intersect(partitions);
        if !here.is_empty() {
            first.subtract(&here);
            versions.push((base.next(), here));
        }
    }
    if !first.is_empty() {
        versions.push((Version::NONE.next(), first));
    }
    versions
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
    for (upstream_version, upstream) in upstream_versions(lanes, edge, &edge.mapping.upstream_of(partitions)).iter() {
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
    }
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
    for (upstream_version, upstream) in upstream_versions(lanes, edge, &edge.mapping.upstream_of_one(sample)).iter() {
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
    }
}

/// The versions of `needed` upstream partitions that a step of this run reads; those without a value are left out.
fn upstream_versions(lanes: &[Lane], edge: &Edge, needed: &PartitionSet) -> Versions {
    let mut versions = Versions::default();
    for (version, partitions) in edge.pinned.iter() {
        versions.add(version, partitions.intersect(needed));
    }
    let Some(upstream) = edge.lane.map(|number| &lanes[number]) else {
        return versions;
    };
    let made = upstream.steps.get(StepState::Succeeded).intersect(needed);
    for (version, partitions) in made_versions(upstream, &made) {
        versions.add(version, partitions);
    }
    // Left alone in this run: the head that was there before.
    let kept = upstream.steps.get(StepState::Skipped).intersect(needed);
    for (version, partitions) in upstream.plan.base.iter() {
        versions.add(version, partitions.intersect(&kept));
    }
    versions
}
