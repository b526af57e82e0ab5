//! Arrow tables through Parquet files: how they are cut, streamed, versioned and refused.

use std::fs;
use std::sync::Arc;

use flowstone_core::io::IoFactory;
use flowstone_core::registry::{Plugin, Registry};
use flowstone_core::{ErrorKind, TypeInfo, Value};
use flowstone_io_object::ObjectArea;
use flowstone_io_parquet::arrow::array::{
    Array, AsArray, BooleanBuilder, Float64Array, Int64Array, ListBuilder, StringArray, new_null_array,
};
use flowstone_io_parquet::arrow::buffer::{BooleanBuffer, NullBuffer};
use flowstone_io_parquet::arrow::compute::concat_batches;
use flowstone_io_parquet::arrow::datatypes::{DataType, Field, IntervalUnit, Metadata, Schema};
use flowstone_io_parquet::arrow::record_batch::RecordBatch;
use flowstone_io_parquet::{Compression, Parquet, Table, TableReader, TableWriter};
use futures::TryStreamExt;
use proptest::prelude::*;

use crate::files::{Files, flipped, slot_of};
use crate::types::table_of;

fn numbers(values: impl IntoIterator<Item = i64>) -> Table {
    table_of(vec![("n", Arc::new(Int64Array::from_iter_values(values)))])
}

/// Four rows of every type, the second one null where the type has nulls.

#[test]
fn the_schemas_own_metadata_comes_back_and_nothing_else() {
    let metadata = |text: &str| Metadata::from_iter([("note".to_owned(), text.to_owned())]);
    let field = Field::new("n", DataType::Int64, false).with_metadata(metadata("of the field"));
    let schema = Arc::new(Schema::new(vec![field]).with_metadata(metadata("of the table")));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int64Array::from(vec![1]))]).unwrap();
    let files = Files::in_memory(&Parquet::default());

    let stored = files.store(&Value::new(Table::from(batch)));

    assert_eq!(files.load::<Table>(&stored).unwrap().schema(), &schema);
}

