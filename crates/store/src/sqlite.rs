//! The ledger in one SQLite file, owned by one process.
//!
//! One connection writes, durably and one group at a time; a few others read. What a group changes is decided by plain
//! functions (`stage`) over what the writer remembers (`cache`), so a commit costs a few statements and one fsync.

mod batch;
mod body;
mod cache;
mod connect;
mod dynamic;
mod encode;
mod load;
mod lock;
mod prune;
mod read;
mod read_fan_outs;
mod read_runs;
mod redefine;
mod row;
mod row_fan_out;
mod schema;
mod span;
mod stage;
mod statements;
mod word;
mod writer;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use flowstone_core::partition::{DynamicSpace, PartitionKey, PartitionSet, PartitionSpace};
use flowstone_core::run::RunState;
use flowstone_core::store::{
    AssetRow, AssetStatus, ChunkRow, Event, FanOutFilter, FanOutRow, ItemClaim, ItemEnds, ItemFailure, LineageInput,
    Materialization, PageRow, Prune, Pruned, Record, Redefinition, RunFilter, RunRow, Segment, StepFailure, Store,
    StoreStats, Versions,
};
use flowstone_core::{AssetId, AssetKey, Error, ErrorKind, FanOutId, Result, RunId, Version};
use jiff::Timestamp;
use sqlx::SqlitePool;
use tokio::sync::{Mutex, MutexGuard};

use self::dynamic::KnownSets;
use self::lock::OwnerLock;
use self::read::End;
use self::writer::Writer;
use crate::error::{sort, sort_io};

/// The file within a state folder that holds the ledger.
pub const LEDGER_FILE: &str = "ledger.sqlite";

/// The file within a state folder that its owner locks.
pub const LOCK_FILE: &str = "lock";

/// Keeps the ledger in a SQLite file.
///
/// Every commit is on disk when it returns: write-ahead log, fsync each time. Numbers must be below 2⁶³, versions below
/// 2⁵⁷, times between 1678 and 2261, else a record is refused with `OutOfRange`; times of materializations are kept to
/// the millisecond. A page of items or a segment of results has at most 256 MiB, else it is refused with `LimitExceeded`. A record that names an asset or run that does not exist is refused with `NotFound`. Lineage inputs
/// are a set: the same input recorded twice is kept once.
///
/// Dropping a future of `commit` is safe: the group is stored whole or not at all.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> flowstone_core::Result<()> {
/// use flowstone_core::AssetKey;
/// use flowstone_core::partition::PartitionSpace;
/// use flowstone_core::store::Store;
/// use flowstone_store::SqliteStore;
///
/// let state = tempfile::tempdir().unwrap();
/// let store = SqliteStore::open(state.path()).await?;
/// let ids = store.declare_assets(&[(AssetKey::new("numbers")?, PartitionSpace::Unit)]).await?;
///
/// assert!(store.status(ids[0]).await?.materialized().is_empty());
/// store.close().await
/// # }
/// ```
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    /// `None` when this store only reads.
    writer: Option<Mutex<Writer>>,
    readers: SqlitePool,
    /// What those who hold dynamic sets share.
    sets: Mutex<KnownSets>,
}

impl SqliteStore {
    /// Opens the ledger in the folder `dir` as its owner; creates folder and ledger when they are missing.
    ///
    /// # Errors
    /// `Locked` when another process, or another store of this one, owns it; `Unsupported` when a newer Flowstone wrote
    /// it; `Corrupt` when the file is damaged or of another program; `PermissionDenied`, `StorageFull`, `Unavailable`,
    /// `Invalid` for the folder.
    pub async fn open(dir: &Path) -> Result<Self> {
        let about = |error: Error| error.during("open the ledger").about(dir.display());
        fs::create_dir_all(dir).map_err(|error| about(sort_io(&error)))?;
        let lock = OwnerLock::take(&dir.join(LOCK_FILE)).await?;
        let path = dir.join(LEDGER_FILE);
        let writer = Writer::open(&path, lock).await.map_err(about)?;
        let readers = connect::readers(&path);
        Ok(Self {
            path,
            writer: Some(Mutex::new(writer)),
            readers,
            sets: Mutex::default(),
        })
    }

