//! What a store is: the one truth about runs, chunks, materializations and lineage.
//!
//! Changes reach it as [`Record`]s in groups that are committed whole; everything else is a question. A store decides
//! nothing about runs: it refuses what breaks its own rules (a stale fence, a version that does not grow) and keeps
//! what it is told.

mod fan_out;
mod prune;
mod record;
mod redefinition;
mod refused;
mod standing;
mod status;

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::partition::{DynamicSpace, PartitionKey, PartitionSet, PartitionSpace};
use crate::run::RunState;
use crate::{AssetId, AssetKey, FanOutId, Result, RunId, Version};

pub use fan_out::{
    FanOutFilter, FanOutOpened, FanOutProgress, FanOutReopened, FanOutRow, ItemClaim, ItemEnds, ItemFailure, Lead,
    PageRow, Segment,
};
pub use prune::{Prune, Pruned};
pub use record::{
    ChunkClaim, ChunkProgress, ChunkRow, ChunkState, Event, EventKind, LineageInput, Materialization, Record, RunRow,
    StepFailure,
};
pub use redefinition::Redefinition;
pub use refused::RefusedRuns;
pub use standing::FanOutStanding;
pub use status::{AssetStatus, HeadSet, Versions};

/// An asset as the store knows it. A name has one row for each definition of its partitions that was replaced by another,
/// and one for the current.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetRow {
    /// The dense number.
    pub id: AssetId,
    /// The name.
    pub key: AssetKey,
    /// The partition space when it was last declared.
    pub space: PartitionSpace,
    /// True when the partitions were defined anew since, under another number. What is left under this one is orphaned.
    pub is_former: bool,
}

/// Which runs are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunFilter {
    /// All, newest first.
    All,
    /// Those that have not ended, oldest first.
    Open,
}

/// How much room something takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreStats {
    /// The version of the stored schema.
    pub schema_version: u32,
    /// Rows and bytes by table; bytes are `None` where the store cannot tell.
    pub tables: BTreeMap<String, (u64, Option<u64>)>,
    /// Bytes of everything together.
    pub bytes: u64,
    /// Those of them that are free, and are used before the store grows.
    pub free_bytes: u64,
}

