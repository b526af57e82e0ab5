//! A stretch of partitions of one asset at one version.

use flowstone_core::{AssetId, Version};

/// Partitions from `first` to `last`, both inclusive. Orders by asset, version, then place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Span {
    pub(super) asset: AssetId,
    pub(super) version: Version,
    pub(super) first: u64,
    pub(super) last: u64,
}

impl Span {
    /// Asset and version.
    pub(super) fn lane(&self) -> (AssetId, Version) {
        (self.asset, self.version)
    }

    pub(super) fn len(&self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }

    /// The first `count` partitions, of which there must be one.
    pub(super) fn head(&self, count: u64) -> Self {
        Self {
            last: self.last.min(self.first + (count - 1)),
            ..*self
        }
    }
}
