//! Many partitions of an asset in one call of its function: what the call is handed, and what it gives back.
//!
//! Which partitions are called for together, and what follows a call that fails as a whole, is decided by the run.

mod argument;
mod context;
mod outcome;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::context::{InputLoader, RunScope, Step};
use crate::Result;
use crate::partition::{PartitionKey, PartitionSpace};

pub use argument::FromCall;
pub use context::BatchContext;
pub use outcome::{BatchOutcome, IntoBatchOutcome, SortedOutcome};

/// The largest batch that an asset may ask for.
pub const BATCH_LEN_MAX: u64 = 1 << 16;

/// One call of a batched function, from which its arguments are drawn.
#[derive(Clone)]
pub struct Call {
    /// What it shares with the other calls.
    pub scope: Arc<RunScope>,
    /// The way to its inputs.
    pub inputs: Arc<dyn InputLoader>,
    /// The partitions' indices, in order, each with its attempt, from 1.
    pub partitions: Arc<[(u64, u32)]>,
    /// Trips when the call should end.
    pub cancelled: CancellationToken,
}

impl Call {
    /// The steps that the call is for, each as it would be if it were called for alone.
    fn steps(&self) -> impl Iterator<Item = Step> {
        self.partitions.iter().map(|(partition, attempt)| Step {
            scope: Arc::clone(&self.scope),
            inputs: Arc::clone(&self.inputs),
            partition: *partition,
            attempt: *attempt,
            cancelled: self.cancelled.clone(),
            item: None,
        })
    }

    fn partition(&self, index: u64) -> BatchPartition {
        BatchPartition {
            index,
            scope: Arc::clone(&self.scope),
        }
    }
}

/// One of the partitions that a batched function is called for.
#[derive(Clone)]
pub struct BatchPartition {
    index: u64,
    scope: Arc<RunScope>,
}

impl BatchPartition {
    fn space(&self) -> &PartitionSpace {
        self.scope.pipeline.graph().node(self.scope.node).space()
    }

    /// Its key.
    ///
    /// # Errors
    /// `OutOfRange` when the index lies outside the asset's space, which the plan rules out.
    pub fn key(&self) -> Result<PartitionKey> {
        self.space().key_of(self.index)
    }

    /// Its text as the command line shows it.
    pub fn label(&self) -> String {
        self.space().label(self.index)
    }

    /// Its time window, start inclusive and end exclusive, if the asset is partitioned by time.
    pub fn window(&self) -> Option<(Timestamp, Timestamp)> {
        self.space().window_of(self.index)
    }
}

impl From<&Self> for BatchPartition {
    fn from(partition: &Self) -> Self {
        partition.clone()
    }
}

impl PartialEq for BatchPartition {
    fn eq(&self, other: &Self) -> bool {
        (self.scope.node, self.index) == (other.scope.node, other.index)
    }
}

impl Eq for BatchPartition {}

impl Hash for BatchPartition {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.index.hash(state);
    }
}

impl fmt::Display for BatchPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.label())
    }
}

impl fmt::Debug for BatchPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BatchPartition({})", self.label())
    }
}

/// One `T` for each partition of a call, in order of partition; an argument of a batched function.
///
/// All batches of one call have the same partitions in the same order, so they can be walked through side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch<T>(Vec<(BatchPartition, T)>);

impl<T> Batch<T> {
    /// The number of partitions; at least one.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there are none, which no call sees.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each partition with what it has.
    pub fn iter(&self) -> std::slice::Iter<'_, (BatchPartition, T)> {
        self.0.iter()
    }

    /// What a partition has; `None` when the call is not for it.
    pub fn get(&self, partition: &BatchPartition) -> Option<&T> {
        let at = self
            .0
            .binary_search_by_key(&partition.index, |(one, _)| one.index)
            .ok()?;
        Some(&self.0[at])
            .filter(|(one, _)| one == partition)
            .map(|(_, has)| has)
    }

    /// The same partitions, each with what `change` makes of what it had.
    pub fn map<U>(self, mut change: impl FnMut(T) -> U) -> Batch<U> {
        let changed = self.0.into_iter().map(|(partition, has)| (partition, change(has)));
        Batch(changed.collect())
    }
}

impl<T> IntoIterator for Batch<T> {
    type Item = (BatchPartition, T);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, T> IntoIterator for &'a Batch<T> {
    type Item = &'a (BatchPartition, T);
    type IntoIter = std::slice::Iter<'a, (BatchPartition, T)>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
