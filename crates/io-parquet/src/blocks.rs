//! Cuts batches of any size into blocks: of one number of rows, or fewer where rows are long.
//!
//! What is written, and the fingerprint of it, must not depend on how a table happened to be cut into batches; so both
//! work on blocks. A block that lies within one batch is a view of it; only one that straddles batches is copied.

use std::collections::VecDeque;

use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use flowstone_core::Result;

use crate::error::unwritable;
use crate::lens::row_lens;

/// The rows of a block, unless they are long; the last one of a table may have fewer.
pub(crate) const BLOCK_ROWS: usize = 16_384;
/// The bytes that the rows of a block have at most, unless a single one has more. Arrow counts the texts of a column in a batch
/// by 31 bits, and whoever reads or writes has some blocks in memory.
pub(crate) const BLOCK_LEN: u64 = 32 << 20;

pub(crate) struct Blocks {
    schema: SchemaRef,
    waiting: VecDeque<RecordBatch>,
    /// How long each of the first waiting rows is: they are measured as far as the next block needs.
    lens: VecDeque<u64>,
    measured_len: u64,
    /// How many of the waiting batches are measured, and how many rows of the next.
    measured: (usize, usize),
    len_max: u64,
}

impl Blocks {
    pub(crate) fn new(schema: SchemaRef) -> Self {
        Self {
            schema,
            waiting: VecDeque::new(),
            lens: VecDeque::new(),
            measured_len: 0,
            measured: (0, 0),
            len_max: BLOCK_LEN,
        }
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(crate) fn push(&mut self, batch: RecordBatch) {
        if batch.num_rows() > 0 {
            self.waiting.push_back(batch);
        }
    }

    /// True when a whole block waits: where it ends does not depend on what comes.
    pub(crate) fn has_whole(&mut self) -> bool {
        self.measure();
        self.is_measured()
    }

    fn is_measured(&self) -> bool {
        self.lens.len() >= BLOCK_ROWS || self.measured_len > self.len_max
    }

    /// Measures rows until it is known where the next block ends.
    fn measure(&mut self) {
        while !self.is_measured()
            && let Some(batch) = self.waiting.get(self.measured.0)
        {
            let first = self.measured.1;
            let rows = (batch.num_rows() - first).min(BLOCK_ROWS);
            let lens = row_lens(&batch.slice(first, rows));
            self.measured = match first + rows {
                all if all == batch.num_rows() => (self.measured.0 + 1, 0),
                part => (self.measured.0, part),
            };
            self.measured_len += lens.iter().sum::<u64>();
            self.lens.extend(lens);
        }
    }

    /// How many of the measured rows are the next block, and how long they are.
    fn next_len(&self) -> (usize, u64) {
        let mut len = 0;
        for (rows, row_len) in self.lens.iter().enumerate() {
            if rows == BLOCK_ROWS || (rows > 0 && len + row_len > self.len_max) {
                return (rows, len);
            }
            len += row_len;
        }
        (self.lens.len(), len)
    }

    /// Cuts off the next block, and says how long its rows are; `None` when nothing waits.
    pub(crate) fn cut(&mut self) -> Result<Option<(RecordBatch, u64)>> {
        self.measure();
        let (rows, len) = self.next_len();
        let mut pieces = Vec::new();
        let mut wanted = rows;
        while wanted > 0 {
            let batch = self
                .waiting
                .pop_front()
                .expect("waiting rows are those of the waiting batches");
            let taken = wanted.min(batch.num_rows());
            pieces.push(batch.slice(0, taken));
            let left = batch.num_rows() - taken;
            if left > 0 {
                self.waiting.push_front(batch.slice(taken, left));
            }
            match &mut self.measured {
                (0, rows) => *rows -= taken,
                (batches, _) if left == 0 => *batches -= 1,
                _ => {}
            }
            wanted -= taken;
        }
        self.lens.drain(..rows);
        self.measured_len -= len;
        let block = match pieces.len() {
            0 => return Ok(None),
            1 => pieces.remove(0),
            _ => concat_batches(&self.schema, &pieces).map_err(unwritable)?,
        };
        Ok(Some((block, len)))
    }
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
    std::iter::from_fn(move || blocks.cut().map(|cut| cut.map(|(block, _)| block)).transpose())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::StringArray;
    use arrow::datatypes::{DataType, Field, Schema};
    use proptest::prelude::*;

    use super::*;

    fn batch(lens: &[usize]) -> RecordBatch {
        let schema = Schema::new(vec![Field::new("text", DataType::Utf8, false)]);
        let texts = StringArray::from_iter_values(lens.iter().map(|len| "x".repeat(*len)));
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(texts)]).unwrap()
    }

    /// The rows of each block of those that come so many at a time, blocks of at most ten bytes.
    fn cut(lens: &[usize], at_a_time: &[usize]) -> Vec<usize> {
        let mut blocks = Blocks {
            len_max: 10,
            ..Blocks::new(batch(&[]).schema())
        };
        let (mut rest, mut cut) = (lens, Vec::new());
        let mut at_a_time = at_a_time.iter().cycle();
        while !rest.is_empty() {
            let (come, later) = rest.split_at(rest.len().min(*at_a_time.next().unwrap()));
            rest = later;
            blocks.push(batch(come));
            while blocks.has_whole() {
                cut.push(blocks.cut().unwrap().unwrap().0.num_rows());
            }
        }
        while let Some((block, _)) = blocks.cut().unwrap() {
            cut.push(block.num_rows());
        }
        cut
    }

    #[test]
    fn a_block_ends_before_the_row_that_makes_it_too_long() {
        assert_eq!(cut(&[4, 6, 1, 9, 30, 0, 10, 1], &[8]), [2, 2, 1, 2, 1]);
        assert_eq!(cut(&[0; 20], &[7]), [20]);
        assert_eq!(cut(&[], &[1]), Vec::<usize>::new());
    }

    proptest! {
        #[test]
        fn blocks_do_not_depend_on_how_rows_come(
            lens in prop::collection::vec(0_usize..15, 0..60), at_a_time in prop::collection::vec(1_usize..20, 1..4),
        ) {
            prop_assert_eq!(cut(&lens, &at_a_time), cut(&lens, &[lens.len().max(1)]));
        }
    }
}
