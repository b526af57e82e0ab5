//! The keys that came already, so that two items with one key are one item.

use std::collections::HashSet;

use crate::reader::Item;

/// The keys of a fan-out's items, by the first 128 bits of their BLAKE3 hash: 16 bytes an item, and two different keys
/// are never taken for one in practice (see `docs/adr`).
#[derive(Debug, Clone, Default)]
pub(super) struct SeenKeys(HashSet<u128>);

impl SeenKeys {
    /// Notes a key; true when it is new.
    pub(super) fn insert(&mut self, key: &str) -> bool {
        let hash = blake3::hash(key.as_bytes());
        let (start, _) = hash.as_bytes().split_at(16);
        let bits = start.iter().fold(0, |bits, byte| bits << 8 | u128::from(*byte));
        self.0.insert(bits)
    }

    /// Drops the items whose key came before, here or on an earlier page.
    pub(super) fn keep_new(&mut self, items: &mut Vec<Item>) {
        items.retain(|item| self.insert(&item.key));
    }
}
