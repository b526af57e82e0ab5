//! What a run is going to do: which partitions of which assets, why, and on which versions of their inputs.
//!
//! A plan is made once, from the graph and the status sets, and is frozen: the run that carries it out reads exactly
//! the versions that are pinned here. Which of the planned steps turn out to be unchanged is found while running.

mod build;
mod footprint;
mod redrive;
mod saved;

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::graph::{AssetGraph, Input, Node, NodeIx};
use crate::partition::{BoundMapping, PartitionSelector, PartitionSet, SetSnapshot};
use crate::store::Versions;
use crate::{AssetId, AssetKey, CodeVersion, Error, ErrorKind, Result};

pub use build::{Planner, made_by, planned_code_version};
pub use footprint::Footprint;
pub use redrive::Redrive;
pub use saved::SavedPlan;

/// What somebody asks for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunRequest {
    /// The assets that were meant, by name. Assets are not added by the planner.
    pub assets: Vec<AssetKey>,
    /// Those of `assets` that were asked for by themselves and not as somebody's upstream or downstream.
    pub targets: Vec<AssetKey>,
    /// The partitions that were meant.
    pub partitions: PartitionSelector,
    /// What is made although it is current.
    pub force: Force,
    /// The configuration, one section per asset.
    pub config: RunConfig,
    /// Two requests with one key are one run.
    pub idempotency_key: Option<String>,
    /// How it shares the workers with other runs.
    pub pace: Pace,
    /// Set when it is asked for what another run did not bring to a good end.
    pub redrive: Option<Redrive>,
}

/// How a run shares the workers with others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// How many of its steps may run at once; as many as there are workers unless given.
    pub concurrency: Option<NonZeroU32>,
    /// Runs of a higher priority get workers first; those of equal priority take turns.
    pub priority: i32,
}

/// What is made although it is current.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Force {
    /// Nothing: what is current is left alone.
    #[default]
    Nothing,
    /// The targets.
    Target,
    /// The targets and what depends on them.
    Downstream,
    /// Everything that was selected.
    All,
}

/// The configuration of a run: for each asset that takes one, a JSON object.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunConfig(pub BTreeMap<AssetKey, serde_json::Map<String, serde_json::Value>>);

/// Configurations are kept as JSON text, since the engine's own binary formats do not describe themselves.
impl Serialize for RunConfig {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = serde_json::to_string(&self.0).map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for RunConfig {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        serde_json::from_str(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

impl RunConfig {
    /// The section of `asset`, if there is one.
    pub fn given(&self, asset: &AssetKey) -> Option<&serde_json::Map<String, serde_json::Value>> {
        self.0.get(asset)
    }

    /// The section of `asset`; an empty object when there is none.
    pub fn section(&self, asset: &AssetKey) -> serde_json::Value {
        serde_json::Value::Object(self.given(asset).cloned().unwrap_or_default())
    }
}

/// Why a partition is planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It was never made.
    Missing,
    /// It was made by other code.
    CodeChanged,
    /// Something that it was made from has changed since.
    UpstreamChanged,
    /// Something that it is made from is planned; it is left alone if that turns out unchanged.
    UpstreamPlanned,
    /// It was asked for although it is current.
    Forced,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Missing => "missing",
            Self::CodeChanged => "code changed",
            Self::UpstreamChanged => "upstream changed",
            Self::UpstreamPlanned => "upstream planned",
            Self::Forced => "forced",
        })
    }
}

/// One asset in a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedAsset {
    /// The asset's name.
    pub key: AssetKey,
    /// Its number in the store that the plan was made for.
    pub id: AssetId,
    /// The code, the asset's section of the configuration included.
    pub code_version: CodeVersion,
    /// The steps that record another code version, since they read a named source; see
    /// [`Asset::source_versions`](crate::asset::Asset::source_versions).
    pub sourced: Vec<(CodeVersion, PartitionSet)>,
    /// The partitions that have steps.
    pub steps: PartitionSet,
    /// Those of `steps` that run whatever becomes of their upstream; the others run only if it changes.
    pub certain: PartitionSet,
    /// Why; a partition stands under the first reason that applies.
    pub reasons: Vec<(Reason, PartitionSet)>,
    /// The versions of the heads of `steps` when the plan was made.
    pub base: Versions,
    /// The versions that are pinned for each input, for upstream partitions that are not planned themselves.
    pub pinned: Vec<Versions>,
}

