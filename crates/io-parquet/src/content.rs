//! The data version of a table: a fingerprint of its schema and values, not of a file.
//!
//! Each block of rows is hashed by itself, so blocks can be hashed side by side, and the version is the hash over the
//! schema's text and the blocks' hashes. Only what a reader can see enters: not the values under nulls, how the table
//! was cut into batches, how a dictionary is laid out, nor anything about compression or the writer. Fixed-width values
//! enter as they lie in memory, little endian on every platform that we support.

use arrow::array::types::{BinaryType, ByteArrayType, LargeBinaryType, LargeUtf8Type, Utf8Type};
use arrow::array::{Array, ArrayRef, AsArray, GenericByteArray, OffsetSizeTrait};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{concat, take};
use arrow::datatypes::{ArrowNativeType, DataType};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use blake3::{Hash, Hasher};
use flowstone_core::{DataVersion, Result};

use crate::error::unwritable;

const DOMAIN: &str = "flowstone table content 1";

/// Gathers the hashes of a table's blocks, in order.
pub(crate) struct Content(Hasher);

impl Content {
    pub(crate) fn new(schema_text: &str) -> Self {
        let mut hasher = Hasher::new_derive_key(DOMAIN);
        hasher.update(&(schema_text.len() as u64).to_le_bytes());
        hasher.update(schema_text.as_bytes());
        Self(hasher)
    }

    pub(crate) fn add(&mut self, block: &Hash) {
        self.0.update(block.as_bytes());
    }

    pub(crate) fn finish(&self) -> DataVersion {
        DataVersion::from_hash(&self.0.finalize())
    }
}

/// The hash of one block.
pub(crate) fn hash_block(block: &RecordBatch) -> Result<Hash> {
    let mut feed = Feed {
        hasher: Hasher::new(),
        gathered: Vec::new(),
    };
    feed.number(block.num_rows());
    for column in block.columns() {
        feed.array(column, None).map_err(unwritable)?;
    }
    Ok(feed.hasher.finalize())
}

struct Feed {
    hasher: Hasher,
    /// Scratch space for what does not lie in one piece.
    gathered: Vec<u8>,
}

