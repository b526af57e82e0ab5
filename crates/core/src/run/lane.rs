//! One planned asset while its run goes on: its steps, and how it is joined to others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::CHUNK_LEN_MAX;
use super::batch::Batch;
use super::edge::Edge;
use super::lists::Lists;
use super::state::StepState;
use super::steps::StepSets;
use super::suspects::Suspects;
use crate::asset::{NextAttempt, Retry};
use crate::graph::{AssetGraph, Input, NodeIx};
use crate::partition::{BoundMapping, PartitionSet};
use crate::plan::{PlannedAsset, RunPlan};
use crate::{AssetId, ChunkNo, DataVersion, Error, ErrorKind, ErrorRecord, Result, RunId, Version};

/// One planned asset while its run goes on.
#[derive(Debug, Clone)]
pub(super) struct Lane {
    pub(super) plan: Arc<PlannedAsset>,
    pub(super) steps: StepSets,
    /// Steps that want a value which there will not be. They are skipped once all that they read has ended: if any of it
    /// fails they fail, whichever came first.
    pub(super) withheld: PartitionSet,
    /// Steps that run even if nothing that they read turns out to have changed. Grows as upstreams change.
    pub(super) certain: PartitionSet,
    pub(super) retry: Retry,
    pub(super) acts_outside: bool,
    pub(super) next_chunk: ChunkNo,
    /// The attempts that failed so far, for steps with any.
    pub(super) attempts: BTreeMap<u64, u32>,
    /// Blocked steps whose next attempt is not due; nothing but time releases them.
    pub(super) resting: PartitionSet,
    pub(super) suspects: Suspects,
    /// The most steps that are claimed together; a step that fans out is led by itself.
    pub(super) chunk_len_max: u64,
    /// How many partitions its function is called for at once, if it is one that is called for many.
    pub(super) batch: Option<Batch>,
    /// The lanes whose steps may come to release steps of this one. Kept only where there is a batch to fill.
    pub(super) feeders: Vec<usize>,
    /// Steps that were in a call that failed as a whole, by how often.
    pub(super) blurred: Suspects,
}

impl Lane {
    /// The version of the value of `partition` that a reader in this run sees.
    pub(super) fn version(&self, partition: u64) -> Version {
        let base = self.plan.base.get(partition);
        if self.steps.get(StepState::Succeeded).contains(partition) {
            base.next()
        } else {
            base
        }
    }

    /// Those of `steps` that wait neither for an input, of which there are `edges`, nor for their next attempt.
    pub(super) fn unhindered(&self, mut steps: PartitionSet, edges: &[Edge]) -> PartitionSet {
        steps.subtract(&self.resting);
        for edge in edges {
            steps.subtract(&edge.waiting);
        }
        steps
    }

    /// The number for a new chunk.
    pub(super) fn take_chunk_number(&mut self) -> ChunkNo {
        let number = self.next_chunk;
        self.next_chunk = ChunkNo(number.0 + 1);
        number
    }

    /// Those of `steps` that are not at their first attempt, each with the one that comes next.
    pub(super) fn next_attempts(&self, steps: &PartitionSet) -> Vec<(u64, u32)> {
        let (Some(first), Some(last)) = (steps.min(), steps.max()) else {
            return Vec::new();
        };
        let tried = self
            .attempts
            .range(first..=last)
            .filter(|(step, _)| steps.contains(**step));
        tried.map(|(step, failed)| (*step, failed + 1)).collect()
    }

    /// When the attempt after `attempt`, which failed at `at`, is due; `None` when none follows. The same for the same
    /// failure, whenever it is asked; and the same for all partitions that failed together, where they are called for
    /// together.
    pub(super) fn next_due(
        &self,
        run: RunId,
        partition: u64,
        attempt: u32,
        error: &ErrorRecord,
        at: Timestamp,
    ) -> Option<Timestamp> {
        let drawn_for = if self.batch.is_some() { 0 } else { partition };
        let draw = jitter(run, self.plan.id, drawn_for, attempt);
        match self.retry.after(attempt, error.kind, error.class, draw) {
            NextAttempt::Never => None,
            NextAttempt::After(wait) => Some(at.checked_add(wait).unwrap_or(Timestamp::MAX)),
        }
    }
}

/// How the lanes of a run are joined, by lane.
#[derive(Debug, Clone)]
pub(super) struct Wiring {
    /// Its inputs.
    pub(super) edges: Lists<Edge>,
    /// The planned assets that read it: place in the plan, and which of its inputs. Where it reads itself comes first.
    pub(super) readers: Lists<(usize, usize)>,
    /// The assets that read it and are not planned.
    pub(super) onlookers: Lists<(AssetId, BoundMapping)>,
}

impl Wiring {
    /// The lanes that `number` reads, and those that these read, and so on. All of them stand before it.
    fn feeders(&self, number: usize) -> Vec<usize> {
        let mut found = BTreeSet::new();
        let mut open = vec![number];
        while let Some(next) = open.pop() {
            let read = self.edges.get(next).iter().filter_map(|edge| edge.lane);
            open.extend(read.filter(|read| *read < number && found.insert(*read)));
        }
        found.into_iter().collect()
    }
}

