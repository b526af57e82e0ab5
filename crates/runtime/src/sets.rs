//! Dynamic sets of an engine: which there are, and how they change.

use std::collections::BTreeMap;
use std::sync::Arc;

use flowstone_core::asset::PartitionSets;
use flowstone_core::clock::Clock;
use flowstone_core::partition::{DynamicSpace, PartitionKey};
use flowstone_core::pipeline::Pipeline;
use flowstone_core::store::Store;
use flowstone_core::{BoxFuture, Error, ErrorKind, Result};

use crate::ledger::LedgerHandle;

/// The pipeline with its dynamic sets as `store` has them, and as this store changes them from now on.
///
/// # Errors
/// What the store says.
pub async fn attach(pipeline: &Pipeline, store: &dyn Store) -> Result<Pipeline> {
    let mut known = BTreeMap::new();
    for name in pipeline.graph().dynamic_sets().into_keys() {
        known.insert(name.to_owned(), store.dynamic_set(name).await?);
    }
    Ok(pipeline.with_sets(&known))
}

/// The dynamic set called `name` of `pipeline`.
///
/// # Errors
/// `NotFound` when no asset is partitioned by it; the message names those that there are.
pub fn dynamic_set(pipeline: &Pipeline, name: &str) -> Result<DynamicSpace> {
    let sets = pipeline.graph().dynamic_sets();
    let found = sets.get(name).map(|set| DynamicSpace::clone(set));
    found.ok_or_else(|| {
        let known: Vec<&str> = sets.keys().copied().collect();
        let fix = match known.is_empty() {
            true => "partition an asset by it: `Partitions::dynamic(name)`".to_owned(),
            false => format!("use one of {}", known.join(", ")),
        };
        Error::new(ErrorKind::NotFound, "no asset of the pipeline is partitioned by it")
            .code("partition_set_unknown")
            .during("find the dynamic set")
            .about(format!("{name:?}"))
            .fix(fix)
    })
}

/// Changes the sets of one engine.
pub(crate) struct EngineSets {
    pub(crate) pipeline: Pipeline,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ledger: LedgerHandle,
}

impl EngineSets {
    /// Makes sure that the set is one of the pipeline's, and that what the change may rest on is on disk: a step may run
    /// ahead of it.
    async fn prepare(&self, set: &str) -> Result<()> {
        dynamic_set(&self.pipeline, set)?;
        self.ledger.commit(Vec::new()).await
    }
}

impl PartitionSets for EngineSets {
    fn add<'a>(&'a self, set: &'a str, keys: Vec<PartitionKey>) -> BoxFuture<'a, Result<Vec<u64>>> {
        Box::pin(async move {
            self.prepare(set).await?;
            self.store.add_dynamic_keys(set, &keys, self.clock.now()).await
        })
    }

    fn retire<'a>(&'a self, set: &'a str, keys: Vec<PartitionKey>) -> BoxFuture<'a, Result<Vec<u64>>> {
        Box::pin(async move {
            self.prepare(set).await?;
            self.store.retire_dynamic_keys(set, &keys, self.clock.now()).await
        })
    }
}
