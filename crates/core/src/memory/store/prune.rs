//! Forgets what may go, by the rules of `retention`.

use std::collections::BTreeMap;

use super::Kept;
use crate::memory::IdMap;
use crate::partition::PartitionSet;
use crate::store::{Materialization, Prune, Pruned};
use crate::{AssetId, RunId, Version};

impl Kept {
    pub(super) fn prune(&mut self, prune: &Prune) -> Pruned {
        let mut pruned = Pruned::default();
        self.prune_events(prune, &mut pruned);
        self.prune_runs(prune, &mut pruned);
        let doomed = self.outlived(prune);
        // Upstreams have smaller numbers as a rule, so that what was made of an old version goes before it.
        for ((asset, version), partitions) in doomed.into_iter().rev() {
            self.prune_version(asset, version, partitions, prune, &mut pruned);
        }
        if prune.is_dry_run {
            pruned.values.clear();
        }
        pruned
    }

    fn prune_events(&mut self, prune: &Prune, pruned: &mut Pruned) {
        let Some(cutoff) = prune.events.cutoff(prune.now) else {
            return;
        };
        let newest = usize::try_from(prune.events.count.max(1)).unwrap_or(usize::MAX);
        let surplus = &self.events[..self.events.len().saturating_sub(newest)];
        let old = surplus.iter().take_while(|event| event.at < cutoff).count();
        let gone = bounded(old, prune, pruned);
        pruned.count("event", gone as u64);
        if !prune.is_dry_run {
            self.events.drain(..gone);
        }
    }

    fn prune_runs(&mut self, prune: &Prune, pruned: &mut Pruned) {
        let Some(cutoff) = prune.runs.cutoff(prune.now) else {
            return;
        };
        let newest = usize::try_from(prune.runs.count).unwrap_or(usize::MAX);
        let ended = self.runs.values().rev().filter(|row| row.state.is_terminal());
        let old = ended.skip(newest).filter(|row| row.moved_at < cutoff);
        let mut old: Vec<RunId> = old.map(|row| row.run).collect();
        old.reverse();
        old.truncate(bounded(old.len(), prune, pruned));
        for run in old {
            let chunks = self.chunks.keys().filter(|(of, ..)| *of == run).count();
            let failures = self.failures.get(&run).map_or(0, |failures| failures.in_order.len());
            pruned.count("run", 1);
            pruned.count("chunk", chunks as u64);
            pruned.count("step_failure", failures as u64);
            for (table, rows) in self.fan_outs.row_counts(|of| of == run) {
                pruned.count(table, rows as u64);
            }
            if !prune.is_dry_run {
                self.chunks.retain(|(of, ..), _| *of != run);
                self.failures.remove(&run);
                self.fan_outs.forget(run);
                if let Some(row) = self.runs.remove(&run) {
                    self.forgotten.insert(run, row.state);
                }
            }
        }
    }

    /// The versions that may go by their age and number.
    fn outlived(&self, prune: &Prune) -> BTreeMap<(AssetId, Version), PartitionSet> {
        let mut outlived: BTreeMap<_, PartitionSet> = BTreeMap::new();
        for ((asset, partition), all) in self.materialized.iter().filter(|(_, all)| all.len() > 1) {
            let Some(keep) = prune.versions.get(asset) else {
                continue;
            };
            let versions: Vec<_> = all.iter().map(|made| (made.version, made.ended_at)).collect();
            for version in keep.outlived(&versions, prune.now) {
                outlived.entry((*asset, version)).or_default().insert(*partition);
            }
        }
        outlived
    }

    fn prune_version(
        &mut self,
        asset: AssetId,
        version: Version,
        mut partitions: PartitionSet,
        prune: &Prune,
        pruned: &mut Pruned,
    ) {
        partitions.subtract(&self.used(asset, version));
        let most = bounded(partitions.len() as usize, prune, pruned);
        let partitions: PartitionSet = partitions.iter().take(most).collect();
        for partition in partitions.iter() {
            let made = self.materialized.get_mut(&(asset, partition));
            let found = made.and_then(|all| {
                let place = all.iter().position(|made| made.version == version)?;
                let stored = all[place].stored.clone();
                if !prune.is_dry_run {
                    all.remove(place);
                }
                Some(stored)
            });
            if let Some(stored) = found {
                pruned.count("materialization", 1);
                pruned.lose(asset, stored.address, stored.bytes);
            }
        }
        self.prune_inputs(asset, version, &partitions, prune, pruned);
    }

    /// The partitions of `asset` whose `version` something was made from that is still there.
    fn used(&self, asset: AssetId, version: Version) -> PartitionSet {
        let mut used = PartitionSet::new();
        for input in self.inputs.values().flatten() {
            if input.upstream == asset && input.upstream_version == version {
                used.union_with(&PartitionSet::from_range(input.from.0..input.from.1 + 1));
            }
        }
        used
    }

    /// Removes what was recorded of the inputs of a version where nothing of it is left.
    fn prune_inputs(
        &mut self,
        asset: AssetId,
        version: Version,
        gone: &PartitionSet,
        prune: &Prune,
        pruned: &mut Pruned,
    ) {
        let materialized: &IdMap<(AssetId, u64), Vec<Materialization>> = &self.materialized;
        let is_there = |partition: u64| {
            let all = materialized.get(&(asset, partition));
            let kept = all.is_some_and(|all| all.iter().any(|made| made.version == version));
            kept && !(prune.is_dry_run && gone.contains(partition))
        };
        let Some(inputs) = self.inputs.get_mut(&asset) else {
            return;
        };
        let before = inputs.len();
        let is_left = |input: &crate::store::LineageInput| {
            input.version != version || (input.partitions.0..=input.partitions.1).any(is_there)
        };
        let left = inputs.iter().filter(|input| is_left(input)).count();
        pruned.count("lineage_input", (before - left) as u64);
        if !prune.is_dry_run {
            inputs.retain(is_left);
        }
    }
}

/// How many of `count` may go in this pass.
fn bounded(count: usize, prune: &Prune, pruned: &mut Pruned) -> usize {
    let most = usize::try_from(prune.rows_max).unwrap_or(usize::MAX);
    if count > most {
        pruned.has_more = true;
    }
    count.min(most)
}
