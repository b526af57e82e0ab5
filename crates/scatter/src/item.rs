//! What the functions of a scatter take: an item, the items of a call, what all of them share.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use flowstone_core::asset::{Argument, FromStep, ItemPart, Step};
use flowstone_core::fan_out::{ItemPage, ItemSlot};
use flowstone_core::reader::Item as RawItem;
use flowstone_core::{AssetValue, Error, ErrorKind, Result, TypeInfo};
use serde::de::DeserializeOwned;

use crate::carrier::Carrier;
use crate::inputs::Given;

/// One item of a scatter, read as a `T`; an argument of the function that is called for it.
///
/// It is the `T`, and knows its key and number besides.
///
/// ```
/// use flowstone_scatter::Item;
///
/// async fn fare(route: Item<(String, String)>) -> u64 {
///     let (origin, destination) = &*route;
///     (origin.len() + destination.len()) as u64
/// }
/// # let _ = fare;
/// ```
#[derive(Clone)]
pub struct Item<T> {
    value: T,
    page: Arc<ItemPage>,
    index: u64,
}

impl<T: DeserializeOwned> Item<T> {
    pub(crate) fn read(slot: &ItemSlot) -> Result<Self> {
        Ok(Self {
            value: slot.item()?.read()?,
            page: Arc::clone(&slot.page),
            index: slot.index,
        })
    }
}

impl<T> Item<T> {
    /// An item of one's own, to call a function with in a test.
    pub fn new(index: u64, key: impl Into<String>, value: T) -> Self {
        let item = RawItem {
            key: key.into(),
            json: Bytes::new(),
        };
        Self {
            value,
            page: Arc::new(ItemPage::new(index, vec![item])),
            index,
        }
    }

    /// Its number among the items of the scatter, in the order of the source, from 0.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Its key.
    pub fn key(&self) -> &str {
        self.page.get(self.index).map_or("", |item| &item.key)
    }

    /// The item itself.
    pub fn into_inner(self) -> T {
        self.value
    }
}

impl<T> Deref for Item<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Item<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Item({:?}: {:?})", self.key(), self.value)
    }
}

impl<T: DeserializeOwned + Send + 'static> FromStep for Item<T> {
    fn argument() -> Argument {
        Argument::Item(ItemPart::Item)
    }

    async fn from_step(step: &Step, _: usize) -> Result<Self> {
        Self::read(
            step.item
                .as_ref()
                .ok_or_else(|| not_given("the function is not called for an item"))?,
        )
    }
}

/// The items of one call, each read as a `T`; an argument of a function that is called for several.
///
/// There is at least one, and all are of one page of the source. An item that is no `T` fails the call.
#[derive(Debug, Clone)]
pub struct ItemBatch<T>(Vec<Item<T>>);

impl<T> FromIterator<Item<T>> for ItemBatch<T> {
    fn from_iter<I: IntoIterator<Item = Item<T>>>(items: I) -> Self {
        Self(items.into_iter().collect())
    }
}

impl<T> Deref for ItemBatch<T> {
    type Target = [Item<T>];

    fn deref(&self) -> &[Item<T>] {
        &self.0
    }
}

impl<T> IntoIterator for ItemBatch<T> {
    type Item = Item<T>;
    type IntoIter = std::vec::IntoIter<Item<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, T> IntoIterator for &'a ItemBatch<T> {
    type Item = &'a Item<T>;
    type IntoIter = std::slice::Iter<'a, Item<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<T: DeserializeOwned + Send + 'static> FromStep for ItemBatch<T> {
    fn argument() -> Argument {
        Argument::Item(ItemPart::Items)
    }

    async fn from_step(step: &Step, _: usize) -> Result<Self> {
        let slots = Given::Items.draw::<Carrier<Vec<ItemSlot>>>(step).await?;
        let slots = slots
            .ok_or_else(|| not_given("the function is not called for several items"))?
            .take()?;
        let items: Result<Vec<Item<T>>> = slots.iter().map(Item::read).collect();
        Ok(Self(items?))
    }
}

/// What all items of a scatter share: the value of [`Scatter::shared`](crate::Scatter::shared), evaluated once.
#[derive(Debug)]
pub struct Shared<T>(Arc<T>);

impl<T> Shared<T> {
    /// What items share, to call a function with in a test.
    pub fn new(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: AssetValue> FromStep for Shared<T> {
    fn argument() -> Argument {
        Argument::Item(ItemPart::Shared(TypeInfo::of::<T>()))
    }

    async fn from_step(step: &Step, _: usize) -> Result<Self> {
        let shared = Given::Shared.draw(step).await?;
        shared.map(Self).ok_or_else(|| not_given("the items share nothing"))
    }
}

pub(crate) fn not_given(why: &str) -> Error {
    Error::new(ErrorKind::Internal, why).code("not_given")
}
