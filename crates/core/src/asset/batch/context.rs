//! Which partitions a call is for, and whether it should end.

use std::fmt;

use super::{BatchPartition, Call};
use crate::partition::PartitionKey;
use crate::{Error, ErrorKind, Result, RunId};

/// Which partitions a call is for, and whether it should end; an argument of a batched function.
#[derive(Clone)]
pub struct BatchContext(Call);

impl BatchContext {
    pub(super) fn new(call: Call) -> Self {
        Self(call)
    }

    /// The name of the asset.
    pub fn asset(&self) -> &str {
        let scope = &self.0.scope;
        scope.pipeline.graph().node(scope.node).key().as_str()
    }

    /// The partitions, in order. The call gives an outcome for each of them.
    pub fn partitions(&self) -> impl ExactSizeIterator<Item = BatchPartition> {
        self.0.partitions.iter().map(|(index, _)| self.0.partition(*index))
    }

    /// The partition with this key.
    ///
    /// # Errors
    /// `NotFound` when the call is not for it.
    pub fn partition(&self, key: impl Into<PartitionKey>) -> Result<BatchPartition> {
        let (key, scope) = (key.into(), &self.0.scope);
        let index = scope.pipeline.graph().node(scope.node).space().index_of(&key);
        let asked = index.ok().filter(|index| self.place(*index).is_some());
        asked.map(|index| self.0.partition(index)).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "the call is not for it")
                .code("batch_stranger")
                .about(key)
                .fix("look at `BatchContext::partitions` for those that it is for")
        })
    }

    /// The attempt at one of the partitions, from 1; `None` when the call is not for it.
    pub fn attempt(&self, partition: &BatchPartition) -> Option<u32> {
        self.place(partition.index).map(|place| self.0.partitions[place].1)
    }

    fn place(&self, index: u64) -> Option<usize> {
        self.0.partitions.binary_search_by_key(&index, |(one, _)| *one).ok()
    }

    /// The run.
    pub fn run_id(&self) -> RunId {
        self.0.scope.run
    }

    /// Adds partitions to a dynamic set; as [`AssetContext::add_partitions`](crate::asset::AssetContext::add_partitions).
    ///
    /// # Errors
    /// As there.
    pub async fn add_partitions<K: Into<PartitionKey>>(
        &self,
        set: &str,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<u64>> {
        let keys = keys.into_iter().map(Into::into).collect();
        self.0.scope.sets.add(set, keys).await
    }

    /// Retires partitions of a dynamic set; as
    /// [`AssetContext::retire_partitions`](crate::asset::AssetContext::retire_partitions).
    ///
    /// # Errors
    /// As there.
    pub async fn retire_partitions<K: Into<PartitionKey>>(
        &self,
        set: &str,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<u64>> {
        let keys = keys.into_iter().map(Into::into).collect();
        self.0.scope.sets.retire(set, keys).await
    }

    /// True when the call should end: its run was cancelled or its deadline passed.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.is_cancelled()
    }

    /// Waits until the call should end.
    pub async fn cancelled(&self) {
        self.0.cancelled.cancelled().await;
    }
}

impl fmt::Debug for BatchContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchContext")
            .field("asset", &self.asset())
            .field("partitions", &self.0.partitions.len())
            .field("run", &self.run_id())
            .finish()
    }
}