#[test]
fn how_a_table_is_cut_changes_neither_its_data_version_nor_its_bytes() {
    const ROWS: i64 = 50_000;
    let whole = numbers(0..ROWS);
    let files = Files::on_disk(&Parquet::default().row_group_rows(1));
    let expected = files.store(&Value::new(whole.clone()));

    for piece in [1_000, 16_384, 16_385, 49_999] {
        let batch = &whole.batches()[0];
        let starts = (0..batch.num_rows()).step_by(piece);
        let cut = starts
            .map(|at| batch.slice(at, piece.min(batch.num_rows() - at)))
            .collect();
        let cut = Table::new(Arc::clone(whole.schema()), cut).unwrap();
        assert_eq!(cut, whole);
        let stored = files.store(&Value::new(cut));
        assert_eq!(stored.data_version, expected.data_version, "in pieces of {piece}");
    }
    let bytes: Vec<_> = files.all().iter().map(|file| fs::read(file).unwrap()).collect();
    assert!(bytes.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn options_change_the_file_and_not_the_data_version() {
    let table = numbers((0..40_000).map(|at| at % 97));
    let versions = [
        Parquet::default(),
        Parquet::default().compression(Compression::None),
        Parquet::default()
            .compression(Compression::Snappy)
            .row_group_rows(20_000),
        Parquet::default().compression(Compression::Zstd(9)),
    ]
    .map(|parquet| {
        Files::in_memory(&parquet)
            .store(&Value::new(table.clone()))
            .data_version
    });

    assert!(versions.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn what_lies_under_a_null_is_no_content() {
    let with_garbage = |garbage: i64| {
        let nulls = NullBuffer::new(BooleanBuffer::from(vec![true, false]));
        table_of(vec![(
            "n",
            Arc::new(Int64Array::new(vec![1, garbage].into(), Some(nulls))),
        )])
    };
    let files = Files::in_memory(&Parquet::default());

    let versions = [with_garbage(0), with_garbage(99)].map(|table| files.store(&Value::new(table)).data_version);

    assert_eq!(versions[0], versions[1]);
    assert_eq!(with_garbage(0), with_garbage(99));
}

#[test]
fn a_table_is_streamed_by_row_group() {
    let slot = slot_of(0);
    let files = Files::in_memory(&Parquet::default());
    let table = numbers(0..100_000);
    let options = Parquet::default().row_group_rows(30_000);

    let read: Vec<Table> = files.on_runtime(async {
        let area = ObjectArea::in_memory();
        let mut writer = TableWriter::begin(&area, slot, table.schema(), &options).await.unwrap();
        for batch in table.batches() {
            writer.write(batch.clone()).await.unwrap();
        }
        let stored = writer.finish().await.unwrap();
        let reader = TableReader::open(&area, &stored).await.unwrap();
        assert_eq!((reader.num_rows(), reader.num_row_groups()), (100_000, 4));
        assert_eq!(
            reader.read_row_group(3).await.unwrap().values::<i64>("n").unwrap()[0],
            3 * 32_768
        );
        reader.into_stream().try_collect().await.unwrap()
    });

    assert_eq!(
        read.iter().map(Table::num_rows).collect::<Vec<_>>(),
        [32_768, 32_768, 32_768, 1_696]
    );
    let batches: Vec<_> = read.into_iter().flat_map(Table::into_batches).collect();
    assert_eq!(Table::from(concat_batches(table.schema(), &batches).unwrap()), table);
}

#[test]
fn a_group_of_large_rows_ends_early() {
    let texts = StringArray::from_iter_values((0..33_000).map(|number| format!("{number:02100}")));
    let schema = Arc::new(Schema::new(vec![Field::new("text", DataType::Utf8, false)]));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(texts)]).unwrap();
    let table = Table::from(batch.clone());
    let cut: Vec<_> = (0..33).map(|part| batch.slice(part * 1000, 1000)).collect();
    let files = Files::in_memory(&Parquet::default());
    let area = ObjectArea::in_memory();
    let slot = slot_of(0);

    let in_parts = files.on_runtime(async {
        let mut writer = TableWriter::begin(&area, slot, &schema, &Parquet::default())
            .await
            .unwrap();
        for part in cut {
            writer.write(part).await.unwrap();
        }
        writer.finish().await.unwrap()
    });

    let whole = files.store(&Value::new(table.clone()));
    assert_eq!(
        (whole.data_version, whole.bytes),
        (in_parts.data_version, in_parts.bytes)
    );
    files.on_runtime(async {
        let reader = TableReader::open(&area, &in_parts).await.unwrap();
        assert_eq!(reader.num_row_groups(), 3);
        assert_eq!(reader.read_all().await.unwrap(), table);
    });
}

/// More text than Arrow counts in one batch of 16,384 rows; all rows share one text in memory.
#[test]
fn rows_of_more_than_two_gigabytes_in_all_are_kept() {
    const ROWS: usize = 16_500;
    let texts = StringArray::from_iter_values((0..100).map(|number| format!("{}{number:072}", "0".repeat(131_000))));
    let schema = Arc::new(Schema::new(vec![Field::new("text", DataType::Utf8, false)]));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(texts)]).unwrap();
    let slot = slot_of(0);
    let files = Files::in_memory(&Parquet::default());
    let area = ObjectArea::in_memory();

    files.on_runtime(async {
        let mut writer = TableWriter::begin(&area, slot, &schema, &Parquet::default())
            .await
            .unwrap();
        for _ in 0..ROWS / 100 {
            writer.write(batch.clone()).await.unwrap();
        }
        let stored = writer.finish().await.unwrap();
        assert_eq!(stored.rows, Some(ROWS as u64));

        let reader = TableReader::open(&area, &stored).await.unwrap();
        let mut groups = Box::pin(reader.into_stream());
        let mut next = 0;
        while let Some(group) = groups.try_next().await.unwrap() {
            for batch in group.into_batches() {
                for text in batch.column(0).as_string::<i32>() {
                    let text = text.unwrap();
                    assert_eq!(
                        (text.len(), text[131_000..].parse::<usize>().unwrap()),
                        (131_072, next % 100)
                    );
                    next += 1;
                }
            }
        }
        assert_eq!(next, ROWS);
    });
}

