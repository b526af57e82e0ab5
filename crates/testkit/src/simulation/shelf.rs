//! The medium of the values: what was written survives a crash, what was being written is left half.

use std::collections::BTreeMap;

use flowstone_core::DataVersion;

/// What lies at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lying {
    Whole(DataVersion),
    Half,
}

/// The values of one seed.
#[derive(Debug, Clone, Default)]
pub(super) struct Shelf {
    lying: BTreeMap<String, Lying>,
    /// Not written yet, although somebody was told that they are.
    promised: Vec<(String, DataVersion)>,
}

impl Shelf {
    pub(super) fn write(&mut self, address: &str, content: DataVersion) {
        self.lying.insert(address.to_owned(), Lying::Whole(content));
    }

    /// Will be written some time; a bug that somebody planted.
    pub(super) fn promise(&mut self, address: &str, content: DataVersion) {
        self.promised.push((address.to_owned(), content));
    }

    pub(super) fn keep_promises(&mut self) {
        for (address, content) in std::mem::take(&mut self.promised) {
            self.write(&address, content);
        }
    }

    /// The process dies while it writes to `under_way`.
    pub(super) fn crash<'a>(&mut self, under_way: impl Iterator<Item = &'a str>) {
        let half = under_way.map(|address| (address.to_owned(), Lying::Half));
        self.lying.extend(half);
        let promised = std::mem::take(&mut self.promised);
        self.lying
            .extend(promised.into_iter().map(|(address, _)| (address, Lying::Half)));
    }

    /// True when anything was ever written there.
    pub(super) fn is_used(&self, address: &str) -> bool {
        self.lying.contains_key(address)
    }

    pub(super) fn find(&self, address: &str) -> Option<Lying> {
        self.lying.get(address).copied()
    }
}
