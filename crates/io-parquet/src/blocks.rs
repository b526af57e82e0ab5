//! Cuts batches of any size into blocks of one size.
//!
//! What is written, and the fingerprint of it, must not depend on how a table happened to be cut into batches; so both
//! work on blocks. A block that lies within one batch is a view of it; only one that straddles batches is copied.

use std::collections::VecDeque;

use arrow::array::Array as _;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use flowstone_core::Result;

use crate::error::unwritable;

/// The rows of a block; the last one of a table may be shorter.
pub(crate) const BLOCK_ROWS: usize = 16_384;

pub(crate) struct Blocks {
    schema: SchemaRef,
    waiting: VecDeque<RecordBatch>,
    waiting_rows: usize,
}

impl Blocks {
    pub(crate) fn new(schema: SchemaRef) -> Self {
        Self {
            schema,
            waiting: VecDeque::new(),
            waiting_rows: 0,
        }
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(crate) fn push(&mut self, batch: RecordBatch) {
        if batch.num_rows() > 0 {
            self.waiting_rows += batch.num_rows();
            self.waiting.push_back(batch);
        }
    }

    /// The rows that were pushed and not cut off yet.
    pub(crate) fn rows(&self) -> usize {
        self.waiting_rows
    }

    /// Cuts off the next block; `None` when nothing waits.
    pub(crate) fn cut(&mut self) -> Result<Option<RecordBatch>> {
        let rows = self.waiting_rows.min(BLOCK_ROWS);
        let mut pieces = Vec::new();
        let mut wanted = rows;
        while wanted > 0 {
            let batch = self
                .waiting
                .pop_front()
                .expect("waiting rows are those of the waiting batches");
            let taken = wanted.min(batch.num_rows());
            pieces.push(batch.slice(0, taken));
            if taken < batch.num_rows() {
                self.waiting.push_front(batch.slice(taken, batch.num_rows() - taken));
            }
            wanted -= taken;
        }
        self.waiting_rows -= rows;
        match pieces.len() {
            0 => Ok(None),
            1 => Ok(pieces.pop()),
            _ => concat_batches(&self.schema, &pieces).map(Some).map_err(unwritable),
        }
    }
}

/// The bytes that a block takes, whatever it is a view of.
pub(crate) fn len_of(block: &RecordBatch) -> usize {
    let columns = block.columns().iter();
    columns
        .map(|column| {
            let measured = column.to_data().get_slice_memory_size();
            // What cannot be measured is what it holds on to.
            measured.unwrap_or_else(|_| column.get_array_memory_size())
        })
        .sum()
}

/// All of `batches`, cut into blocks.
pub(crate) fn blocks_of<'a>(
    schema: SchemaRef,
    batches: impl IntoIterator<Item = &'a RecordBatch>,
) -> impl Iterator<Item = Result<RecordBatch>> {
    let mut blocks = Blocks::new(schema);
    for batch in batches {
        blocks.push(batch.clone());
    }
    std::iter::from_fn(move || blocks.cut().transpose())
}
