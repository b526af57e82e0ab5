//! Checksums by which a Parquet file is verified before a byte of it is decoded.
//!
//! Each row group's bytes have a checksum, the list of them stands in the file's footer, and the checksum of the footer
//! stands in the address that the ledger keeps. So a reader verifies exactly what it reads, one row group at a time,
//! and the decoder never sees a damaged byte. Other programs read the file as the plain Parquet that it is.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use flowstone_core::io::Address;
use flowstone_core::{Error, Result};
use flowstone_io_object::ObjectPath;
use parquet::file::metadata::KeyValue;

use crate::error::corrupt;

/// The name under which the footer lists the row groups' seals.
pub(crate) const FOOTER_KEY: &str = "flowstone.row_groups";

/// The first 128 bits of a BLAKE3 hash; enough against decay, which is what this guards against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Checksum(u128);

impl Checksum {
    fn of(bytes: &[u8]) -> Self {
        let hash = blake3::hash(bytes);
        let (head, _) = hash.as_bytes().split_first_chunk::<16>().expect("a hash has 32 bytes");
        Self(u128::from_le_bytes(*head))
    }
}

/// The seal on a range of a file's bytes. Printed as start, end and checksum in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seal {
    pub(crate) range: Range<u64>,
    checksum: Checksum,
}

impl Seal {
    /// Seals `bytes`, which lie in the file from `start`.
    pub(crate) fn of(start: u64, bytes: &[u8]) -> Self {
        Self {
            range: start..start + bytes.len() as u64,
            checksum: Checksum::of(bytes),
        }
    }

    /// Compares `bytes`, read from the sealed range of the file `subject`.
    ///
    /// # Errors
    /// `Corrupt` when they are not what was sealed.
    pub(crate) fn check(&self, bytes: &[u8], subject: &str) -> Result<()> {
        if Checksum::of(bytes) == self.checksum {
            return Ok(());
        }
        let Range { start, end } = self.range;
        Err(corrupt(format!("its bytes {start} to {end} are not those that were stored")).about(subject))
    }
}

impl fmt::Display for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:x}-{:x}-{:032x}",
            self.range.start, self.range.end, self.checksum.0
        )
    }
}

impl FromStr for Seal {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = || {
            let mut parts = text.split('-');
            let start = u64::from_str_radix(parts.next()?, 16).ok()?;
            let end = u64::from_str_radix(parts.next()?, 16).ok()?;
            let checksum = u128::from_str_radix(parts.next()?, 16).ok()?;
            (start <= end && parts.next().is_none()).then_some((start..end, Checksum(checksum)))
        };
        match parsed() {
            Some((range, checksum)) => Ok(Self { range, checksum }),
            None => Err(corrupt(format!("{text:?} is not a seal"))),
        }
    }
}

/// The footer entry for the row groups' seals.
pub(crate) fn footer_entry(seals: &[Seal]) -> KeyValue {
    let seals: Vec<_> = seals.iter().map(Seal::to_string).collect();
    KeyValue::new(FOOTER_KEY.to_owned(), seals.join(" "))
}

/// The row groups' seals from a footer's entries.
///
/// # Errors
/// `Corrupt` when the footer lists none.
pub(crate) fn from_footer(entries: Option<&Vec<KeyValue>>) -> Result<Vec<Seal>> {
    let entry = entries.into_iter().flatten().find(|entry| entry.key == FOOTER_KEY);
    let Some(seals) = entry.and_then(|entry| entry.value.as_deref()) else {
        return Err(corrupt("its footer does not list its row groups"));
    };
    seals.split_whitespace().map(str::parse).collect()
}

/// The address of the file at `path` whose footer has the seal `footer`.
pub(crate) fn to_address(path: &ObjectPath, footer: &Seal) -> Address {
    Address::Location(format!("{path}#{footer}").into())
}

/// Where the file at `address` lies, and its footer's seal.
///
/// # Errors
/// `Corrupt` when no such file was ever stored.
pub(crate) fn from_address(address: &Address) -> Result<(ObjectPath, Seal)> {
    let path = ObjectPath::of_address(address)?;
    let footer = match address {
        Address::Location(location) => location.split_once('#').map(|(_, footer)| footer),
        Address::Inline(_) => None,
    };
    match footer {
        Some(footer) => Ok((path, footer.parse()?)),
        None => Err(corrupt("its address has no seal").about(path)),
    }
}

#[cfg(test)]
mod tests {
    use flowstone_core::ErrorKind;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_seal_reads_back_and_notices_every_flipped_bit(bytes: Vec<u8>, start in 0..u64::MAX / 2, bit: usize) {
            let seal = Seal::of(start, &bytes);

            prop_assert_eq!(&seal.to_string().parse::<Seal>().unwrap(), &seal);
            prop_assert!(seal.check(&bytes, "x").is_ok());
            if !bytes.is_empty() {
                let mut flipped = bytes.clone();
                flipped[bit / 8 % bytes.len()] ^= 1 << (bit % 8);
                prop_assert_eq!(seal.check(&flipped, "x").unwrap_err().kind(), ErrorKind::Corrupt);
            }
        }
    }
}
