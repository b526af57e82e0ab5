//! The typed name of one partition.
//!
//! A key has one canonical text and one binary form, and two keys that differ in type never share either: `1`, `"1"`,
//! unit and `""` are four keys. What a key means within a space is the space's business.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{key_binary, key_text};
use crate::{Error, ErrorKind, Result};

/// The longest text of a text key, in bytes.
pub const KEY_TEXT_BYTES_MAX: usize = 1024;
/// How deep tuples may nest; a tuple of plain keys has depth 1.
pub const KEY_DEPTH_MAX: usize = 32;
/// The largest encoded key, in bytes.
pub const KEY_BYTES_MAX: usize = 16 * 1024;

const INT_MIN: i128 = i64::MIN as i128;
const INT_MAX: i128 = u64::MAX as i128;

/// The name of one partition within its space.
///
/// Variants are public, so a value may be built that breaks a limit; the constructors refuse that at once, and every
/// space, parser and decoder refuses it by [`PartitionKey::check`].
///
/// Keys order by type first (in the order of the variants), then by value. [`PartitionKey::encode`] keeps that order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PartitionKey {
    /// The one key of an asset that is not partitioned.
    Unit,
    /// A truth value.
    Bool(bool),
    /// A whole number from `i64::MIN` to `u64::MAX`.
    Int(i128),
    /// Any text of at most [`KEY_TEXT_BYTES_MAX`] bytes.
    Text(String),
    /// A calendar day; also names a week by its first day.
    Date(Date),
    /// A calendar month.
    Month {
        /// The year, from -9999 to 9999.
        year: i16,
        /// The month, from 1 to 12.
        month: i8,
    },
    /// A calendar year, from -9999 to 9999.
    Year(i16),
    /// A moment, whatever offset it was written with.
    Instant(Timestamp),
    /// One key per dimension.
    Tuple(Vec<PartitionKey>),
}

impl PartitionKey {
    /// A whole number; refuses what lies outside `i64::MIN..=u64::MAX`.
    pub fn int(value: impl Into<i128>) -> Result<Self> {
        Self::Int(value.into()).checked()
    }

    /// A text; refuses more than [`KEY_TEXT_BYTES_MAX`] bytes.
    pub fn text(value: impl Into<String>) -> Result<Self> {
        Self::Text(value.into()).checked()
    }

    /// A calendar month; refuses a month outside 1 to 12 and a year outside -9999 to 9999.
    pub fn month(year: i16, month: i8) -> Result<Self> {
        Self::Month { year, month }.checked()
    }

    /// A calendar year; refuses a year outside -9999 to 9999.
    pub fn year(year: i16) -> Result<Self> {
        Self::Year(year).checked()
    }

    /// One key per dimension; refuses tuples nested deeper than [`KEY_DEPTH_MAX`].
    pub fn tuple(keys: impl IntoIterator<Item = Self>) -> Result<Self> {
        Self::Tuple(keys.into_iter().collect()).checked()
    }

    /// Refuses a key that breaks a limit or names no calendar date.
    pub fn check(&self) -> Result<()> {
        self.check_at(0)?;
        let size = key_binary::encoded_len(self);
        if size > KEY_BYTES_MAX {
            return Err(limit(format!(
                "the key takes {size} bytes, and the limit is {KEY_BYTES_MAX} bytes"
            )));
        }
        Ok(())
    }

    fn checked(self) -> Result<Self> {
        self.check()?;
        Ok(self)
    }

    fn check_at(&self, depth: usize) -> Result<()> {
        match self {
            Self::Unit | Self::Bool(_) | Self::Date(_) | Self::Instant(_) => Ok(()),
            Self::Int(value) if (INT_MIN..=INT_MAX).contains(value) => Ok(()),
            Self::Int(value) => Err(Error::new(
                ErrorKind::OutOfRange,
                format!("the number {value} lies outside {INT_MIN} to {INT_MAX}"),
            )
            .code("partition_key_out_of_range")
            .during("check partition key")
            .fix("use a text key for larger numbers")),
            Self::Text(text) if text.len() <= KEY_TEXT_BYTES_MAX => Ok(()),
            Self::Text(text) => Err(limit(format!(
                "the text takes {} bytes, and the limit is {KEY_TEXT_BYTES_MAX} bytes",
                text.len()
            ))),
            Self::Month { year, month } if is_year(*year) && (1..=12).contains(month) => Ok(()),
            Self::Month { year, month } => Err(no_such_date(format!("month {month} of year {year} does not exist"))),
            Self::Year(year) if is_year(*year) => Ok(()),
            Self::Year(year) => Err(no_such_date(format!("the year {year} lies outside -9999 to 9999"))),
            Self::Tuple(_) if depth == KEY_DEPTH_MAX => Err(too_deep()),
            Self::Tuple(keys) => keys.iter().try_for_each(|key| key.check_at(depth + 1)),
        }
    }

