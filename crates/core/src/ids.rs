//! The names and numbers by which everything else is known, each a type of its own.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

use crate::{Error, ErrorKind, Result};

/// The longest asset name, in bytes.
const ASSET_KEY_LEN_MAX: usize = 512;

/// The name of an asset. Any text from one byte to 512 bytes; never used as a path or as SQL.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct AssetKey(Arc<str>);

impl AssetKey {
    /// Checks `name`.
    ///
    /// # Errors
    /// `LimitExceeded` when it is longer than 512 bytes, `Invalid` when it is empty.
    pub fn new(name: impl AsRef<str>) -> Result<Self> {
        let name = name.as_ref();
        if name.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "an asset needs a name").code("asset_name_empty"));
        }
        if name.len() > ASSET_KEY_LEN_MAX {
            let len = name.len();
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                format!("an asset name has at most {ASSET_KEY_LEN_MAX} bytes, this one has {len}"),
            )
            .code("asset_name_too_long"));
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for AssetKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AssetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AssetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl Serialize for AssetKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl TryFrom<String> for AssetKey {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        Self::new(name)
    }
}

impl FromStr for AssetKey {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::new(name)
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// The dense number that a store gives to an asset's name, once and for ever.
    AssetId(u32)
}
number! {
    /// The number of a chunk within one asset of one run, from 0.
    ChunkNo(u64)
}
number! {
    /// Grows with each claim of a chunk; the store refuses writes under an older one.
    Fence(u64)
}
number! {
    /// Counts who has driven a run: whoever begins it, or takes it up after a death, has a number of its own, from 1.
    Incarnation(u32)
}
number! {
    /// The version of one partition of one asset: 1 for the first materialization, and it only grows.
    Version(u64)
}

impl Version {
    /// The version before the first materialization.
    pub const NONE: Self = Self(0);

    /// The version that follows this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Incarnation {
    /// Nobody has driven the run.
    pub const NONE: Self = Self(0);

    /// Whoever drives the run next.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The first fence that it may claim under. Fences of two incarnations are never the same, and those of the later one
    /// are greater.
    pub const fn first_fence(self) -> Fence {
        Fence(((self.0.saturating_sub(1) as u64) << FENCE_BITS) + 1)
    }
}

/// The bits of a fence that count the claims of one incarnation; those above say which one.
const FENCE_BITS: u32 = 32;

impl Fence {
    /// The fence that replaces this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The incarnation that claims under it.
    pub const fn incarnation(self) -> Incarnation {
        Incarnation((self.0.saturating_sub(1) >> FENCE_BITS) as u32).next()
    }
}

macro_rules! identity {
    ($(#[$doc:meta])* $name:ident($what:literal)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                Uuid::parse_str(text).map(Self).map_err(|error| {
                    Error::new(ErrorKind::Invalid, error.to_string())
                        .during(concat!("parse ", $what, " id"))
                        .about(format!("{text:?}"))
                })
            }
        }
    };
}

identity! {
    /// The identity of a run: a UUIDv7, so that ids sort by the time they were made.
    RunId("run")
}
identity! {
    /// The identity of a fan-out: a UUIDv7 too.
    FanOutId("fan-out")
}

macro_rules! fingerprint {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u128);

        impl $name {
            /// The fingerprint of `bytes`: the first 128 bits of their BLAKE3 hash.
            pub fn of(bytes: &[u8]) -> Self {
                Self::from_hash(&blake3::hash(bytes))
            }

            /// The fingerprint of a finished BLAKE3 hash: its first 128 bits, little endian.
            pub fn from_hash(hash: &blake3::Hash) -> Self {
                let mut head = [0; 16];
                head.copy_from_slice(&hash.as_bytes()[..16]);
                Self(u128::from_le_bytes(head))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:032x})", stringify!($name), self.0)
            }
        }
    };
}

fingerprint! {
    /// The fingerprint of a materialization's content. Equal content has equal data versions.
    DataVersion
}
fingerprint! {
    /// The fingerprint of the code that makes an asset.
    CodeVersion
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_incarnations_share_a_fence() {
        let first = Incarnation::NONE.next();
        let last_of_first = Fence(first.next().first_fence().0 - 1);

        assert_eq!(first.first_fence(), Fence(1));
        for fence in [first.first_fence(), Fence(70_000), last_of_first] {
            assert!(fence < first.next().first_fence());
            assert_eq!(fence.incarnation(), first, "{fence}");
        }
        assert_eq!(first.next().first_fence().incarnation(), first.next());
        assert_eq!(Fence(u64::MAX).incarnation(), Incarnation(u32::MAX));
    }

    #[test]
    fn an_asset_may_have_any_name_but_none() {
        assert_eq!(AssetKey::new("ünï/cödé'; DROP").unwrap().as_str(), "ünï/cödé'; DROP");
        assert_eq!(AssetKey::new("").unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(
            AssetKey::new("x".repeat(513)).unwrap_err().kind(),
            ErrorKind::LimitExceeded
        );
    }
}
