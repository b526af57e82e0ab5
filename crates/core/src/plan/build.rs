//! Makes plans, by set algebra over the status of the assets.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Force, PlannedAsset, Reason, RunPlan, RunRequest};
use crate::asset::InputKind;
use crate::graph::{AssetGraph, Node, NodeIx, node_ix};
use crate::partition::{BoundMapping, PartitionSet, SetSnapshot, reach};
use crate::store::{AssetStatus, Versions};
use crate::{AssetId, CodeVersion, Error, ErrorKind, Result};

/// Everything that a plan is made from besides the request.
#[derive(Debug, Clone, Copy)]
pub struct Planner<'a> {
    /// The assets.
    pub graph: &'a AssetGraph,
    /// Their numbers in the store, by node.
    pub ids: &'a [AssetId],
    /// Their status in the store, by node.
    pub statuses: &'a [AssetStatus],
    /// The current time; partitions that do not exist yet are not planned.
    pub now: Timestamp,
    /// Dynamic sets as another plan saw them; as they are known now when nothing is given.
    pub sets: Option<&'a [SetSnapshot]>,
}

/// The code version that a step of `node` records under a configuration: other configuration is other code.
pub fn planned_code_version(node: &Node, section: Option<&serde_json::Map<String, serde_json::Value>>) -> CodeVersion {
    match section {
        Some(section) if !section.is_empty() && node.takes_config() => {
            let section = serde_json::Value::Object(section.clone());
            CodeVersion::of(format!("{}{section}", node.code_version()).as_bytes())
        }
        _ => node.code_version(),
    }
}

/// The partitions that have a head which `code`, reading what it would read of the outside world now, has made.
pub fn made_by(node: &Node, status: &AssetStatus, code: CodeVersion) -> PartitionSet {
    let mut made = status.made_by(code);
    for (source, partitions) in node.sources() {
        made.subtract(partitions);
        made.union_with(&status.made_by(sourced(code, *source)).intersect(partitions));
    }
    made
}

fn sourced(code: CodeVersion, source: CodeVersion) -> CodeVersion {
    CodeVersion::of(format!("{code}{source}").as_bytes())
}

/// The nodes that are `selected`, upstream first.
fn places(selected: &[bool]) -> impl Iterator<Item = NodeIx> {
    let nodes = selected.iter().enumerate().filter(|(_, selected)| **selected);
    nodes.map(|(index, _)| node_ix(index))
}

/// What was decided about one node so far.
#[derive(Default)]
struct Draft {
    chosen: PartitionSet,
    steps: PartitionSet,
}

/// Partitions by the first reason to make them that applies, and those that have none yet.
struct Reasons {
    left: PartitionSet,
    found: Vec<(Reason, PartitionSet)>,
}

impl Reasons {
    fn add(&mut self, reason: Reason, applies: PartitionSet) {
        if !applies.is_empty() {
            self.left.subtract(&applies);
            self.found.push((reason, applies));
        }
    }
}

