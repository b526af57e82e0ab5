//! A store with something between it and those who commit.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use flowstone_core::partition::{DynamicSpace, PartitionKey, PartitionSet, PartitionSpace};
use flowstone_core::run::RunState;
use flowstone_core::store::{
    AssetRow, AssetStatus, ChunkRow, Event, FanOutFilter, FanOutRow, ItemClaim, ItemEnds, ItemFailure, LineageInput,
    Materialization, PageRow, Prune, Pruned, Record, Redefinition, RunFilter, RunRow, Segment, StepFailure, Store,
    StoreStats, Versions,
};
use flowstone_core::{AssetId, AssetKey, FanOutId, Result, RunId, Version};
use jiff::Timestamp;

/// Stands between a store and those who commit to it.
#[async_trait]
pub trait AroundCommit: Send + Sync + 'static {
    /// Commits `records` to `store`, or does whatever it is there for.
    ///
    /// # Errors
    /// What [`Store::commit`] may say.
    async fn commit(&self, store: &dyn Store, records: &[Record]) -> Result<Vec<Result<()>>>;
}

/// A store whose commits go through an [`AroundCommit`].
pub struct StoreAround<A> {
    store: Arc<dyn Store>,
    around: A,
}

impl<A> StoreAround<A> {
    /// Puts `around` in front of `store`.
    pub fn new(store: Arc<dyn Store>, around: A) -> Self {
        Self { store, around }
    }

    /// What stands in front of the store.
    pub fn around(&self) -> &A {
        &self.around
    }
}

impl<A> fmt::Debug for StoreAround<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreAround").finish_non_exhaustive()
    }
}

#[async_trait]
impl<A: AroundCommit> Store for StoreAround<A> {
    async fn commit(&self, records: &[Record]) -> Result<Vec<Result<()>>> {
        self.around.commit(&*self.store, records).await
    }

    fn is_durable(&self) -> bool {
        self.store.is_durable()
    }

    async fn declare_assets(&self, assets: &[(AssetKey, PartitionSpace)]) -> Result<Vec<AssetId>> {
        self.store.declare_assets(assets).await
    }

    async fn redefine(&self, changes: &[Redefinition]) -> Result<Vec<AssetId>> {
        self.store.redefine(changes).await
    }

    async fn dynamic_set(&self, name: &str) -> Result<DynamicSpace> {
        self.store.dynamic_set(name).await
    }

    async fn add_dynamic_keys(&self, set: &str, keys: &[PartitionKey], at: Timestamp) -> Result<Vec<u64>> {
        self.store.add_dynamic_keys(set, keys, at).await
    }

    async fn retire_dynamic_keys(&self, set: &str, keys: &[PartitionKey], at: Timestamp) -> Result<Vec<u64>> {
        self.store.retire_dynamic_keys(set, keys, at).await
    }

    async fn assets(&self) -> Result<Vec<AssetRow>> {
        self.store.assets().await
    }

    async fn statuses(&self, assets: &[AssetId]) -> Result<Vec<AssetStatus>> {
        self.store.statuses(assets).await
    }

    async fn heads(&self, asset: AssetId, partitions: &PartitionSet) -> Result<Vec<Materialization>> {
        self.store.heads(asset, partitions).await
    }

    async fn materialization(
        &self,
        asset: AssetId,
        partition: u64,
        version: Option<Version>,
    ) -> Result<Option<Materialization>> {
        self.store.materialization(asset, partition, version).await
    }

    async fn materializations(&self, asset: AssetId, versions: &Versions) -> Result<Vec<Materialization>> {
        self.store.materializations(asset, versions).await
    }

    async fn inputs_of(&self, asset: AssetId, partition: u64, version: Version) -> Result<Vec<LineageInput>> {
        self.store.inputs_of(asset, partition, version).await
    }

    async fn uses_of(&self, upstream: AssetId, partition: u64, version: Option<Version>) -> Result<Vec<LineageInput>> {
        self.store.uses_of(upstream, partition, version).await
    }

    async fn runs(&self, filter: RunFilter, count_max: usize) -> Result<Vec<RunRow>> {
        self.store.runs(filter, count_max).await
    }

    async fn run(&self, run: RunId) -> Result<Option<RunRow>> {
        self.store.run(run).await
    }

    async fn run_by_key(&self, idempotency_key: &str) -> Result<Option<RunRow>> {
        self.store.run_by_key(idempotency_key).await
    }

    async fn chunks(&self, run: RunId) -> Result<Vec<ChunkRow>> {
        self.store.chunks(run).await
    }

    async fn failures(&self, run: RunId) -> Result<Vec<StepFailure>> {
        self.store.failures(run).await
    }

    async fn events(&self, after: u64, count_max: usize) -> Result<Vec<Event>> {
        self.store.events(after, count_max).await
    }

    async fn history(&self, asset: AssetId, partitions: &PartitionSet) -> Result<Vec<Materialization>> {
        self.store.history(asset, partitions).await
    }

    async fn fan_outs(&self, filter: FanOutFilter) -> Result<Vec<FanOutRow>> {
        self.store.fan_outs(filter).await
    }

    async fn item_pages(&self, fan_out: FanOutId) -> Result<Vec<PageRow>> {
        self.store.item_pages(fan_out).await
    }

    async fn item_page(&self, fan_out: FanOutId, first: u64) -> Result<Option<PageRow>> {
        self.store.item_page(fan_out, first).await
    }

    async fn item_claims(&self, fan_out: FanOutId) -> Result<Vec<ItemClaim>> {
        self.store.item_claims(fan_out).await
    }

    async fn item_ends(&self, fan_out: FanOutId) -> Result<ItemEnds> {
        self.store.item_ends(fan_out).await
    }

    async fn segments(&self, fan_out: FanOutId, page: u64) -> Result<Vec<Segment>> {
        self.store.segments(fan_out, page).await
    }

    async fn item_failures(&self, fan_out: FanOutId, from: u64, count_max: usize) -> Result<Vec<ItemFailure>> {
        self.store.item_failures(fan_out, from, count_max).await
    }

    async fn run_state(&self, run: RunId) -> Result<Option<RunState>> {
        self.store.run_state(run).await
    }

    async fn prune(&self, prune: &Prune) -> Result<Pruned> {
        self.store.prune(prune).await
    }

    async fn stats(&self) -> Result<StoreStats> {
        self.store.stats().await
    }
}
