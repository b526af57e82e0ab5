//! Every Arrow type that is let in comes back from a Parquet file as it was.

use std::sync::Arc;

use flowstone_core::codec::{Codec, Json};
use flowstone_core::{TypeInfo, Value};
use flowstone_io_parquet::arrow::array::types::{ArrowPrimitiveType, Float16Type, Int8Type};
use flowstone_io_parquet::arrow::array::{
    ArrayRef, BinaryArray, BinaryViewArray, BooleanArray, Date32Array, Date64Array, Decimal128Array, Decimal256Array,
    DictionaryArray, DurationMillisecondArray, FixedSizeBinaryArray, FixedSizeListArray, Float16Array, Float64Array,
    Int64Array, Int64Builder, LargeBinaryArray, LargeListArray, LargeStringArray, ListArray, MapBuilder, NullArray,
    StringArray, StringBuilder, StringViewArray, StructArray, Time32SecondArray, Time64MicrosecondArray,
    TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray, UInt8Array,
};
use flowstone_io_parquet::arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use flowstone_io_parquet::arrow::datatypes::{DataType, Field, i256};
use flowstone_io_parquet::arrow::record_batch::RecordBatch;
use flowstone_io_parquet::{Parquet, Table};

use crate::files::Files;

pub(crate) fn table_of(columns: Vec<(&str, ArrayRef)>) -> Table {
    Table::from(
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap(),
    )
}

fn every_type() -> Vec<(&'static str, ArrayRef)> {
    let nulls = || Some(NullBuffer::from(vec![true, false, true, true]));
    let texts = vec![
        Some("a"),
        None,
        Some(""),
        Some("ünï\u{1F30D}cödé \0 and longer than twelve bytes"),
    ];
    let bytes: Vec<Option<&[u8]>> = vec![Some(b"\xff"), None, Some(b""), Some(b"longer than twelve bytes")];
    let ints: ArrayRef = Arc::new(Int64Array::from(vec![
        Some(1),
        None,
        Some(3),
        Some(4),
        Some(5),
        Some(6),
    ]));
    let item = Arc::new(Field::new("element", DataType::Int64, true));
    let fixed: ArrayRef = Arc::new(Int64Array::from_iter_values(0..8));
    let half = <Float16Type as ArrowPrimitiveType>::Native::from_f32;
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    for entry in [Some(("x", 1)), None, Some(("y", 2)), Some(("z", 3))] {
        if let Some((key, value)) = entry {
            map.keys().append_value(key);
            map.values().append_value(value);
        }
        map.append(entry.is_some()).unwrap();
    }
    vec![
        ("null", Arc::new(NullArray::new(4))),
        (
            "bool",
            Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), Some(true)])),
        ),
        (
            "u8",
            Arc::new(UInt8Array::from(vec![Some(0), None, Some(255), Some(7)])),
        ),
        (
            "i64",
            Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(i64::MAX), Some(0)])),
        ),
        (
            "f16",
            Arc::new(Float16Array::from(vec![
                Some(half(1.5)),
                None,
                Some(half(-0.0)),
                Some(half(f32::NAN)),
            ])),
        ),
        (
            "f64",
            Arc::new(Float64Array::from(vec![Some(f64::NAN), None, Some(-0.0), Some(0.0)])),
        ),
        ("text", Arc::new(StringArray::from(texts.clone()))),
        ("large text", Arc::new(LargeStringArray::from(texts.clone()))),
        ("text view", Arc::new(StringViewArray::from(texts.clone()))),
        (
            "dictionary",
            Arc::new(texts.into_iter().collect::<DictionaryArray<Int8Type>>()),
        ),
        ("bytes", Arc::new(BinaryArray::from(bytes.clone()))),
        ("large bytes", Arc::new(LargeBinaryArray::from(bytes.clone()))),
        ("bytes view", Arc::new(BinaryViewArray::from(bytes))),
        (
            "two bytes",
            Arc::new(FixedSizeBinaryArray::new(
                2,
                vec![1_u8, 2, 3, 4, 5, 6, 7, 8].into(),
                nulls(),
            )),
        ),
        (
            "date",
            Arc::new(Date32Array::from(vec![Some(0), None, Some(-1), Some(20_000)])),
        ),
        (
            "date64",
            Arc::new(Date64Array::from(vec![Some(0), None, Some(-1), Some(1)])),
        ),
        (
            "time s",
            Arc::new(Time32SecondArray::from(vec![Some(0), None, Some(1), Some(86_399)])),
        ),
        (
            "time us",
            Arc::new(Time64MicrosecondArray::from(vec![Some(0), None, Some(1), Some(2)])),
        ),
        (
            "at s",
            Arc::new(TimestampSecondArray::from(vec![Some(0), None, Some(-1), Some(1)])),
        ),
        (
            "at ms",
            Arc::new(TimestampMillisecondArray::from(vec![Some(0), None, Some(-1), Some(1)]).with_timezone("UTC")),
        ),
        (
            "at ns",
            Arc::new(
                TimestampNanosecondArray::from(vec![Some(i64::MIN), None, Some(i64::MAX), Some(1)])
                    .with_timezone("America/New_York"),
            ),
        ),
        (
            "duration",
            Arc::new(DurationMillisecondArray::from(vec![Some(0), None, Some(-1), Some(1)])),
        ),
        (
            "decimal",
            Arc::new(
                Decimal128Array::from(vec![Some(123), None, Some(-1), Some(0)])
                    .with_precision_and_scale(9, 2)
                    .unwrap(),
            ),
        ),
        (
            "large decimal",
            Arc::new(
                [Some(i256::from(5)), None, Some(i256::from(-5)), Some(i256::from(0))]
                    .into_iter()
                    .collect::<Decimal256Array>()
                    .with_precision_and_scale(50, 3)
                    .unwrap(),
            ),
        ),
        (
            "list",
            Arc::new(ListArray::new(
                Arc::clone(&item),
                // The second list is null and yet has an element below it, as Arrow allows.
                OffsetBuffer::new(ScalarBuffer::from(vec![0, 2, 3, 3, 6])),
                Arc::clone(&ints),
                nulls(),
            )),
        ),
        (
            "large list",
            Arc::new(LargeListArray::new(
                Arc::clone(&item),
                OffsetBuffer::new(ScalarBuffer::from(vec![0, 2, 2, 3, 6])),
                ints,
                nulls(),
            )),
        ),
        (
            "pairs",
            Arc::new(FixedSizeListArray::new(item, 2, Arc::clone(&fixed), nulls())),
        ),
        (
            "struct",
            Arc::new(StructArray::new(
                vec![
                    Field::new("a", DataType::Int64, true),
                    Field::new("b", DataType::Utf8, true),
                ]
                .into(),
                vec![
                    Arc::new(Int64Array::from(vec![Some(1), Some(2), None, Some(4)])),
                    Arc::new(StringArray::from(vec!["p", "q", "r", "s"])),
                ],
                nulls(),
            )),
        ),
        ("map", Arc::new(map.finish())),
    ]
}

