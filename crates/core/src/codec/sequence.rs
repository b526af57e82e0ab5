//! Encodings of sequences that come in parts.
//!
//! A part is encoded as the sequence that it is, and loses what stands around its elements: brackets, or a count.

use bytes::Bytes;

use super::room::Room;
use super::{Codec, HEADER_LEN, Json, header};
use crate::{Error, ErrorKind, Result, Value};

/// Encodes a sequence part by part: the bytes one after the other are what [`Codec::encode`] makes of the whole.
pub trait SequenceEncoder: Send {
    /// The bytes of the next part.
    ///
    /// # Errors
    /// As [`Codec::encode`].
    fn part(&mut self, part: &Value) -> Result<Bytes>;

    /// The bytes behind the last part.
    fn finish(&mut self) -> Bytes;
}

/// Elements between brackets, with commas.
pub(super) struct JsonSequence {
    /// What stands before the elements, until it is written.
    head: Vec<u8>,
    is_begun: bool,
}

impl JsonSequence {
    pub(super) fn new() -> Self {
        let mut head = header(&Json);
        head.push(b'[');
        Self { head, is_begun: false }
    }
}

impl SequenceEncoder for JsonSequence {
    fn part(&mut self, part: &Value) -> Result<Bytes> {
        let encoded = Json.encode(part)?;
        let [b'[', elements @ .., b']'] = &encoded[HEADER_LEN..] else {
            return Err(no_sequence(&Json, part));
        };
        let mut bytes = std::mem::take(&mut self.head);
        if !elements.is_empty() {
            if self.is_begun {
                bytes.push(b',');
            }
            self.is_begun = true;
            bytes.extend_from_slice(elements);
        }
        Ok(bytes.into())
    }

    fn finish(&mut self) -> Bytes {
        let mut bytes = std::mem::take(&mut self.head);
        bytes.push(b']');
        bytes.into()
    }
}

/// Elements behind their count.
pub(super) struct CountedSequence<C> {
    pub(super) codec: C,
    /// What stands before the elements, until it is written: all that every value has, and the count of all elements.
    pub(super) head: Vec<u8>,
    /// How much more could be decoded, where that has a bound.
    pub(super) room: Option<Room>,
    /// How long it is before the count.
    pub(super) count_at: usize,
    /// How long the count is that some bytes begin with.
    pub(super) count_len: fn(&[u8]) -> Option<usize>,
}

impl<C: Codec> SequenceEncoder for CountedSequence<C> {
    fn part(&mut self, part: &Value) -> Result<Bytes> {
        if let Some(room) = &mut self.room {
            room.take(part)?;
        }
        let encoded = self.codec.encode(part)?;
        let count_len = (self.count_len)(&encoded[self.count_at..]).ok_or_else(|| no_sequence(&self.codec, part))?;
        let elements = encoded.slice(self.count_at + count_len..);
        if self.head.is_empty() {
            return Ok(elements);
        }
        let mut bytes = std::mem::take(&mut self.head);
        bytes.extend_from_slice(&elements);
        Ok(bytes.into())
    }

    fn finish(&mut self) -> Bytes {
        std::mem::take(&mut self.head).into()
    }
}

fn no_sequence(codec: &dyn Codec, part: &Value) -> Error {
    let (format, ty) = (codec.name(), part.ty().name());
    Error::new(
        ErrorKind::Invalid,
        format!("a `{ty}` is no sequence of rows in {format}"),
    )
    .during("encode a value")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::BUILT_IN;
    use super::*;
    use crate::TypeInfo;

    type Row = (u64, Option<String>);

    proptest! {
        #[test]
        fn a_sequence_in_parts_is_encoded_as_the_whole_is(
            rows: Vec<Row>, mut cuts in prop::collection::vec(0_usize..20, 0..5),
        ) {
            for cut in &mut cuts {
                *cut = (*cut).min(rows.len());
            }
            cuts.extend([0, rows.len()]);
            cuts.sort_unstable();
            for codec in BUILT_IN {
                let mut encoder = codec.sequence(TypeInfo::of::<Vec<Row>>(), rows.len() as u64).unwrap().unwrap();
                let mut bytes = Vec::new();
                for cut in cuts.windows(2) {
                    bytes.extend_from_slice(&encoder.part(&Value::new(rows[cut[0]..cut[1]].to_vec())).unwrap());
                }
                bytes.extend_from_slice(&encoder.finish());

                prop_assert_eq!(&bytes, &codec.encode(&Value::new(rows.clone())).unwrap(), "{}", codec.name());
            }
        }
    }

    #[test]
    fn no_rows_at_all_are_a_sequence_too() {
        for codec in BUILT_IN {
            let mut encoder = codec.sequence(TypeInfo::of::<Vec<Row>>(), 0).unwrap().unwrap();

            let none = codec.encode(&Value::new(Vec::<Row>::new())).unwrap();
            assert_eq!(encoder.finish(), none, "{}", codec.name());
        }
    }

    #[test]
    fn a_part_that_is_no_sequence_is_refused() {
        let mut encoder = Json.sequence(TypeInfo::of::<Vec<Row>>(), 1).unwrap().unwrap();

        assert_eq!(encoder.part(&Value::new(1_u8)).unwrap_err().kind(), ErrorKind::Invalid);
    }
}
