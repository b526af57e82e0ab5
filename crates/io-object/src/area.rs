//! The objects of all assets, in one object store.
//!
//! Knows how to write an attempt's object so that it is durable and verified, how to read it back, and what there is;
//! not what is in an object nor which one is current.
//!
//! Verified means: when a write returns, the medium has acknowledged it as durable and reports the size that was
//! written. Reading everything back would cost as much again, so content is checked on each load instead, against a
//! checksum that the caller took of what it handed over; a load therefore never returns what was not stored.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use flowstone_core::io::{IoEnv, Listed, Listing, Slot};
use flowstone_core::{AssetId, ErrorKind, Result};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::disk::Disk;
use crate::error::{sort, stopped, wrong_len};
use crate::layout::asset_prefix;
use crate::{ObjectPath, StagedObject};

/// Where the objects of all assets lie. Clones share it.
///
/// ```
/// use bytes::Bytes;
/// use flowstone_core::io::Slot;
/// use flowstone_core::{AssetId, RunId};
/// use flowstone_io_object::ObjectArea;
///
/// # let run = "018f4e5c-8c4e-7cc0-9c4b-3c7a5a6d2f10".parse::<RunId>()?;
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// let area = ObjectArea::in_memory();
/// let slot = Slot { asset: AssetId(1), partition: 0, run, fence: 1, attempt: 1 };
/// let path = area.put(slot, "txt", Bytes::from("content")).await?;
/// assert_eq!(area.get(&path).await?, "content");
/// # Ok::<(), flowstone_core::Error>(())
/// # })?;
/// # Ok::<(), flowstone_core::Error>(())
/// ```
#[derive(Clone)]
pub struct ObjectArea {
    store: Arc<dyn ObjectStore>,
    /// Set when the store is a folder of this machine; writes then go around the store, to sync folders too.
    disk: Option<Arc<Disk>>,
}

/// One object as [`ObjectArea::list`] finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    /// Where it lies; also says which attempt stored it and whether it is whole.
    pub path: ObjectPath,
    /// Its size.
    pub bytes: u64,
    /// When it was last written, by the medium's clock.
    pub modified: SystemTime,
}

