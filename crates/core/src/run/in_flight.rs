//! The chunks that workers have, each with what is known of it.
//!
//! They are about as many as there are workers, so a list is searched faster than a tree is kept: one worker that takes chunk after
//! chunk would have the tree allocated and freed each time.

use super::ChunkId;

/// Something about each chunk that is in flight.
#[derive(Debug, Clone)]
pub struct InFlight<T>(Vec<(ChunkId, T)>);

impl<T> Default for InFlight<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> InFlight<T> {
    /// Notes that a chunk is in flight.
    pub fn insert(&mut self, chunk: ChunkId, known: T) {
        match self.get_mut(chunk) {
            Some(before) => *before = known,
            None => self.0.push((chunk, known)),
        }
    }

    /// What is known of a chunk, if it is in flight.
    pub fn get(&self, chunk: ChunkId) -> Option<&T> {
        self.iter().find(|(id, _)| *id == chunk).map(|(_, known)| known)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, chunk: ChunkId) -> Option<&mut T> {
        let found = self.0.iter_mut().find(|(id, _)| *id == chunk);
        found.map(|(_, known)| known)
    }

    /// Takes out a chunk that is in flight no more.
    pub fn remove(&mut self, chunk: ChunkId) -> Option<T> {
        let place = self.0.iter().position(|(id, _)| *id == chunk)?;
        Some(self.0.swap_remove(place).1)
    }

    /// The chunks, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (ChunkId, &T)> {
        self.0.iter().map(|(id, known)| (*id, known))
    }

    /// What is known of each of them.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|(_, known)| known)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when none is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::ChunkNo;

    proptest! {
        #[test]
        fn it_knows_what_a_map_would(changes in prop::collection::vec((any::<bool>(), 0..4_usize, 0..9_u32), 0..40)) {
            let mut in_flight = InFlight::default();
            let mut map = BTreeMap::new();

            for (is_new, lane, known) in changes {
                let chunk = ChunkId { lane, number: ChunkNo(0) };
                if is_new {
                    in_flight.insert(chunk, known);
                    map.insert(chunk, known);
                } else {
                    prop_assert_eq!(in_flight.remove(chunk), map.remove(&chunk));
                }
                prop_assert_eq!(in_flight.get(chunk), map.get(&chunk));
                let all: BTreeMap<_, _> = in_flight.iter().map(|(chunk, known)| (chunk, *known)).collect();
                prop_assert_eq!((&all, in_flight.len()), (&map, map.len()));
            }
        }
    }
}
