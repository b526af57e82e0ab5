//! How sets of partitions are written: bytes for the ledger and the wire, text for people and JSON.
//!
//! A stored format. The first byte is the version, the second the form: a short list of runs, or the portable roaring
//! format when the runs are many. Reading checks everything, so hostile bytes cost an error and no more.

use std::fmt;
use std::str::FromStr;

use bytes::BufMut;
use roaring::RoaringTreemap;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::set::{PartitionSet, check_len};
use crate::{Error, ErrorKind, Result};

const VERSION: u8 = 1;
const FORM_RUNS: u8 = 0;
const FORM_ROARING: u8 = 1;
/// With more runs than this the roaring form is about as small, and faster to read.
const RUNS_MAX: usize = 256;
/// The longest form of a set that is one run: version, form, count, and two numbers of 64 bits.
const ONE_RUN_LEN_MAX: usize = 3 + 2 * 10;
/// The word for a set without members.
const NONE: &str = "none";

impl PartitionSet {
    /// The compact binary form; equal sets give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let runs = self.intervals().take(RUNS_MAX + 1).count();
        if runs > RUNS_MAX {
            return self.to_roaring_bytes();
        }
        let mut bytes = Vec::with_capacity(ONE_RUN_LEN_MAX);
        self.write_runs(runs, &mut bytes);
        bytes
    }

    fn write_runs(&self, count: usize, out: &mut impl BufMut) {
        out.put_slice(&[VERSION, FORM_RUNS]);
        write_varint(count as u64, out);
        let mut next = 0;
        for (lo, hi) in self.intervals() {
            write_varint(lo - next, out);
            write_varint(hi - lo, out);
            next = hi.saturating_add(1);
        }
    }

    fn to_roaring_bytes(&self) -> Vec<u8> {
        let mut members = self.to_treemap();
        members.optimize();
        let mut bytes = Vec::with_capacity(2 + members.serialized_size());
        bytes.extend([VERSION, FORM_ROARING]);
        members.serialize_into(&mut bytes).expect("a vector takes all bytes");
        bytes
    }

    /// Reads what [`PartitionSet::to_bytes`] wrote; anything else is an error of kind `Corrupt`, and more members than
    /// [`PARTITIONS_MAX`](super::PARTITIONS_MAX) one of kind `LimitExceeded`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        match bytes {
            [VERSION, FORM_RUNS, rest @ ..] => read_runs(rest),
            [VERSION, FORM_ROARING, rest @ ..] => read_roaring(rest),
            [VERSION, form, ..] => Err(corrupt(format!("{form} is no form that this build knows"))),
            [VERSION] | [] => Err(corrupt("the bytes end too early")),
            [version, ..] => Err(corrupt(format!(
                "the format version is {version}, and this build reads version {VERSION}"
            ))),
        }
    }
}

fn read_runs(mut bytes: &[u8]) -> Result<PartitionSet> {
    let count = read_varint(&mut bytes)?;
    if count > RUNS_MAX as u64 {
        return Err(corrupt(format!("{count} runs are more than the form allows")));
    }
    let mut set = PartitionSet::new();
    let mut members = 0;
    // None once a run reached the largest index, after which nothing can follow.
    let mut next = Some(0_u64);
    for _ in 0..count {
        let gap = read_varint(&mut bytes)?;
        let length = read_varint(&mut bytes)?;
        let run = next
            .and_then(|next| next.checked_add(gap))
            .and_then(|lo| Some((lo, lo.checked_add(length)?)))
            .filter(|_| gap > 0 || set.is_empty());
        let (lo, hi) = run.ok_or_else(|| corrupt("the runs are not apart and ascending"))?;
        members += u128::from(length) + 1;
        check_len(members)?;
        set.insert_range(lo..=hi);
        next = hi.checked_add(1);
    }
    if bytes.is_empty() {
        Ok(set)
    } else {
        Err(corrupt("bytes follow the set"))
    }
}

fn read_roaring(mut bytes: &[u8]) -> Result<PartitionSet> {
    let promised = bytes.first_chunk().map(|head| u64::from_le_bytes(*head));
    let members = RoaringTreemap::deserialize_from(&mut bytes).map_err(|e| corrupt(e.to_string()))?;
    if !bytes.is_empty() {
        return Err(corrupt("bytes follow the set"));
    }
    // Roaring keeps the last of two bitmaps for one part, and empty ones.
    let parts = members.bitmaps().filter(|(_, part)| !part.is_empty()).count() as u64;
    if promised != Some(parts) {
        return Err(corrupt("a part is empty or comes twice"));
    }
    Ok(PartitionSet::from(members))
}

fn write_varint(mut value: u64, out: &mut impl BufMut) {
    while value >= 0x80 {
        out.put_u8((value as u8) | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

fn read_varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or_else(|| corrupt("the bytes end too early"))?;
        *bytes = rest;
        let part = u64::from(byte & 0x7f);
        if shift == 63 && part > 1 {
            break;
        }
        value |= part << shift;
        if byte & 0x80 == 0 {
            // A number has one form only, so that equal sets have equal bytes.
            return if byte == 0 && shift > 0 {
                Err(corrupt("a number has extra bytes"))
            } else {
                Ok(value)
            };
        }
    }
    Err(corrupt("a number takes more than 64 bits"))
}

fn corrupt(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, message)
        .code("partition_set_corrupt")
        .during("decode partition set")
}

/// Runs of indices: `0-30,45`, or `none`.
impl fmt::Display for PartitionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str(NONE);
        }
        for (position, (lo, hi)) in self.intervals().enumerate() {
            if position > 0 {
                f.write_str(",")?;
            }
            if lo == hi {
                write!(f, "{lo}")?;
            } else {
                write!(f, "{lo}-{hi}")?;
            }
        }
        Ok(())
    }
}

/// Reads `0-30,45` or `none`; runs may come in any order and overlap.
impl FromStr for PartitionSet {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut set = Self::new();
        let mut members = 0;
        if text == NONE {
            return Ok(set);
        }
        for run in text.split(',') {
            let (lo, hi) = run.split_once('-').unwrap_or((run, run));
            match (lo.parse::<u64>(), hi.parse::<u64>()) {
                (Ok(lo), Ok(hi)) if lo <= hi => {
                    members += u128::from(hi - lo) + 1;
                    check_len(members)?;
                    set.insert_range(lo..=hi);
                }
                _ => {
                    return Err(Error::new(ErrorKind::Invalid, format!("{run:?} is no run of indices"))
                        .code("partition_set_invalid")
                        .during("parse partition set")
                        .fix("write runs as 0-30,45"));
                }
            }
        }
        Ok(set)
    }
}

/// Text where a person may read it, bytes elsewhere.
impl Serialize for PartitionSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else if self.is_one_run() {
            // As most sets of a plan are; these take no allocation.
            let mut bytes = [0; ONE_RUN_LEN_MAX];
            let mut rest = &mut bytes[..];
            self.write_runs(1, &mut rest);
            let left = rest.len();
            serializer.serialize_bytes(&bytes[..ONE_RUN_LEN_MAX - left])
        } else {
            serializer.serialize_bytes(&self.to_bytes())
        }
    }
}

impl<'de> Deserialize<'de> for PartitionSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SetForm;

        impl Visitor<'_> for SetForm {
            type Value = PartitionSet;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a set of partitions")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<PartitionSet, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<PartitionSet, E> {
                PartitionSet::from_bytes(bytes).map_err(E::custom)
            }
        }

        if deserializer.is_human_readable() {
            deserializer.deserialize_str(SetForm)
        } else {
            deserializer.deserialize_bytes(SetForm)
        }
    }
}