    /// The binary form: a format version, then type tags and values, so that bytes order as keys do.
    pub fn encode(&self) -> Vec<u8> {
        key_binary::encode(self)
    }

    /// How many bytes the binary form takes.
    pub fn encoded_len(&self) -> usize {
        key_binary::encoded_len(self)
    }

    /// Reads what [`PartitionKey::encode`] wrote.
    ///
    /// Refuses another format version, an unknown tag, a value out of range, a broken limit and trailing bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        key_binary::decode(bytes)?.checked()
    }

    /// Reads the first of several keys that were written one behind the other, and gives what follows it.
    ///
    /// # Errors
    /// As [`PartitionKey::decode`].
    pub fn decode_first(bytes: &[u8]) -> Result<(Self, &[u8])> {
        let (key, rest) = key_binary::decode_first(bytes)?;
        Ok((key.checked()?, rest))
    }

    /// What sort of key this is, in words, as messages name it.
    pub fn kind_name(&self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Bool(_) => "a truth value",
            Self::Int(_) => "a number",
            Self::Text(_) => "a text",
            Self::Date(_) => "a day",
            Self::Month { .. } => "a month",
            Self::Year(_) => "a year",
            Self::Instant(_) => "an instant",
            Self::Tuple(_) => "a tuple",
        }
    }
}

fn is_year(year: i16) -> bool {
    (-9999..=9999).contains(&year)
}

fn limit(message: String) -> Error {
    Error::new(ErrorKind::LimitExceeded, message)
        .code("partition_key_too_large")
        .during("check partition key")
}

fn no_such_date(message: String) -> Error {
    Error::new(ErrorKind::OutOfRange, message)
        .code("partition_key_out_of_range")
        .during("check partition key")
}

pub(super) fn too_deep() -> Error {
    limit(format!("tuples nest deeper than the limit of {KEY_DEPTH_MAX}"))
}

/// The canonical text: `()`, `true`, `1`, `"EWR"`, `2013-01-01`, `2013-01`, `Y2013`, `2013-01-01T05:00:00Z`,
/// `("EWR", 1)`, `(1,)` and `(,)`.
impl fmt::Display for PartitionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        key_text::write(self, f)
    }
}

/// Reads canonical text. An instant may have any offset, and spaces in tuples are free.
impl FromStr for PartitionKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        key_text::parse(text)?.checked()
    }
}

impl Serialize for PartitionKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PartitionKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CanonicalText;

        impl Visitor<'_> for CanonicalText {
            type Value = PartitionKey;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a partition key in canonical text")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<PartitionKey, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(CanonicalText)
    }
}

impl From<()> for PartitionKey {
    fn from((): ()) -> Self {
        Self::Unit
    }
}

impl From<bool> for PartitionKey {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

/// The length is not looked at here; the space that takes the key refuses one that is too long.
impl From<&str> for PartitionKey {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

/// The length is not looked at here; the space that takes the key refuses one that is too long.
impl From<String> for PartitionKey {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<Date> for PartitionKey {
    fn from(value: Date) -> Self {
        Self::Date(value)
    }
}

impl From<Timestamp> for PartitionKey {
    fn from(value: Timestamp) -> Self {
        Self::Instant(value)
    }
}

macro_rules! from_whole_numbers {
    ($($number:ty),*) => {$(
        impl From<$number> for PartitionKey {
            fn from(value: $number) -> Self {
                Self::Int(i128::from(value))
            }
        }
    )*};
}

from_whole_numbers!(i8, i16, i32, i64, u8, u16, u32, u64);
