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
    indices: HashTable<u32>,
    hashing: RandomState,
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
        let is_key = |index: &u32| key_at(&self.bytes, &self.ends, *index as usize) == key;
        let found = self.indices.find(self.hashing.hash_one(key), is_key);
        found.map(|index| u64::from(*index))
    }

    /// Adds a key that is not there, behind the others.
    pub(super) fn push(&mut self, key: &[u8]) {
        let Self {
            bytes,
            ends,
            indices,
            hashing,
        } = self;
        let index = u32::try_from(ends.len()).expect("a set has at most 2³² keys");
        bytes.extend_from_slice(key);
        ends.push(bytes.len());
        let hash_of = |index: &u32| hashing.hash_one(key_at(bytes, ends, *index as usize));
        indices.insert_unique(hashing.hash_one(key), index, hash_of);
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

        keys.iter().for_each(|key| table.push(key.as_bytes()));

        assert_eq!(table.len(), 10_000);
        for (index, key) in keys.iter().enumerate() {
            assert_eq!(table.find(key.as_bytes()), Some(index as u64));
            assert_eq!(table.get(index as u64), Some(key.as_bytes()));
        }
        assert_eq!(
            (table.find(b"key 2"), table.find(b""), table.get(10_000)),
            (None, None, None)
        );
    }

    #[test]
    fn the_empty_key_is_a_key() {
        let mut table = KeyTable::default();

        table.push(b"a");
        table.push(b"");

        assert_eq!((table.find(b""), table.get(1)), (Some(1), Some(&b""[..])));
    }
}
