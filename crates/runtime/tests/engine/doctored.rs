//! A store that does to some records what the test says.

use std::sync::Arc;

use async_trait::async_trait;
use flowstone_core::memory::MemoryStore;
use flowstone_core::partition::{DynamicSpace, PartitionKey, PartitionSet, PartitionSpace};
use flowstone_core::run::RunState;
use flowstone_core::store::{
    AssetRow, AssetStatus, ChunkRow, Event, FanOutFilter, FanOutRow, ItemClaim, ItemEnds, ItemFailure, LineageInput,
    Materialization, PageRow, Prune, Pruned, Record, Redefinition, RefusedRuns, RunFilter, RunRow, Segment,
    StepFailure, Store, StoreStats, Versions,
};
use flowstone_core::{AssetId, AssetKey, Error, ErrorKind, FanOutId, Result, RunId, Version};
use jiff::Timestamp;
use tokio::sync::watch;

/// What becomes of a record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Taken,
    /// It is refused, and with it what follows of its run in the group.
    Refused,
    /// Its group waits until the store is released, and then it is refused.
    HeldAndRefused,
    /// Its group fails, in this way.
    Fails(ErrorKind),
    /// Its group is stored, and the answer is lost.
    AnswerLost,
    /// Its group waits until the store is released.
    Held,
}

type Decision = Box<dyn Fn(&Record) -> Fate + Send + Sync>;

pub(crate) struct Doctored {
    inner: Arc<MemoryStore>,
    fate: Decision,
    is_released: watch::Sender<bool>,
    is_holding: watch::Sender<bool>,
}

impl Doctored {
    pub(crate) fn new(fate: impl Fn(&Record) -> Fate + Send + Sync + 'static) -> Arc<Self> {
        Self::on(Arc::new(MemoryStore::default()), fate)
    }

    pub(crate) fn on(inner: Arc<MemoryStore>, fate: impl Fn(&Record) -> Fate + Send + Sync + 'static) -> Arc<Self> {
        let (is_released, is_holding) = (watch::Sender::new(false), watch::Sender::new(false));
        Arc::new(Self {
            inner,
            fate: Box::new(fate),
            is_released,
            is_holding,
        })
    }

    /// Waits until a group is held.
    pub(crate) async fn holds(&self) {
        self.is_holding.subscribe().wait_for(|holds| *holds).await.unwrap();
    }

    pub(crate) fn release(&self) {
        self.is_released.send_replace(true);
    }
}

pub(crate) fn is_progress(record: &Record) -> bool {
    matches!(record, Record::ChunkProgress(_))
}

pub(crate) fn is_claim(record: &Record) -> bool {
    matches!(record, Record::ChunkClaimed(_))
}

#[async_trait]
impl Store for Doctored {
    async fn commit(&self, records: &[Record]) -> Result<Vec<Result<()>>> {
        let fates: Vec<_> = records.iter().map(&self.fate).collect();
        if fates
            .iter()
            .any(|fate| matches!(fate, Fate::Held | Fate::HeldAndRefused))
        {
            self.is_holding.send_replace(true);
            self.is_released
                .subscribe()
                .wait_for(|released| *released)
                .await
                .unwrap();
        }
        for fate in &fates {
            if *fate == Fate::AnswerLost {
                drop(self.inner.commit(records).await);
                return Err(Error::new(ErrorKind::Unavailable, "the answer is lost"));
            }
            if let Fate::Fails(kind) = fate {
                return Err(Error::new(*kind, "the disk is on fire"));
            }
        }
        let mut refused = RefusedRuns::default();
        let mut verdicts = Vec::new();
        for (record, fate) in records.iter().zip(fates) {
            let own = match fate {
                Fate::Refused | Fate::HeldAndRefused => Err(Error::new(ErrorKind::Conflict, "it was refused")),
                _ => Ok(()),
            };
            let verdict = match refused.judge(record, || own) {
                Ok(()) => self.inner.commit(std::slice::from_ref(record)).await?.remove(0),
                refused => refused,
            };
            verdicts.push(verdict);
        }
        Ok(verdicts)
    }

    fn is_durable(&self) -> bool {
        self.inner.is_durable()
    }

    async fn declare_assets(&self, assets: &[(AssetKey, PartitionSpace)]) -> Result<Vec<AssetId>> {
        self.inner.declare_assets(assets).await
    }

