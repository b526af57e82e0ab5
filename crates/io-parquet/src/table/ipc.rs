//! A table through serde: one stream in Arrow's IPC format.
//!
//! This is how a table lies in a codec, inside a larger value or a message; files are Parquet. Formats for people get
//! the bytes in hexadecimal.

use std::fmt;

use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Table;

impl Serialize for Table {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes = to_ipc(self).map_err(S::Error::custom)?;
        if !serializer.is_human_readable() {
            return serializer.serialize_bytes(&bytes);
        }
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        serializer.serialize_str(
            &digits
                .map(|digit| char::from(DIGITS[usize::from(digit)]))
                .collect::<String>(),
        )
    }
}

impl<'de> Deserialize<'de> for Table {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(IpcVisitor)
        } else {
            deserializer.deserialize_byte_buf(IpcVisitor)
        }
    }
}

struct IpcVisitor;

impl<'de> Visitor<'de> for IpcVisitor {
    type Value = Table;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table as an Arrow IPC stream")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Table, E> {
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let bytes: Option<Vec<u8>> = pairs
            .iter()
            .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
            .collect();
        match bytes {
            Some(bytes) if rest.is_empty() => self.visit_bytes(&bytes),
            _ => Err(E::custom("a table's bytes are not hexadecimal")),
        }
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Table, E> {
        from_ipc(bytes).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Table, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = seq.next_element()? {
            bytes.push(byte);
        }
        from_ipc(&bytes).map_err(A::Error::custom)
    }
}

fn to_ipc(table: &Table) -> flowstone_core::Result<Vec<u8>> {
    // In one batch, so that equal tables give equal bytes however they are cut.
    let batch = table.in_one_batch()?;
    let mut writer = StreamWriter::try_new(Vec::new(), table.schema())?;
    writer.write(&batch)?;
    Ok(writer.into_inner()?)
}

fn from_ipc(bytes: &[u8]) -> flowstone_core::Result<Table> {
    let reader = StreamReader::try_new(bytes, None)?;
    let schema = reader.schema();
    Table::new(schema, reader.collect::<Result<_, _>>()?)
}