impl Feed {
    /// Hashes the values of `array` that neither it nor `mask`, the nulls of what it lies in, hides.
    fn array(&mut self, array: &ArrayRef, mask: Option<&NullBuffer>) -> Result<(), ArrowError> {
        if let DataType::Dictionary(..) = array.data_type() {
            let dictionary = array.as_any_dictionary();
            return self.array(&take(dictionary.values(), dictionary.keys(), None)?, mask);
        }
        let nulls = NullBuffer::union(mask, array.nulls()).filter(|nulls| nulls.null_count() > 0);
        let nulls = nulls.as_ref();
        self.number(array.len());
        self.validity(nulls);
        match array.data_type() {
            DataType::Null => {}
            DataType::Boolean => {
                let values = array.as_boolean().values();
                let shown = match nulls {
                    Some(nulls) => values & nulls.inner(),
                    None => values.clone(),
                };
                self.bits(&shown.sliced(), array.len());
            }
            DataType::Utf8 => self.texts::<Utf8Type>(array.as_bytes(), nulls),
            DataType::LargeUtf8 => self.texts::<LargeUtf8Type>(array.as_bytes(), nulls),
            DataType::Binary => self.texts::<BinaryType>(array.as_bytes(), nulls),
            DataType::LargeBinary => self.texts::<LargeBinaryType>(array.as_bytes(), nulls),
            DataType::Utf8View => {
                let views = array.as_string_view();
                self.views(array.len(), nulls, |at| views.value(at).as_bytes());
            }
            DataType::BinaryView => {
                let views = array.as_binary_view();
                self.views(array.len(), nulls, |at| views.value(at));
            }
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                self.list(list.offsets(), list.values(), nulls)?;
            }
            DataType::LargeList(_) => {
                let list = array.as_list::<i64>();
                self.list(list.offsets(), list.values(), nulls)?;
            }
            DataType::Map(..) => {
                let map = array.as_map();
                let entries: ArrayRef = std::sync::Arc::new(map.entries().clone());
                self.list(map.offsets(), &entries, nulls)?;
            }
            DataType::FixedSizeList(_, len) => {
                let list = array.as_fixed_size_list();
                let mask = nulls.map(|nulls| nulls.expand(usize::try_from(*len).unwrap_or(0)));
                self.array(list.values(), mask.as_ref())?;
            }
            DataType::Struct(_) => {
                for column in array.as_struct().columns() {
                    self.array(column, nulls)?;
                }
            }
            _ => self.fixed_width(array, nulls)?,
        }
        Ok(())
    }

    fn number(&mut self, number: usize) {
        self.hasher.update(&(number as u64).to_le_bytes());
    }

    fn validity(&mut self, nulls: Option<&NullBuffer>) {
        match nulls {
            None => drop(self.hasher.update(&[0])),
            Some(nulls) => {
                self.hasher.update(&[1]);
                self.bits(&nulls.inner().sliced(), nulls.len());
            }
        }
    }

    /// Hashes the first `len` bits; those that fill up the last byte may be anything.
    fn bits(&mut self, bits: &[u8], len: usize) {
        self.hasher.update(&bits[..len / 8]);
        if !len.is_multiple_of(8) {
            self.hasher.update(&[bits[len / 8] & ((1 << (len % 8)) - 1)]);
        }
    }

    fn fixed_width(&mut self, array: &ArrayRef, nulls: Option<&NullBuffer>) -> Result<(), ArrowError> {
        let width = match array.data_type() {
            DataType::FixedSizeBinary(width) => usize::try_from(*width).unwrap_or(0),
            other => other
                .primitive_width()
                .ok_or_else(|| ArrowError::NotYetImplemented(format!("a fingerprint of values of type {other}")))?,
        };
        let data = array.to_data();
        let first = data.offset() * width;
        let bytes = &data.buffers()[0].as_slice()[first..first + array.len() * width];
        match nulls {
            None => drop(self.hasher.update(bytes)),
            Some(nulls) => {
                self.gathered.clear();
                for (start, end) in nulls.valid_slices() {
                    self.gathered.extend_from_slice(&bytes[start * width..end * width]);
                }
                self.hasher.update(&self.gathered);
            }
        }
        Ok(())
    }

    fn texts<T: ByteArrayType>(&mut self, array: &GenericByteArray<T>, nulls: Option<&NullBuffer>) {
        let offsets = array.value_offsets();
        self.lengths(offsets, nulls);
        let at = |index: usize| offsets[index].as_usize();
        let bytes = array.value_data();
        match nulls {
            None => drop(self.hasher.update(&bytes[at(0)..at(array.len())])),
            Some(nulls) => {
                self.gathered.clear();
                for (start, end) in nulls.valid_slices() {
                    self.gathered.extend_from_slice(&bytes[at(start)..at(end)]);
                }
                self.hasher.update(&self.gathered);
            }
        }
    }

    fn views<'a>(&mut self, len: usize, nulls: Option<&NullBuffer>, value: impl Fn(usize) -> &'a [u8]) {
        let shown = || (0..len).filter(|at| nulls.is_none_or(|nulls| nulls.is_valid(*at)));
        self.gathered.clear();
        for at in shown() {
            self.gathered.extend_from_slice(&(value(at).len() as u64).to_le_bytes());
        }
        for at in shown() {
            self.gathered.extend_from_slice(value(at));
        }
        self.hasher.update(&self.gathered);
    }

    fn list<O: OffsetSizeTrait>(
        &mut self,
        offsets: &OffsetBuffer<O>,
        values: &ArrayRef,
        nulls: Option<&NullBuffer>,
    ) -> Result<(), ArrowError> {
        self.lengths(offsets, nulls);
        let part = |start: usize, end: usize| {
            let (from, to) = (offsets[start].as_usize(), offsets[end].as_usize());
            values.slice(from, to - from)
        };
        let Some(nulls) = nulls else {
            return self.array(&part(0, offsets.len() - 1), None);
        };
        let parts: Vec<_> = nulls.valid_slices().map(|(start, end)| part(start, end)).collect();
        let parts: Vec<_> = parts.iter().map(|part| part.as_ref()).collect();
        let shown = if parts.is_empty() {
            values.slice(0, 0)
        } else {
            concat(&parts)?
        };
        self.array(&shown, None)
    }

    fn lengths<O: OffsetSizeTrait>(&mut self, offsets: &[O], nulls: Option<&NullBuffer>) {
        self.gathered.clear();
        let lengths = offsets
            .windows(2)
            .map(|pair| (pair[1].as_usize() - pair[0].as_usize()) as u64);
        match nulls {
            None => self.gathered.extend(lengths.flat_map(u64::to_le_bytes)),
            Some(nulls) => {
                let shown = lengths.zip(nulls.iter()).filter(|(_, valid)| *valid);
                self.gathered.extend(shown.flat_map(|(length, _)| length.to_le_bytes()));
            }
        }
        self.hasher.update(&self.gathered);
    }
}
