//! Decodings of sequences whose bytes come in pieces.
//!
//! The rows that lie whole in what has come are decoded as the sequence that they are; one that is cut off waits for its
//! rest. Where bytes come from, and whether they are those that were stored, is not decided here.

use std::cell::Cell;

use bincode::de::read::Reader;
use bincode::error::DecodeError;
use bincode::serde::OwnedSerdeDecoder;
use postcard::de_flavors::Flavor;
use serde::de::value::Error as RowError;
use serde::de::{DeserializeSeed, Error as _, SeqAccess};

use super::lines::Lines;
use super::rows::read_rows;
use super::{
    Bincode, Codec, DECODED_LEN_MAX, HEADER_LEN, Json, JsonLines, Postcard, TypeFingerprint, body, fingerprint,
    unreadable,
};
use crate::{Result, TypeInfo, Value};

/// A count takes no more bytes than this.
const COUNT_LEN_MAX: usize = 10;

/// Decodes a sequence piece by piece: the parts one after the other are what [`Codec::decode`] makes of all bytes.
pub trait SequenceDecoder: Send {
    /// Decodes the rows that lie whole at the start of `bytes`, which follow those that were taken before. Gives them as a
    /// value of the sequence's type, and how many bytes they took. `is_last` says that nothing follows.
    ///
    /// # Errors
    /// As [`Codec::decode`].
    fn part(&mut self, bytes: &[u8], is_last: bool) -> Result<(Value, usize)>;
}

fn read<'de, A>(ty: TypeInfo, rows: A) -> Result<Value, erased_serde::Error>
where
    A: SeqAccess<'de>,
{
    ty.read(&mut <dyn erased_serde::Deserializer<'_>>::erase(read_rows(rows)))
}

/// A row a line.
pub(super) struct LinesPieces {
    ty: TypeInfo,
    is_begun: bool,
}

impl LinesPieces {
    pub(super) fn new(ty: TypeInfo) -> Self {
        Self { ty, is_begun: false }
    }
}

impl SequenceDecoder for LinesPieces {
    fn part(&mut self, bytes: &[u8], is_last: bool) -> Result<(Value, usize)> {
        let mut lines = bytes;
        if !self.is_begun && (bytes.len() >= HEADER_LEN || is_last) {
            lines = body(&JsonLines, bytes)?;
            self.is_begun = true;
        }
        let start = bytes.len() - lines.len();
        let end = match lines.iter().rposition(|byte| *byte == b'\n') {
            _ if is_last => lines.len(),
            Some(last) => last + 1,
            None => 0,
        };
        let value = read(self.ty, Lines(&lines[..end])).map_err(|error| unreadable(&JsonLines, self.ty, &error))?;
        Ok((value, start + end))
    }
}

/// Elements between brackets, with commas.
pub(super) struct JsonPieces {
    ty: TypeInfo,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before everything.
    Start,
    /// Behind the bracket.
    First,
    /// Behind an element.
    Next,
    /// Behind the last bracket.
    End,
}

impl JsonPieces {
    pub(super) fn new(ty: TypeInfo) -> Self {
        Self {
            ty,
            place: Place::Start,
        }
    }
}

impl SequenceDecoder for JsonPieces {
    fn part(&mut self, bytes: &[u8], is_last: bool) -> Result<(Value, usize)> {
        let unreadable = |error: &dyn std::fmt::Display| unreadable(&Json, self.ty, error);
        let mut elements = Elements {
            bytes,
            at: 0,
            place: self.place,
        };
        if self.place == Place::Start && (bytes.len() > HEADER_LEN || is_last) {
            if body(&Json, bytes)?.first() != Some(&b'[') {
                return Err(unreadable(&"it is not a sequence"));
            }
            (elements.at, elements.place) = (HEADER_LEN + 1, Place::First);
        }
        let value = read(self.ty, &mut elements).map_err(|error| unreadable(&error))?;
        let Elements { at, place, .. } = elements;
        if is_last && (place != Place::End || at < bytes.len()) {
            return Err(unreadable(&"it does not end where the bytes do"));
        }
        self.place = place;
        Ok((value, at))
    }
}

struct Elements<'de> {
    bytes: &'de [u8],
    at: usize,
    place: Place,
}

impl<'de> SeqAccess<'de> for &mut Elements<'de> {
    type Error = serde_json::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Self::Error> {
        let mut start = self.at;
        match (self.place, self.bytes.get(start)) {
            (Place::Start | Place::End, _) | (_, None) => return Ok(None),
            (_, Some(b']')) => {
                (self.at, self.place) = (start + 1, Place::End);
                return Ok(None);
            }
            (Place::Next, Some(b',')) => start += 1,
            (Place::Next, Some(_)) => return Err(serde_json::Error::custom("elements stand without a comma")),
            (Place::First, Some(_)) => {}
        }
        let Some(len) = element_len(&self.bytes[start..]) else {
            return Ok(None);
        };
        let mut json = serde_json::Deserializer::from_slice(&self.bytes[start..start + len]);
        let row = seed.deserialize(&mut json)?;
        json.end()?;
        (self.at, self.place) = (start + len, Place::Next);
        Ok(Some(row))
    }
}

