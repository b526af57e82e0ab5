//! What a plan touches, and whether a run may begin beside others.
//!
//! Two runs disturb each other when one makes what the other makes, or what the other reads as pinned. Those that do
//! take turns in the order in which they were asked for; all others go on side by side.

use std::collections::BTreeMap;

use super::RunPlan;
use crate::AssetId;
use crate::graph::AssetGraph;
use crate::partition::PartitionSet;

/// What a plan makes, and what it reads as pinned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Footprint {
    makes: BTreeMap<AssetId, PartitionSet>,
    reads: BTreeMap<AssetId, PartitionSet>,
}

impl Footprint {
    /// The footprint of `plan`; `ids` are the numbers of the assets in the store, by node.
    pub fn of(plan: &RunPlan, graph: &AssetGraph, ids: &[AssetId]) -> Self {
        let assets = plan.assets.iter();
        let mut footprint = Self {
            makes: assets.map(|planned| (planned.id, planned.steps.clone())).collect(),
            reads: BTreeMap::new(),
        };
        for (planned, place) in plan.assets.iter().zip(plan.places(graph)) {
            // A plan by other code is refused elsewhere; what it makes is known all the same.
            let Ok(ix) = place else { continue };
            let inputs = graph.node(ix).inputs().iter().zip(&planned.pinned);
            for (input, pinned) in inputs.filter(|(_, pinned)| !pinned.is_empty()) {
                footprint
                    .reads
                    .entry(ids[input.upstream.index()])
                    .or_default()
                    .union_with(&pinned.partitions());
            }
        }
        footprint
    }

    /// The assets that it makes something of.
    pub fn makes(&self) -> impl Iterator<Item = AssetId> {
        self.makes.keys().copied()
    }

    /// True when the two would disturb each other.
    pub fn conflicts_with(&self, other: &Self) -> bool {
        overlap(&self.makes, &other.makes) || overlap(&self.makes, &other.reads) || overlap(&self.reads, &other.makes)
    }

    /// True when a run may begin now: it would disturb none of those `ahead` of it, which are the runs that go on and
    /// those that were asked for earlier and wait still.
    pub fn may_begin<'a>(&self, ahead: impl IntoIterator<Item = &'a Self>) -> bool {
        !ahead.into_iter().any(|other| self.conflicts_with(other))
    }
}

fn overlap(one: &BTreeMap<AssetId, PartitionSet>, other: &BTreeMap<AssetId, PartitionSet>) -> bool {
    one.iter()
        .any(|(asset, set)| other.get(asset).is_some_and(|other| !set.is_disjoint(other)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn footprint(makes: &[(u32, u64)], reads: &[(u32, u64)]) -> Footprint {
        let sets = |pairs: &[(u32, u64)]| {
            let mut sets = BTreeMap::<_, PartitionSet>::new();
            for (asset, partition) in pairs {
                sets.entry(AssetId(*asset)).or_default().insert(*partition);
            }
            sets
        };
        Footprint {
            makes: sets(makes),
            reads: sets(reads),
        }
    }

    #[test]
    fn readers_of_one_input_do_not_disturb_each_other() {
        let one = footprint(&[(1, 0)], &[(0, 0)]);
        let other = footprint(&[(2, 0)], &[(0, 0)]);
        let maker = footprint(&[(0, 0)], &[]);

        assert!(!one.conflicts_with(&other));
        assert!(one.conflicts_with(&maker) && maker.conflicts_with(&other));
    }

    #[test]
    fn a_run_does_not_overtake_one_that_it_would_disturb() {
        let active = footprint(&[(0, 0)], &[]);
        let waiting = footprint(&[(0, 0), (1, 0)], &[]);
        let later = footprint(&[(1, 0)], &[]);
        let apart = footprint(&[(2, 0)], &[]);

        assert!(!waiting.may_begin([&active]));
        assert!(!later.may_begin([&active, &waiting]));
        assert!(apart.may_begin([&active, &waiting, &later]));
    }

    fn any_footprint() -> impl Strategy<Value = Footprint> {
        let pairs = || prop::collection::vec((0..3_u32, 0..4_u64), 0..4);
        (pairs(), pairs()).prop_map(|(makes, reads)| footprint(&makes, &reads))
    }

    proptest! {
        /// Runs are asked for and end in any order.
        #[test]
        fn who_waits_has_a_reason_and_who_runs_is_alone(
            asked in prop::collection::vec(any_footprint(), 1..12),
            ends in prop::collection::vec(0..12_usize, 0..12),
        ) {
            let mut active: Vec<(usize, Footprint)> = Vec::new();
            let mut waiting: Vec<(usize, Footprint)> = Vec::new();
            let mut asked = asked.into_iter().enumerate();
            let mut ends = ends.into_iter();
            let mut began = 0;
            loop {
                match (asked.next(), ends.next()) {
                    (Some(one), end) => {
                        waiting.push(one);
                        if let Some(end) = end.filter(|end| *end < active.len()) {
                            active.remove(end);
                        }
                    }
                    (None, _) if active.is_empty() => break,
                    (None, end) => {
                        active.remove(end.unwrap_or(0).min(active.len() - 1));
                    }
                }
                let mut place = 0;
                while place < waiting.len() {
                    let ahead = active.iter().chain(&waiting[..place]).map(|(_, other)| other);
                    if waiting[place].1.may_begin(ahead) {
                        active.push(waiting.remove(place));
                        began += 1;
                    } else {
                        place += 1;
                    }
                }
                for (number, (_, one)) in active.iter().enumerate() {
                    prop_assert!(active[..number].iter().all(|(_, other)| !one.conflicts_with(other)));
                }
                for (number, one) in &waiting {
                    let disturbs = |(other_number, other): &(usize, Footprint)| {
                        other_number < number && one.conflicts_with(other)
                    };
                    prop_assert!(active.iter().chain(&waiting).any(disturbs), "run {} waits for nobody earlier", number);
                }
            }
            prop_assert!(waiting.is_empty(), "somebody waits for ever");
            prop_assert!(began > 0);
        }
    }
}