    /// Opens the ledger in the folder `dir` to read it, whoever owns it. Every write is refused with `Unsupported`.
    ///
    /// # Errors
    /// `NotFound` when there is none, else as for [`open`](Self::open).
    pub async fn open_read_only(dir: &Path) -> Result<Self> {
        let about = |error: Error| error.during("open the ledger").about(dir.display());
        let path = dir.join(LEDGER_FILE);
        if !fs::exists(&path).map_err(|error| about(sort_io(&error)))? {
            return Err(about(
                Error::new(ErrorKind::NotFound, "there is no ledger yet")
                    .code("ledger_not_found")
                    .fix("run something first, or name the right state folder"),
            ));
        }
        let readers = connect::readers(&path);
        let mut connection = readers.acquire().await.map_err(|error| about(sort(error)))?;
        schema::require_newest(&mut connection).await.map_err(about)?;
        drop(connection);
        Ok(Self {
            path,
            writer: None,
            readers,
            sets: Mutex::default(),
        })
    }

    /// Closes all connections and gives the lock back. Dropping the store does so too, a little later.
    ///
    /// # Errors
    /// `Unavailable`, `StorageFull` when the file cannot be tidied up; nothing is lost by that.
    pub async fn close(self) -> Result<()> {
        self.readers.close().await;
        match self.writer {
            Some(writer) => writer
                .into_inner()
                .close()
                .await
                .map_err(|e| e.during("close").about(self.path.display())),
            None => Ok(()),
        }
    }

