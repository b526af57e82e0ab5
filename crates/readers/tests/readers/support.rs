//! What the tests of readers share: folders, stores, whole readings.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use flate2::Compression;
use flate2::write::GzEncoder;
use flowstone_core::reader::{Cursor, Item, ItemReader, ItemSource, Page};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use tempfile::TempDir;

type Result<T, E = flowstone_core::Error> = std::result::Result<T, E>;

/// A reader behind a box is a reader.
pub(crate) struct Boxed(pub(crate) Box<dyn ItemReader>);

#[async_trait]
impl ItemReader for Boxed {
    fn has_distinct_keys(&self) -> bool {
        self.0.has_distinct_keys()
    }

    async fn read(&mut self, cursor: Option<&Cursor>, items_max: usize) -> Result<Page> {
        self.0.read(cursor, items_max).await
    }

    async fn close(&mut self) {
        self.0.close().await;
    }
}

/// A folder that goes with its files.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn with(name: &str, text: impl AsRef<[u8]>) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write(name, text);
        folder
    }

    pub(crate) fn with_packed(name: &str, text: impl AsRef<[u8]>) -> Self {
        Self::with(name, packed(text))
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

pub(crate) fn packed(text: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_ref()).unwrap();
    encoder.finish().unwrap()
}

/// An object store in memory with these objects.
pub(crate) async fn store(objects: impl IntoIterator<Item = (&str, impl Into<Vec<u8>>)>) -> Arc<dyn ObjectStore> {
    let store = InMemory::new();
    for (path, bytes) in objects {
        store.put(&path.into(), bytes.into().into()).await.unwrap();
    }
    Arc::new(store)
}

/// Everything that `source` has, so many items at a time.
pub(crate) async fn read_all(source: &dyn ItemSource, items_max: usize) -> Result<Vec<Item>> {
    let mut reader = source.open().await?;
    let mut items = Vec::new();
    let mut cursor = None;
    loop {
        let page = reader.read(cursor.as_ref(), items_max).await?;
        items.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            reader.close().await;
            return Ok(items);
        }
    }
}

pub(crate) fn texts(items: &[Item]) -> Vec<&str> {
    let texts = items.iter().map(|item| std::str::from_utf8(&item.json));
    texts.collect::<Result<_, _>>().unwrap()
}

pub(crate) fn keys(items: &[Item]) -> Vec<&str> {
    items.iter().map(|item| item.key.as_str()).collect()
}

/// An object store on disk with these objects.
pub(crate) async fn disk(paths: &[&str]) -> (Folder, Arc<dyn ObjectStore>) {
    let folder = Folder(tempfile::tempdir().unwrap());
    let store = LocalFileSystem::new_with_prefix(folder.path("")).unwrap();
    for path in paths {
        store.put(&(*path).into(), "x".into()).await.unwrap();
    }
    (folder, Arc::new(store))
}
