//! All partitions of an asset, as dense indices from zero.
//!
//! The one type that the rest of Flowstone asks: how many there are, which index a key has, what an index is called.
//! What a space is made of stays in the five kinds.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::dynamic::{DYNAMIC_LEN_MAX, DynamicSpace, SetSnapshot};
use super::key::PartitionKey;
use super::literal::TimeLiteral;
use super::product::{ProductSpace, SEPARATOR};
use super::projection::cross;
use super::set::{PartitionSet, check_len};
use super::space_wire::StoredSpace;
use super::static_space::{self, StaticSpace};
use super::window::WindowSpace;
use crate::{Error, ErrorKind, Result};

/// What people call the one partition of an asset that is not partitioned.
const UNIT_LABEL: &str = "-";

/// All partitions of an asset. Cheap to clone.
///
/// ```
/// use flowstone_core::partition::{Daily, Partitions};
///
/// let days = Partitions::from(Daily::from("2013-01-01").until("2014-01-01")).build()?;
/// assert_eq!(days.parse("2013-02-01")?, 31);
/// assert_eq!(days.label(31), "2013-02-01");
/// # Ok::<(), flowstone_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "StoredSpace", into = "StoredSpace")]
pub enum PartitionSpace {
    /// One partition: the asset is not partitioned.
    Unit,
    /// Named partitions.
    Static(StaticSpace),
    /// Named partitions that are kept in the store and grow.
    Dynamic(DynamicSpace),
    /// Time windows.
    Window(WindowSpace),
    /// All combinations of several dimensions.
    Product(ProductSpace),
}

impl PartitionSpace {
    /// How many partitions there are at `now`: windows without an end count once they are over, those of a dynamic set once
    /// they were added, even if they are retired.
    pub fn len_at(&self, now: Timestamp) -> u64 {
        match self {
            Self::Unit => 1,
            Self::Static(space) => space.len(),
            Self::Dynamic(space) => space.len(),
            Self::Window(space) => space.len_at(now),
            Self::Product(space) => space.len_at(now),
        }
    }

    /// The partitions that there are at `now`: all below [`PartitionSpace::len_at`] but those that are retired.
    ///
    /// # Errors
    /// `LimitExceeded` when they are more than a set may hold.
    pub fn existing_at(&self, now: Timestamp) -> Result<PartitionSet> {
        let len = self.len_at(now);
        check_len(len.into())?;
        match self {
            Self::Dynamic(space) => Ok(space.existing().below(len)),
            Self::Product(product) if product.dimensions().any(|(_, space)| space.has_retired()) => {
                let sets = product.dimensions().map(|(_, space)| space.existing_at(now));
                cross(product, &sets.collect::<Result<Vec<_>>>()?)
            }
            _ => Ok(PartitionSet::full(len)),
        }
    }

    fn has_retired(&self) -> bool {
        matches!(self, Self::Dynamic(space) if !space.retired().is_empty())
    }