/// The length of the element that `bytes` begin with; `None` when what stands behind it is not there.
fn element_len(bytes: &[u8]) -> Option<usize> {
    let (mut depth, mut is_text, mut is_escaped) = (0_usize, false, false);
    bytes.iter().position(|byte| {
        if is_text {
            is_text = is_escaped || *byte != b'"';
            is_escaped = !is_escaped && *byte == b'\\';
            return false;
        }
        match byte {
            b'"' => is_text = true,
            b'[' | b'{' => depth += 1,
            b',' | b']' | b'}' if depth == 0 => return true,
            b']' | b'}' => depth -= 1,
            _ => {}
        }
        false
    })
}

/// Elements behind their count, in a format that does not describe itself.
pub(super) struct CountedPieces {
    ty: TypeInfo,
    format: Counted,
    /// The elements that have not come; `None` until the count has.
    left: Option<u64>,
}

/// How elements are written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Counted {
    Bincode,
    Postcard,
}

impl CountedPieces {
    pub(super) fn new(ty: TypeInfo, format: Counted) -> Self {
        Self { ty, format, left: None }
    }

    fn begin<'a>(&self, bytes: &'a [u8], codec: &dyn Codec) -> Result<(u64, &'a [u8])> {
        let counted = TypeFingerprint::of(self.ty)?.check(body(codec, bytes)?, self.ty)?;
        let unreadable = |error: &dyn std::fmt::Display| unreadable(codec, self.ty, error);
        match self.format {
            Counted::Bincode => bincode::decode_from_slice(counted, bincode::config::standard())
                .map(|(count, len)| (count, &counted[len..]))
                .map_err(|error| unreadable(&error)),
            Counted::Postcard => postcard::take_from_bytes(counted).map_err(|error| unreadable(&error)),
        }
    }
}

impl SequenceDecoder for CountedPieces {
    fn part(&mut self, bytes: &[u8], is_last: bool) -> Result<(Value, usize)> {
        let codec: &dyn Codec = match self.format {
            Counted::Bincode => &Bincode,
            Counted::Postcard => &Postcard,
        };
        let is_short = Cell::new(false);
        let mut rows = CountedRows {
            format: self.format,
            left: 0,
            rest: bytes,
            is_short: &is_short,
            waits: !is_last,
        };
        if let Some(left) = self.left {
            rows.left = left;
        } else if is_last || bytes.len() >= HEADER_LEN + fingerprint::LEN + COUNT_LEN_MAX {
            (rows.left, rows.rest) = self.begin(bytes, codec)?;
            self.left = Some(rows.left);
        }
        let value = read(self.ty, &mut rows).map_err(|error| unreadable(codec, self.ty, &error))?;
        let (left, rest) = (rows.left, rows.rest);
        if is_last && (left > 0 || !rest.is_empty()) {
            let (left, rest) = (left, rest.len());
            let error = format!("{left} rows are missing, {rest} bytes are left over");
            return Err(unreadable(codec, self.ty, &error));
        }
        self.left = self.left.map(|_| left);
        Ok((value, bytes.len() - rest.len()))
    }
}

struct CountedRows<'de> {
    format: Counted,
    left: u64,
    rest: &'de [u8],
    is_short: &'de Cell<bool>,
    /// More bytes are to come for a row that is cut off.
    waits: bool,
}

impl<'de> SeqAccess<'de> for &mut CountedRows<'de> {
    type Error = RowError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, RowError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.is_short.set(false);
        let mut bytes = Remaining {
            rest: self.rest,
            is_short: self.is_short,
        };
        let rest;
        let row = match self.format {
            Counted::Bincode => {
                let config = bincode::config::standard().with_limit::<DECODED_LEN_MAX>();
                let mut decoder = OwnedSerdeDecoder::from_reader(&mut bytes, config);
                let row = seed.deserialize(decoder.as_deserializer()).map_err(RowError::custom);
                rest = bytes.rest;
                row
            }
            Counted::Postcard => {
                let mut decoder = postcard::Deserializer::from_flavor(bytes);
                let row = seed.deserialize(&mut decoder).map_err(RowError::custom);
                rest = decoder.finalize().map_err(RowError::custom)?;
                row
            }
        };
        if self.is_short.get() && self.waits {
            // Whatever its type makes of it: it was not all there.
            return Ok(None);
        }
        let row = row?;
        (self.rest, self.left) = (rest, self.left - 1);
        Ok(Some(row))
    }
}