/// Keeps the ledger.
///
/// Implementors promise:
/// * `commit` is atomic over all its records and durable when it returns `Ok`, power loss included (an in-memory store
///   is durable until it is dropped, and says so by [`is_durable`](Self::is_durable));
/// * records take effect in the order given, and a reader sees all of a commit or nothing;
/// * a chunk's records carry its fence: a claim must raise it, progress must match it, else that record is refused with
///   `Fenced` and moves nothing;
/// * a claim or a progress under a fence of an earlier incarnation than the one that took the run is refused in the same
///   way;
/// * a materialization's version must be greater than the head's, and an attempt fails once, else the record is refused
///   with `Conflict` in the same way;
/// * a record that names an asset or a run that does not exist is refused with `NotFound` in the same way;
/// * what follows of the same run in the group is refused too, with the same kind (see [`RefusedRuns`]): whoever wrote it
///   did not know that. Records of other runs are committed;
/// * a record of a fan-out is refused with `Fenced` unless its lead holds the fence of a chunk that is running, of the run
///   that the fan-out belongs to; what has ended moves only by being reopened, pages follow each other without a gap, a page
///   and its cursor are one change, and only a claim that is open has results (see [`FanOutStanding`]);
/// * status sets (see [`AssetStatus`]) change in the commit that carries their cause;
/// * ids of assets are dense and never reused, and an index under one id always means the same partition;
/// * any text round-trips;
/// * a key of a dynamic set keeps its index for ever, and indices leave no gap;
/// * [`prune`](Self::prune) removes no head, nothing that something kept was made from, nothing of a run that is open,
///   and a materialization only together with what was recorded of its inputs.
///
/// After an error from `commit` nothing of the group is stored, and the same group may be committed again.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// True when what was committed survives the process and power loss.
    fn is_durable(&self) -> bool;

    /// Declares assets with their partition spaces and gives their ids, in order. Declaring again is a no-op; a space
    /// that has more behind its end replaces the one before.
    ///
    /// # Errors
    /// `Conflict` with code `partitions_redefined` when a space has changed otherwise, which is for
    /// [`redefine`](Self::redefine); then nothing is declared. `StorageFull`, `PermissionDenied`, `Unavailable` for the
    /// medium.
    async fn declare_assets(&self, assets: &[(AssetKey, PartitionSpace)]) -> Result<Vec<AssetId>>;

    /// Defines the partitions of assets anew, all of them or none, and gives their ids, in order.
    ///
    /// A definition that only has more behind its end keeps the asset's id. Any other gets a new id, in order, and the
    /// row before becomes a former one. What moves takes everything along that is known of it: all its versions, its
    /// marks, and the lineage in both directions, in which it is the new partition from then on. What was recorded of
    /// runs stays under the id that they knew. Nobody may be making or reading these assets meanwhile.
    ///
    /// # Errors
    /// As [`Redefinition::check`]; then nothing has changed. `StorageFull`, `PermissionDenied`, `Unavailable` for the medium.
    async fn redefine(&self, changes: &[Redefinition]) -> Result<Vec<AssetId>>;

    /// A dynamic set with all its keys, retired ones included; an empty one if nobody added to it. All that this store
    /// gives of one name share what is known, and see what it adds or retires later.
    async fn dynamic_set(&self, name: &str) -> Result<DynamicSpace>;

    /// Adds keys to a dynamic set and gives the index of each, in the order given. One that is there keeps its index, and is
    /// taken back if it was retired; new ones follow those that are there. All are added or none. On disk when it returns,
    /// as for [`commit`](Self::commit).
    ///
    /// # Errors
    /// As [`DynamicSpace::new`] and [`DynamicSpace::check_call`]; `LimitExceeded` when the set would hold more than
    /// [`DYNAMIC_LEN_MAX`](crate::partition::DYNAMIC_LEN_MAX) keys; `StorageFull`, `PermissionDenied`, `Unavailable` for the
    /// medium.
    async fn add_dynamic_keys(&self, set: &str, keys: &[PartitionKey], at: Timestamp) -> Result<Vec<u64>>;

    /// Retires keys of a dynamic set and gives the index of each, in the order given. One that is retired already stays so
    /// since then. Heads and lineage of their partitions stay. All are retired or none; on disk when it returns.
    ///
    /// # Errors
    /// `NotFound` for a key that is not there. Else as for adding.
    async fn retire_dynamic_keys(&self, set: &str, keys: &[PartitionKey], at: Timestamp) -> Result<Vec<u64>>;

    /// All assets that were ever declared, by id. Dynamic sets in their spaces are as [`dynamic_set`](Self::dynamic_set)
    /// gives them.
    async fn assets(&self) -> Result<Vec<AssetRow>>;

    /// Commits `records` as one group and says for each whether it was taken.
    ///
    /// # Errors
    /// `StorageFull`, `PermissionDenied`, `Unavailable` for the medium; then nothing of the group is stored.
    async fn commit(&self, records: &[Record]) -> Result<Vec<Result<()>>>;

    /// The status sets of assets, in the order asked for, all of one moment.
    async fn statuses(&self, assets: &[AssetId]) -> Result<Vec<AssetStatus>>;

    /// The status sets of one asset.
    async fn status(&self, asset: AssetId) -> Result<AssetStatus> {
        Ok(self.statuses(&[asset]).await?.pop().unwrap_or_default())
    }

    /// The current materializations of those of `partitions` that have one, by partition.
    async fn heads(&self, asset: AssetId, partitions: &PartitionSet) -> Result<Vec<Materialization>>;

    /// The materializations of partitions at the given versions, by partition; those that do not exist are left out.
    async fn materializations(&self, asset: AssetId, versions: &Versions) -> Result<Vec<Materialization>>;

    /// One materialization, or the current one if no version is given.
    async fn materialization(
        &self,
        asset: AssetId,
        partition: u64,
        version: Option<Version>,
    ) -> Result<Option<Materialization>>;

    /// The inputs that are recorded for one materialization.
    async fn inputs_of(&self, asset: AssetId, partition: u64, version: Version) -> Result<Vec<LineageInput>>;

    /// The recorded inputs that name a version of one partition as their upstream, or any version if none is given.
    async fn uses_of(&self, upstream: AssetId, partition: u64, version: Option<Version>) -> Result<Vec<LineageInput>>;

    /// Runs, at most `count_max`.
    async fn runs(&self, filter: RunFilter, count_max: usize) -> Result<Vec<RunRow>>;

    /// One run.
    async fn run(&self, run: RunId) -> Result<Option<RunRow>>;

    /// The run that was created under an idempotency key.
    async fn run_by_key(&self, idempotency_key: &str) -> Result<Option<RunRow>>;

    /// The chunks of a run, by asset and number.
    async fn chunks(&self, run: RunId) -> Result<Vec<ChunkRow>>;

    /// The failed attempts of a run, in the order in which they were committed.
    async fn failures(&self, run: RunId) -> Result<Vec<StepFailure>>;

    /// Events with a sequence greater than `after`, at most `count_max`, in order.
    async fn events(&self, after: u64, count_max: usize) -> Result<Vec<Event>>;

    /// All materializations of `partitions` that are kept, by partition and version.
    async fn history(&self, asset: AssetId, partitions: &PartitionSet) -> Result<Vec<Materialization>>;

    /// Fan-outs, as the filter orders them.
    async fn fan_outs(&self, filter: FanOutFilter) -> Result<Vec<FanOutRow>>;

    /// The pages of a fan-out without their bodies, by their first items.
    async fn item_pages(&self, fan_out: FanOutId) -> Result<Vec<PageRow>>;

    /// The page whose first item is `first`.
    async fn item_page(&self, fan_out: FanOutId, first: u64) -> Result<Option<PageRow>>;

    /// The claims of a fan-out that are not over, by number.
    async fn item_claims(&self, fan_out: FanOutId) -> Result<Vec<ItemClaim>>;

    /// How the items of a fan-out ended.
    async fn item_ends(&self, fan_out: FanOutId) -> Result<ItemEnds>;

    /// The segments with results of the page whose first item is `page`, by claim and number.
    async fn segments(&self, fan_out: FanOutId, page: u64) -> Result<Vec<Segment>>;

    /// The last failures of items with a number of at least `from`, at most `count_max`, by item.
    async fn item_failures(&self, fan_out: FanOutId, from: u64, count_max: usize) -> Result<Vec<ItemFailure>>;

    /// The state of a run, of which nothing else may be left; `None` for one that was never created here.
    async fn run_state(&self, run: RunId) -> Result<Option<RunState>>;

    /// Forgets what may go, or says what would. Commits are not held up for longer than one of them takes.
    ///
    /// Safe to be dropped half-way, and to be asked again: what went is gone, the rest is whole.
    ///
    /// # Errors
    /// `StorageFull`, `PermissionDenied`, `Unavailable` for the medium; `Unsupported` when it was opened to be read only,
    /// unless it is a dry run.
    async fn prune(&self, prune: &Prune) -> Result<Pruned>;

    /// How much room the tables take.
    async fn stats(&self) -> Result<StoreStats>;
}
