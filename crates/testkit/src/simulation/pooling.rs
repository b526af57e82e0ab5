//! Slots of pools: taken with a chunk, given back with it, and wanted by another run as well.
//!
//! Who may take slots is decided in core; what is played here is who asks. How many are in use is counted again from the
//! chunks that have a holder.

use std::collections::{BTreeMap, BTreeSet};

use flowstone_core::RunId;
use flowstone_core::partition::PartitionSet;
use flowstone_core::plan::RunPlan;
use flowstone_core::pool::{Claimant, PoolUse, Pools, Slots, limits};
use flowstone_core::run::{ChunkId, RunMachine, RunState};
use uuid::Uuid;

use super::broken::{hold, hold_eq, must};
use super::case::Case;
use crate::Draw;

/// Another run, of which nothing is played but that it uses the same pools.
const RIVAL: Claimant = (RunId(Uuid::nil()), 0);
/// How often it asks for slots at most.
const RIVAL_ASKS_MAX: usize = 20;

/// The pools as one run sees them.
pub(super) struct Pooling {
    pools: Pools,
    limits: BTreeMap<String, u32>,
    /// What a step of each lane takes.
    lanes: Vec<Slots>,
    /// The slots of chunks that have a holder.
    leases: BTreeMap<ChunkId, Slots>,
    rival: Rival,
}

#[derive(Default)]
struct Rival {
    asks: usize,
    /// What it waits for, or has: slots of one pool.
    waits: Option<(String, u32)>,
    holds: Vec<(String, u32)>,
}

impl Pooling {
    pub(super) fn new(case: &Case, plan: &RunPlan) -> Self {
        let limits = must(limits(&case.pipeline, &BTreeMap::new()), "the pools do not fit");
        let pools = Pools::new(&limits);
        let graph = case.graph();
        let slots = plan.assets.iter().map(|planned| {
            let node = must(graph.find(planned.key.as_str()), "the asset is in the graph");
            pools.slots(&graph.node(node).slot_uses())
        });
        Self {
            lanes: slots.collect(),
            leases: BTreeMap::new(),
            rival: Rival::default(),
            pools,
            limits,
        }
    }

    /// The lanes whose slots cannot be had; the run waits for those of which steps are ready.
    pub(super) fn closed(&mut self, run: RunId, machine: &RunMachine) -> BTreeSet<usize> {
        let wanted = self.lanes.iter().enumerate();
        let wanted: Vec<_> = wanted
            .filter(|(lane, slots)| !slots.is_none() && machine.has_ready(*lane))
            .collect();
        self.pools.refused(run, &wanted)
    }

    /// A chunk was given out while `closed` lanes waited.
    pub(super) fn take(&mut self, run: RunId, chunk: ChunkId, closed: &BTreeSet<usize>) {
        // Who could have had its slots and took something else lets the others pass.
        self.pools
            .forget(|(other, lane)| other == run && lane != chunk.lane && !closed.contains(&lane));
        let slots = &self.lanes[chunk.lane];
        if !slots.is_none() && self.pools.take((run, chunk.lane), slots) {
            self.leases.insert(chunk, slots.clone());
        }
    }

    /// Nothing was given out: who has nothing ready lets the others pass.
    pub(super) fn pass(&mut self, run: RunId, machine: &RunMachine) {
        let wants = machine.state() == RunState::Running;
        self.pools
            .forget(|(other, lane)| other == run && !(wants && machine.has_ready(lane)));
    }

    pub(super) fn give_back(&mut self, chunk: ChunkId) {
        if let Some(slots) = self.leases.remove(&chunk) {
            self.pools.give_back(&slots);
        }
    }

    /// The run's actor is gone, and with it what its chunks hold.
    pub(super) fn abandon(&mut self, run: RunId) {
        for slots in std::mem::take(&mut self.leases).into_values() {
            self.pools.give_back(&slots);
        }
        self.pools.forget(|(other, _)| other == run);
    }

    /// True when there is something that another run may want, and it may ask still or give back.
    pub(super) fn is_rivalled(&self) -> bool {
        !self.limits.is_empty() && (self.rival.asks < RIVAL_ASKS_MAX || self.rival_waits_or_holds())
    }

    pub(super) fn rival_waits_or_holds(&self) -> bool {
        self.rival.waits.is_some() || !self.rival.holds.is_empty()
    }

    /// The other run asks for slots, takes those that it waited for, or gives some back.
    pub(super) fn rival(&mut self, draw: &mut Draw) {
        let rival = &mut self.rival;
        let may_ask = rival.asks < RIVAL_ASKS_MAX;
        if !rival.holds.is_empty() && (!may_ask || draw.chance(500)) {
            let (pool, weight) = rival.holds.swap_remove(0);
            let slots = slots_of(&self.pools, &pool, weight);
            self.pools.give_back(&slots);
            return;
        }
        let wanted = rival.waits.take().unwrap_or_else(|| {
            rival.asks += 1;
            let names: Vec<&String> = self.limits.keys().collect();
            let name = *draw.pick(&names);
            (name.clone(), 1 + draw.below(self.limits[name] as usize) as u32)
        });
        let slots = slots_of(&self.pools, &wanted.0, wanted.1);
        if self.pools.take(RIVAL, &slots) {
            rival.holds.push(wanted);
        } else {
            self.pools.wait(RIVAL, &slots);
            rival.waits = Some(wanted);
        }
    }

    /// What is in use is what the chunks take that have a holder, and no more than there is.
    pub(super) fn check(&self, case: &Case, open: &BTreeMap<(usize, u64), PartitionSet>) {
        let mut in_use: BTreeMap<&str, u32> = BTreeMap::new();
        for (asset, _) in open.keys() {
            let sketch = &case.sketch.assets[*asset];
            for (pool, weight) in &sketch.pools {
                *in_use.entry(pool).or_default() += weight;
            }
            if let Some(count) = sketch.max_concurrent {
                let at_once = open.range((*asset, 0)..(*asset + 1, 0)).count();
                hold!(
                    P24,
                    at_once <= count as usize,
                    "{at_once} steps of asset {asset} run at once, of {count} that may"
                );
            }
        }
        for (pool, slots) in &case.sketch.pools {
            let chunks = in_use.get(pool).copied().unwrap_or(0);
            let rival = self.rival.holds.iter().filter(|(held, _)| held == pool);
            let taken = chunks + rival.map(|(_, weight)| weight).sum::<u32>();
            hold!(P24, taken <= *slots, "{taken} slots of {slots} of {pool} are in use");
            hold_eq!(P24, self.pools.used(pool), Some((taken, *slots)), "the slots of {pool}");
        }
    }

    /// Nothing of this run is left.
    pub(super) fn check_over(&self) {
        hold!(
            P24,
            self.leases.is_empty(),
            "the run is over and holds slots: {:?}",
            self.leases
        );
    }
}

fn slots_of(pools: &Pools, pool: &str, weight: u32) -> Slots {
    pools.slots(&[PoolUse {
        pool: pool.to_owned(),
        weight,
    }])
}
