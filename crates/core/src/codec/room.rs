//! What bincode counts when it decodes.
//!
//! It decodes no more than [`DECODED_LEN_MAX`], and counts every number and every length at its full width, however short
//! it was written. So it is counted on writing, too, and nothing is written that could not be read again.

use bincode::enc::write::SizeWriter;

use super::{Bincode, Codec, DECODED_LEN_MAX, unwritable};
use crate::{Error, ErrorKind, Result, Value};

/// Nothing is counted as more than so many times the bytes that it takes: a number of 128 bits may take one.
pub(super) const COUNTED_PER_BYTE_MAX: usize = 16;
/// The length of a sequence counts so much.
const LENGTH: u64 = 8;

/// What decoding `value` counts.
fn counted(value: &Value) -> Result<u64> {
    let mut size = SizeWriter::default();
    let config = bincode::config::standard().with_fixed_int_encoding();
    bincode::serde::encode_into_writer(value.as_serialize(), &mut size, config)
        .map_err(|error| unwritable(&Bincode, value, &error))?;
    Ok(size.bytes_written as u64)
}

/// Refuses a value, encoded in `len` bytes, that could not be decoded.
///
/// # Errors
/// `LimitExceeded`.
pub(super) fn check(value: &Value, len: usize) -> Result<()> {
    if len <= DECODED_LEN_MAX / COUNTED_PER_BYTE_MAX {
        return Ok(());
    }
    Room::default().take(value)
}

/// How much more of a sequence can be decoded.
pub(super) struct Room {
    left: u64,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            left: DECODED_LEN_MAX as u64 - LENGTH,
        }
    }
}

impl Room {
    /// Counts the next part, or the whole.
    ///
    /// # Errors
    /// `LimitExceeded` when there is no room for it.
    pub(super) fn take(&mut self, part: &Value) -> Result<()> {
        let counted = counted(part)?.saturating_sub(LENGTH);
        self.left = self.left.checked_sub(counted).ok_or_else(|| too_long(part))?;
        Ok(())
    }
}

fn too_long(value: &Value) -> Error {
    let (format, ty) = (Bincode.name(), value.ty().name());
    Error::new(
        ErrorKind::LimitExceeded,
        format!("{format} decodes no more than {DECODED_LEN_MAX} bytes, and this `{ty}` has more"),
    )
    .code("codec_too_long")
    .during("encode a value")
    .fix("store the asset as postcard, jsonl or parquet, or give it partitions")
}

#[cfg(test)]
mod tests {
    use bincode::serde::BorrowedSerdeDecoder;
    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::{AssetValue, TypeInfo};

    const LIMIT: usize = 200;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    enum Kind {
        None,
        Some(u16),
        Both { wide: u128, letter: char },
    }

    type Row = (
        u64,
        Option<String>,
        Vec<i32>,
        f32,
        bool,
        std::collections::BTreeMap<u8, ()>,
    );

    fn decodes<T: AssetValue>(value: &T) -> bool {
        let bytes = bincode::serde::encode_to_vec(value, bincode::config::standard()).unwrap();
        let config = bincode::config::standard().with_limit::<LIMIT>();
        let mut decoder = BorrowedSerdeDecoder::from_slice(&bytes, config, ());
        T::deserialize(decoder.as_deserializer()).is_ok()
    }

    proptest! {
        #[test]
        fn what_is_counted_on_writing_is_what_reading_counts(
            rows: Vec<Row>, numbers in prop::collection::vec(any::<(u128, u16, char)>(), 0..20),
        ) {
            let kinds: Vec<Kind> = numbers.into_iter().map(|(wide, short, letter)| match short % 3 {
                0 => Kind::None,
                1 => Kind::Some(short),
                _ => Kind::Both { wide, letter },
            }).collect();

            prop_assert_eq!(decodes(&rows), counted(&Value::new(rows)).unwrap() <= LIMIT as u64);
            prop_assert_eq!(decodes(&kinds), counted(&Value::new(kinds)).unwrap() <= LIMIT as u64);
        }

        #[test]
        fn parts_count_as_the_whole_does(rows: Vec<u64>, cut: prop::sample::Index) {
            let cut = cut.index(rows.len() + 1);
            let mut room = Room { left: 1_000 };

            room.take(&Value::new(rows[..cut].to_vec())).unwrap();
            room.take(&Value::new(rows[cut..].to_vec())).unwrap();

            let whole = counted(&Value::new(rows)).unwrap();
            prop_assert_eq!(room.left, 1_000 + LENGTH - whole);
        }
    }

    #[test]
    fn a_part_without_room_is_refused_with_what_to_do() {
        let mut sequence = Bincode.sequence(TypeInfo::of::<Vec<u64>>(), 3).unwrap().unwrap();
        sequence.part(&Value::new(vec![1_u64])).unwrap();
        let mut room = Room { left: 16 };
        room.take(&Value::new(vec![1_u64, 2])).unwrap();

        let refused = room.take(&Value::new(vec![3_u64])).unwrap_err();

        assert_eq!(refused.kind(), ErrorKind::LimitExceeded);
        assert!(refused.advice().unwrap().contains("postcard"));
    }
}
