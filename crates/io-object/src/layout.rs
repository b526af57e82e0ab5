//! Where an attempt's object lies, as a pure function of ids.
//!
//! `v1/<asset>/<shard>/<partition>-<run>-<fence>-<attempt>-<call>.<extension>`, the first three and the run in
//! hexadecimal. A shard holds the partitions that share all but their last ten bits, so that no folder grows without
//! bound and none holds a single file. No name that a user chose is part of a path.

use std::fmt;
use std::str::FromStr;

use flowstone_core::io::{Address, Slot};
use flowstone_core::{AssetId, Error, ErrorKind, Result, RunId};

const VERSION: &str = "v1";
const SHARD_BITS: u32 = 10;
const STAGED_SUFFIX: &str = ".part";
const EXTENSION_LEN_MAX: usize = 16;

/// The path of one object below the root of its area.
///
/// Parsing accepts exactly what is printed, so a damaged or hostile address never leaves the area.
///
/// ```
/// use flowstone_io_object::ObjectPath;
///
/// let text = "v1/0000002a/1/0000000000000401-018f4e5c8c4e7cc09c4b3c7a5a6d2f10-7-1-0.json";
/// let path: ObjectPath = text.parse()?;
/// assert_eq!(path.slot().partition, 0x401);
/// assert_eq!(path.to_string(), text);
/// assert!("v1/../secret.json".parse::<ObjectPath>().is_err());
/// # Ok::<(), flowstone_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ObjectPath {
    slot: Slot,
    call: u32,
    extension: String,
    staged: bool,
}

impl ObjectPath {
    /// The path for the `call`-th object, from 0, that the attempt in `slot` stores.
    ///
    /// # Errors
    /// `Invalid` unless `extension` is 1 to 16 lowercase letters and digits and is not that of staged objects.
    pub(crate) fn new(slot: Slot, call: u32, extension: &str) -> Result<Self> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if extension.is_empty()
            || extension.len() > EXTENSION_LEN_MAX
            || !extension.bytes().all(allowed)
            || extension == &STAGED_SUFFIX[1..]
        {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("an object's extension is 1 to 16 of a-z and 0-9, not {extension:?}"),
            ));
        }
        Ok(Self {
            slot,
            call,
            extension: extension.to_owned(),
            staged: false,
        })
    }

    /// The path in `address`, whatever its IO manager remembers behind a `#`.
    ///
    /// # Errors
    /// `Corrupt` when the address is inline or is not such a path.
    pub fn of_address(address: &Address) -> Result<Self> {
        match address.place() {
            Some(place) => place.parse(),
            None => Err(Error::new(ErrorKind::Corrupt, "an inline value has no path")),
        }
    }

    /// The attempt that stored the object.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// False for what an attempt was still writing, or had to leave behind when its process died.
    pub fn is_whole(&self) -> bool {
        !self.staged
    }

    /// What the name ends with, which says in which format the object is.
    pub(crate) fn extension(&self) -> &str {
        &self.extension
    }

    /// The same path with the next call number, for when this one is taken.
    pub(crate) fn next_call(&self) -> Self {
        Self {
            call: self.call + 1,
            ..self.clone()
        }
    }

    /// Where the object is written before it has this path.
    pub(crate) fn staged(&self) -> Self {
        Self {
            staged: true,
            ..self.clone()
        }
    }

    /// The path as the object store takes it.
    pub(crate) fn to_store_path(&self) -> object_store::path::Path {
        object_store::path::Path::from(self.to_string())
    }
}

/// The prefix of everything that belongs to `asset`.
pub(crate) fn asset_prefix(asset: AssetId) -> object_store::path::Path {
    object_store::path::Path::from(format!("{VERSION}/{:08x}", asset.0))
}

impl fmt::Display for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Slot {
            asset,
            partition,
            run,
            fence,
            attempt,
        } = self.slot;
        let (shard, run) = (partition >> SHARD_BITS, run.0.simple());
        let (call, extension) = (self.call, &self.extension);
        write!(
            f,
            "{VERSION}/{:08x}/{shard:x}/{partition:016x}-{run}-{fence}-{attempt}-{call}.{extension}",
            asset.0
        )?;
        if self.staged {
            f.write_str(STAGED_SUFFIX)
        } else {
            Ok(())
        }
    }
}

impl FromStr for ObjectPath {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse(text).filter(|path| path.to_string() == text).ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, format!("{text:?} is not the path of an object"))
                .code("object_path")
                .during("parse an address")
        })
    }
}

fn parse(text: &str) -> Option<ObjectPath> {
    let (text, staged) = match text.strip_suffix(STAGED_SUFFIX) {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let (folders, name) = text.rsplit_once('/')?;
    let asset = folders.strip_prefix(VERSION)?.strip_prefix('/')?.split('/').next()?;
    let (stem, extension) = name.split_once('.')?;
    let mut parts = stem.split('-');
    let slot = Slot {
        asset: AssetId(u32::from_str_radix(asset, 16).ok()?),
        partition: u64::from_str_radix(parts.next()?, 16).ok()?,
        run: parts.next()?.parse::<RunId>().ok()?,
        fence: parts.next()?.parse().ok()?,
        attempt: parts.next()?.parse().ok()?,
    };
    let path = ObjectPath::new(slot, parts.next()?.parse().ok()?, extension).ok()?;
    Some(if staged { path.staged() } else { path })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    proptest! {
        #[test]
        fn every_slot_has_a_path_of_its_own_that_reads_back(
            asset: u32, partition: u64, run: u128, fence: u64, attempt: u32, call in 0..u32::MAX, staged: bool,
        ) {
            let run = RunId(Uuid::from_u128(run));
            let slot = Slot { asset: AssetId(asset), partition, run, fence, attempt };
            let path = ObjectPath::new(slot, call, "json").unwrap();
            let path = if staged { path.staged() } else { path };

            prop_assert_eq!(path.to_string().parse::<ObjectPath>().unwrap(), path);
        }

        #[test]
        fn any_other_text_is_refused(text: String) {
            prop_assert!(text.parse::<ObjectPath>().is_err());
        }
    }

    #[test]
    fn a_path_that_climbs_out_of_the_area_is_refused() {
        let slot = Slot {
            asset: AssetId(1),
            partition: 5000,
            run: RunId(Uuid::from_u128(7)),
            fence: 3,
            attempt: 1,
        };
        let good = ObjectPath::new(slot, 0, "json").unwrap().to_string();
        for bad in [
            good.replace("v1/", "v1/../"),
            format!("/{good}"),
            good.replace("-3-", "-+3-"),
            good.replace("/4/", "/5/"),
            good.to_uppercase(),
        ] {
            assert_eq!(
                bad.parse::<ObjectPath>().unwrap_err().kind(),
                ErrorKind::Corrupt,
                "{bad}"
            );
        }
    }

    #[test]
    fn an_extension_cannot_smuggle_in_a_path_or_pass_for_a_staged_object() {
        let slot = Slot {
            asset: AssetId(1),
            partition: 0,
            run: RunId(Uuid::nil()),
            fence: 0,
            attempt: 1,
        };
        for bad in ["", "a/b", "..", "JSON", "part", "seventeenletters1"] {
            assert!(ObjectPath::new(slot, 0, bad).is_err(), "{bad:?}");
        }
    }
}
