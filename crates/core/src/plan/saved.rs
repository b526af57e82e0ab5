//! A plan that is kept in a file, to be looked at first and carried out later.
//!
//! It is carried out as it stands or not at all: the same request, planned again as of the same time, must come to the
//! same steps for the same reasons on the same versions. What moved meanwhile is named. Reads and writes no files.

use serde::{Deserialize, Serialize};

use super::{PlannedAsset, RunPlan, RunRequest, decode, encode};
use crate::graph::{AssetGraph, Node};
use crate::partition::{PartitionSet, PartitionSpace};
use crate::store::Versions;
use crate::{AssetKey, CodeVersion, Error, ErrorKind, Result};

/// The tag and version of the stored form.
const FORMAT: [u8; 2] = [b'P', 1];
/// How many differences a message spells out.
const DIFFERENCES_SHOWN_MAX: usize = 5;

/// A plan with everything that tells whether it may still be carried out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedPlan {
    pipeline: String,
    request: RunRequest,
    plan: RunPlan,
    /// The assets that were asked for, and those that they read.
    assets: Vec<SavedAsset>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SavedAsset {
    key: AssetKey,
    code_version: CodeVersion,
    space: PartitionSpace,
}

impl SavedPlan {
    /// Keeps `plan`, which is what `request` came to in the pipeline called `pipeline`.
    ///
    /// # Errors
    /// `NotFound` when the request names an asset that the graph does not have.
    pub fn new(pipeline: &str, graph: &AssetGraph, request: RunRequest, plan: RunPlan) -> Result<Self> {
        let mut keys = std::collections::BTreeSet::new();
        for key in &request.assets {
            let ix = graph.find(key.as_str())?;
            keys.insert(ix);
            keys.extend(graph.node(ix).inputs().iter().map(|input| input.upstream));
        }
        let assets = keys.into_iter().map(|ix| saved(graph.node(ix))).collect();
        Ok(Self {
            pipeline: pipeline.to_owned(),
            request,
            plan,
            assets,
        })
    }

    /// What was asked for.
    pub fn request(&self) -> &RunRequest {
        &self.request
    }

    /// What it came to.
    pub fn plan(&self) -> &RunPlan {
        &self.plan
    }

    /// The stored form: tag, version, bincode.
    ///
    /// # Errors
    /// `Internal` when it cannot be written, which is a defect.
    pub fn encode(&self) -> Result<bytes::Bytes> {
        encode(FORMAT, self)
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// `Unsupported` for another version, `Corrupt` for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        decode(FORMAT, bytes).map_err(|error| {
            error
                .during("read a saved plan")
                .fix("save it again with `plan --save`")
        })
    }

    /// Checks that the pipeline is the one that it was made for.
    ///
    /// # Errors
    /// `Conflict`: code `plan_of_other_pipeline` for another pipeline, `plan_of_other_code` when an asset's code,
    /// `plan_of_other_partitions` when its partitions are not the same.
    pub fn check_pipeline(&self, pipeline: &str, graph: &AssetGraph) -> Result<()> {
        if self.pipeline != pipeline {
            return Err(refused(
                "plan_of_other_pipeline",
                format!("it is a plan of pipeline {:?}, and this is {pipeline:?}", self.pipeline),
            ));
        }
        let now = |asset: &SavedAsset| graph.find(asset.key.as_str()).ok().map(|ix| saved(graph.node(ix)));
        let changed = |differs: &dyn Fn(&SavedAsset, Option<&SavedAsset>) -> bool| -> Vec<String> {
            let moved = self.assets.iter().filter(|asset| differs(asset, now(asset).as_ref()));
            moved.map(|asset| asset.key.to_string()).collect()
        };
        let code = changed(&|was, is| is.is_none_or(|is| is.code_version != was.code_version));
        if !code.is_empty() {
            let message = format!("it was made for other code of {}", listed(&code));
            return Err(refused("plan_of_other_code", message));
        }
        let spaces = changed(&|was, is| is.is_none_or(|is| is.space != was.space));
        if !spaces.is_empty() {
            let message = format!("it was made for other partitions of {}", listed(&spaces));
            return Err(refused("plan_of_other_partitions", message));
        }
        Ok(())
    }

    /// Checks that `fresh`, the same request planned again as of the same time, is the same plan.
    ///
    /// # Errors
    /// `Conflict` with code `plan_outdated`; the message names what moved.
    pub fn check_plan(&self, fresh: &RunPlan, graph: &AssetGraph) -> Result<()> {
        let mut differences = Vec::new();
        for was in &self.plan.assets {
            let node = graph.node(graph.find(was.key.as_str())?);
            if !node.space().dynamic_sets().is_empty() {
                let retired = was.steps.difference(&node.space().existing_at(self.plan.planned_at)?);
                if !retired.is_empty() {
                    differences.push(format!("{} is retired", partitions(node, &retired)));
                }
            }
            match fresh.assets.iter().find(|is| is.key == was.key) {
                Some(is) => differences.extend(moved(was, is, node, graph)),
                None => differences.push(format!("{} is current now", was.key)),
            }
        }
        let known = |key: &AssetKey| self.plan.assets.iter().any(|was| was.key == *key);
        for is in fresh.assets.iter().filter(|is| !known(&is.key)) {
            let node = graph.node(graph.find(is.key.as_str())?);
            differences.push(format!("{} has to be made too", partitions(node, &is.steps)));
        }
        if differences.is_empty() {
            return Ok(());
        }
        Err(refused("plan_outdated", listed(&differences)))
    }
}

