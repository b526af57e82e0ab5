//! What is left of a run that has ended.

use super::RunMachine;
use crate::asset::InputKind;
use crate::partition::PartitionSet;
use crate::run::StepState;

impl RunMachine {
    /// The steps that did not come to a good end, by place in the plan: that failed, were stopped by a failure, quarantined
    /// or cancelled; and those that found nothing to make and without which these could not be planned.
    pub fn left(&self) -> Vec<PartitionSet> {
        let lanes = self.lanes.iter();
        let mut left: Vec<PartitionSet> = lanes
            .map(|lane| {
                let mut left = lane.plan.steps.clone();
                left.subtract(lane.steps.get(StepState::Succeeded));
                left.subtract(lane.steps.get(StepState::Skipped));
                left
            })
            .collect();
        // Nobody reads what stands behind him in the plan, so what is added to an asset is seen when its turn comes.
        for number in (0..self.lanes.len()).rev() {
            let edges = self.wiring.edges.get(number).iter();
            let needed = edges.filter(|edge| edge.kind != InputKind::Optional);
            let needed = needed.filter_map(|edge| Some((edge.lane?, &edge.mapping)));
            let (own, others): (Vec<_>, Vec<_>) = needed.partition(|(upstream, _)| *upstream == number);
            for (_, mapping) in &own {
                // It reads earlier partitions of its own, and those may read others.
                loop {
                    let more = self.unmade(number, &mapping.upstream_of(&left[number]));
                    if more.is_subset(&left[number]) {
                        break;
                    }
                    left[number].union_with(&more);
                }
            }
            for (upstream, mapping) in others {
                let more = self.unmade(upstream, &mapping.upstream_of(&left[number]));
                left[upstream].union_with(&more);
            }
        }
        left
    }

    /// Those of `partitions` that were skipped and have no value.
    fn unmade(&self, number: usize, partitions: &PartitionSet) -> PartitionSet {
        let lane = &self.lanes[number];
        let skipped = lane.steps.get(StepState::Skipped).intersect(partitions);
        skipped.difference(&lane.plan.base.partitions())
    }
}
