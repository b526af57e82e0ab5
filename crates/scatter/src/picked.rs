//! Chooses, changes and names items as they are read.

use std::fmt::Display;
use std::sync::Arc;

use async_trait::async_trait;
use flowstone_core::Result;
use flowstone_core::reader::{Cursor, Item, ItemReader, Page};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What becomes of an item as it is read.
#[derive(Clone)]
pub(crate) enum Pick {
    /// It is taken as another one, or left out.
    Select(Selecting),
    /// It has another key.
    Key(Naming),
}

type Selecting = Arc<dyn Fn(Item) -> Result<Option<Item>> + Send + Sync>;
type Naming = Arc<dyn Fn(&Item) -> Result<String> + Send + Sync>;

impl Pick {
    pub(crate) fn select<Raw, T, F>(select: F) -> Self
    where
        Raw: DeserializeOwned + 'static,
        T: Serialize + 'static,
        F: Fn(Raw) -> Option<T> + Send + Sync + 'static,
    {
        Self::Select(Arc::new(move |item| {
            let selected = select(item.read()?);
            selected.map(|selected| Item::new(item.key, &selected)).transpose()
        }))
    }

    pub(crate) fn key<T, K, F>(key: F) -> Self
    where
        T: DeserializeOwned + 'static,
        K: Display,
        F: Fn(&T) -> K + Send + Sync + 'static,
    {
        Self::Key(Arc::new(move |item| Ok(key(&item.read()?).to_string())))
    }

    fn apply(&self, item: Item) -> Result<Option<Item>> {
        match self {
            Self::Select(select) => select(item),
            Self::Key(key) => {
                let named = Item {
                    key: key(&item)?,
                    json: item.json,
                };
                named.check()?;
                Ok(Some(named))
            }
        }
    }
}

/// A reader whose items are picked.
pub(crate) struct PickingReader {
    pub(crate) inner: Box<dyn ItemReader>,
    pub(crate) picks: Arc<[Pick]>,
}

impl PickingReader {
    fn pick(&self, item: Item) -> Result<Option<Item>> {
        let mut picked = item;
        for pick in &*self.picks {
            match pick.apply(picked)? {
                Some(next) => picked = next,
                None => return Ok(None),
            }
        }
        Ok(Some(picked))
    }
}

#[async_trait]
impl ItemReader for PickingReader {
    fn has_distinct_keys(&self) -> bool {
        self.inner.has_distinct_keys() && !self.picks.iter().any(|pick| matches!(pick, Pick::Key(_)))
    }

    async fn read(&mut self, cursor: Option<&Cursor>, items_max: usize) -> Result<Page> {
        let Page { items, next } = self.inner.read(cursor, items_max).await?;
        let picked = items.into_iter().filter_map(|item| self.pick(item).transpose());
        Ok(Page {
            items: picked.collect::<Result<_>>()?,
            next,
        })
    }

    async fn close(&mut self) {
        self.inner.close().await;
    }
}
