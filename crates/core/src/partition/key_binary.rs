//! The binary form of keys, whose bytes order as the keys do.
//!
//! A stored format: tags and widths never change, a new kind of key gets a new tag. The first byte is the version of
//! the whole. Every value ends by its width or by a mark, so no form is the start of another.

use jiff::Timestamp;
use jiff::civil::Date;

use super::key::{KEY_BYTES_MAX, KEY_DEPTH_MAX, PartitionKey, too_deep};
use crate::{Error, ErrorKind, Result};

const VERSION: u8 = 1;

const END: u8 = 0x00;
const UNIT: u8 = 0x10;
const BOOL: u8 = 0x20;
const INT: u8 = 0x30;
const TEXT: u8 = 0x40;
const DATE: u8 = 0x50;
const MONTH: u8 = 0x60;
const YEAR: u8 = 0x70;
const INSTANT: u8 = 0x80;
const TUPLE: u8 = 0x90;

/// Follows a NUL that belongs to the text; a NUL that is followed by [`END`] closes it.
const NUL_IN_TEXT: u8 = 0xff;
const NANOS_PER_SECOND: i128 = 1_000_000_000;

pub(super) fn encode(key: &PartitionKey) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(encoded_len(key));
    bytes.push(VERSION);
    write(key, &mut bytes);
    bytes
}

pub(super) fn encoded_len(key: &PartitionKey) -> usize {
    1 + written_len(key)
}

fn written_len(key: &PartitionKey) -> usize {
    match key {
        PartitionKey::Unit => 1,
        PartitionKey::Bool(_) => 2,
        PartitionKey::Int(_) => 17,
        PartitionKey::Text(text) => 3 + text.len() + text.bytes().filter(|&byte| byte == 0).count(),
        PartitionKey::Date(_) => 5,
        PartitionKey::Month { .. } => 4,
        PartitionKey::Year(_) => 3,
        PartitionKey::Instant(_) => 13,
        PartitionKey::Tuple(keys) => 2 + keys.iter().map(written_len).sum::<usize>(),
    }
}

fn write(key: &PartitionKey, out: &mut Vec<u8>) {
    match key {
        PartitionKey::Unit => out.push(UNIT),
        PartitionKey::Bool(value) => out.extend([BOOL, u8::from(*value)]),
        PartitionKey::Int(value) => {
            out.push(INT);
            out.extend(((*value as u128) ^ (1 << 127)).to_be_bytes());
        }
        PartitionKey::Text(text) => {
            out.push(TEXT);
            for byte in text.bytes() {
                out.push(byte);
                if byte == 0 {
                    out.push(NUL_IN_TEXT);
                }
            }
            out.extend([0, END]);
        }
        PartitionKey::Date(date) => {
            out.push(DATE);
            out.extend(ordered_year(date.year()));
            out.extend([date.month() as u8, date.day() as u8]);
        }
        PartitionKey::Month { year, month } => {
            out.push(MONTH);
            out.extend(ordered_year(*year));
            out.push((*month as u8) ^ 0x80);
        }
        PartitionKey::Year(year) => {
            out.push(YEAR);
            out.extend(ordered_year(*year));
        }
        PartitionKey::Instant(instant) => {
            let nanos = instant.as_nanosecond();
            let seconds = nanos.div_euclid(NANOS_PER_SECOND) as i64;
            let fraction = nanos.rem_euclid(NANOS_PER_SECOND) as u32;
            out.push(INSTANT);
            out.extend(((seconds as u64) ^ (1 << 63)).to_be_bytes());
            out.extend(fraction.to_be_bytes());
        }
        PartitionKey::Tuple(keys) => {
            out.push(TUPLE);
            keys.iter().for_each(|key| write(key, out));
            out.push(END);
        }
    }
}

fn ordered_year(year: i16) -> [u8; 2] {
    ((year as u16) ^ (1 << 15)).to_be_bytes()
}

