//! What the workers of one run share about its planned assets.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flowstone_core::asset::{Body, RunScope};
use flowstone_core::graph::{Node, NodeIx};
use flowstone_core::io::{IoManager, Stored};
use flowstone_core::partition::{BoundMapping, PartitionSet};
use flowstone_core::plan::RunPlan;
use flowstone_core::run::{Lists, RunMachine, StepState};
use flowstone_core::store::{Store, Versions};
use flowstone_core::{AssetId, Result, Version};

use crate::engine::Shared;

/// The planned assets of one run, as its workers see them, by their place in the plan.
pub(crate) struct Lanes {
    shared: Arc<Shared>,
    lanes: Vec<Lane>,
    inputs: Lists<LaneInput>,
}

/// One planned asset.
pub(crate) struct Lane {
    pub(crate) scope: Arc<RunScope>,
    pub(crate) asset: AssetId,
    pub(crate) outputs: LaneOutputs,
}

impl Lane {
    pub(crate) fn node(&self) -> &Node {
        self.scope.pipeline.graph().node(self.scope.node)
    }

    pub(crate) fn body(&self) -> &Body {
        self.node().body()
    }

    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.node().deadline()
    }

    /// A partition of the asset, for people.
    pub(crate) fn label(&self, partition: u64) -> String {
        let node = self.node();
        if node.space().is_unit() {
            return node.key().to_string();
        }
        format!("{}[{}]", node.key(), node.space().label(partition))
    }
}

/// One input of a planned asset.
pub(crate) struct LaneInput {
    pub(crate) upstream: NodeIx,
    pub(crate) mapping: BoundMapping,
    pinned: Versions,
    /// The upstream's place in the plan, if it is planned.
    planned: Option<usize>,
}

impl Lanes {
    /// Sets up what the workers of a run share, with what earlier processes have made in it.
    ///
    /// # Errors
    /// `NotFound` when the plan names an asset that there is not.
    pub(crate) fn new(machine: &RunMachine, plan: &RunPlan, shared: Arc<Shared>) -> Result<Self> {
        let graph = shared.pipeline.graph();
        let places = plan.places(graph).collect::<Result<Vec<_>>>()?;
        let mut lane_of = vec![None; graph.len()];
        for (number, ix) in places.iter().enumerate() {
            lane_of[ix.index()] = Some(number);
        }
        let mut lanes = Vec::with_capacity(places.len());
        let all_inputs = places.iter().map(|ix| graph.node(*ix).inputs().len()).sum();
        let mut inputs = Lists::with_capacity(places.len(), all_inputs);
        for (number, ((planned, ix), (_, steps))) in plan.assets.iter().zip(places).zip(machine.assets()).enumerate() {
            let node = graph.node(ix);
            let bound = node.inputs().iter().zip(&planned.pinned).zip(machine.mappings(number));
            inputs.push(bound.map(|((input, pinned), mapping)| LaneInput {
                upstream: input.upstream,
                mapping: mapping.clone(),
                pinned: pinned.clone(),
                planned: lane_of[input.upstream.index()],
            }));
            let is_read = node.downstream().iter().any(|reader| lane_of[reader.index()].is_some());
            let outputs = LaneOutputs {
                base: planned.base.clone(),
                is_read,
                made: Mutex::default(),
            };
            outputs.add_recovered(steps.get(StepState::Succeeded));
            lanes.push(Lane {
                scope: Arc::new(RunScope {
                    pipeline: shared.pipeline.clone(),
                    node: ix,
                    run: machine.run(),
                    config: plan.config.section(node.key()),
                    sets: Arc::clone(&shared.sets) as _,
                }),
                asset: planned.id,
                outputs,
            });
        }
        Ok(Self { shared, lanes, inputs })
    }

