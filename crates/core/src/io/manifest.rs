//! What is told of a value beside it.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

/// The longest manifest, in bytes of JSON.
pub const MANIFEST_LEN_MAX: usize = 4096;

/// What whoever made a value says about it, as JSON, so that it is known without loading the value. It is committed with
/// the materialization and kept as long as that.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Box<str>", into = "Box<str>")]
pub struct Manifest(Box<str>);

impl Manifest {
    /// The manifest that says what `content` does.
    ///
    /// # Errors
    /// `Invalid` when it cannot be written as JSON; `LimitExceeded` when it is longer than [`MANIFEST_LEN_MAX`].
    pub fn of<T: Serialize>(content: &T) -> Result<Self> {
        let json = serde_json::to_string(content).map_err(|error| {
            Error::new(ErrorKind::Invalid, format!("it cannot be written as JSON: {error}")).during("write a manifest")
        })?;
        Self::of_json(json)
    }

    /// The manifest with this text, as it was stored.
    ///
    /// # Errors
    /// `LimitExceeded` when it is longer than [`MANIFEST_LEN_MAX`].
    pub fn of_json(json: impl Into<Box<str>>) -> Result<Self> {
        let json = json.into();
        if json.len() > MANIFEST_LEN_MAX {
            let len = json.len();
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                format!("it has {len} bytes, {MANIFEST_LEN_MAX} are allowed"),
            )
            .code("manifest_too_large")
            .during("write a manifest")
            .fix("say less in it; what is large belongs to the value"));
        }
        Ok(Self(json))
    }

    /// What it says, read as a `T`.
    ///
    /// # Errors
    /// `Corrupt` when it is no `T`.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(&self.0).map_err(|error| {
            Error::new(ErrorKind::Corrupt, format!("it says something else: {error}")).during("read a manifest")
        })
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<Box<str>> for Manifest {
    type Error = Error;

    fn try_from(json: Box<str>) -> Result<Self> {
        Self::of_json(json)
    }
}

impl From<Manifest> for Box<str> {
    fn from(manifest: Manifest) -> Self {
        manifest.0
    }
}

impl fmt::Debug for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Manifest({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_says_what_was_said_up_to_a_length() {
        let manifest = Manifest::of(&[1, 2]).unwrap();

        assert_eq!(manifest.read::<Vec<u8>>().unwrap(), [1, 2]);
        assert_eq!(manifest.read::<String>().unwrap_err().kind(), ErrorKind::Corrupt);
        let fits = "x".repeat(MANIFEST_LEN_MAX - 2);
        assert!(Manifest::of(&fits).is_ok());
        assert_eq!(
            Manifest::of(&(fits + "x")).unwrap_err().kind(),
            ErrorKind::LimitExceeded
        );
    }
}
