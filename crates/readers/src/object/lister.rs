//! Lists objects in the order of their paths.
//!
//! Either the store does so and is watched, or folders are listed one by one and sorted.

use std::sync::Arc;

use flowstone_core::{Error, ErrorKind, Result};
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};

use crate::error::sort_object;

/// Who sees to the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Store,
    Folders,
}

/// A listing that is being read.
pub(super) enum Lister {
    Store(BoxStream<'static, object_store::Result<ObjectMeta>>),
    Folders {
        /// What is left of each folder from the outermost to the one that is being listed, last entry first.
        left: Vec<Vec<Entry>>,
        after: Option<Path>,
    },
}

/// What stands in a folder.
#[derive(Debug)]
pub(super) enum Entry {
    Object(ObjectMeta),
    Folder(Option<Path>),
}

impl Entry {
    /// What tells where in the order of paths it, or all that lies in it, comes.
    fn sort_key(&self) -> String {
        match self {
            Self::Object(found) => found.location.to_string(),
            Self::Folder(Some(path)) => format!("{path}/"),
            Self::Folder(None) => String::new(),
        }
    }

    /// True unless it, or all that lies in it, comes no later than `after`.
    fn is_after(&self, after: &str) -> bool {
        let key = self.sort_key();
        match self {
            Self::Object(_) => key.as_str() > after,
            Self::Folder(_) => after.starts_with(&key) || key.as_str() > after,
        }
    }
}

impl Lister {
    /// Starts to list what lies below `prefix` and comes after `after`.
    pub(super) fn start(
        store: &Arc<dyn ObjectStore>,
        order: Order,
        prefix: Option<&Path>,
        after: Option<&Path>,
    ) -> Self {
        match (order, after) {
            (Order::Store, None) => Self::Store(store.list(prefix)),
            (Order::Store, Some(after)) => Self::Store(store.list_with_offset(prefix, after)),
            (Order::Folders, _) => Self::Folders {
                left: vec![vec![Entry::Folder(prefix.cloned())]],
                after: after.cloned(),
            },
        }
    }

    /// The next object; `last` is the one before it.
    pub(super) async fn next(
        &mut self,
        store: &Arc<dyn ObjectStore>,
        last: Option<&Path>,
    ) -> Result<Option<ObjectMeta>> {
        match self {
            Self::Store(listed) => {
                let next = listed.next().await.transpose();
                let next = next.map_err(sort_object)?;
                match (&next, last) {
                    (Some(next), Some(last)) if next.location <= *last => Err(unordered(&next.location, last)),
                    _ => Ok(next),
                }
            }
            Self::Folders { left, after } => loop {
                let Some(folder) = left.last_mut() else {
                    return Ok(None);
                };
                match folder.pop() {
                    None => drop(left.pop()),
                    Some(Entry::Object(found)) => return Ok(Some(found)),
                    Some(Entry::Folder(path)) => {
                        left.push(entries(store, path.as_ref(), after.as_ref()).await?);
                    }
                }
            },
        }
    }
}

/// What stands in a folder and comes after `after`, last first.
async fn entries(store: &Arc<dyn ObjectStore>, folder: Option<&Path>, after: Option<&Path>) -> Result<Vec<Entry>> {
    let listed = match store.list_with_delimiter(folder).await {
        Ok(listed) => listed,
        // It was deleted since its parent was listed.
        Err(object_store::Error::NotFound { .. }) => return Ok(Vec::new()),
        Err(error) => return Err(sort_object(error)),
    };
    let objects = listed.objects.into_iter().map(Entry::Object);
    let folders = listed.common_prefixes.into_iter().map(|path| Entry::Folder(Some(path)));
    let mut entries: Vec<Entry> = objects.chain(folders).collect();
    if let Some(after) = after {
        entries.retain(|entry| entry.is_after(after.as_ref()));
    }
    entries.sort_by_cached_key(|entry| std::cmp::Reverse(entry.sort_key()));
    Ok(entries)
}

fn unordered(next: &Path, last: &Path) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!("the store does not list in order: {next} comes after {last}"),
    )
    .code("listing_unordered")
    .during("list")
    .fix("list it `.by_folder()`, which sorts")
}