/// Bytes from which a row is decoded.
struct Remaining<'a> {
    rest: &'a [u8],
    /// Set when more were asked for than there are.
    is_short: &'a Cell<bool>,
}

impl<'a> Remaining<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        match self.rest.split_at_checked(len) {
            Some((taken, rest)) => {
                self.rest = rest;
                Some(taken)
            }
            None => {
                self.is_short.set(true);
                None
            }
        }
    }
}

impl Reader for Remaining<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> Result<(), DecodeError> {
        let additional = bytes.len().saturating_sub(self.rest.len());
        let taken = self
            .take(bytes.len())
            .ok_or(DecodeError::UnexpectedEnd { additional })?;
        bytes.copy_from_slice(taken);
        Ok(())
    }

    fn peek_read(&mut self, len: usize) -> Option<&[u8]> {
        self.rest.get(..len)
    }

    fn consume(&mut self, len: usize) {
        self.rest = self.rest.get(len..).unwrap_or_default();
    }
}

impl<'a> Flavor<'a> for Remaining<'a> {
    type Remainder = &'a [u8];
    type Source = &'a [u8];

    fn pop(&mut self) -> postcard::Result<u8> {
        let taken = self.take(1).ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
        Ok(taken[0])
    }

    fn try_take_n(&mut self, len: usize) -> postcard::Result<&'a [u8]> {
        self.take(len).ok_or(postcard::Error::DeserializeUnexpectedEnd)
    }

    fn finalize(self) -> postcard::Result<&'a [u8]> {
        Ok(self.rest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::BUILT_IN;
    use super::*;
    use crate::ErrorKind;

    type Row = (u64, Option<String>, Vec<u8>);

    /// All parts of `bytes`, of which ever so many more are there at a time.
    fn parts(codec: &dyn Codec, bytes: &[u8], pieces: &[usize]) -> Result<Vec<Row>> {
        let mut decoder = codec.sequence_decoder(TypeInfo::of::<Vec<Row>>())?.unwrap();
        let (mut rows, mut taken, mut come) = (Vec::new(), 0, 0);
        let mut pieces = pieces.iter().cycle();
        loop {
            come = bytes.len().min(come + pieces.next().unwrap());
            let is_last = come == bytes.len();
            let (part, len) = decoder.part(&bytes[taken..come], is_last)?;
            taken += len;
            rows.extend(part.take::<Vec<Row>>()?);
            if is_last {
                assert_eq!(taken, come);
                return Ok(rows);
            }
        }
    }

    proptest! {
        #[test]
        fn a_sequence_in_pieces_is_decoded_as_the_whole_is(
            rows in prop::collection::vec(any::<Row>(), 0..20), pieces in prop::collection::vec(1_usize..50, 1..5),
        ) {
            for codec in BUILT_IN {
                let bytes = codec.encode(&Value::new(rows.clone())).unwrap();

                prop_assert_eq!(&parts(codec, &bytes, &pieces).unwrap(), &rows, "{}", codec.name());
            }
        }

        #[test]
        fn hostile_pieces_are_refused_and_never_panic(
            rows in prop::collection::vec(any::<Row>(), 0..5),
            at: prop::sample::Index, byte: u8, cut: prop::sample::Index, pieces in prop::collection::vec(1_usize..50, 1..5),
        ) {
            for codec in BUILT_IN {
                let mut bytes = codec.encode(&Value::new(rows.clone())).unwrap().to_vec();
                let changed = at.index(bytes.len());
                bytes[changed] = byte;
                drop(parts(codec, &bytes, &pieces));
                bytes.truncate(cut.index(bytes.len() + 1));
                drop(parts(codec, &bytes, &pieces));
            }
        }
    }

    #[test]
    fn what_breaks_off_or_goes_on_is_refused() {
        let rows: Vec<Row> = vec![(1, Some("a".to_owned()), vec![2]), (3, None, Vec::new())];
        for codec in BUILT_IN {
            let bytes = codec.encode(&Value::new(rows.clone())).unwrap();

            let short = parts(codec, &bytes[..bytes.len() - 1], &[7]).unwrap_err();
            assert_eq!(short.kind(), ErrorKind::Corrupt, "{}", codec.name());
            let long = parts(codec, &[&bytes[..], b"1"].concat(), &[7]).unwrap_err();
            assert_eq!(long.kind(), ErrorKind::Corrupt, "{}", codec.name());
        }
    }

    #[test]
    fn what_is_no_sequence_has_no_parts() {
        for codec in BUILT_IN {
            for ty in [
                TypeInfo::of::<u64>(),
                TypeInfo::of::<std::collections::BTreeMap<u8, u8>>(),
            ] {
                assert!(codec.sequence_decoder(ty).unwrap().is_none(), "{} {ty:?}", codec.name());
            }
        }
    }
}
