//! Keys by index and indices by key, in little more room than the keys' bytes take.

use std::hash::{BuildHasher as _, RandomState};

use hashbrown::HashTable;

/// Encoded keys in the order in which they came. Says nothing about what they mean.
#[derive(Default)]
pub(super) struct KeyTable {
    /// All keys, one behind the other.
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
    indices: HashTable<Entry>,
    hashing: RandomState,
}

/// An index, with its key's hash: growing the table need not look at any key again.
struct Entry {
    index: u32,
    hash: u32,
}

impl Entry {
    /// The table takes its place from one end of the hash and a check from the other.
    fn spread(hash: u32) -> u64 {
        u64::from(hash) << 32 | u64::from(hash)
    }
}

/// How a key came to its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It was there.
    Known,
    /// It was added.
    New,
}

impl KeyTable {
    pub(super) fn len(&self) -> u64 {
        self.ends.len() as u64
    }

    pub(super) fn get(&self, index: u64) -> Option<&[u8]> {
        let index = usize::try_from(index).ok().filter(|index| *index < self.ends.len())?;
        Some(key_at(&self.bytes, &self.ends, index))
    }

    pub(super) fn find(&self, key: &[u8]) -> Option<u64> {
        self.find_hashed(self.hash(key), key)
    }

    fn hash(&self, key: &[u8]) -> u32 {
        self.hashing.hash_one(key) as u32
    }

    fn find_hashed(&self, hash: u32, key: &[u8]) -> Option<u64> {
        let is_key = |entry: &Entry| entry.hash == hash && key_at(&self.bytes, &self.ends, entry.index as usize) == key;
        let found = self.indices.find(Entry::spread(hash), is_key);
        found.map(|entry| u64::from(entry.index))
    }

    /// Where a key is: with the others, or behind them if it belongs at `index`. None if it belongs elsewhere.
    pub(super) fn place(&mut self, key: &[u8], index: u64) -> Option<Place> {
        let hash = self.hash(key);
        match self.find_hashed(hash, key) {
            Some(found) => (found == index).then_some(Place::Known),
            None if index == self.len() => {
                self.push(hash, key);
                Some(Place::New)
            }
            None => None,
        }
    }

    fn push(&mut self, hash: u32, key: &[u8]) {
        let index = u32::try_from(self.ends.len()).expect("a set has at most 2³² keys");
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
        let hash_of = |entry: &Entry| Entry::spread(entry.hash);
        self.indices
            .insert_unique(Entry::spread(hash), Entry { index, hash }, hash_of);
    }
}

fn key_at<'a>(bytes: &'a [u8], ends: &[usize], index: usize) -> &'a [u8] {
    let start = index.checked_sub(1).map_or(0, |before| ends[before]);
    &bytes[start..ends[index]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_found_at_its_index_and_no_other_is() {
        let mut table = KeyTable::default();
        let keys: Vec<String> = (0..10_000).map(|number| format!("key {}", number * number)).collect();

        for (index, key) in (0..).zip(&keys) {
            assert_eq!(table.place(key.as_bytes(), index), Some(Place::New));
        }

        assert_eq!(table.len(), 10_000);
        for (index, key) in keys.iter().enumerate() {
            assert_eq!(table.find(key.as_bytes()), Some(index as u64));
            assert_eq!(table.get(index as u64), Some(key.as_bytes()));
            assert_eq!(table.place(key.as_bytes(), index as u64), Some(Place::Known));
            assert_eq!(table.place(key.as_bytes(), index as u64 + 1), None);
        }
        assert_eq!(
            (table.find(b"key 2"), table.find(b""), table.get(10_000)),
            (None, None, None)
        );
    }

    #[test]
    fn the_empty_key_is_a_key() {
        let mut table = KeyTable::default();

        table.place(b"a", 0);
        table.place(b"", 1);

        assert_eq!(table.place(b"b", 3), None, "it would leave a gap");
        assert_eq!((table.find(b""), table.get(1)), (Some(1), Some(&b""[..])));
    }
}
