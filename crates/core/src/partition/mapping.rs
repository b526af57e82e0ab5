//! Which partitions of an upstream asset a partition of its downstream reads.
//!
//! A mapping is the author's word or is inferred from the two spaces; it says nothing about lengths and can be stored.
//! [`BoundMapping`](super::BoundMapping) checks it against the spaces and does the arithmetic.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::custom::CustomMapping;
use super::key::PartitionKey;
use super::space::PartitionSpace;
use crate::{Error, ErrorKind, Result};

/// How partitions of a downstream space read those of an upstream space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Mapping {
    /// Each reads its namesake. Needs equal spaces, or static ones of which one is the start of the other.
    Identity,
    /// Each window reads the windows that share time with it: a month its days, a day its month.
    Window,
    /// Each window reads the one so many windows later; a negative number means earlier. Needs windows that are cut
    /// at the same places, or two equal products that grow along a time dimension, or have it first: then the step is
    /// along that one, and the others stay.
    Offset(i64),
    /// Each window reads so many windows that end with its own. Needs windows that are cut at the same places.
    Trailing(u32),
    /// Each window reads so many windows that end right before its own. Needs windows that are cut at the same places.
    Preceding(u32),
    /// Every partition reads all upstream partitions.
    All,
    /// Every partition reads the last upstream partition.
    Last,
    /// Pairs of a downstream key and an upstream key that it reads.
    Table(Vec<(PartitionKey, PartitionKey)>),
    /// As a function of the author's says; see [`Mapping::custom`]. It is code, so it is not stored.
    #[serde(skip)]
    Custom(CustomMapping),
    /// One of the two is a product, and the other is mapped to its dimension of this name as inferred. Where the
    /// product is upstream, all combinations with the other dimensions are read.
    Dimension(String),
}

impl Mapping {
    /// Each partition reads what a function of its key says.
    ///
    /// The function must be pure: the answer follows from the key alone. It is asked once for each partition and run; who
    /// reads a partition is looked up in what it said. A key that the upstream does not have is refused, one that it will
    /// have later is not read before. Name and version stand for the function: a new version makes the partitions again.
    ///
    /// ```
    /// use flowstone_core::partition::{BoundMapping, Mapping, PartitionKey, PartitionSet, Partitions};
    ///
    /// let countries = Partitions::keys(["de", "fr"]).build()?;
    /// let cities = Partitions::keys(["de/berlin", "de/bonn", "fr/paris"]).build()?;
    /// let country = Mapping::custom("country of a city", "1", |city: &PartitionKey| match city {
    ///     PartitionKey::Text(city) => city.split('/').next().map(PartitionKey::from),
    ///     _ => None,
    /// });
    ///
    /// let bound = BoundMapping::at_capacity(&country, &cities, &countries)?;
    /// assert_eq!(bound.upstream_of_one(1), PartitionSet::single(0));
    /// assert_eq!(bound.downstream_of(&PartitionSet::single(0)), PartitionSet::from_range(0..2));
    /// # Ok::<(), flowstone_core::Error>(())
    /// ```
    pub fn custom<K: IntoIterator<Item = PartitionKey>>(
        name: impl Into<String>,
        version: impl Into<String>,
        reads: impl Fn(&PartitionKey) -> K + Send + Sync + 'static,
    ) -> Self {
        Self::Custom(CustomMapping::new(name, version, reads))
    }

    /// The mapping that two spaces suggest.
    ///
    /// Equal spaces give `Identity`, time windows `Window`, anything from or to an asset that is not partitioned
    /// `All`, and a product and a space that fits exactly one of its dimensions `Dimension`.
    ///
    /// # Errors
    ///
    /// Spaces that suggest nothing; the error says which mappings may be given.
    pub fn infer(down: &PartitionSpace, up: &PartitionSpace) -> Result<Self> {
        use PartitionSpace::{Product, Static, Unit, Window};
        match (down, up) {
            _ if down == up => Ok(Self::Identity),
            (Unit, _) | (_, Unit) => Ok(Self::All),
            (Window(_), Window(_)) => Ok(Self::Window),
            (Static(down), Static(up)) if down.is_prefix_of(up) || up.is_prefix_of(down) => Ok(Self::Identity),
            (Product(product), other) | (other, Product(product)) if !matches!(other, Product(_)) => {
                let fits = |space: &PartitionSpace| Self::infer(space, other).is_ok();
                let mut fitting = product
                    .dimensions()
                    .filter(|(_, space)| fits(space))
                    .map(|(name, _)| name);
                match (fitting.next(), fitting.next()) {
                    (Some(name), None) => Ok(Self::Dimension(name.to_owned())),
                    (None, _) => Err(nothing_to_infer(down, up, "the product has no dimension of that kind")),
                    (Some(_), Some(_)) => Err(nothing_to_infer(down, up, "it fits more than one dimension")),
                }
            }
            _ => Err(nothing_to_infer(down, up, "the two are partitioned differently")),
        }
    }
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity => f.write_str("identity"),
            Self::Window => f.write_str("window"),
            Self::Offset(windows) => write!(f, "offset {windows:+}"),
            Self::Trailing(windows) => write!(f, "trailing {windows}"),
            Self::Preceding(windows) => write!(f, "preceding {windows}"),
            Self::All => f.write_str("all"),
            Self::Last => f.write_str("last"),
            Self::Table(pairs) => write!(f, "table of {} pairs", pairs.len()),
            Self::Custom(custom) => write!(f, "custom {:?} version {:?}", custom.name(), custom.version()),
            Self::Dimension(name) => write!(f, "dimension {name}"),
        }
    }
}

fn nothing_to_infer(down: &PartitionSpace, up: &PartitionSpace, why: &str) -> Error {
    Error::new(ErrorKind::Invalid, why)
        .code("partition_mapping_needed")
        .during("infer partition mapping")
        .about(format!("from ({}) to ({})", up.describe(), down.describe()))
        .fix("give the mapping: Mapping::All, Mapping::Last, Mapping::Table(pairs), Mapping::Dimension(name) or Mapping::custom(…)")
}
