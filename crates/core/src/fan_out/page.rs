//! The items of one page, as they are kept until they have ended.

use std::fmt;

use bytes::Bytes;

use crate::partition::PartitionSet;
use crate::reader::Item;
use crate::{Error, ErrorKind, Result};

/// The version of the stored form.
const VERSION: u8 = 1;

/// Items that were read together, numbered on from `first`.
#[derive(Clone, PartialEq, Eq)]
pub struct ItemPage {
    /// The number of the first.
    pub first: u64,
    /// The items.
    pub items: Vec<Item>,
    /// Where batches start, if items are taken in batches; none spans two pages.
    pub batch_starts: PartitionSet,
}

impl ItemPage {
    /// A page of items that are not taken in batches.
    pub fn new(first: u64, items: Vec<Item>) -> Self {
        Self {
            first,
            items,
            batch_starts: PartitionSet::new(),
        }
    }

    /// A page of items that are taken in `batches`, which say by their places among `items` which go together: the page has
    /// them in that order. A batch of none is left out.
    ///
    /// # Errors
    /// `TypeMismatch` with code `batches_wrong` when an item is in no batch, or twice in one or two, or when there is none at
    /// a place.
    pub fn in_batches(first: u64, items: Vec<Item>, batches: &[Vec<usize>]) -> Result<Self> {
        let mut taken: Vec<Option<Item>> = items.into_iter().map(Some).collect();
        let mut page = Self::new(first, Vec::with_capacity(taken.len()));
        for batch in batches.iter().filter(|batch| !batch.is_empty()) {
            page.batch_starts.insert(page.range().end);
            for place in batch {
                let item = taken.get_mut(*place).and_then(Option::take);
                let item = item.ok_or_else(|| wrong_batches(&format!("name item {place} twice, or invent it")))?;
                page.items.push(item);
            }
        }
        match taken.into_iter().flatten().next() {
            Some(dropped) => Err(wrong_batches(&format!("drop item {:?}", dropped.key))),
            None => Ok(page),
        }
    }

    /// The item with this number, if it is of this page.
    pub fn get(&self, index: u64) -> Option<&Item> {
        let at = index.checked_sub(self.first)?;
        self.items.get(usize::try_from(at).ok()?)
    }

    /// The numbers of its items.
    pub fn range(&self) -> std::ops::Range<u64> {
        self.first..self.first + self.items.len() as u64
    }

    /// The stored form of its items: a version, then key and text of each, with their lengths as LEB128 in front.
    pub fn encode(&self) -> Bytes {
        let room = self.items.iter().map(|item| item.key.len() + item.json.len() + 4);
        let mut bytes = Vec::with_capacity(1 + room.sum::<usize>());
        bytes.push(VERSION);
        for item in &self.items {
            put(&mut bytes, item.key.as_bytes());
            put(&mut bytes, &item.json);
        }
        bytes.into()
    }

    /// Reads the items that [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// `Corrupt` for anything else, `Unsupported` for another version.
    pub fn decode(first: u64, batch_starts: PartitionSet, body: &Bytes) -> Result<Self> {
        let mut rest = versioned(body, VERSION, "a page of items")?;
        let mut items = Vec::new();
        while !rest.is_empty() {
            let key = take(&mut rest)?;
            let key = std::str::from_utf8(&key).map_err(|_| corrupt("a key is not text"))?;
            items.push(Item {
                key: key.to_owned(),
                json: take(&mut rest)?,
            });
        }
        Ok(Self {
            first,
            items,
            batch_starts,
        })
    }
}

impl fmt::Debug for ItemPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ItemPage({:?})", self.range())
    }
}

fn wrong_batches(how: &str) -> Error {
    Error::new(ErrorKind::TypeMismatch, format!("the batches {how}"))
        .code("batches_wrong")
        .fix("put every item of the page into exactly one batch")
}

/// Writes a length and as many bytes.
pub(super) fn put(into: &mut Vec<u8>, bytes: &[u8]) {
    put_number(into, bytes.len() as u64);
    into.extend_from_slice(bytes);
}