#[test]
fn damage_in_one_row_group_does_not_hide_behind_the_others() {
    let files = Files::on_disk(&Parquet::default().row_group_rows(1));
    let stored = files.store(&Value::new(numbers(0..50_000)));
    let file = files.only_file();
    let whole = fs::read(&file).unwrap();

    for at in (0..whole.len()).step_by(whole.len() / 97) {
        fs::write(&file, flipped(&whole, at, at % 8)).unwrap();
        assert_eq!(files.load::<Table>(&stored).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn a_table_that_is_gone_is_not_found() {
    let files = Files::on_disk(&Parquet::default());
    let stored = files.store(&Value::new(numbers(0..3)));

    files.delete(&stored).unwrap();
    files.delete(&stored).unwrap();

    assert_eq!(files.load::<Table>(&stored).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_column_that_parquet_cannot_keep_is_refused_by_name_and_leaves_no_file() {
    let files = Files::on_disk(&Parquet::default());
    let interval = new_null_array(&DataType::Interval(IntervalUnit::MonthDayNano), 2);

    let refused = files
        .try_store(&Value::new(table_of(vec![("every", interval)])))
        .unwrap_err();

    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert_eq!(refused.subject(), Some("column \"every\""));
    assert!(refused.advice().is_some());
    assert!(files.all().is_empty());
}

#[test]
fn columns_are_found_by_name() {
    let table = Table::new(
        Arc::clone(numbers([]).schema()),
        vec![
            numbers(0..2).into_batches().remove(0),
            numbers(2..4).into_batches().remove(0),
        ],
    )
    .unwrap();

    assert_eq!(table.column("n").unwrap().len(), 4);
    assert_eq!(table.values::<i64>("n").unwrap(), [0, 1, 2, 3]);
    let refused = table.column("m").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound);
    assert_eq!(refused.advice(), Some("its columns are n"));
    assert_eq!(table.values::<String>("n").unwrap_err().kind(), ErrorKind::TypeMismatch);
}

#[test]
fn it_registers_under_its_name() {
    let mut registry = Registry::default();

    Box::new(Parquet::default()).register(&mut registry).unwrap();
    Box::new(Parquet::default().named("archive").compression(Compression::Zstd(19)))
        .register(&mut registry)
        .unwrap();

    assert_eq!(registry.io_names().collect::<Vec<_>>(), ["archive", "parquet"]);
    let wrong = Parquet::default().compression(Compression::Zstd(99));
    assert_eq!(
        wrong.accepts(TypeInfo::of::<Table>()).unwrap_err().kind(),
        ErrorKind::OutOfRange
    );
}

type AnyRow = (Option<i64>, Option<f64>, Option<String>, Option<Vec<Option<bool>>>);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_columns_come_back_and_are_told_apart(
        rows in prop::collection::vec(any::<AnyRow>(), 1..60),
        at in any::<prop::sample::Index>(),
    ) {
        let table = |rows: &[AnyRow]| {
            let mut lists = ListBuilder::new(BooleanBuilder::new());
            for row in rows {
                lists.append_option(row.3.clone());
            }
            table_of(vec![
                ("i", Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>())),
                ("f", Arc::new(rows.iter().map(|row| row.1).collect::<Float64Array>())),
                ("t", Arc::new(rows.iter().map(|row| row.2.as_deref()).collect::<StringArray>())),
                ("l", Arc::new(lists.finish())),
            ])
        };
        let files = Files::in_memory(&Parquet::default());

        let written = table(&rows);
        let stored = files.store(&Value::new(written.clone()));
        prop_assert_eq!(&files.load::<Table>(&stored).unwrap(), &written);

        let mut other = rows.clone();
        let changed = at.get(&rows).0.map_or(Some(0), |number| Some(number.wrapping_add(1)));
        other[at.index(rows.len())].0 = changed;
        prop_assert_ne!(files.store(&Value::new(table(&other))).data_version, stored.data_version);
    }
}
