//! Listings of object stores: each object below a prefix is an item.
//!
//! Says what there is, not what stands in it; reading objects is left to who takes the items.

mod lister;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use flowstone_core::Result;
use flowstone_core::reader::{Cursor, Item, ItemReader, ItemSource, Page};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use serde::{Deserialize, Serialize};

use self::lister::{Lister, Order};
use crate::cursor::CursorFormat;
use crate::page::PageBuilder;

const FORMAT: CursorFormat = CursorFormat {
    reader: "a listing of objects",
    tag: b'o',
    version: 1,
};

/// So many objects are looked at for one page, however few of them are wanted.
const LOOKED_AT_MAX: usize = 10_000;

/// The objects below a prefix, as items. The key is the object's path, so keys are distinct; the item is an
/// [`ObjectInfo`].
///
/// ```
/// use std::sync::Arc;
/// use flowstone_core::reader::ItemSource;
/// use flowstone_readers::{ObjectInfo, Objects};
/// use object_store::{ObjectStore, ObjectStoreExt, memory::InMemory};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> flowstone_core::Result<()> {
/// let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
/// store.put(&"raw/2013/01.csv".into(), "a,b\n".into()).await?;
/// store.put(&"raw/2013/readme".into(), "…".into()).await?;
///
/// let files = Objects::under(store, "raw/2013").ending(".csv");
/// let mut reader = files.open().await?;
/// let page = reader.read(None, 1_000).await?;
/// assert_eq!(page.items[0].key, "raw/2013/01.csv");
/// assert_eq!(page.items[0].read::<ObjectInfo>()?.size, 4);
/// # reader.close().await;
/// # Ok(())
/// # }
/// ```
///
/// # When the store changes
/// Objects come in the order of their paths, and a cursor is a path. An object that is added while the listing is read is
/// listed if its path comes later than what was read; one that is deleted before it was read is not.
///
/// # Stores that list in another order
/// S3, Google's, Azure's and stores in memory list in order. The local disk does not, so its folders are listed one by one and
/// sorted, as [`by_folder`](Self::by_folder) does for others. A listing that turns out to be out of order ends with
/// `Unsupported` rather than lose objects.
///
/// A prefix consists of whole folders, and one below which nothing lies has no items.
#[derive(Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: Option<Path>,
    ending: String,
    order: Order,
}

/// What a listing tells of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectInfo {
    /// Its full path in the store.
    pub path: String,
    /// Its bytes.
    pub size: u64,
    /// What changes when its content does, as the store gives it.
    pub etag: Option<String>,
    /// When it was last written, as RFC 3339 tells it.
    pub modified: String,
}

impl Objects {
    /// Lists what lies below the folder `prefix`; everything when it is empty.
    pub fn under(store: Arc<dyn ObjectStore>, prefix: impl Into<Path>) -> Self {
        let prefix: Path = prefix.into();
        // The local disk, also behind a wrapper that names what it wraps.
        let is_local = store.to_string().contains("LocalFileSystem");
        Self {
            store,
            prefix: Some(prefix).filter(|prefix| !prefix.as_ref().is_empty()),
            ending: String::new(),
            order: if is_local { Order::Folders } else { Order::Store },
        }
    }

    /// Takes only objects whose path ends like this, such as `.parquet`.
    #[must_use]
    pub fn ending(mut self, ending: impl Into<String>) -> Self {
        self.ending = ending.into();
        self
    }

    /// Lists folder by folder and sorts each, for stores that do not list in order. Takes a request for each folder, and the
    /// memory of the largest one.
    #[must_use]
    pub fn by_folder(mut self) -> Self {
        self.order = Order::Folders;
        self
    }

    fn subject(&self) -> String {
        self.prefix.as_ref().map_or_else(|| "/".to_owned(), Path::to_string)
    }
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objects")
            .field("store", &self.store.to_string())
            .field("prefix", &self.subject())
            .field("ending", &self.ending)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl ItemSource for Objects {
    async fn open(&self) -> Result<Box<dyn ItemReader>> {
        Ok(Box::new(ObjectsReader {
            objects: self.clone(),
            state: None,
        }))
    }
}

struct ObjectsReader {
    objects: Objects,
    /// Taken while a page is read: one that is given up half-way starts again from its cursor.
    state: Option<State>,
}

/// A listing, and the last object of it that was looked at.
struct State {
    lister: Lister,
    last: Option<Path>,
}

#[async_trait]
impl ItemReader for ObjectsReader {
    fn has_distinct_keys(&self) -> bool {
        true
    }

    async fn read(&mut self, cursor: Option<&Cursor>, items_max: usize) -> Result<Page> {
        let last = cursor.map(last_of).transpose()?;
        let objects = &self.objects;
        let mut state = match self.state.take() {
            Some(state) if state.last == last => state,
            _ => State {
                lister: Lister::start(&objects.store, objects.order, objects.prefix.as_ref(), last.as_ref()),
                last,
            },
        };
        let mut page = PageBuilder::new(items_max);
        let mut looked_at = 0;
        while !page.is_full() && looked_at < LOOKED_AT_MAX {
            let found = state.lister.next(&objects.store, state.last.as_ref()).await;
            let Some(found) = found.map_err(|error| error.about(objects.subject()))? else {
                return Ok(page.finish(None));
            };
            looked_at += 1;
            if found.location.as_ref().ends_with(&objects.ending) {
                page.push(item(&found)?)?;
            }
            state.last = Some(found.location);
        }
        let last = state.last.as_ref().map_or("", AsRef::as_ref);
        let next = FORMAT.cursor(|position| position.extend(last.as_bytes()));
        self.state = Some(state);
        Ok(page.finish(Some(next)))
    }

    async fn close(&mut self) {
        self.state = None;
    }
}

fn last_of(cursor: &Cursor) -> Result<Path> {
    let position = FORMAT.open(cursor)?;
    let damaged = position.damaged();
    let path = std::str::from_utf8(position.rest()).ok();
    path.and_then(|path| Path::parse(path).ok()).ok_or(damaged)
}

fn item(found: &ObjectMeta) -> Result<Item> {
    let info = ObjectInfo {
        path: found.location.to_string(),
        size: found.size,
        etag: found.e_tag.clone(),
        modified: found.last_modified.to_rfc3339(),
    };
    Item::new(info.path.clone(), &info)
}
