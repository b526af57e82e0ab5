//! A space of several dimensions: one partition for every combination of theirs.
//!
//! The index is a mixed radix number. Its digits stand in the order of the dimensions, except that a dimension that
//! grows with time is the most significant digit wherever it was named, so that growth moves no index.

use jiff::Timestamp;

use super::dynamic::DynamicSpace;
use super::key::PartitionKey;
use super::space::PartitionSpace;
use crate::{Error, ErrorKind, Result};

/// With fewer, the text of a key and the label of a dimension could be the same.
const DIMENSIONS_MIN: usize = 2;
/// More dimensions than this are no partitioning that anyone oversees.
const DIMENSIONS_MAX: usize = 16;
/// Stands between the labels of the dimensions.
pub(super) const SEPARATOR: char = '|';

/// All combinations of the partitions of its dimensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProductSpace {
    dimensions: Vec<Dimension>,
    /// The position of the most significant digit.
    top: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dimension {
    pub(super) name: String,
    pub(super) space: PartitionSpace,
    /// What one step along this dimension adds to the index.
    pub(super) stride: u64,
    /// How many values the digit has.
    pub(super) radix: u64,
}

impl ProductSpace {
    /// The combinations of `dimensions`, keys and labels in the order given.
    ///
    /// Refuses fewer than 2 dimensions or more than 16, a name that is empty or comes twice, a dimension that is a product, empty
    /// or not partitioned, more than one that grows with time, and more combinations than an index can count.
    pub fn new<N: Into<String>>(dimensions: impl IntoIterator<Item = (N, PartitionSpace)>) -> Result<Self> {
        let mut dimensions: Vec<Dimension> = dimensions
            .into_iter()
            .map(|(name, space)| Dimension {
                name: name.into(),
                radix: space.capacity(),
                space,
                stride: 1,
            })
            .collect();
        let top = check(&dimensions).map_err(|error| error.during("define").about("product partitions"))?;
        let mut stride: u64 = 1;
        for position in significance(top, dimensions.len()).into_iter().rev() {
            let dimension = &mut dimensions[position];
            dimension.stride = stride;
            stride = stride.checked_mul(dimension.radix).ok_or_else(|| {
                Error::new(
                    ErrorKind::LimitExceeded,
                    "the dimensions have more combinations than an index can count",
                )
                .code("partition_space_too_large")
                .during("define")
                .about("product partitions")
                .fix("give the time dimension an end, or take a dimension out")
            })?;
        }
        Ok(Self { dimensions, top })
    }

    /// The names and spaces of the dimensions in the order of keys.
    pub fn dimensions(&self) -> impl ExactSizeIterator<Item = (&str, &PartitionSpace)> {
        self.dimensions
            .iter()
            .map(|dimension| (dimension.name.as_str(), &dimension.space))
    }

    /// The space of the dimension called `name`.
    pub fn dimension(&self, name: &str) -> Option<&PartitionSpace> {
        self.dimensions
            .iter()
            .find(|dimension| dimension.name == name)
            .map(|dimension| &dimension.space)
    }

    pub(super) fn with_sets(&self, known: &mut dyn FnMut(&DynamicSpace) -> DynamicSpace) -> Self {
        let mut same = self.clone();
        for dimension in &mut same.dimensions {
            dimension.space = dimension.space.with_sets(known);
        }
        same
    }

    pub(super) fn parts(&self) -> &[Dimension] {
        &self.dimensions
    }

    /// Positions from the least significant digit up.
    pub(super) fn ascending(&self) -> impl Iterator<Item = usize> {
        significance(self.top, self.dimensions.len()).into_iter().rev()
    }

    pub(super) fn is_top(&self, position: usize) -> bool {
        position == self.top
    }

    /// What one window along the most significant dimension adds to an index, if that is one of time.
    pub(super) fn time_stride(&self) -> Option<u64> {
        let top = &self.dimensions[self.top];
        matches!(top.space, PartitionSpace::Window(_)).then_some(top.stride)
    }

    pub(super) fn capacity(&self) -> u64 {
        self.dimensions[self.top].stride * self.dimensions[self.top].radix
    }

    pub(super) fn len_at(&self, now: Timestamp) -> u64 {
        self.dimensions[self.top].stride * self.dimensions[self.top].space.len_at(now)
    }

    /// The index along each dimension.
    pub(super) fn digits(&self, index: u64) -> impl Iterator<Item = (&Dimension, u64)> {
        self.dimensions
            .iter()
            .map(move |dimension| (dimension, index / dimension.stride % dimension.radix))
    }

