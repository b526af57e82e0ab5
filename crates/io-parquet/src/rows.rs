//! Rows to Arrow batches and back, for types that are known to serde only.
//!
//! serde_arrow fills and reads the columns; here a value of an erased type is taken apart into rows, so that a batch
//! never outgrows a block.

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use flowstone_core::Result;
use flowstone_core::codec::rows::{RowSink, len_of, read_rows, write_rows};
use serde::Serialize;
use serde::de::{DeserializeSeed, SeqAccess};
use serde::ser::Error as _;
use serde_arrow::{ArrayBuilder, Error};

use crate::blocks::{BLOCK_LEN, BLOCK_ROWS};
use crate::error::{mismatch, unwritable};

/// The longest row: Arrow counts the texts of a column by 31 bits.
const ROW_LEN_MAX: u64 = i32::MAX as u64;

/// The rows of the sequence `rows` in batches of at most [`BLOCK_ROWS`] with the columns of `schema`; the number of the first
/// is `first`.
///
/// # Errors
/// `Invalid` with the column when a value does not fit it, with the number of a row that is too long.
pub(crate) fn write(rows: &dyn erased_serde::Serialize, schema: &SchemaRef, first: u64) -> Result<Vec<RecordBatch>> {
    let builder = ArrayBuilder::from_arrow(schema.fields()).map_err(unwritable)?;
    let mut sink = BatchSink {
        builder,
        next: first,
        pending: 0,
        pending_len: 0,
        batches: Vec::new(),
    };
    write_rows(rows, &mut sink)
        .and_then(|()| sink.flush())
        .map_err(unwritable)?;
    // serde_arrow names the same columns; the schema's own metadata is ours to keep.
    let fitted = sink
        .batches
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
    read(&mut <dyn erased_serde::Deserializer<'_>>::erase(read_rows(source)))
        .map_err(|error| mismatch(error.to_string()))
}

struct BatchSink {
    builder: ArrayBuilder,
    /// The number of the next row.
    next: u64,
    pending: usize,
    pending_len: u64,
    batches: Vec<RecordBatch>,
}

impl BatchSink {
    fn flush(&mut self) -> Result<(), Error> {
        if self.pending > 0 {
            self.batches.push(self.builder.to_record_batch()?);
            (self.pending, self.pending_len) = (0, 0);
        }
        Ok(())
    }
}

impl RowSink for BatchSink {
    type Error = Error;

    fn expect(&mut self, rows: usize) {
        self.builder.reserve(rows.min(BLOCK_ROWS));
    }

    fn take<T: Serialize + ?Sized>(&mut self, row: &T) -> Result<(), Error> {
        // What cannot be measured counts as a row of a block whose rows are no reason to end it.
        let len = len_of(row).map_or(BLOCK_LEN / BLOCK_ROWS as u64, |len| len as u64);
        if len > ROW_LEN_MAX {
            let number = self.next;
            return Err(Error::custom(format!(
                "row {number} has {len} bytes, a row of a Parquet file has at most {ROW_LEN_MAX}"
            )));
        }
        if self.pending_len + len > BLOCK_LEN {
            self.flush()?;
        }
        self.builder.push(row)?;
        self.next += 1;
        self.pending += 1;
        self.pending_len += len;
        if self.pending == BLOCK_ROWS {
            self.flush()?;
        }
        Ok(())
    }
}

/// The rows of several batches as one sequence.
struct RowSource<'a, 'de> {
    batches: &'a [serde_arrow::Deserializer<'de>],
    batch: usize,
    row: usize,
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