    async fn writer(&self) -> Result<MutexGuard<'_, Writer>> {
        match &self.writer {
            Some(writer) => Ok(writer.lock().await),
            None => Err(Error::new(ErrorKind::Unsupported, "it was opened to be read only")
                .code("ledger_read_only")
                .during("write")
                .about(self.path.display())
                .fix("open the state as its owner")),
        }
    }

    fn reading(&self) -> impl Fn(Error) -> Error {
        move |error| error.during("read").about(self.path.display())
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn is_durable(&self) -> bool {
        true
    }

    async fn declare_assets(&self, assets: &[(AssetKey, PartitionSpace)]) -> Result<Vec<AssetId>> {
        let mut writer = self.writer().await?;
        writer
            .declare(assets)
            .await
            .map_err(|error| error.during("declare assets in").about(self.path.display()))
    }

    async fn redefine(&self, changes: &[Redefinition]) -> Result<Vec<AssetId>> {
        let mut writer = self.writer().await?;
        writer
            .redefine(changes)
            .await
            .map_err(|error| error.during("define partitions anew in").about(self.path.display()))
    }

    async fn dynamic_set(&self, name: &str) -> Result<DynamicSpace> {
        let mut sets = self.sets.lock().await;
        let set = dynamic::current(&mut sets, &self.readers, name).await;
        set.map_err(self.reading())
    }

    async fn add_dynamic_keys(&self, set: &str, keys: &[PartitionKey], at: Timestamp) -> Result<Vec<u64>> {
        let about = |error: Error| error.during("add partitions to").about(set);
        let mut sets = self.sets.lock().await;
        let mut writer = self.writer().await?;
        let mut changed = writer.add_dynamic_keys(set, keys, at).await.map_err(about)?;
        let indices = std::mem::take(&mut changed.indices);
        dynamic::tell(&mut sets, &self.readers, set, changed)
            .await
            .map_err(about)?;
        Ok(indices)
    }

    async fn retire_dynamic_keys(&self, set: &str, keys: &[PartitionKey], at: Timestamp) -> Result<Vec<u64>> {
        let about = |error: Error| error.during("retire partitions of").about(set);
        let mut sets = self.sets.lock().await;
        let mut writer = self.writer().await?;
        let mut changed = writer.retire_dynamic_keys(set, keys, at).await.map_err(about)?;
        let indices = std::mem::take(&mut changed.indices);
        dynamic::tell(&mut sets, &self.readers, set, changed)
            .await
            .map_err(about)?;
        Ok(indices)
    }

    async fn assets(&self) -> Result<Vec<AssetRow>> {
        let mut rows = read::assets(&self.readers).await.map_err(self.reading())?;
        let mut known: HashMap<String, DynamicSpace> = HashMap::new();
        for row in &mut rows {
            for set in row.space.dynamic_sets() {
                if !known.contains_key(set.name()) {
                    known.insert(set.name().to_owned(), self.dynamic_set(set.name()).await?);
                }
            }
            row.space = row.space.with_sets(&mut |set| known[set.name()].clone());
        }
        Ok(rows)
    }

    async fn commit(&self, records: &[Record]) -> Result<Vec<Result<()>>> {
        let mut writer = self.writer().await?;
        writer
            .commit(records)
            .await
            .map_err(|error| error.during("commit to").about(self.path.display()))
    }

    async fn statuses(&self, assets: &[AssetId]) -> Result<Vec<AssetStatus>> {
        read::statuses(&self.readers, assets).await.map_err(self.reading())
    }

    async fn heads(&self, asset: AssetId, partitions: &PartitionSet) -> Result<Vec<Materialization>> {
        read::heads(&self.readers, asset, partitions)
            .await
            .map_err(self.reading())
    }

    async fn materializations(&self, asset: AssetId, versions: &Versions) -> Result<Vec<Materialization>> {
        read::materializations(&self.readers, asset, versions)
            .await
            .map_err(self.reading())
    }

    async fn materialization(
        &self,
        asset: AssetId,
        partition: u64,
        version: Option<Version>,
    ) -> Result<Option<Materialization>> {
        read::one_materialization(&self.readers, asset, partition, version)
            .await
            .map_err(self.reading())
    }

    async fn inputs_of(&self, asset: AssetId, partition: u64, version: Version) -> Result<Vec<LineageInput>> {
        let at = (asset, partition);
        read::inputs_at(&self.readers, End::Made, at, Some(version))
            .await
            .map_err(self.reading())
    }

    async fn uses_of(&self, upstream: AssetId, partition: u64, version: Option<Version>) -> Result<Vec<LineageInput>> {
        let at = (upstream, partition);
        read::inputs_at(&self.readers, End::Upstream, at, version)
            .await
            .map_err(self.reading())
    }

    async fn runs(&self, filter: RunFilter, count_max: usize) -> Result<Vec<RunRow>> {
        read_runs::runs(&self.readers, filter, count_max)
            .await
            .map_err(self.reading())
    }

    async fn run(&self, run: RunId) -> Result<Option<RunRow>> {
        read_runs::run(&self.readers, run).await.map_err(self.reading())
    }

    async fn run_by_key(&self, idempotency_key: &str) -> Result<Option<RunRow>> {
        read_runs::run_by_key(&self.readers, idempotency_key)
            .await
            .map_err(self.reading())
    }

    async fn chunks(&self, run: RunId) -> Result<Vec<ChunkRow>> {
        read_runs::chunks(&self.readers, run).await.map_err(self.reading())
    }

    async fn failures(&self, run: RunId) -> Result<Vec<StepFailure>> {
        read_runs::failures(&self.readers, run).await.map_err(self.reading())
    }

    async fn events(&self, after: u64, count_max: usize) -> Result<Vec<Event>> {
        read_runs::events(&self.readers, after, count_max)
            .await
            .map_err(self.reading())
    }

    async fn history(&self, asset: AssetId, partitions: &PartitionSet) -> Result<Vec<Materialization>> {
        read::history(&self.readers, asset, partitions)
            .await
            .map_err(self.reading())
    }

    async fn fan_outs(&self, filter: FanOutFilter) -> Result<Vec<FanOutRow>> {
        read_fan_outs::fan_outs(&self.readers, filter)
            .await
            .map_err(self.reading())
    }

    async fn item_pages(&self, fan_out: FanOutId) -> Result<Vec<PageRow>> {
        read_fan_outs::pages(&self.readers, fan_out)
            .await
            .map_err(self.reading())
    }

    async fn item_page(&self, fan_out: FanOutId, first: u64) -> Result<Option<PageRow>> {
        read_fan_outs::page(&self.readers, fan_out, first)
            .await
            .map_err(self.reading())
    }

    async fn item_claims(&self, fan_out: FanOutId) -> Result<Vec<ItemClaim>> {
        read_fan_outs::claims(&self.readers, fan_out)
            .await
            .map_err(self.reading())
    }

    async fn item_ends(&self, fan_out: FanOutId) -> Result<ItemEnds> {
        read_fan_outs::ends(&self.readers, fan_out)
            .await
            .map_err(self.reading())
    }

    async fn segments(&self, fan_out: FanOutId, page: u64) -> Result<Vec<Segment>> {
        read_fan_outs::segments(&self.readers, fan_out, page)
            .await
            .map_err(self.reading())
    }

    async fn item_failures(&self, fan_out: FanOutId, from: u64, count_max: usize) -> Result<Vec<ItemFailure>> {
        read_fan_outs::failures(&self.readers, fan_out, from, count_max)
            .await
            .map_err(self.reading())
    }

    async fn run_state(&self, run: RunId) -> Result<Option<RunState>> {
        read_runs::run_state(&self.readers, run).await.map_err(self.reading())
    }

    async fn prune(&self, prune: &Prune) -> Result<Pruned> {
        let writer = if prune.is_dry_run {
            None
        } else {
            // Refused at once when this store only reads; taken again for each batch, so that commits come in between.
            drop(self.writer().await?);
            self.writer.as_ref()
        };
        prune::prune(&self.readers, writer, prune)
            .await
            .map_err(|error| error.during("prune").about(self.path.display()))
    }

    async fn stats(&self) -> Result<StoreStats> {
        read_runs::stats(&self.readers).await.map_err(self.reading())
    }
}