    pub(super) fn index_of(&self, key: &PartitionKey) -> Result<u64> {
        match key {
            PartitionKey::Tuple(keys) if keys.len() == self.dimensions.len() => {
                let parts = self.dimensions.iter().zip(keys);
                parts
                    .map(|(dimension, key)| Ok(dimension.stride * dimension.space.index_of(key)?))
                    .sum()
            }
            key => Err(self.wrong_shape(key)),
        }
    }

    /// The index of labels as `2013-01-01|EWR`, or of a tuple's canonical text.
    pub(super) fn parse(&self, text: &str) -> Result<u64> {
        if is_tuple(text) {
            return self.index_of(&text.parse()?);
        }
        let labels = split_outside_quotes(text, "|");
        if labels.len() != self.dimensions.len() {
            return Err(self.wrong_shape(format!("{:?}", text.chars().take(80).collect::<String>())));
        }
        let parts = self.dimensions.iter().zip(labels);
        parts
            .map(|(dimension, label)| Ok(dimension.stride * dimension.space.parse(label)?))
            .sum()
    }

    pub(super) fn wrong_shape(&self, what: impl std::fmt::Display) -> Error {
        let names: Vec<_> = self
            .dimensions
            .iter()
            .map(|dimension| dimension.name.as_str())
            .collect();
        let count = names.len();
        Error::new(
            ErrorKind::Invalid,
            format!("a key of this space has {count} parts: {}", names.join(", ")),
        )
        .code("partition_key_mismatch")
        .during("find partition")
        .about(what)
        .fix(format!(
            "write it as {}, with * for all of a dimension where several may be selected",
            names.join("|")
        ))
    }
}

/// Positions from the most significant digit down.
fn significance(top: usize, len: usize) -> Vec<usize> {
    let others = (0..len).filter(|&position| position != top);
    std::iter::once(top).chain(others).collect()
}

/// The position of the dimension that grows, or of the first.
fn check(dimensions: &[Dimension]) -> Result<usize> {
    let refuse = |message: String, fix: &str| {
        Err(Error::new(ErrorKind::Invalid, message)
            .code("partition_product_invalid")
            .fix(fix))
    };
    if !(DIMENSIONS_MIN..=DIMENSIONS_MAX).contains(&dimensions.len()) {
        let message = format!(
            "{} dimensions lie outside {DIMENSIONS_MIN} to {DIMENSIONS_MAX}",
            dimensions.len()
        );
        return refuse(message, "use a dimension's partitions alone if there is only one");
    }
    for (position, Dimension { name, space, .. }) in dimensions.iter().enumerate() {
        if name.is_empty() {
            return refuse(
                format!("dimension {} has no name", position + 1),
                "name every dimension",
            );
        }
        if dimensions[..position].iter().any(|other| other.name == *name) {
            return refuse(
                format!("two dimensions are called {name:?}"),
                "give every dimension a name of its own",
            );
        }
        match space {
            PartitionSpace::Unit => {
                return refuse(
                    format!("dimension {name:?} is not partitioned"),
                    "leave the dimension out",
                );
            }
            PartitionSpace::Product(_) => {
                return refuse(
                    format!("dimension {name:?} has dimensions itself"),
                    "name all dimensions in one product",
                );
            }
            space if space.capacity() == 0 => {
                return refuse(
                    format!("dimension {name:?} has no partitions"),
                    "give it at least one key",
                );
            }
            PartitionSpace::Static(_) | PartitionSpace::Dynamic(_) | PartitionSpace::Window(_) => {}
        }
    }
    let grows = |dimension: &Dimension| dimension.space.grows();
    let growing: Vec<_> = dimensions.iter().filter(|dimension| grows(dimension)).collect();
    if let [first, second, ..] = growing.as_slice() {
        let message = format!("both {:?} and {:?} grow", first.name, second.name);
        return refuse(
            message,
            "let one dimension grow: give the windows an end by until(…), or name the keys by Partitions::keys(…)",
        );
    }
    Ok(dimensions.iter().position(grows).unwrap_or(0))
}

/// True for canonical text, in which no separator stands outside of quotes.
pub(super) fn is_tuple(text: &str) -> bool {
    text.starts_with('(') && split_outside_quotes(text, "|").len() == 1
}

/// The parts of `text` between separators that stand in no quoted text.
pub(super) fn split_outside_quotes<'a>(text: &'a str, separator: &str) -> Vec<&'a str> {
    let mut parts = Vec::new();
    let (mut start, mut at) = (0, 0);
    let mut quoted = false;
    while let Some(c) = text[at..].chars().next() {
        if !quoted && text[at..].starts_with(separator) {
            parts.push(&text[start..at]);
            at += separator.len();
            start = at;
            continue;
        }
        at += c.len_utf8();
        match c {
            '"' => quoted = !quoted,
            '\\' if quoted => at += text[at..].chars().next().map_or(0, char::len_utf8),
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}
