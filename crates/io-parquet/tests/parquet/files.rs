//! A Parquet manager over a folder of its own, or in memory, called from plain tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flowstone_core::io::{IoEnv, IoFactory, IoManager, Slot, Stored};
use flowstone_core::{AssetId, AssetValue, Result, RunId, TypeInfo, Value};
use flowstone_io_parquet::Parquet;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use uuid::Uuid;

pub(crate) struct Files {
    folder: Option<TempDir>,
    manager: Arc<dyn IoManager>,
    runtime: Runtime,
    partition: AtomicU64,
}

impl Files {
    pub(crate) fn on_disk(parquet: &Parquet) -> Self {
        Self::open(parquet, Some(tempfile::tempdir().unwrap()))
    }

    pub(crate) fn in_memory(parquet: &Parquet) -> Self {
        Self::open(parquet, None)
    }

    fn open(parquet: &Parquet, folder: Option<TempDir>) -> Self {
        let data_dir = folder.as_ref().map(|folder| folder.path().to_owned());
        let manager = parquet.open(&IoEnv { data_dir }).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Self {
            folder,
            manager,
            runtime,
            partition: AtomicU64::new(0),
        }
    }

    pub(crate) fn store(&self, value: &Value) -> Stored {
        self.try_store(value).unwrap()
    }

    pub(crate) fn try_store(&self, value: &Value) -> Result<Stored> {
        let partition = self.partition.fetch_add(1, Ordering::Relaxed);
        self.runtime.block_on(self.manager.store(slot_of(partition), value))
    }

    pub(crate) fn load<T: AssetValue>(&self, stored: &Stored) -> Result<T> {
        self.runtime
            .block_on(self.manager.load(stored, TypeInfo::of::<T>()))?
            .take()
    }

    pub(crate) fn delete(&self, stored: &Stored) -> Result<()> {
        self.runtime.block_on(self.manager.delete(&stored.address))
    }

    pub(crate) fn on_runtime<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// All files, in the order in which their partitions were stored.
    pub(crate) fn all(&self) -> Vec<PathBuf> {
        files_below(self.folder.as_ref().unwrap().path())
    }

    pub(crate) fn only_file(&self) -> PathBuf {
        let mut found = self.all();
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

pub(crate) fn flipped(bytes: &[u8], at: usize, bit: usize) -> Vec<u8> {
    let mut flipped = bytes.to_vec();
    flipped[at] ^= 1 << bit;
    flipped
}

/// The only attempt at a partition.
pub(crate) fn slot_of(partition: u64) -> Slot {
    Slot {
        asset: AssetId(7),
        partition,
        run: RunId(Uuid::from_u128(1)),
        fence: 1,
        attempt: 1,
    }
}