pub(super) fn decode(bytes: &[u8]) -> Result<PartitionKey> {
    if bytes.len() > KEY_BYTES_MAX {
        return Err(Error::new(
            ErrorKind::LimitExceeded,
            format!(
                "the key takes {} bytes, and the limit is {KEY_BYTES_MAX} bytes",
                bytes.len()
            ),
        )
        .code("partition_key_too_large")
        .during("decode partition key"));
    }
    match decode_first(bytes)? {
        (key, []) => Ok(key),
        (_, extra) => Err(corrupt(format!("{} bytes follow the key", extra.len()))),
    }
}

/// The first key, and what follows it.
pub(super) fn decode_first(bytes: &[u8]) -> Result<(PartitionKey, &[u8])> {
    let mut reader = Reader { rest: bytes };
    match reader.byte()? {
        VERSION => {}
        other => {
            return Err(corrupt(format!(
                "the format version is {other}, and this build reads version {VERSION}"
            )));
        }
    }
    let tag = reader.byte()?;
    let key = reader.key(tag, 0)?;
    Ok((key, reader.rest))
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn key(&mut self, tag: u8, depth: usize) -> Result<PartitionKey> {
        match tag {
            UNIT => Ok(PartitionKey::Unit),
            BOOL => match self.byte()? {
                0 => Ok(PartitionKey::Bool(false)),
                1 => Ok(PartitionKey::Bool(true)),
                other => Err(corrupt(format!("{other} is no truth value"))),
            },
            INT => Ok(PartitionKey::Int(
                (u128::from_be_bytes(self.array()?) ^ (1 << 127)) as i128,
            )),
            TEXT => self.text().map(PartitionKey::Text),
            DATE => {
                let year = self.year()?;
                let [month, day] = self.array()?;
                Date::new(year, month as i8, day as i8)
                    .map(PartitionKey::Date)
                    .map_err(|_| corrupt(format!("day {day} of month {month} of year {year} does not exist")))
            }
            MONTH => {
                let year = self.year()?;
                Ok(PartitionKey::Month {
                    year,
                    month: (self.byte()? ^ 0x80) as i8,
                })
            }
            YEAR => self.year().map(PartitionKey::Year),
            INSTANT => {
                let seconds = (u64::from_be_bytes(self.array()?) ^ (1 << 63)) as i64;
                let fraction = u32::from_be_bytes(self.array()?);
                if i128::from(fraction) >= NANOS_PER_SECOND {
                    return Err(corrupt(format!("{fraction} is no fraction of a second")));
                }
                Timestamp::from_nanosecond(i128::from(seconds) * NANOS_PER_SECOND + i128::from(fraction))
                    .map(PartitionKey::Instant)
                    .map_err(|_| corrupt(format!("second {seconds} lies outside the calendar")))
            }
            TUPLE if depth == KEY_DEPTH_MAX => Err(too_deep()),
            TUPLE => {
                let mut keys = Vec::new();
                loop {
                    match self.byte()? {
                        END => return Ok(PartitionKey::Tuple(keys)),
                        tag => keys.push(self.key(tag, depth + 1)?),
                    }
                }
            }
            other => Err(corrupt(format!("{other:#04x} is no type tag that this build knows"))),
        }
    }

    fn text(&mut self) -> Result<String> {
        let mut text = Vec::new();
        loop {
            let plain = self.rest.iter().position(|byte| *byte == 0);
            let (plain, rest) = self.rest.split_at(plain.unwrap_or(self.rest.len()));
            text.extend_from_slice(plain);
            self.rest = rest;
            match self.array()? {
                [_, NUL_IN_TEXT] => text.push(0),
                [_, END] => return String::from_utf8(text).map_err(|_| corrupt("the text is not UTF-8")),
                _ => return Err(corrupt("a NUL in the text is not marked")),
            }
        }
    }

    fn year(&mut self) -> Result<i16> {
        Ok((u16::from_be_bytes(self.array()?) ^ (1 << 15)) as i16)
    }

    fn byte(&mut self) -> Result<u8> {
        self.array().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, rest) = self
            .rest
            .split_first_chunk()
            .ok_or_else(|| corrupt("the key ends too early"))?;
        self.rest = rest;
        Ok(*head)
    }
}

fn corrupt(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, message)
        .code("partition_key_corrupt")
        .during("decode partition key")
}
