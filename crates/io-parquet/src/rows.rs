//! Rows to Arrow batches and back, for types that are known to serde only.
//!
//! serde_arrow fills and reads the columns; here a value of an erased type is taken apart into rows, so that a batch
//! never outgrows a block.

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use flowstone_core::Result;
use serde::de::{DeserializeSeed, SeqAccess, Visitor};
use serde::ser::{Impossible, SerializeSeq, SerializeTuple};
use serde::{Deserializer, Serialize, Serializer, forward_to_deserialize_any};
use serde_arrow::{ArrayBuilder, Error};

use crate::blocks::BLOCK_ROWS;
use crate::error::{mismatch, unwritable};

/// The rows of the sequence `rows` in batches of [`BLOCK_ROWS`] with the columns of `schema`.
///
/// # Errors
/// `Invalid` with the column when a value does not fit it.
pub(crate) fn write(rows: &dyn erased_serde::Serialize, schema: &SchemaRef) -> Result<Vec<RecordBatch>> {
    let builder = ArrayBuilder::from_arrow(schema.fields()).map_err(unwritable)?;
    let sink = RowSink {
        builder,
        pending: 0,
        batches: Vec::new(),
    };
    let batches = erased_serde::serialize(rows, sink).map_err(unwritable)?;
    // serde_arrow names the same columns; the schema's own metadata is ours to keep.
    let fitted = batches
        .into_iter()
        .map(|batch| RecordBatch::try_new(SchemaRef::clone(schema), batch.columns().to_vec()).map_err(unwritable));
    fitted.collect()
}

/// Reads a sequence of rows from `batches`.
///
/// # Errors
/// `TypeMismatch` with the column when the batches do not fit the type that is read.
pub(crate) fn read<T>(
    batches: &[RecordBatch],
    read: impl FnOnce(&mut dyn erased_serde::Deserializer<'_>) -> Result<T, erased_serde::Error>,
) -> Result<T> {
    let batches: Vec<_> = batches
        .iter()
        .filter(|batch| batch.num_rows() > 0)
        .map(serde_arrow::Deserializer::from_record_batch)
        .collect::<Result<_, _>>()
        .map_err(|error| mismatch(error.to_string()))?;
    let source = RowSource {
        batches: &batches,
        batch: 0,
        row: 0,
    };
    read(&mut <dyn erased_serde::Deserializer<'_>>::erase(source)).map_err(|error| mismatch(error.to_string()))
}

struct RowSink {
    builder: ArrayBuilder,
    pending: usize,
    batches: Vec<RecordBatch>,
}

impl RowSink {
    fn push<T: Serialize + ?Sized>(&mut self, row: &T) -> Result<(), Error> {
        self.builder.push(row)?;
        self.pending += 1;
        if self.pending == BLOCK_ROWS {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        if self.pending > 0 {
            self.batches.push(self.builder.to_record_batch()?);
            self.pending = 0;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<RecordBatch>, Error> {
        self.flush()?;
        Ok(self.batches)
    }
}

fn no_rows<T>() -> Result<T, Error> {
    Err(serde::ser::Error::custom("the value is not a sequence of rows"))
}

macro_rules! no_rows {
    ($($method:ident($($ty:ty),*);)*) => {
        $(fn $method(self, $(_: $ty),*) -> Result<Vec<RecordBatch>, Error> {
            no_rows()
        })*
    };
}

impl Serializer for RowSink {
    type Ok = Vec<RecordBatch>;
    type Error = Error;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Impossible<Self::Ok, Error>;
    type SerializeTupleVariant = Impossible<Self::Ok, Error>;
    type SerializeMap = Impossible<Self::Ok, Error>;
    type SerializeStruct = Impossible<Self::Ok, Error>;
    type SerializeStructVariant = Impossible<Self::Ok, Error>;

    no_rows! {
        serialize_bool(bool);
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_u8(u8);
        serialize_u16(u16);
        serialize_u32(u32);
        serialize_u64(u64);
        serialize_f32(f32);
        serialize_f64(f64);
        serialize_char(char);
        serialize_str(&str);
        serialize_bytes(&[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(&'static str);
        serialize_unit_variant(&'static str, u32, &'static str);
    }

    fn serialize_seq(mut self, len: Option<usize>) -> Result<Self, Error> {
        self.builder.reserve(len.unwrap_or(0).min(BLOCK_ROWS));
        Ok(self)
    }

    fn serialize_tuple(self, len: usize) -> Result<Self, Error> {
        self.serialize_seq(Some(len))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, rows: &T) -> Result<Self::Ok, Error> {
        rows.serialize(self)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<Self::Ok, Error> {
        no_rows()
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<Self::Ok, Error> {
        no_rows()
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, Error> {
        no_rows()
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Error> {
        no_rows()
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Error> {
        no_rows()
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeStruct, Error> {
        no_rows()
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Error> {
        no_rows()
    }
}

impl SerializeSeq for RowSink {
    type Ok = Vec<RecordBatch>;
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, row: &T) -> Result<(), Error> {
        self.push(row)
    }

    fn end(self) -> Result<Self::Ok, Error> {
        self.finish()
    }
}

impl SerializeTuple for RowSink {
    type Ok = Vec<RecordBatch>;
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, row: &T) -> Result<(), Error> {
        self.push(row)
    }

    fn end(self) -> Result<Self::Ok, Error> {
        self.finish()
    }
}

/// The rows of several batches as one sequence.
struct RowSource<'a, 'de> {
    batches: &'a [serde_arrow::Deserializer<'de>],
    batch: usize,
    row: usize,
}

impl<'de> Deserializer<'de> for RowSource<'_, 'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> SeqAccess<'de> for RowSource<'_, 'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        while let Some(batch) = self.batches.get(self.batch) {
            if let Some(row) = batch.get(self.row) {
                self.row += 1;
                return seed.deserialize(row).map(Some);
            }
            (self.batch, self.row) = (self.batch + 1, 0);
        }
        Ok(None)
    }

    fn size_hint(&self) -> Option<usize> {
        let ahead = self.batches.get(self.batch..).unwrap_or_default();
        Some(
            ahead
                .iter()
                .map(|batch| batch.len())
                .sum::<usize>()
                .saturating_sub(self.row),
        )
    }
}
