//! Where items come from: a list that a function gave, or any source.
//!
//! A function is asked again after a crash. What it gave before stays as it was read, so it must give the same again;
//! a list that begins otherwise is refused.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use flowstone_core::reader::{Cursor, Item, ItemReader, ItemSource, PAGE_BYTES_MAX, Page};
use flowstone_core::{AssetValue, BoxFuture, DataVersion, Error, ErrorClass, ErrorKind, Result};
use futures::FutureExt;
use futures::future::ready;
use serde::{Deserialize, Serialize};

use crate::carrier::Carrier;

/// A source of items, for a function that finds out where they come from.
///
/// ```
/// # use flowstone_core::asset::AssetContext;
/// # use flowstone_core::reader::ItemSource;
/// use flowstone_scatter::Items;
///
/// async fn rows<S: ItemSource>(ctx: AssetContext, open: fn(String) -> S) -> Items {
///     Items::from_source(open(ctx.partition_label()))
/// }
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Items(Carrier<SourceBox>);

struct SourceBox(Arc<dyn ItemSource>);

impl Items {
    /// The items of `source`.
    pub fn from_source(source: impl ItemSource) -> Self {
        Self(Carrier::new(SourceBox(Arc::new(source))))
    }
}

/// What a function that says which items there are may return: a `Vec<T>` or [`Items`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a list of items",
    label = "return a `Vec<T>`, `Items`, or a `Result` of either"
)]
pub trait IntoItems: AssetValue {
    /// Opens a reader of the items.
    fn into_reader(self) -> BoxFuture<'static, Result<Box<dyn ItemReader>>>;
}

impl<T: AssetValue> IntoItems for Vec<T> {
    fn into_reader(self) -> BoxFuture<'static, Result<Box<dyn ItemReader>>> {
        let reader: Box<dyn ItemReader> = Box::new(ListReader::new(self));
        ready(Ok(reader)).boxed()
    }
}

impl IntoItems for Items {
    fn into_reader(self) -> BoxFuture<'static, Result<Box<dyn ItemReader>>> {
        async move { self.0.take()?.0.open().await }.boxed()
    }
}

/// The version of the cursor of a list.
const VERSION: u8 = 1;

/// Reads a list. Items are named by their place, and the cursor knows what stood before it.
pub(crate) struct ListReader<T> {
    list: Vec<T>,
    at: Place,
}

/// How far a list was read.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    index: usize,
    /// The fingerprint of all items before.
    before: DataVersion,
}

impl Place {
    const START: Self = Self {
        index: 0,
        before: DataVersion(0),
    };

    /// The place behind the item with this text.
    fn after(self, json: &[u8], room: &mut Vec<u8>) -> Self {
        room.clear();
        room.extend_from_slice(&self.before.0.to_le_bytes());
        room.extend_from_slice(json);
        Self {
            index: self.index + 1,
            before: DataVersion::of(room),
        }
    }

    fn cursor(self) -> Cursor {
        let mut position = (self.index as u64).to_le_bytes().to_vec();
        position.extend_from_slice(&self.before.0.to_le_bytes());
        Cursor {
            version: VERSION,
            position,
        }
    }

    fn of(cursor: &Cursor) -> Result<Self> {
        if cursor.version != VERSION {
            let found = cursor.version;
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("a place in a list of format {found}, this program knows {VERSION}"),
            )
            .code("cursor_version")
            .fix("use the version of Flowstone that wrote it, or a later one"));
        }
        let parts = cursor.position.split_first_chunk().and_then(|(index, rest)| {
            let before: [u8; 16] = rest.try_into().ok()?;
            Some((u64::from_le_bytes(*index), u128::from_le_bytes(before)))
        });
        let (index, before) = parts.ok_or_else(|| Error::new(ErrorKind::Corrupt, "it is no place in a list"))?;
        Ok(Self {
            index: usize::try_from(index).unwrap_or(usize::MAX),
            before: DataVersion(before),
        })
    }
}

impl<T: Serialize> ListReader<T> {
    pub(crate) fn new(list: Vec<T>) -> Self {
        Self { list, at: Place::START }
    }