impl Planner<'_> {
    /// Plans `request`.
    ///
    /// # Errors
    /// `NotFound` for an unknown asset, for a partition outside its space or for an input that was never made and is not
    /// planned; `Invalid` for a partition or configuration that is not well formed.
    pub fn plan(&self, request: &RunRequest) -> Result<RunPlan> {
        let mut selected = vec![false; self.graph.len()];
        for ix in self.check_config(request)? {
            selected[ix.index()] = true;
        }
        let targets = request
            .targets
            .iter()
            .map(|key| self.graph.find(key.as_str()))
            .collect::<Result<Vec<_>>>()?;
        let forced = self.forced(request.force, &selected, &targets);
        // Whatever is added or retired meanwhile: the plan sees one state of each set.
        let sets = match self.sets {
            Some(sets) => sets.to_vec(),
            None => self.graph.snapshots(places(&selected)),
        };
        let mut drafts: Vec<Draft> = std::iter::repeat_with(Draft::default).take(self.graph.len()).collect();
        let mut assets = Vec::new();
        for ix in places(&selected) {
            let node = self.graph.node(ix);
            let code_version = planned_code_version(node, request.config.given(node.key()));
            let chosen = match &request.redrive {
                Some(redrive) => {
                    let left = redrive.steps.get(node.key()).cloned().unwrap_or_default();
                    left.intersect(&node.space().as_of(&sets).existing_at(self.now)?)
                }
                None => node
                    .space()
                    .as_of(&sets)
                    .select(&request.partitions, self.now)
                    .map_err(|error| error.during("choose partitions of").about(node.key()))?,
            };
            drafts[ix.index()].chosen = chosen;
            let reasons = self.reasons(ix, code_version, forced[ix.index()], &drafts, &sets)?;
            let mut steps = PartitionSet::new();
            let mut certain = PartitionSet::new();
            for (reason, partitions) in &reasons {
                steps.union_with(partitions);
                if *reason != Reason::UpstreamPlanned {
                    certain.union_with(partitions);
                }
            }
            if steps.is_empty() {
                continue;
            }
            drafts[ix.index()].steps = steps.clone();
            let pinned = self.pin(ix, &steps, &drafts, &sets)?;
            let base = self.statuses[ix.index()].versions_of(&steps);
            let sources = node.sources().iter();
            let sources = sources.map(|(source, of)| (sourced(code_version, *source), of.intersect(&steps)));
            assets.push(Arc::new(PlannedAsset {
                key: node.key().clone(),
                id: self.ids[ix.index()],
                code_version,
                sourced: sources.filter(|(_, steps)| !steps.is_empty()).collect(),
                steps,
                certain,
                reasons,
                base,
                pinned,
            }));
        }
        Ok(RunPlan {
            planned_at: self.now,
            sets,
            config: request.config.clone(),
            assets,
        })
    }

    /// Gives the places of the assets that were asked for.
    fn check_config(&self, request: &RunRequest) -> Result<Vec<NodeIx>> {
        for (key, section) in &request.config.0 {
            let node = self.graph.node(self.graph.find(key.as_str())?);
            match node.check_config(&serde_json::Value::Object(section.clone())) {
                Some(verdict) => verdict.map_err(|error| error.about(format!("of asset {key}")))?,
                None => {
                    return Err(
                        Error::new(ErrorKind::Invalid, format!("asset {key} takes no configuration"))
                            .code("config_not_taken")
                            .fix("remove its section, or let its function take a `Config<T>`"),
                    );
                }
            }
        }
        let assets = self.graph.find_each(&request.assets).collect::<Result<Vec<_>>>()?;
        // An asset without a section may still need one.
        let asked = request.assets.iter().zip(&assets);
        let without =
            asked.filter(|(key, ix)| self.graph.node(**ix).takes_config() && request.config.given(key).is_none());
        for (key, ix) in without {
            if let Some(verdict) = self.graph.node(*ix).check_config(&request.config.section(key)) {
                verdict.map_err(|error| error.about(format!("of asset {key}")))?;
            }
        }
        Ok(assets)
    }

    /// Whether each node is made although it is current.
    fn forced(&self, force: Force, selected: &[bool], targets: &[NodeIx]) -> Vec<bool> {
        if force == Force::All {
            return selected.to_vec();
        }
        let mut forced = vec![false; self.graph.len()];
        for target in targets.iter().filter(|_| force != Force::Nothing) {
            forced[target.index()] = true;
            if force == Force::Downstream {
                for reader in self.graph.downstream_of(*target, usize::MAX) {
                    forced[reader.index()] = true;
                }
            }
        }
        forced
    }

    /// Sorts the chosen partitions of a node by the first reason that applies; current ones fall out.
    fn reasons(
        &self,
        ix: NodeIx,
        code_version: CodeVersion,
        is_forced: bool,
        drafts: &[Draft],
        sets: &[SetSnapshot],
    ) -> Result<Vec<(Reason, PartitionSet)>> {
        let status = &self.statuses[ix.index()];
        let chosen = &drafts[ix.index()].chosen;
        let mut reasons = Reasons {
            left: chosen.clone(),
            found: Vec::with_capacity(1),
        };
        reasons.add(Reason::Missing, chosen.difference(&status.materialized()));
        if !reasons.left.is_empty() && is_forced {
            reasons.add(Reason::Forced, reasons.left.clone());
        }
        if !reasons.left.is_empty() {
            let made = made_by(self.graph.node(ix), status, code_version);
            reasons.add(Reason::CodeChanged, reasons.left.difference(&made));
            reasons.add(Reason::UpstreamChanged, reasons.left.intersect(&status.stale));
        }
        if !reasons.left.is_empty() {
            let touched = self.touched(ix, &reasons.left, drafts, sets)?;
            reasons.add(Reason::UpstreamPlanned, reasons.left.intersect(&touched));
        }
        Ok(reasons.found)
    }

    /// The partitions of a node that read something that is planned, those among them that are `left`.
    fn touched(&self, ix: NodeIx, left: &PartitionSet, drafts: &[Draft], sets: &[SetSnapshot]) -> Result<PartitionSet> {
        let mut touched = PartitionSet::new();
        let mut own = Vec::new();
        for (number, input) in self.graph.node(ix).inputs().iter().enumerate() {
            let planned = &drafts[input.upstream.index()].steps;
            if input.upstream == ix {
                own.push(self.bind(ix, number, sets)?);
            } else if !planned.is_empty() {
                touched.union_with(&self.bind(ix, number, sets)?.downstream_of(planned));
            }
        }
        if !own.is_empty() {
            let planned = drafts[ix.index()].chosen.difference(&left.difference(&touched));
            touched.union_with(&reach(&own, &planned, left));
        }
        Ok(touched)
    }

    /// Pins the upstream partitions that `steps` need and that are not planned themselves.
    fn pin(&self, ix: NodeIx, steps: &PartitionSet, drafts: &[Draft], sets: &[SetSnapshot]) -> Result<Vec<Versions>> {
        let node = self.graph.node(ix);
        let mut pinned = Vec::with_capacity(node.inputs().len());
        for (number, input) in node.inputs().iter().enumerate() {
            let mut needed = self.bind(ix, number, sets)?.upstream_of(steps);
            needed.subtract(&drafts[input.upstream.index()].steps);
            let versions = self.statuses[input.upstream.index()].versions_of(&needed);
            if input.kind != InputKind::Optional {
                needed.subtract(&versions.partitions());
                self.refuse_missing(node, input.upstream, &needed)?;
            }
            pinned.push(versions);
        }
        Ok(pinned)
    }

    fn refuse_missing(&self, node: &Node, upstream: NodeIx, missing: &PartitionSet) -> Result<()> {
        let Some(first) = missing.min() else { return Ok(()) };
        let (key, up) = (node.key(), self.graph.node(upstream));
        let name = match (up.space().is_unit(), missing.len()) {
            (true, _) => up.key().to_string(),
            (false, 1) => format!("{}[{}]", up.key(), up.space().label(first)),
            (false, count) => format!(
                "{}[{}] and {} other partitions",
                up.key(),
                up.space().label(first),
                count - 1
            ),
        };
        Err(Error::new(
            ErrorKind::NotFound,
            format!("it needs {name}, never materialized and not selected"),
        )
        .code("input_missing")
        .during("plan")
        .about(format!("asset {key}"))
        .fix(format!(
            "select `+{key}` to make its upstream too, or run {} first",
            up.key()
        )))
    }

    /// The partition mapping of input `number`, at the lengths of now.
    fn bind(&self, ix: NodeIx, number: usize, sets: &[SetSnapshot]) -> Result<BoundMapping> {
        let node = self.graph.node(ix);
        let input = &node.inputs()[number];
        let (down, up) = (node.space(), self.graph.node(input.upstream).space());
        BoundMapping::new(&input.mapping, &down.as_of(sets), &up.as_of(sets), self.now)
    }
}