impl PlannedAsset {
    /// The code version that a step records.
    pub fn code_of(&self, partition: u64) -> CodeVersion {
        let sourced = self.sourced.iter().find(|(_, steps)| steps.contains(partition));
        sourced.map_or(self.code_version, |(code, _)| *code)
    }
}

/// A frozen plan. Assets stand in topological order; those with nothing to do are left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunPlan {
    /// When it was made; open-ended partition spaces are as long as they were then.
    pub planned_at: Timestamp,
    /// What was known then of the dynamic sets that matter to it.
    pub sets: Vec<SetSnapshot>,
    /// The configuration.
    pub config: RunConfig,
    /// What there is to do.
    pub assets: Vec<Arc<PlannedAsset>>,
}

/// The tag and version of the stored form.
const FORMAT: [u8; 2] = [b'R', 1];

impl RunPlan {
    /// The partition mapping of one input of `node`, which reads `upstream`, at the lengths that this plan saw.
    ///
    /// # Errors
    /// As [`BoundMapping::new`].
    pub fn bind(&self, node: &Node, input: &Input, upstream: &Node) -> Result<BoundMapping> {
        let (down, up) = (node.space().as_of(&self.sets), upstream.space().as_of(&self.sets));
        BoundMapping::new(&input.mapping, &down, &up, self.planned_at)
    }

    /// The place of each of its assets in `graph`.
    ///
    /// # Errors
    /// `NotFound` in the place of an asset that the graph does not have.
    pub fn places<'a>(&'a self, graph: &'a AssetGraph) -> impl Iterator<Item = Result<NodeIx>> + 'a {
        graph.find_each(self.assets.iter().map(|planned| &planned.key))
    }

    /// The number of steps.
    pub fn steps(&self) -> u64 {
        self.assets.iter().map(|asset| asset.steps.len()).sum()
    }

    /// True when there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.assets.is_empty()
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
        decode(FORMAT, bytes).map_err(|error| error.during("decode a run plan"))
    }
}

/// The tag and version of the stored form of a request.
const REQUEST_FORMAT: [u8; 2] = [b'Q', 1];

impl RunRequest {
    /// The stored form: tag, version, bincode.
    ///
    /// # Errors
    /// `Internal` when it cannot be written, which is a defect.
    pub fn encode(&self) -> Result<bytes::Bytes> {
        encode(REQUEST_FORMAT, self)
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// `Unsupported` for another version, `Corrupt` for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        decode(REQUEST_FORMAT, bytes).map_err(|error| error.during("decode a run request"))
    }
}

fn encode<T: Serialize>(format: [u8; 2], value: &T) -> Result<bytes::Bytes> {
    let mut bytes = format.to_vec();
    bincode::serde::encode_into_std_write(value, &mut bytes, bincode::config::standard())
        .map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
    Ok(bytes.into())
}

fn decode<T: for<'de> Deserialize<'de>>(format: [u8; 2], bytes: &[u8]) -> Result<T> {
    let corrupt = |text: String| Error::new(ErrorKind::Corrupt, text);
    let Some((found, body)) = bytes.split_first_chunk::<2>() else {
        return Err(corrupt("it has no header".to_owned()));
    };
    if *found != format {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("its format is {found:?}, this build reads {format:?}"),
        ));
    }
    let config = bincode::config::standard().with_limit::<{ crate::codec::DECODED_LEN_MAX }>();
    let (value, read) = bincode::serde::decode_from_slice(body, config).map_err(|error| corrupt(error.to_string()))?;
    if read == body.len() {
        Ok(value)
    } else {
        Err(corrupt("bytes are left over".to_owned()))
    }
}
