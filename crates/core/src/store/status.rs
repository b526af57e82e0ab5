//! What is known of an asset's partitions, as sets.

use serde::{Deserialize, Serialize};

use crate::partition::PartitionSet;
use crate::{CodeVersion, Version};

/// Partitions whose head has one version and was made by one code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadSet {
    /// The version of their heads.
    pub version: Version,
    /// The code that made them.
    pub code_version: CodeVersion,
    /// The partitions.
    pub partitions: PartitionSet,
}

/// What is known of an asset's partitions, as sets. Everything else (missing, current, outdated code) follows by set
/// algebra.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AssetStatus {
    /// The partitions that have a head; each stands in exactly one of these.
    pub heads: Vec<HeadSet>,
    /// The partitions whose latest step failed for good.
    pub failed: PartitionSet,
    /// The partitions that have a head and rest on something that has changed since.
    pub stale: PartitionSet,
}

impl AssetStatus {
    /// The partitions that have a head.
    pub fn materialized(&self) -> PartitionSet {
        let mut all = PartitionSet::new();
        for head in &self.heads {
            all.union_with(&head.partitions);
        }
        all
    }

    /// The partitions whose head was made by `code`.
    pub fn made_by(&self, code: CodeVersion) -> PartitionSet {
        let mut all = PartitionSet::new();
        for head in self.heads.iter().filter(|head| head.code_version == code) {
            all.union_with(&head.partitions);
        }
        all
    }

    /// The versions of the heads of those of `partitions` that have one.
    pub fn versions_of(&self, partitions: &PartitionSet) -> Versions {
        let mut versions = Versions::default();
        for head in &self.heads {
            versions.add(head.version, head.partitions.intersect(partitions));
        }
        versions
    }
}

/// Versions of partitions, as one set per version, in order of version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions(Vec<(Version, PartitionSet)>);

impl Versions {
    /// Adds `partitions`, which have no version yet, at `version`.
    pub fn add(&mut self, version: Version, partitions: PartitionSet) {
        if partitions.is_empty() {
            return;
        }
        match self.0.binary_search_by_key(&version, |(known, _)| *known) {
            Ok(place) => self.0[place].1.union_with(&partitions),
            Err(place) => self.0.insert(place, (version, partitions)),
        }
    }

    /// The version of `partition`; `Version::NONE` when it has none.
    pub fn get(&self, partition: u64) -> Version {
        self.0
            .iter()
            .find(|(_, set)| set.contains(partition))
            .map_or(Version::NONE, |(version, _)| *version)
    }

    /// True when no partition has a version.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each version with its partitions.
    pub fn iter(&self) -> impl Iterator<Item = (Version, &PartitionSet)> {
        self.0.iter().map(|(version, set)| (*version, set))
    }

    /// The same for `partitions` only.
    #[must_use]
    pub fn of(&self, partitions: &PartitionSet) -> Self {
        let mut versions = Self::default();
        for (version, set) in self.iter() {
            versions.add(version, set.intersect(partitions));
        }
        versions
    }

    /// All partitions that have a version.
    pub fn partitions(&self) -> PartitionSet {
        let mut all = PartitionSet::new();
        for (_, set) in &self.0 {
            all.union_with(set);
        }
        all
    }
}