fn saved(node: &Node) -> SavedAsset {
    SavedAsset {
        key: node.key().clone(),
        code_version: node.code_version(),
        space: node.space().clone(),
    }
}

/// What is different about one asset, the most telling first.
fn moved(was: &PlannedAsset, is: &PlannedAsset, node: &Node, graph: &AssetGraph) -> Vec<String> {
    let mut moved = Vec::new();
    let mut tell = |set: PartitionSet, node: &Node, what: &str| {
        if !set.is_empty() {
            moved.push(format!("{} {what}", partitions(node, &set)));
        }
    };
    tell(is.steps.difference(&was.steps), node, "has to be made too");
    tell(was.steps.difference(&is.steps), node, "is current now");
    tell(differing(&was.base, &is.base), node, "was made meanwhile");
    for ((was, is), input) in was.pinned.iter().zip(&is.pinned).zip(node.inputs()) {
        tell(differing(was, is), graph.node(input.upstream), "was made meanwhile");
    }
    if moved.is_empty() && (was.sourced != is.sourced || was.code_version != is.code_version) {
        moved.push(format!("{} reads other sources or code", was.key));
    }
    if moved.is_empty() && was.reasons != is.reasons {
        moved.push(format!("{} has to be made for other reasons", was.key));
    }
    moved
}

/// The partitions that do not have the same version in both.
fn differing(was: &Versions, is: &Versions) -> PartitionSet {
    let mut differing = PartitionSet::new();
    for (one, other) in [(was, is), (is, was)] {
        for (version, set) in one.iter() {
            let same = other.iter().filter(|(known, _)| *known == version);
            let same = same.fold(PartitionSet::new(), |all, (_, set)| all.union(set));
            differing.union_with(&set.difference(&same));
        }
    }
    differing
}

fn partitions(node: &Node, set: &PartitionSet) -> String {
    let first = set.min().map_or_else(String::new, |first| node.space().label(first));
    match set.len() {
        _ if node.space().is_unit() => node.key().to_string(),
        1 => format!("{}[{first}]", node.key()),
        count => format!("{}[{first}] with {} more partitions", node.key(), count - 1),
    }
}

fn listed(differences: &[String]) -> String {
    let shown = differences
        .iter()
        .take(DIFFERENCES_SHOWN_MAX)
        .cloned()
        .collect::<Vec<_>>();
    match differences.len().checked_sub(shown.len()) {
        None | Some(0) => shown.join(", "),
        Some(more) => format!("{}, and {more} more", shown.join(", ")),
    }
}

fn refused(code: &'static str, message: String) -> Error {
    Error::new(ErrorKind::Conflict, message)
        .code(code)
        .during("apply the saved plan")
        .fix("look at what there is to do now and save that: `plan --save`")
}
