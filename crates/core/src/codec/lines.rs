//! JSON lines: a row a line.

use bytes::Bytes;
use serde::Serialize;
use serde::de::{DeserializeSeed, SeqAccess};

use super::pieces::LinesPieces;
use super::rows::{self, RowSink, read_rows, write_rows};
use super::{Codec, JsonLines, SequenceDecoder, SequenceEncoder, body, finite, header, unreadable, unwritable};
use crate::{Error, ErrorKind, Result, TypeInfo, Value};

impl Codec for JsonLines {
    fn name(&self) -> &'static str {
        "jsonl"
    }

    fn tag(&self) -> u8 {
        b'L'
    }

    fn version(&self) -> u8 {
        1
    }

    fn plain(&self) -> Option<&'static str> {
        Some("jsonl")
    }

    fn accepts(&self, ty: TypeInfo) -> Result<()> {
        if rows::fit(ty) {
            return Ok(());
        }
        let name = ty.name();
        Err(
            Error::new(ErrorKind::TypeMismatch, format!("a `{name}` is not a sequence of rows"))
                .code("codec_no_rows")
                .fix("return a `Vec` of rows, or store it as json"),
        )
    }

    fn encode(&self, value: &Value) -> Result<Bytes> {
        let mut lines = header(self);
        write(value, &mut lines)?;
        Ok(lines.into())
    }

    fn decode(&self, bytes: &[u8], ty: TypeInfo) -> Result<Value> {
        let lines = Lines(body(self, bytes)?);
        ty.read(&mut <dyn erased_serde::Deserializer<'_>>::erase(read_rows(lines)))
            .map_err(|error| unreadable(self, ty, &error))
    }

    fn sequence(&self, _: TypeInfo, _: u64) -> Result<Option<Box<dyn SequenceEncoder>>> {
        Ok(Some(Box::new(LinesSequence { head: header(self) })))
    }

    fn sequence_decoder(&self, ty: TypeInfo) -> Result<Option<Box<dyn SequenceDecoder>>> {
        Ok(rows::fit(ty).then(|| Box::new(LinesPieces::new(ty)) as _))
    }
}

struct LinesSequence {
    head: Vec<u8>,
}

impl SequenceEncoder for LinesSequence {
    fn part(&mut self, part: &Value) -> Result<Bytes> {
        let mut lines = std::mem::take(&mut self.head);
        write(part, &mut lines)?;
        Ok(lines.into())
    }

    fn finish(&mut self) -> Bytes {
        std::mem::take(&mut self.head).into()
    }
}

fn write(value: &Value, lines: &mut Vec<u8>) -> Result<()> {
    finite::check(value.as_serialize()).map_err(|refusal| finite::refused(&JsonLines, value, &refusal))?;
    write_rows(value.as_serialize(), &mut LineSink(lines)).map_err(|error| unwritable(&JsonLines, value, &error))
}

struct LineSink<'a>(&'a mut Vec<u8>);

impl RowSink for LineSink<'_> {
    type Error = serde_json::Error;

    fn take<T: Serialize + ?Sized>(&mut self, row: &T) -> Result<(), serde_json::Error> {
        serde_json::to_writer(&mut *self.0, row)?;
        self.0.push(b'\n');
        Ok(())
    }
}

/// What is left of the lines.
pub(super) struct Lines<'de>(pub(super) &'de [u8]);

impl<'de> SeqAccess<'de> for Lines<'de> {
    type Error = serde_json::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Self::Error> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let end = self.0.iter().position(|byte| *byte == b'\n');
        let end = end.ok_or_else(|| serde::de::Error::custom("the last line has no end"))?;
        let (line, rest) = (&self.0[..end], &self.0[end + 1..]);
        self.0 = rest;
        let mut json = serde_json::Deserializer::from_slice(line);
        let row = seed.deserialize(&mut json)?;
        json.end()?;
        Ok(Some(row))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{by_extension, framed, unframed};
    use super::*;

    type Rows = Vec<(u32, String)>;

    /// It reads itself from nothing at all.
    #[derive(Clone, Serialize, serde::Deserialize)]
    #[serde(default)]
    struct Options {
        limit: u8,
    }

    impl Default for Options {
        fn default() -> Self {
            Self { limit: 1 }
        }
    }

    fn rows() -> Rows {
        vec![(1, "a\nb".to_owned()), (2, "\"".to_owned())]
    }

    #[test]
    fn each_row_is_a_line_of_json() {
        let encoded = JsonLines.encode(&Value::new(rows())).unwrap();

        let plain = unframed(encoded.clone());
        assert_eq!(plain, "[1,\"a\\nb\"]\n[2,\"\\\"\"]\n");
        let codec = by_extension("jsonl").unwrap();
        assert_eq!(framed(codec, &plain), encoded);
        let read = codec.decode(&encoded, TypeInfo::of::<Rows>()).unwrap();
        assert_eq!(read.downcast_ref::<Rows>(), Some(&rows()));
    }

    #[test]
    fn what_is_no_sequence_of_rows_is_refused() {
        assert!(JsonLines.accepts(TypeInfo::of::<Rows>()).is_ok());
        for ty in [
            TypeInfo::of::<u64>(),
            TypeInfo::of::<String>(),
            TypeInfo::of::<(u8, u8)>(),
            TypeInfo::of::<BTreeMap<String, u8>>(),
            TypeInfo::of::<Options>(),
        ] {
            assert_eq!(
                JsonLines.accepts(ty).unwrap_err().kind(),
                ErrorKind::TypeMismatch,
                "{ty:?}"
            );
        }
        let refused = JsonLines.encode(&Value::new(1_u8)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid);
    }

    #[test]
    fn a_damaged_line_is_refused() {
        for plain in [
            "[1,\"a\"]",
            "[1,\"a\"]\n[2,",
            "[1,\"a\"] []\n",
            "\n",
            "[1,\"a\"]\n\n",
            "[-1,\"a\"]\n",
        ] {
            let refused = JsonLines.decode(&framed(&JsonLines, plain.as_bytes()), TypeInfo::of::<Rows>());
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::Corrupt, "{plain:?}");
        }
    }

    #[test]
    fn a_row_with_a_number_that_json_lacks_is_refused() {
        let refused = JsonLines.encode(&Value::new(vec![1.0, f64::NAN])).unwrap_err();

        assert_eq!(refused.kind(), ErrorKind::Invalid);
        assert!(refused.advice().is_some());
    }
}
