//! Gathers the items of one page, up to its bounds.

use flowstone_core::Result;
use flowstone_core::reader::{Cursor, Item, PAGE_BYTES_MAX, Page};

/// Room is made for so many items at once; more find room when they come.
const ROOM_MAX: usize = 10_000;

/// The items of a page so far.
#[derive(Debug)]
pub(crate) struct PageBuilder {
    items: Vec<Item>,
    items_max: usize,
    bytes: usize,
}

impl PageBuilder {
    pub(crate) fn new(items_max: usize) -> Self {
        Self {
            items: Vec::with_capacity(items_max.min(ROOM_MAX)),
            items_max,
            bytes: 0,
        }
    }

    /// True when the page takes no more.
    pub(crate) fn is_full(&self) -> bool {
        self.items.len() >= self.items_max || self.bytes > PAGE_BYTES_MAX
    }

    /// # Errors
    /// `LimitExceeded` as for [`Item::check`].
    pub(crate) fn push(&mut self, item: Item) -> Result<()> {
        item.check()?;
        self.bytes += item.key.len() + item.json.len();
        self.items.push(item);
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn finish(self, next: Option<Cursor>) -> Page {
        Page {
            items: self.items,
            next,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_early_when_its_items_are_large() {
        let megabyte = Item::new("a", &"x".repeat(1 << 20)).unwrap();
        let mut page = PageBuilder::new(1_000);

        while !page.is_full() {
            page.push(megabyte.clone()).unwrap();
        }

        assert_eq!(page.len(), PAGE_BYTES_MAX >> 20);
    }

    #[test]
    fn a_page_of_no_items_is_full() {
        assert!(PageBuilder::new(0).is_full());
    }
}
