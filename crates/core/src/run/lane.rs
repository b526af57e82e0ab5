//! One planned asset while its run goes on: its steps, its inputs, and whom it wakes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::CHUNK_LEN_MAX;
use super::batch::Batch;
use super::edge::Edge;
use super::state::StepState;
use super::steps::StepSets;
use super::suspects::Suspects;
use crate::asset::{NextAttempt, Retry};
use crate::graph::{AssetGraph, NodeIx};
use crate::partition::{BoundMapping, PartitionSet};
use crate::plan::{PlannedAsset, RunPlan};
use crate::{AssetId, ChunkNo, DataVersion, Error, ErrorKind, ErrorRecord, Result, RunId, Version};

/// One planned asset while its run goes on.
#[derive(Debug, Clone)]
pub(super) struct Lane {
    pub(super) plan: Arc<PlannedAsset>,
    pub(super) steps: StepSets,
    pub(super) edges: Vec<Edge>,
    /// The planned assets that read this one: place in the plan, and which of its inputs. Where it reads itself comes
    /// first.
    pub(super) readers: Vec<(usize, usize)>,
    /// Assets with heads that go stale when this one changes, planned or not.
    pub(super) outdates: Vec<(AssetId, BoundMapping)>,
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

    /// Those of `steps` that wait neither for an input nor for their next attempt.
    pub(super) fn unhindered(&self, mut steps: PartitionSet) -> PartitionSet {
        steps.subtract(&self.resting);
        self.edges.iter().fold(steps, |left, edge| {
            if left.is_empty() {
                left
            } else {
                left.difference(&edge.waiting)
            }
        })
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

/// Sets up the lanes of `plan`, every step blocked.
///
/// # Errors
/// `Conflict` with code `code_changed` when the plan names an asset that the graph does not have, or in another shape:
/// the plan was made by other code.
pub(super) fn lanes(plan: &RunPlan, graph: &AssetGraph, ids: &[AssetId]) -> Result<Vec<Lane>> {
    let mut lane_of = vec![None; graph.len()];
    let mut lanes: Vec<Lane> = Vec::with_capacity(plan.assets.len());
    for ((number, planned), place) in plan.assets.iter().enumerate().zip(plan.places(graph)) {
        let ix = place.map_err(|_| code_changed(planned, "is gone"))?;
        let node = graph.node(ix);
        if ids[ix.index()] != planned.id {
            return Err(code_changed(planned, "has other partitions"));
        }
        let section = plan.config.section(node.key());
        if crate::plan::planned_code_version(node, &section) != planned.code_version {
            return Err(code_changed(planned, "has other code"));
        }
        if node.inputs().len() != planned.pinned.len() {
            return Err(code_changed(planned, "has other inputs"));
        }
        let mut edges = Vec::with_capacity(node.inputs().len());
        let mut own_readers = Vec::new();
        for (index, (input, pinned)) in node.inputs().iter().zip(&planned.pinned).enumerate() {
            let up = graph.node(input.upstream);
            let mapping = plan.bind(node, input, up)?;
            let lane: Option<usize> = match input.upstream == ix {
                true => Some(number),
                false => lane_of[input.upstream.index()],
            };
            let waiting = match lane {
                Some(lane) if lane == number => {
                    own_readers.push((number, index));
                    mapping.downstream_of(&planned.steps).intersect(&planned.steps)
                }
                Some(lane) => {
                    let upstream: &mut Lane = &mut lanes[lane];
                    upstream.readers.push((number, index));
                    mapping.downstream_of(&upstream.plan.steps).intersect(&planned.steps)
                }
                None => PartitionSet::new(),
            };
            let upstream = ids[input.upstream.index()];
            edges.push(Edge {
                upstream,
                lane,
                kind: input.kind,
                mapping,
                pinned: pinned.clone(),
                waiting,
            });
        }
        lane_of[ix.index()] = Some(number);
        let batch = node.batch().map(Batch::new);
        let feeders = if batch.is_some() {
            feeders(&edges, &lanes)
        } else {
            Vec::new()
        };
        lanes.push(Lane {
            steps: StepSets::blocked(planned.steps.clone()),
            edges,
            readers: own_readers,
            outdates: outdated_by(graph, ix, ids, plan)?,
            withheld: PartitionSet::new(),
            certain: planned.certain.clone(),
            retry: node.retry(),
            acts_outside: node.acts_outside(),
            next_chunk: ChunkNo(0),
            attempts: BTreeMap::new(),
            resting: PartitionSet::new(),
            suspects: Suspects::default(),
            chunk_len_max: if node.fans_out() { 1 } else { CHUNK_LEN_MAX },
            batch,
            feeders,
            blurred: Suspects::default(),
            plan: Arc::clone(planned),
        });
    }
    Ok(lanes)
}

/// The lanes that `edges` read, and those that these read, and so on.
fn feeders(edges: &[Edge], lanes: &[Lane]) -> Vec<usize> {
    let mut found = BTreeSet::new();
    let mut open: Vec<usize> = edges.iter().filter_map(|edge| edge.lane).collect();
    while let Some(number) = open.pop() {
        // A lane that reads itself stands after those that were set up.
        if number < lanes.len() && found.insert(number) {
            open.extend(lanes[number].edges.iter().filter_map(|edge| edge.lane));
        }
    }
    found.into_iter().collect()
}

/// The readers of `ix`, planned or not, with the mapping by which a change reaches them.
fn outdated_by(
    graph: &AssetGraph,
    ix: NodeIx,
    ids: &[AssetId],
    plan: &RunPlan,
) -> Result<Vec<(AssetId, BoundMapping)>> {
    let mut outdated = Vec::with_capacity(graph.node(ix).downstream().len());
    for reader in graph.node(ix).downstream() {
        let node = graph.node(*reader);
        for input in node.inputs().iter().filter(|input| input.upstream == ix) {
            let mapping = plan.bind(node, input, graph.node(ix))?;
            outdated.push((ids[reader.index()], mapping));
        }
    }
    Ok(outdated)
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
