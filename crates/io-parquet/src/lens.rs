//! How long rows are, by what a reader can see of them.
//!
//! Blocks end where their rows have so many bytes, and data versions are made of blocks; so a length depends on values only, not
//! on how Arrow lays them out: what stands under a null does not count, and a dictionary counts as the texts that it stands for.

use arrow::array::{Array, ArrayRef, AsArray, OffsetSizeTrait};
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;

/// The length of each row of `batch`, in bytes.
pub(crate) fn row_lens(batch: &RecordBatch) -> Vec<u64> {
    let mut lens = vec![0; batch.num_rows()];
    for column in batch.columns() {
        add(column, &mut lens);
    }
    lens
}

/// Adds the length of each value of `array`.
fn add(array: &ArrayRef, lens: &mut [u64]) {
    let shown = |at: usize| array.is_valid(at);
    let plain = |from: usize, to: usize| (to - from) as u64;
    match array.data_type() {
        DataType::Utf8 => spans(array.as_string::<i32>().value_offsets(), shown, plain, lens),
        DataType::LargeUtf8 => spans(array.as_string::<i64>().value_offsets(), shown, plain, lens),
        DataType::Binary => spans(array.as_binary::<i32>().value_offsets(), shown, plain, lens),
        DataType::LargeBinary => spans(array.as_binary::<i64>().value_offsets(), shown, plain, lens),
        DataType::Utf8View => {
            let views = array.as_string_view();
            each(shown, |at| views.value(at).len() as u64, lens);
        }
        DataType::BinaryView => {
            let views = array.as_binary_view();
            each(shown, |at| views.value(at).len() as u64, lens);
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            list_lens(list.value_offsets(), list.values(), shown, lens);
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            list_lens(list.value_offsets(), list.values(), shown, lens);
        }
        DataType::Map(..) => {
            let map = array.as_map();
            let entries: ArrayRef = std::sync::Arc::new(map.entries().clone());
            list_lens(map.value_offsets(), &entries, shown, lens);
        }
        DataType::FixedSizeList(_, len) => {
            let len = usize::try_from(*len).unwrap_or(0);
            let sums = sums(array.as_fixed_size_list().values());
            each(shown, |at| sums[(at + 1) * len] - sums[at * len], lens);
        }
        DataType::Struct(_) => {
            let mut whole = vec![0; array.len()];
            for column in array.as_struct().columns() {
                add(column, &mut whole);
            }
            each(shown, |at| whole[at], lens);
        }
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            if dictionary.values().is_empty() {
                return;
            }
            let mut texts = vec![0; dictionary.values().len()];
            add(dictionary.values(), &mut texts);
            let keys = dictionary.normalized_keys();
            each(shown, |at| texts[keys[at]], lens);
        }
        DataType::FixedSizeBinary(width) => {
            let width = u64::try_from(*width).unwrap_or(0);
            lens.iter_mut().for_each(|len| *len += width);
        }
        other => {
            let width = other.primitive_width().unwrap_or(1) as u64;
            lens.iter_mut().for_each(|len| *len += width);
        }
    }
}

fn each(shown: impl Fn(usize) -> bool, value: impl Fn(usize) -> u64, lens: &mut [u64]) {
    for (at, len) in lens.iter_mut().enumerate() {
        if shown(at) {
            *len += value(at);
        }
    }
}

fn spans<O: OffsetSizeTrait>(
    offsets: &[O],
    shown: impl Fn(usize) -> bool,
    value: impl Fn(usize, usize) -> u64,
    lens: &mut [u64],
) {
    each(
        shown,
        |at| value(offsets[at].as_usize(), offsets[at + 1].as_usize()),
        lens,
    );
}

/// A list counts a byte for each of its elements, besides what they have.
fn list_lens<O: OffsetSizeTrait>(offsets: &[O], values: &ArrayRef, shown: impl Fn(usize) -> bool, lens: &mut [u64]) {
    let (first, last) = (offsets[0].as_usize(), offsets[offsets.len() - 1].as_usize());
    let sums = sums(&values.slice(first, last - first));
    let value = |from: usize, to: usize| sums[to - first] - sums[from - first] + (to - from) as u64;
    spans(offsets, shown, value, lens);
}

/// How much stands before each value of `array`, and in all of it.
fn sums(array: &ArrayRef) -> Vec<u64> {
    let mut lens = vec![0; array.len()];
    add(array, &mut lens);
    let mut sum = 0;
    let mut sums = vec![0];
    sums.extend(lens.into_iter().map(|len| {
        sum += len;
        sum
    }));
    sums
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        BooleanArray, DictionaryArray, Int32Array, ListArray, StringArray, StringViewArray, StructArray,
    };
    use arrow::buffer::NullBuffer;
    use arrow::datatypes::{Field, Fields, Int8Type, Int32Type};

    use super::*;

    fn lens(array: impl Array + 'static) -> Vec<u64> {
        let array: ArrayRef = Arc::new(array);
        let mut lens = vec![0; array.len()];
        add(&array, &mut lens);
        // A part of an array counts as that part.
        let mut part = vec![0; array.len() - 1];
        add(&array.slice(1, array.len() - 1), &mut part);
        assert_eq!(part, lens[1..]);
        lens
    }

    #[test]
    fn texts_count_alike_however_they_are_laid_out() {
        let texts = [
            Some("abc"),
            None,
            Some(""),
            Some("abc"),
            Some("a text that is longer than a view"),
        ];
        let expected = [3, 0, 0, 3, 33];

        assert_eq!(lens(StringArray::from_iter(texts)), expected);
        assert_eq!(lens(StringViewArray::from_iter(texts)), expected);
        assert_eq!(lens(DictionaryArray::<Int8Type>::from_iter(texts)), expected);
    }

    #[test]
    fn what_is_hidden_does_not_count() {
        let fields = Fields::from(vec![Field::new("text", DataType::Utf8, false)]);
        let text: ArrayRef = Arc::new(StringArray::from(vec!["ab", "hidden", "c"]));
        let nulls = NullBuffer::from(vec![true, false, true]);

        assert_eq!(lens(StructArray::new(fields, vec![text], Some(nulls))), [2, 0, 1]);
        let list = [Some(vec![Some(1), None]), None, Some(vec![]), Some(vec![Some(3)])];
        assert_eq!(
            lens(ListArray::from_iter_primitive::<Int32Type, _, _>(list)),
            [10, 0, 0, 5]
        );
        assert_eq!(lens(Int32Array::from(vec![Some(1), None])), [4, 4]);
        assert_eq!(lens(BooleanArray::from(vec![true, false])), [1, 1]);
    }
}