/// Writes a number as LEB128.
pub(super) fn put_number(into: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

/// Takes a number off the front.
pub(super) fn take_number(from: &mut Bytes) -> Result<u64> {
    let mut number = 0_u64;
    for (at, byte) in from.iter().enumerate().take(10) {
        number |= u64::from(byte & 0x7f)
            .checked_shl(7 * at as u32)
            .ok_or_else(|| corrupt("a number is too long"))?;
        if byte & 0x80 == 0 {
            drop(from.split_to(at + 1));
            return Ok(number);
        }
    }
    Err(corrupt("a number does not end"))
}

/// Takes a length and as many bytes off the front.
pub(super) fn take(from: &mut Bytes) -> Result<Bytes> {
    let len = usize::try_from(take_number(from)?).map_err(|_| corrupt("a length is out of range"))?;
    if len > from.len() {
        return Err(corrupt("it ends too early"));
    }
    Ok(from.split_to(len))
}

/// What follows the version byte.
pub(super) fn versioned(bytes: &Bytes, version: u8, what: &str) -> Result<Bytes> {
    match bytes.first() {
        Some(found) if *found == version => Ok(bytes.slice(1..)),
        Some(found) => Err(Error::new(
            ErrorKind::Unsupported,
            format!("{what} of format {found}, this program knows {version}"),
        )
        .code("format_version")
        .fix("use the version of Flowstone that wrote it, or a later one")),
        None => Err(corrupt("it is empty")),
    }
}

pub(super) fn corrupt(how: &str) -> Error {
    Error::new(ErrorKind::Corrupt, how)
        .code("fan_out_corrupt")
        .during("read what is stored of items")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(keys: &[&str]) -> Vec<Item> {
        keys.iter().map(|key| Item::new(*key, &()).expect("short")).collect()
    }

    #[test]
    fn a_page_has_its_items_in_the_order_of_their_batches() {
        let batches = [vec![2, 0], Vec::new(), vec![1]];

        let page = ItemPage::in_batches(7, items(&["a", "b", "c"]), &batches).expect("each item is in one batch");

        assert_eq!(page.items, items(&["c", "a", "b"]));
        assert_eq!(page.batch_starts, PartitionSet::from_iter([7, 9]));
        assert_eq!(
            ItemPage::in_batches(7, Vec::new(), &[]).expect("it has no items"),
            ItemPage::new(7, Vec::new())
        );
    }

    #[test]
    fn batches_that_drop_double_or_invent_an_item_are_refused() {
        for (batches, complaint) in [
            (vec![vec![0], vec![2]], "drop item \"b\""),
            (vec![], "drop item \"a\""),
            (vec![vec![0, 1], vec![2, 1]], "name item 1 twice"),
            (vec![vec![0, 0], vec![1, 2]], "name item 0 twice"),
            (vec![vec![0, 1, 2, 3]], "name item 3 twice, or invent it"),
            (vec![vec![usize::MAX]], "or invent it"),
        ] {
            let refused = ItemPage::in_batches(0, items(&["a", "b", "c"]), &batches).unwrap_err();

            assert_eq!(refused.stable_code(), "batches_wrong");
            assert!(refused.message().contains(complaint), "{refused}");
        }
    }

    #[test]
    fn any_items_round_trip_and_cut_bytes_are_refused() {
        let page = ItemPage {
            first: 7,
            items: vec![
                Item::new("", &()).expect("short"),
                Item::new("é\0", &vec![1; 300]).expect("short"),
            ],
            batch_starts: PartitionSet::single(7),
        };
        let body = page.encode();

        let read = ItemPage::decode(7, PartitionSet::single(7), &body).expect("it was just written");

        assert_eq!(read, page);
        for end in 2..body.len() {
            let cut = ItemPage::decode(7, PartitionSet::new(), &body.slice(..end));
            assert!(cut.map_or(true, |page| page.items.len() < 2), "{end}");
        }
        let other = ItemPage::decode(0, PartitionSet::new(), &Bytes::from_static(&[9]));
        assert_eq!(other.unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