/// Sets up the lanes of `plan`, every step blocked.
///
/// # Errors
/// `Conflict` with code `code_changed` when the plan names an asset that the graph does not have, or in another shape:
/// the plan was made by other code.
pub(super) fn lanes(plan: &RunPlan, graph: &AssetGraph, ids: &[AssetId]) -> Result<(Vec<Lane>, Wiring)> {
    let places = plan.assets.iter().zip(plan.places(graph));
    let places = places.map(|(planned, place)| place.map_err(|_| code_changed(planned, "is gone")));
    let places = places.collect::<Result<Vec<NodeIx>>>()?;
    let mut lane_of = vec![None; graph.len()];
    for (number, ix) in places.iter().enumerate() {
        lane_of[ix.index()] = Some(number);
    }
    let mut lanes = Vec::with_capacity(places.len());
    let inputs = places.iter().map(|ix| graph.node(*ix).inputs().len()).sum();
    let mut wiring = Wiring {
        edges: Lists::with_capacity(places.len(), inputs),
        readers: Lists::with_capacity(places.len(), inputs),
        onlookers: Lists::with_capacity(places.len(), 0),
    };
    for (number, (planned, ix)) in plan.assets.iter().zip(places).enumerate() {
        let node = graph.node(ix);
        if ids[ix.index()] != planned.id {
            return Err(code_changed(planned, "has other partitions"));
        }
        if crate::plan::planned_code_version(node, plan.config.given(node.key())) != planned.code_version {
            return Err(code_changed(planned, "has other code"));
        }
        if node.inputs().len() != planned.pinned.len() {
            return Err(code_changed(planned, "has other inputs"));
        }
        let is_before = |upstream: NodeIx| lane_of[upstream.index()].is_none_or(|lane| lane <= number);
        if !node.inputs().iter().all(|input| is_before(input.upstream)) {
            return Err(code_changed(planned, "reads what comes later"));
        }
        wiring
            .edges
            .try_push(node.inputs().iter().zip(&planned.pinned).map(|(input, pinned)| {
                let lane = lane_of[input.upstream.index()];
                let mapping = plan.bind(node, input, graph.node(input.upstream))?;
                let read = lane.map(|lane| mapping.downstream_of(&plan.assets[lane].steps));
                Ok::<_, Error>(Edge {
                    upstream: ids[input.upstream.index()],
                    lane,
                    kind: input.kind,
                    mapping,
                    pinned: pinned.clone(),
                    waiting: read.map(|read| read.intersect(&planned.steps)).unwrap_or_default(),
                })
            }))?;
        let own = reading(graph, ix, ix).map(|(index, _)| (number, index));
        let others = node.downstream().iter().filter(|reader| **reader != ix);
        let others = others.filter_map(|reader| Some((*reader, lane_of[reader.index()]?)));
        let others = others.flat_map(|(reader, lane)| reading(graph, reader, ix).map(move |(index, _)| (lane, index)));
        wiring.readers.push(own.chain(others));
        let onlookers = node
            .downstream()
            .iter()
            .filter(|reader| lane_of[reader.index()].is_none());
        let onlookers =
            onlookers.flat_map(|reader| reading(graph, *reader, ix).map(move |(_, input)| (*reader, input)));
        wiring.onlookers.try_push(onlookers.map(|(reader, input)| {
            let mapping = plan.bind(graph.node(reader), input, node)?;
            Ok::<_, Error>((ids[reader.index()], mapping))
        }))?;
        let batch = node.batch().map(Batch::new);
        lanes.push(Lane {
            steps: StepSets::blocked(planned.steps.clone()),
            withheld: PartitionSet::new(),
            certain: planned.certain.clone(),
            retry: node.retry(),
            acts_outside: node.acts_outside(),
            next_chunk: ChunkNo(0),
            attempts: BTreeMap::new(),
            resting: PartitionSet::new(),
            suspects: Suspects::default(),
            chunk_len_max: if node.fans_out() { 1 } else { CHUNK_LEN_MAX },
            feeders: batch.map_or_else(Vec::new, |_| wiring.feeders(number)),
            batch,
            blurred: Suspects::default(),
            plan: Arc::clone(planned),
        });
    }
    Ok((lanes, wiring))
}

/// The inputs by which `reader` reads `read`, each with its number.
fn reading(graph: &AssetGraph, reader: NodeIx, read: NodeIx) -> impl Iterator<Item = (usize, &Input)> {
    let inputs = graph.node(reader).inputs().iter().enumerate();
    inputs.filter(move |(_, input)| input.upstream == read)
}

fn code_changed(planned: &PlannedAsset, how: &str) -> Error {
    let key = &planned.key;
    Error::new(
        ErrorKind::Conflict,
        format!("asset {key} {how} than when the run was planned"),
    )
    .code("code_changed")
    .fix("run it again: what was made by the same code is kept")
}

/// A number from 0 to 1 that is the same whenever the decision is taken again.
fn jitter(run: RunId, asset: AssetId, partition: u64, attempt: u32) -> f64 {
    let draw = DataVersion::of(format!("{run}/{asset}/{partition}/{attempt}").as_bytes());
    (draw.0 as u64) as f64 / u64::MAX as f64
}

/// How an upstream step ended, as far as its readers care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UpstreamEnd {
    /// There will be no value.
    Failed,
    /// Its code, or its own upstream, found nothing to make.
    Skipped,
    /// There is a new value with other content.
    Changed,
    /// There is a value, and its content is what it was.
    Unchanged,
}

impl UpstreamEnd {
    /// All of them, what weighs most first.
    pub(super) const ALL: [Self; 4] = [Self::Failed, Self::Skipped, Self::Changed, Self::Unchanged];
}