    /// Goes to `place`, if the list is still what it was up to there.
    fn go_to(&mut self, place: Place) -> Result<()> {
        if place == self.at {
            return Ok(());
        }
        let (mut at, mut room) = (Place::START, Vec::new());
        while at.index < place.index.min(self.list.len()) {
            at = at.after(&serde_json::to_vec(&self.list[at.index])?, &mut room);
        }
        if at != place {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "the function gave other items than it did before; {} of them were read then",
                    place.index
                ),
            )
            .class(ErrorClass::Contract)
            .code("items_changed")
            .fix("let it give the same items whenever it is asked, from upstream values only; or begin another run"));
        }
        self.at = at;
        Ok(())
    }
}

#[async_trait]
impl<T: Serialize + Send + Sync + 'static> ItemReader for ListReader<T> {
    fn has_distinct_keys(&self) -> bool {
        true
    }

    async fn read(&mut self, cursor: Option<&Cursor>, items_max: usize) -> Result<Page> {
        self.go_to(cursor.map_or(Ok(Place::START), Place::of)?)?;
        let (mut items, mut bytes, mut room) = (Vec::new(), 0, Vec::new());
        while items.len() < items_max && bytes <= PAGE_BYTES_MAX {
            let Some(value) = self.list.get(self.at.index) else {
                break;
            };
            let item = Item::new(self.at.index.to_string(), value)?;
            bytes += item.json.len();
            self.at = self.at.after(&item.json, &mut room);
            items.push(item);
        }
        let next = (self.at.index < self.list.len()).then(|| self.at.cursor());
        Ok(Page { items, next })
    }

    async fn close(&mut self) {}
}

impl fmt::Debug for SourceBox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a source of items")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(list: &[u32], from: Option<&Cursor>, sizes: &[usize]) -> Result<(Vec<Item>, Vec<Cursor>)> {
        let mut reader = ListReader::new(list.to_vec());
        let (mut items, mut cursors) = (Vec::new(), Vec::new());
        let mut at = from.cloned();
        for size in sizes.iter().cycle() {
            let page = reader
                .read(at.as_ref(), *size)
                .now_or_never()
                .expect("a list does not wait")?;
            assert!(page.items.len() <= *size);
            items.extend(page.items);
            at = page.next;
            match &at {
                Some(cursor) => cursors.push(cursor.clone()),
                None => break,
            }
        }
        Ok((items, cursors))
    }

    proptest! {
        #[test]
        fn a_reader_opened_again_goes_on_where_it_was(
            list in prop::collection::vec(any::<u32>(), 1..40), sizes in prop::collection::vec(1_usize..9, 1..4),
        ) {
            let (items, cursors) = all(&list, None, &sizes).unwrap();

            prop_assert_eq!(items.len(), list.len());
            for cursor in &cursors {
                let (rest, _) = all(&list, Some(cursor), &[7]).unwrap();
                prop_assert_eq!(&items[items.len() - rest.len()..], &rest[..]);
            }
        }
    }

    #[test]
    fn no_items_are_one_empty_page() {
        let (items, cursors) = all(&[], None, &[5]).unwrap();

        assert!(items.is_empty() && cursors.is_empty());
    }

    #[test]
    fn a_list_that_begins_otherwise_is_refused() {
        let (_, cursors) = all(&[1, 2, 3], None, &[2]).unwrap();

        let changed = all(&[1, 9, 3], Some(&cursors[0]), &[2]).unwrap_err();
        let shorter = all(&[1], Some(&cursors[0]), &[2]).unwrap_err();
        let grown = all(&[1, 2, 4, 5], Some(&cursors[0]), &[2]).unwrap();

        assert_eq!(changed.stable_code(), "items_changed");
        assert_eq!(shorter.stable_code(), "items_changed");
        assert_eq!(grown.0.len(), 2);
    }

    #[test]
    fn a_cursor_of_another_format_is_refused() {
        let of = |version, position| Cursor { version, position };

        let newer = all(&[1], Some(&of(9, vec![0; 24])), &[1]).unwrap_err();
        let cut = all(&[1], Some(&of(VERSION, vec![0; 7])), &[1]).unwrap_err();

        assert_eq!(newer.kind(), ErrorKind::Unsupported);
        assert_eq!(cut.kind(), ErrorKind::Corrupt);
    }
}