    /// This space with its dynamic sets as they are in `snapshots`; the others are as they are now.
    pub fn as_of(&self, snapshots: &[SetSnapshot]) -> Cow<'_, Self> {
        if snapshots.is_empty() || self.dynamic_sets().is_empty() {
            return Cow::Borrowed(self);
        }
        Cow::Owned(self.with_sets(&mut |set| {
            let seen = snapshots.iter().find(|snapshot| snapshot.name == set.name());
            seen.map_or_else(|| set.clone(), |seen| set.as_of(seen))
        }))
    }

    /// The dynamic sets in it.
    pub fn dynamic_sets(&self) -> Vec<&DynamicSpace> {
        match self {
            Self::Dynamic(space) => vec![space],
            Self::Product(product) => product
                .dimensions()
                .flat_map(|(_, space)| space.dynamic_sets())
                .collect(),
            Self::Unit | Self::Static(_) | Self::Window(_) => Vec::new(),
        }
    }

    /// The same space with other knowledge of its dynamic sets.
    #[must_use]
    pub fn with_sets(&self, known: &mut dyn FnMut(&DynamicSpace) -> DynamicSpace) -> Self {
        match self {
            Self::Dynamic(space) => Self::Dynamic(known(space)),
            Self::Product(product) => Self::Product(product.with_sets(known)),
            Self::Unit | Self::Static(_) | Self::Window(_) => self.clone(),
        }
    }

    /// How many partitions this definition can ever have: every valid index is less.
    pub fn capacity(&self) -> u64 {
        match self {
            Self::Unit => 1,
            Self::Static(space) => space.len(),
            Self::Dynamic(_) => DYNAMIC_LEN_MAX,
            Self::Window(space) => space.capacity(),
            Self::Product(space) => space.capacity(),
        }
    }

    /// True if there may be more partitions later.
    pub fn grows(&self) -> bool {
        match self {
            Self::Unit | Self::Static(_) => false,
            Self::Dynamic(_) => true,
            Self::Window(space) => space.end().is_none(),
            Self::Product(space) => space.dimensions().any(|(_, space)| space.grows()),
        }
    }

    /// The time that a partition covers, start inclusive and end exclusive, if the space is one of time windows.
    pub fn window_of(&self, index: u64) -> Option<(Timestamp, Timestamp)> {
        match self {
            Self::Window(space) => Some(space.interval_of(index)),
            Self::Unit | Self::Static(_) | Self::Dynamic(_) | Self::Product(_) => None,
        }
    }

    /// True for an asset that is not partitioned.
    pub fn is_unit(&self) -> bool {
        matches!(self, Self::Unit)
    }

    /// The index of `key`; an error if the space does not hold it. A window that is not over yet has an index too.
    pub fn index_of(&self, key: &PartitionKey) -> Result<u64> {
        match self {
            Self::Unit if *key == PartitionKey::Unit => Ok(0),
            Self::Unit => Err(not_partitioned(key)),
            Self::Static(space) => space.index_of(key),
            Self::Dynamic(space) => space.index_of(key),
            Self::Window(space) => space.index_of(key),
            Self::Product(space) => space.index_of(key),
        }
    }

    /// The key of an index; an error if the index is not less than [`PartitionSpace::capacity`].
    pub fn key_of(&self, index: u64) -> Result<PartitionKey> {
        if index >= self.capacity() {
            return Err(Error::new(
                ErrorKind::OutOfRange,
                format!("the space holds {} partitions", self.capacity()),
            )
            .code("partition_out_of_space")
            .during("find partition")
            .about(index));
        }
        match self {
            Self::Unit => Ok(PartitionKey::Unit),
            Self::Static(space) => Ok(space.keys()[index as usize].clone()),
            Self::Dynamic(space) => space.key_of(index).ok_or_else(|| {
                Error::new(
                    ErrorKind::OutOfRange,
                    format!("the set holds {} partitions", space.len()),
                )
                .code("partition_out_of_space")
                .during("find partition")
                .about(index)
            }),
            Self::Window(space) => Ok(space.key_of(index)),
            Self::Product(space) => {
                let keys = space
                    .digits(index)
                    .map(|(dimension, digit)| dimension.space.key_of(digit));
                Ok(PartitionKey::Tuple(keys.collect::<Result<_>>()?))
            }
        }
    }

    /// What people call a partition: `2013-01-01`, `2013`, `EWR`, `2013-01-01|EWR`, and `-` for unit.
    ///
    /// Text keys stand without quotes where nothing else is written so. [`PartitionSpace::parse`] reads every label
    /// back. An index outside the space gives `#` and the number.
    pub fn label(&self, index: u64) -> String {
        if index >= self.capacity() {
            return format!("#{index}");
        }
        match self {
            Self::Unit => UNIT_LABEL.to_owned(),
            Self::Static(space) => static_space::label(&space.keys()[index as usize]),
            Self::Dynamic(space) => match space.key_of(index) {
                Some(key) => static_space::label(&key),
                None => format!("#{index}"),
            },
            Self::Window(space) => space.label(index),
            Self::Product(space) => {
                let labels = space
                    .digits(index)
                    .map(|(dimension, digit)| dimension.space.label(digit));
                labels.collect::<Vec<_>>().join(&SEPARATOR.to_string())
            }
        }
    }

    /// The index of a label or of a key's canonical text.
    pub fn parse(&self, text: &str) -> Result<u64> {
        match self {
            Self::Unit => match text {
                UNIT_LABEL | "" | "()" => Ok(0),
                _ => Err(not_partitioned(format!("{text:?}"))),
            },
            Self::Static(space) => space.parse(text),
            Self::Dynamic(space) => space.parse(text),
            Self::Window(space) => space.index_of(&window_key(space, text)?),
            Self::Product(space) => space.parse(text),
        }
    }

    /// What sort of space this is, in words.
    pub fn describe(&self) -> String {
        match self {
            Self::Unit => "not partitioned".to_owned(),
            Self::Static(space) => format!("static: {}", space.ends()),
            Self::Dynamic(space) => format!("dynamic: {}", space.name()),
            Self::Window(space) => format!("{}: {}, {}", space.granularity(), space.ends(), space.zone_name()),
            Self::Product(space) => {
                let each = space
                    .dimensions()
                    .map(|(name, space)| format!("{name} ({})", space.describe()));
                each.collect::<Vec<_>>().join(" × ")
            }
        }
    }
}

/// The key that a person or a canonical text means in a window space.
fn window_key(space: &WindowSpace, text: &str) -> Result<PartitionKey> {
    match TimeLiteral::parse(text) {
        Some(literal) => Ok(literal.key_in(space)),
        None => match text.parse::<PartitionKey>() {
            Ok(key) => Ok(key),
            Err(_) => Err(no_time(space, text)),
        },
    }
}

pub(super) fn no_time(space: &WindowSpace, text: &str) -> Error {
    Error::new(
        ErrorKind::Invalid,
        format!("it is no time, and the space is {}", space.granularity()),
    )
    .code("partition_key_mismatch")
    .during("find partition")
    .about(format!("{:?}", text.chars().take(80).collect::<String>()))
    .fix(format!("give {}", space.granularity().example()))
}

fn not_partitioned(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::NotFound, "the asset is not partitioned")
        .code("partition_unknown")
        .during("find partition")
        .about(what)
        .fix("name no partition")
}