impl ObjectArea {
    /// The area in `store`.
    pub fn over(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, disk: None }
    }

    /// An area that is forgotten with its last clone.
    pub fn in_memory() -> Self {
        Self::over(Arc::new(InMemory::new()))
    }

    /// The area below the folder `root`, which is made when it does not exist.
    ///
    /// # Errors
    /// `PermissionDenied`, `StorageFull`, `Conflict` when a file is in the way.
    pub fn on_disk(root: impl AsRef<Path>) -> Result<Self> {
        let during = |error: flowstone_core::Error| error.during("open the data folder");
        let disk = Disk::open(root.as_ref()).map_err(during)?;
        let store = LocalFileSystem::new_with_prefix(disk.root())
            .map_err(|error| during(sort(error, disk.root().display())))?;
        Ok(Self {
            store: Arc::new(store),
            disk: Some(Arc::new(disk)),
        })
    }

    /// The area that `env` asks for: on disk, or in memory when there is no folder for data.
    ///
    /// # Errors
    /// As [`on_disk`](Self::on_disk).
    pub fn open(env: &IoEnv) -> Result<Self> {
        match &env.data_dir {
            Some(folder) => Self::on_disk(folder),
            None => Ok(Self::in_memory()),
        }
    }

    /// Stores `bytes` for the attempt in `slot`: durable, verified, and under a path that no other call uses.
    ///
    /// # Errors
    /// `StorageFull`, `PermissionDenied`, `Unavailable` for the medium; `Invalid` for an unusable extension.
    pub async fn put(&self, slot: Slot, extension: &str, bytes: Bytes) -> Result<ObjectPath> {
        let path = ObjectPath::new(slot, 0, extension)?;
        let stored = match &self.disk {
            Some(disk) => {
                let disk = Arc::clone(disk);
                let write = move || {
                    let mut file = disk.stage(path)?;
                    file.write(&bytes)?;
                    file.publish()
                };
                tokio::task::spawn_blocking(write).await.map_err(|_| stopped())?
            }
            None => {
                let mut staged = StagedObject::of_store(Arc::clone(&self.store), path);
                match staged.write(bytes).await {
                    Ok(()) => staged.publish().await,
                    Err(error) => Err(error),
                }
            }
        };
        stored.map_err(|error| error.during("store an object"))
    }

    /// Begins an object for the attempt in `slot` that is written piece by piece.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub async fn stage(&self, slot: Slot, extension: &str) -> Result<StagedObject> {
        let path = ObjectPath::new(slot, 0, extension)?;
        let Some(disk) = &self.disk else {
            return Ok(StagedObject::of_store(Arc::clone(&self.store), path));
        };
        let disk = Arc::clone(disk);
        let file = tokio::task::spawn_blocking(move || disk.stage(path))
            .await
            .map_err(|_| stopped())?;
        file.map(StagedObject::of_file)
            .map_err(|error| error.during("store an object"))
    }

    /// The whole object at `path`.
    ///
    /// # Errors
    /// `NotFound`, `PermissionDenied`, `Unavailable`.
    pub async fn get(&self, path: &ObjectPath) -> Result<Bytes> {
        let got = async { self.store.get(&path.to_store_path()).await?.bytes().await };
        got.await
            .map_err(|error| sort(error, self.locate(path)).during("load an object"))
    }

    /// The bytes of the object at `path` that lie in `range`.
    ///
    /// # Errors
    /// As [`get`](Self::get); `Corrupt` when the object ends before the range does.
    pub async fn get_range(&self, path: &ObjectPath, range: Range<u64>) -> Result<Bytes> {
        let expected = range.end.saturating_sub(range.start);
        let during = |error: flowstone_core::Error| error.during("load part of an object");
        match self.store.get_range(&path.to_store_path(), range.clone()).await {
            Ok(bytes) if bytes.len() as u64 == expected => Ok(bytes),
            Ok(bytes) => Err(during(wrong_len(
                range.start + bytes.len() as u64,
                range.end,
                self.locate(path),
            ))),
            Err(error) => {
                // Each store words a range behind the end in its own way; the size decides.
                let found = Self::head(&*self.store, path).await.map_err(during)?;
                Err(during(if found < range.end {
                    wrong_len(found, range.end, self.locate(path))
                } else {
                    sort(error, self.locate(path))
                }))
            }
        }
    }

    /// The size of the object at `path`, in bytes.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn len(&self, path: &ObjectPath) -> Result<u64> {
        let found = Self::head(&*self.store, path).await;
        found.map_err(|error| error.about(self.locate(path)).during("look at an object"))
    }

    /// Everything that lies here for `asset`, in no order: published or not, current or not, and what attempts left
    /// behind. An object that is younger than the longest attempt may still be on its way to being current.
    pub fn list(&self, asset: AssetId) -> BoxStream<'_, Result<ListedObject>> {
        let listed = self.store.list(Some(&asset_prefix(asset))).map(move |object| {
            let object = object.map_err(|error| sort(error, asset).during("list the objects of asset"))?;
            let path = object.location.as_ref().parse()?;
            Ok(ListedObject {
                path,
                bytes: object.size,
                modified: object.last_modified.into(),
            })
        });
        // A file that somebody else put there is not ours to report, let alone to collect.
        listed.filter(|found| std::future::ready(!is_foreign(found))).boxed()
    }

    /// The same, as IO managers over this area answer.
    pub fn list_values(&self, asset: AssetId) -> Listing<'_> {
        let listed = self.list(asset).map_ok(|object| Listed {
            place: object.path.to_string(),
            slot: object.path.slot(),
            bytes: object.bytes,
        });
        listed.boxed()
    }

    /// Removes the object at `path`, staged ones included. What is gone already is no error.
    ///
    /// # Errors
    /// `PermissionDenied`, `Unavailable`.
    pub async fn delete(&self, path: &ObjectPath) -> Result<()> {
        match self.store.delete(&path.to_store_path()).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(sort(error, self.locate(path)).during("delete an object")),
        }
    }

    /// Where `path` lies, as people name it: the file on disk, or the path in the store.
    pub fn locate(&self, path: &ObjectPath) -> String {
        match &self.disk {
            Some(disk) => disk.locate(path).display().to_string(),
            None => path.to_string(),
        }
    }

    pub(crate) async fn head(store: &dyn ObjectStore, path: &ObjectPath) -> Result<u64> {
        let head = store.head(&path.to_store_path()).await;
        head.map(|meta| meta.size).map_err(|error| sort(error, path))
    }
}

fn is_foreign(found: &Result<ListedObject>) -> bool {
    found.as_ref().is_err_and(|error| error.kind() == ErrorKind::Corrupt)
}

impl fmt::Debug for ObjectArea {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectArea({})", self.store)
    }
}