    async fn redefine(&self, changes: &[Redefinition]) -> Result<Vec<AssetId>> {
        self.inner.redefine(changes).await
    }

    async fn dynamic_set(&self, name: &str) -> Result<DynamicSpace> {
        self.inner.dynamic_set(name).await
    }

    async fn add_dynamic_keys(&self, set: &str, keys: &[PartitionKey], at: Timestamp) -> Result<Vec<u64>> {
        self.inner.add_dynamic_keys(set, keys, at).await
    }

    async fn retire_dynamic_keys(&self, set: &str, keys: &[PartitionKey], at: Timestamp) -> Result<Vec<u64>> {
        self.inner.retire_dynamic_keys(set, keys, at).await
    }

    async fn assets(&self) -> Result<Vec<AssetRow>> {
        self.inner.assets().await
    }

    async fn statuses(&self, assets: &[AssetId]) -> Result<Vec<AssetStatus>> {
        self.inner.statuses(assets).await
    }

    async fn heads(&self, asset: AssetId, partitions: &PartitionSet) -> Result<Vec<Materialization>> {
        self.inner.heads(asset, partitions).await
    }

    async fn materializations(&self, asset: AssetId, versions: &Versions) -> Result<Vec<Materialization>> {
        self.inner.materializations(asset, versions).await
    }

    async fn materialization(
        &self,
        asset: AssetId,
        partition: u64,
        version: Option<Version>,
    ) -> Result<Option<Materialization>> {
        self.inner.materialization(asset, partition, version).await
    }

    async fn inputs_of(&self, asset: AssetId, partition: u64, version: Version) -> Result<Vec<LineageInput>> {
        self.inner.inputs_of(asset, partition, version).await
    }

    async fn uses_of(&self, upstream: AssetId, partition: u64, version: Option<Version>) -> Result<Vec<LineageInput>> {
        self.inner.uses_of(upstream, partition, version).await
    }

    async fn runs(&self, filter: RunFilter, count_max: usize) -> Result<Vec<RunRow>> {
        self.inner.runs(filter, count_max).await
    }

    async fn run(&self, run: RunId) -> Result<Option<RunRow>> {
        self.inner.run(run).await
    }

    async fn run_by_key(&self, idempotency_key: &str) -> Result<Option<RunRow>> {
        self.inner.run_by_key(idempotency_key).await
    }

    async fn chunks(&self, run: RunId) -> Result<Vec<ChunkRow>> {
        self.inner.chunks(run).await
    }

    async fn failures(&self, run: RunId) -> Result<Vec<StepFailure>> {
        self.inner.failures(run).await
    }

    async fn events(&self, after: u64, count_max: usize) -> Result<Vec<Event>> {
        self.inner.events(after, count_max).await
    }

    async fn history(&self, asset: AssetId, partitions: &PartitionSet) -> Result<Vec<Materialization>> {
        self.inner.history(asset, partitions).await
    }

    async fn fan_outs(&self, filter: FanOutFilter) -> Result<Vec<FanOutRow>> {
        self.inner.fan_outs(filter).await
    }

    async fn item_pages(&self, fan_out: FanOutId) -> Result<Vec<PageRow>> {
        self.inner.item_pages(fan_out).await
    }

    async fn item_page(&self, fan_out: FanOutId, first: u64) -> Result<Option<PageRow>> {
        self.inner.item_page(fan_out, first).await
    }

    async fn item_claims(&self, fan_out: FanOutId) -> Result<Vec<ItemClaim>> {
        self.inner.item_claims(fan_out).await
    }

    async fn item_ends(&self, fan_out: FanOutId) -> Result<ItemEnds> {
        self.inner.item_ends(fan_out).await
    }

    async fn segments(&self, fan_out: FanOutId, page: u64) -> Result<Vec<Segment>> {
        self.inner.segments(fan_out, page).await
    }

    async fn item_failures(&self, fan_out: FanOutId, from: u64, count_max: usize) -> Result<Vec<ItemFailure>> {
        self.inner.item_failures(fan_out, from, count_max).await
    }

    async fn run_state(&self, run: RunId) -> Result<Option<RunState>> {
        self.inner.run_state(run).await
    }

    async fn prune(&self, prune: &Prune) -> Result<Pruned> {
        self.inner.prune(prune).await
    }

    async fn stats(&self) -> Result<StoreStats> {
        self.inner.stats().await
    }
}
