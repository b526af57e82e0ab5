//! What one step is handed: who it is, and the way to its inputs.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::fan_out::ItemSlot;
use crate::graph::NodeIx;
use crate::io::{RowParts, in_one_part};
use crate::partition::{PartitionKey, PartitionSet};
use crate::pipeline::Pipeline;
use crate::{BoxFuture, Result, RunId, Value};

/// Loads the pinned inputs of the steps of one asset in one run. The engine implements it.
pub trait InputLoader: Send + Sync + 'static {
    /// The partitions of input number `input` that `partition` reads and that were materialized, in order.
    fn partitions(&self, input: usize, partition: u64) -> Result<PartitionSet>;

    /// The upstream partition that `partition` reads of input number `input`, materialized or not, where the mapping itself
    /// says that it is one. Who answers `None` is asked for all [`partitions`](Self::partitions) instead.
    fn only(&self, _input: usize, _partition: u64) -> Option<u64> {
        None
    }

    /// The value of partition `upstream` of input number `input`, as pinned; `None` when it was never materialized.
    fn load(&self, input: usize, upstream: u64) -> BoxFuture<'_, Result<Option<Value>>>;

    /// The same part by part, of an input whose value is a sequence of rows. Who does not say how has all of it in memory.
    fn load_rows(&self, input: usize, upstream: u64) -> BoxFuture<'_, Result<Option<RowParts>>> {
        let whole = self.load(input, upstream);
        Box::pin(async move { Ok(whole.await?.map(in_one_part)) })
    }
}

/// Adds and retires the partitions of dynamic sets. The engine implements it.
pub trait PartitionSets: Send + Sync + 'static {
    /// Adds `keys` to `set`; returns when that is on disk, with the index of each.
    fn add<'a>(&'a self, set: &'a str, keys: Vec<PartitionKey>) -> BoxFuture<'a, Result<Vec<u64>>>;

    /// Retires `keys` of `set`; returns when that is on disk, with the index of each.
    fn retire<'a>(&'a self, set: &'a str, keys: Vec<PartitionKey>) -> BoxFuture<'a, Result<Vec<u64>>>;
}

/// What all steps of one asset in one run share.
pub struct RunScope {
    /// The pipeline.
    pub pipeline: Pipeline,
    /// The asset.
    pub node: NodeIx,
    /// The run.
    pub run: RunId,
    /// The asset's section of the run's configuration.
    pub config: serde_json::Value,
    /// The way to dynamic partitions.
    pub sets: Arc<dyn PartitionSets>,
}

/// One step, from which its function's arguments are drawn.
#[derive(Clone)]
pub struct Step {
    /// What it shares with the other steps.
    pub scope: Arc<RunScope>,
    /// The way to its inputs.
    pub inputs: Arc<dyn InputLoader>,
    /// The partition's index.
    pub partition: u64,
    /// The attempt, from 1.
    pub attempt: u32,
    /// Trips when the step should end.
    pub cancelled: CancellationToken,
    /// The item, where the step fans out and this is one of its items.
    pub item: Option<ItemSlot>,
}

/// Who a step is, and whether it should end; an argument of an asset's function.
#[derive(Clone)]
pub struct AssetContext(Step);

impl AssetContext {
    pub(crate) fn new(step: Step) -> Self {
        Self(step)
    }

    /// The name of the asset.
    pub fn asset(&self) -> &str {
        self.0.scope.pipeline.graph().node(self.0.scope.node).key().as_str()
    }

    /// The key of the partition.
    ///
    /// # Errors
    /// `OutOfRange` when the index lies outside the asset's space, which the plan rules out.
    pub fn partition(&self) -> Result<PartitionKey> {
        self.0
            .scope
            .pipeline
            .graph()
            .node(self.0.scope.node)
            .space()
            .key_of(self.0.partition)
    }

    /// The partition's text as the command line shows it; empty for an asset without partitions.
    pub fn partition_label(&self) -> String {
        self.0
            .scope
            .pipeline
            .graph()
            .node(self.0.scope.node)
            .space()
            .label(self.0.partition)
    }

    /// The time window of the partition, start inclusive and end exclusive, if the asset is partitioned by time.
    pub fn window(&self) -> Option<(Timestamp, Timestamp)> {
        self.0
            .scope
            .pipeline
            .graph()
            .node(self.0.scope.node)
            .space()
            .window_of(self.0.partition)
    }

    /// The run.
    pub fn run_id(&self) -> RunId {
        self.0.scope.run
    }

    /// Adds partitions to a dynamic set, or takes retired ones back; returns when that is on disk, with the index of each.
    ///
    /// A run that is planned already, as this one, does not see them. Adding what is there changes nothing, so a step that
    /// is tried again may add again.
    ///
    /// # Errors
    /// `NotFound` when no asset of the pipeline is partitioned by the set; what the store says.
    pub async fn add_partitions<K: Into<PartitionKey>>(
        &self,
        set: &str,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<u64>> {
        let keys = keys.into_iter().map(Into::into).collect();
        self.0.scope.sets.add(set, keys).await
    }

    /// Retires partitions of a dynamic set: they are not planned any more, and keep their heads and lineage.
    ///
    /// # Errors
    /// `NotFound` when no asset of the pipeline is partitioned by the set, or it has no such partition; what the store says.
    pub async fn retire_partitions<K: Into<PartitionKey>>(
        &self,
        set: &str,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<u64>> {
        let keys = keys.into_iter().map(Into::into).collect();
        self.0.scope.sets.retire(set, keys).await
    }

    /// The attempt, from 1.
    pub fn attempt(&self) -> u32 {
        self.0.attempt
    }

    /// True when the step should end: its run was cancelled or its deadline passed.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.is_cancelled()
    }

    /// Waits until the step should end.
    pub async fn cancelled(&self) {
        self.0.cancelled.cancelled().await;
    }
}

impl fmt::Debug for AssetContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssetContext")
            .field("asset", &self.asset())
            .field("partition", &self.partition_label())
            .field("run", &self.run_id())
            .field("attempt", &self.attempt())
            .finish()
    }
}