#[test]
fn every_type_comes_back_as_it_was() {
    let files = Files::on_disk(&Parquet::default());

    for (name, array) in every_type() {
        let table = table_of(vec![(name, array)]);
        let stored = files.store(&Value::new(table.clone()));
        assert_eq!(files.load::<Table>(&stored).unwrap(), table, "{name}");
    }
    let all = table_of(every_type());
    let stored = files.store(&Value::new(all.clone()));
    assert_eq!(files.load::<Table>(&stored).unwrap(), all);
}

#[test]
fn what_is_read_has_the_data_version_of_what_was_written() {
    let files = Files::in_memory(&Parquet::default());
    let mut versions = Vec::new();

    for (name, array) in every_type() {
        let written = files.store(&Value::new(table_of(vec![("column", array)])));
        let read = files.load::<Table>(&written).unwrap();
        assert_eq!(
            files.store(&Value::new(read)).data_version,
            written.data_version,
            "{name}"
        );
        assert!(!versions.contains(&written.data_version), "{name}");
        versions.push(written.data_version);
    }
}

#[test]
fn a_table_may_also_be_a_value_of_a_codec() {
    let table = table_of(every_type());

    let bytes = Json.encode(&Value::new(table.clone())).unwrap();
    let read = Json.decode(&bytes, TypeInfo::of::<Table>()).unwrap();

    assert_eq!(read.downcast_ref::<Table>(), Some(&table));
}
