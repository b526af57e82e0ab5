//! What the workers of one run share about each planned asset.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flowstone_core::asset::{Body, RunScope};
use flowstone_core::io::{IoManager, Stored};
use flowstone_core::partition::{BoundMapping, PartitionSet};
use flowstone_core::plan::RunPlan;
use flowstone_core::store::{Store, Versions};
use flowstone_core::{AssetId, Result, RunId, TypeInfo, Version};

use crate::engine::Shared;

/// One planned asset, as its workers see it.
pub(crate) struct LaneScope {
    pub(crate) scope: Arc<RunScope>,
    pub(crate) asset: AssetId,
    pub(crate) io: Arc<dyn IoManager>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) inputs: Vec<InputScope>,
    pub(crate) outputs: Arc<LaneOutputs>,
    pub(crate) body: Body,
    pub(crate) deadline: Option<Duration>,
    pub(crate) cancel_grace: Duration,
}

impl LaneScope {
    /// A partition of the asset, for people.
    pub(crate) fn label(&self, partition: u64) -> String {
        let node = self.scope.pipeline.graph().node(self.scope.node);
        if node.space().is_unit() {
            return node.key().to_string();
        }
        format!("{}[{}]", node.key(), node.space().label(partition))
    }
}

/// One input of a planned asset.
pub(crate) struct InputScope {
    pub(crate) asset: AssetId,
    pub(crate) mapping: BoundMapping,
    pub(crate) pinned: Versions,
    /// What this run makes of the upstream, if it is planned.
    pub(crate) planned: Option<Arc<LaneOutputs>>,
    pub(crate) io: Arc<dyn IoManager>,
    pub(crate) ty: TypeInfo,
}

impl InputScope {
    /// Those of `needed` that have a value.
    pub(crate) fn available(&self, needed: &PartitionSet) -> PartitionSet {
        let mut available = self.pinned.of(needed).partitions();
        if let Some(planned) = &self.planned {
            available.union_with(&planned.available(needed));
        }
        available
    }

    /// Where the value lies if this process made it, and its version; `Version::NONE` when there is none.
    pub(crate) fn find(&self, partition: u64) -> (Option<Stored>, Version) {
        match self.planned.as_ref().map(|planned| planned.find(partition)) {
            Some((stored, version)) if version != Version::NONE => (stored, version),
            _ => (None, self.pinned.get(partition)),
        }
    }

    /// The versions of those of `partitions` that were not made by this process.
    pub(crate) fn versions_in_store(&self, partitions: &PartitionSet) -> Versions {
        let mut versions = self.pinned.of(partitions);
        if let Some(planned) = &self.planned {
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
    pub(crate) fn add_recovered(&self, partitions: &PartitionSet) {
        let mut made = self.made();
        made.partitions.union_with(partitions);
        made.recovered.union_with(partitions);
    }

    /// Those of `needed` that have a value, made in this run or before.
    pub(crate) fn available(&self, needed: &PartitionSet) -> PartitionSet {
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
    pub(crate) fn find(&self, partition: u64) -> (Option<Stored>, Version) {
        let made = self.made();
        let base = self.base.get(partition);
        if made.partitions.contains(partition) {
            (made.find(partition).cloned(), base.next())
        } else {
            (None, base)
        }
    }
}

/// Sets up what the workers of a run share.
pub(crate) fn lane_scopes(run: RunId, plan: &RunPlan, shared: &Shared) -> Result<Vec<Arc<LaneScope>>> {
    let graph = shared.pipeline.graph();
    let places = plan.places(graph).collect::<Result<Vec<_>>>()?;
    let mut lane_of = vec![None; graph.len()];
    for (lane, ix) in places.iter().enumerate() {
        lane_of[ix.index()] = Some(lane);
    }
    let mut scopes: Vec<Arc<LaneScope>> = Vec::with_capacity(plan.assets.len());
    for (planned, ix) in plan.assets.iter().zip(places) {
        let node = graph.node(ix);
        let mut readers = node.downstream().iter();
        let is_read = readers.any(|reader| lane_of[reader.index()].is_some());
        let outputs = Arc::new(LaneOutputs {
            base: planned.base.clone(),
            is_read,
            made: Mutex::default(),
        });
        let mut inputs = Vec::with_capacity(node.inputs().len());
        for (input, pinned) in node.inputs().iter().zip(&planned.pinned) {
            let up = graph.node(input.upstream);
            let upstream = match lane_of[input.upstream.index()] {
                Some(lane) if lane == scopes.len() => Some(&outputs),
                // Whatever it reads stands before it.
                Some(lane) => scopes.get(lane).map(|scope| &scope.outputs),
                None => None,
            };
            inputs.push(InputScope {
                asset: shared.ids[input.upstream.index()],
                mapping: plan.bind(node, input, up)?,
                pinned: pinned.clone(),
                planned: upstream.map(Arc::clone),
                io: Arc::clone(&shared.io[input.upstream.index()]),
                ty: up.output(),
            });
        }
        scopes.push(Arc::new(LaneScope {
            scope: Arc::new(RunScope {
                pipeline: shared.pipeline.clone(),
                node: ix,
                run,
                config: plan.config.section(node.key()),
                sets: Arc::clone(&shared.sets) as _,
            }),
            asset: planned.id,
            io: Arc::clone(&shared.io[ix.index()]),
            store: Arc::clone(&shared.store),
            inputs,
            outputs,
            body: node.body().clone(),
            deadline: node.deadline(),
            cancel_grace: shared.cancel_grace,
        }));
    }
    Ok(scopes)
}