    pub(crate) fn get(&self, number: usize) -> &Lane {
        &self.lanes[number]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Lane> {
        self.lanes.iter()
    }

    pub(crate) fn io(&self, node: NodeIx) -> &dyn IoManager {
        &*self.shared.io[node.index()]
    }

    pub(crate) fn id(&self, node: NodeIx) -> AssetId {
        self.shared.ids[node.index()]
    }

    pub(crate) fn node(&self, node: NodeIx) -> &Node {
        self.shared.pipeline.graph().node(node)
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &*self.shared.store
    }

    /// One input of a lane.
    pub(crate) fn input(&self, number: usize, input: usize) -> &LaneInput {
        &self.inputs.get(number)[input]
    }

    /// What this run makes of what an input reads, if that is planned.
    fn outputs(&self, input: &LaneInput) -> Option<&LaneOutputs> {
        input.planned.map(|number| &self.lanes[number].outputs)
    }

    /// Those of `needed` upstream partitions of an input that have a value.
    pub(crate) fn available(&self, input: &LaneInput, needed: &PartitionSet) -> PartitionSet {
        let mut available = input.pinned.of(needed).partitions();
        if let Some(planned) = self.outputs(input) {
            available.union_with(&planned.available(needed));
        }
        available
    }

    /// Where the value of an input's upstream partition lies if this process made it, and its version; `Version::NONE` when
    /// there is none.
    pub(crate) fn find(&self, input: &LaneInput, partition: u64) -> (Option<Stored>, Version) {
        match self.outputs(input).map(|planned| planned.find(partition)) {
            Some((stored, version)) if version != Version::NONE => (stored, version),
            _ => (None, input.pinned.get(partition)),
        }
    }

    /// The versions of those upstream `partitions` of an input that were not made by this process.
    pub(crate) fn versions_in_store(&self, input: &LaneInput, partitions: &PartitionSet) -> Versions {
        let mut versions = input.pinned.of(partitions);
        if let Some(planned) = self.outputs(input) {
            planned.add_versions_in_store(partitions, &mut versions);
        }
        versions
    }
}

/// What a run has made of one asset so far. A cache in front of the store, and ahead of it: outcomes that are queued for
/// commit are here already.
pub(crate) struct LaneOutputs {
    base: Versions,
    /// False when nobody in this run reads them; then addresses are not kept.
    is_read: bool,
    made: Mutex<Made>,
}

#[derive(Default)]
struct Made {
    partitions: PartitionSet,
    /// Those of `partitions` that an earlier process made.
    recovered: PartitionSet,
    /// What came first stands apart: an asset without partitions has no other, and then nothing is allocated.
    first: Option<(u64, Stored)>,
    others: BTreeMap<u64, Stored>,
}

impl Made {
    fn add(&mut self, partition: u64, stored: Stored) {
        self.partitions.insert(partition);
        match &self.first {
            Some((first, _)) if *first != partition => drop(self.others.insert(partition, stored)),
            _ => self.first = Some((partition, stored)),
        }
    }

    fn find(&self, partition: u64) -> Option<&Stored> {
        match &self.first {
            Some((first, stored)) if *first == partition => Some(stored),
            _ => self.others.get(&partition),
        }
    }
}

impl LaneOutputs {
    fn made(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The versions that there were when the run was planned.
    pub(crate) fn base(&self) -> &Versions {
        &self.base
    }

    /// Notes that `partition` was made.
    pub(crate) fn add(&self, partition: u64, stored: &Stored) {
        if self.is_read {
            self.made().add(partition, stored.clone());
        }
    }

    /// Notes partitions that an earlier process made in this run.
    fn add_recovered(&self, partitions: &PartitionSet) {
        if partitions.is_empty() {
            return;
        }
        let mut made = self.made();
        made.partitions.union_with(partitions);
        made.recovered.union_with(partitions);
    }

    /// Those of `needed` that have a value, made in this run or before.
    fn available(&self, needed: &PartitionSet) -> PartitionSet {
        let mut available = self.made().partitions.intersect(needed);
        available.union_with(&self.base.of(needed).partitions());
        available
    }

    fn add_versions_in_store(&self, partitions: &PartitionSet, versions: &mut Versions) {
        let made = self.made();
        for (version, unmade) in self.base.of(&partitions.difference(&made.partitions)).iter() {
            versions.add(version, unmade.clone());
        }
        let mut first = made.recovered.intersect(partitions);
        for (version, again) in self.base.of(&first).iter() {
            versions.add(version.next(), again.clone());
        }
        first.subtract(&self.base.partitions());
        versions.add(Version::NONE.next(), first);
    }

    /// Where the value lies if it was made by this process, and its version.
    fn find(&self, partition: u64) -> (Option<Stored>, Version) {
        let made = self.made();
        let base = self.base.get(partition);
        if made.partitions.contains(partition) {
            (made.find(partition).cloned(), base.next())
        } else {
            (None, base)
        }
    }
}
