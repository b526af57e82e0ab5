//! Rows of serde structs through Parquet files: what is stored comes back, and fits the type that reads it.

use std::collections::BTreeMap;

use flowstone_core::io::IoFactory;
use flowstone_core::{AssetValue, ErrorKind, TypeInfo, Value};
use flowstone_io_parquet::{Compression, Parquet, Table};
use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::files::{Files, flipped};

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Sky {
    Clear,
    #[serde(rename = "übercast")]
    Overcast,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Row {
    id: i64,
    code: u8,
    name: String,
    remark: Option<String>,
    share: Option<f32>,
    sky: Sky,
    maybe_sky: Option<Sky>,
    letter: char,
    at: Timestamp,
    day: Option<Date>,
    local: DateTime,
    time: Time,
    tags: Vec<String>,
    grid: Option<Vec<Option<i16>>>,
    place: (i32, u64),
    counts: BTreeMap<String, Option<bool>>,
    inner: Option<Inner>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Inner {
    label: String,
    at: Option<Timestamp>,
}

fn any_instant() -> impl Strategy<Value = Timestamp> {
    (i64::MIN..i64::MAX).prop_map(|ns| Timestamp::from_nanosecond(ns.into()).unwrap())
}

fn any_sky() -> impl Strategy<Value = Sky> {
    prop_oneof![Just(Sky::Clear), Just(Sky::Overcast)]
}

prop_compose! {
    fn any_row()(
        (id, code, name, remark, share) in any::<(i64, u8, String, Option<String>, Option<f32>)>(),
        (sky, maybe_sky) in (any_sky(), prop::option::of(any_sky())),
        (letter, at, day) in (any::<char>(), any_instant(), prop::option::of(-100_000..100_000_i64)),
        (tags, grid) in any::<(Vec<String>, Option<Vec<Option<i16>>>)>(),
        (place, counts) in any::<((i32, u64), BTreeMap<String, Option<bool>>)>(),
        inner in prop::option::of((any::<String>(), prop::option::of(any_instant()))),
    ) -> Row {
        let local = at.to_zoned(jiff::tz::TimeZone::UTC).datetime();
        Row {
            id, code, name, remark, share: share.filter(|share| !share.is_nan()), sky, maybe_sky, letter, at,
            day: day.map(|days| Date::constant(1970, 1, 1) + jiff::Span::new().days(days)),
            local, time: local.time(), tags, grid, place, counts,
            inner: inner.map(|(label, at)| Inner { label, at }),
        }
    }
}

fn back_and_forth<T: AssetValue>(parquet: &Parquet, value: &T) -> T {
    let files = Files::in_memory(parquet);
    let stored = files.store(&Value::new(value.clone()));
    files.load::<T>(&stored).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn any_rows_come_back(rows in prop::collection::vec(any_row(), 0..20)) {
        let snappy = Parquet::default().compression(Compression::Snappy);

        prop_assert_eq!(&back_and_forth(&Parquet::default(), &rows), &rows);
        prop_assert_eq!(&back_and_forth(&snappy, &rows), &rows);
        prop_assert_eq!(&Table::from_rows(&rows).unwrap().to_rows::<Row>().unwrap(), &rows);
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Measure {
    celsius: f64,
}

#[test]
fn numbers_that_are_none_keep_their_bits() {
    let odd = [
        f64::NAN,
        -f64::NAN,
        -0.0,
        0.0,
        f64::INFINITY,
        f64::from_bits(0x7ff8_0000_0000_0001),
    ];
    let rows: Vec<_> = odd
        .iter()
        .cycle()
        .take(300)
        .map(|celsius| Measure { celsius: *celsius })
        .collect();

    let read = back_and_forth(&Parquet::default(), &rows);

    let bits = |rows: &[Measure]| rows.iter().map(|row| row.celsius.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&read), bits(&rows));
}

#[test]
fn a_field_that_is_not_written_when_it_is_none_comes_back_as_none() {
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Sparse {
        id: u8,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        remark: Option<String>,
    }
    let row = |id, remark: Option<&str>| Sparse {
        id,
        remark: remark.map(str::to_owned),
    };
    let rows = vec![row(1, None), row(2, Some("x")), row(3, None)];

    assert_eq!(back_and_forth(&Parquet::default(), &rows), rows);
}

#[test]
fn no_rows_keep_their_columns() {
    let files = Files::in_memory(&Parquet::default());

    let stored = files.store(&Value::new(Vec::<Row>::new()));

    assert_eq!(stored.rows, Some(0));
    assert_eq!(files.load::<Vec<Row>>(&stored).unwrap(), []);
}

#[test]
fn rows_and_their_table_have_one_data_version() {
    let rows: Vec<_> = (0..40_000).map(|at| Measure { celsius: f64::from(at) }).collect();
    let files = Files::in_memory(&Parquet::default());

    let of_rows = files.store(&Value::new(rows.clone()));
    let of_table = files.store(&Value::new(Table::from_rows(&rows).unwrap()));

    assert_eq!(of_rows.rows, Some(40_000));
    assert_eq!(of_rows.data_version, of_table.data_version);
}

#[test]
fn a_column_that_changed_is_named() {
    #[derive(Debug, Clone, Serialize, Deserialize)]
    struct Warmer {
        kelvin: f64,
    }
    #[derive(Debug, Clone, Serialize, Deserialize)]
    struct Coarser {
        celsius: i32,
    }
    #[derive(Debug, Clone, Serialize, Deserialize)]
    struct Wider {
        celsius: f64,
        height_m: Option<f64>,
    }
    let files = Files::in_memory(&Parquet::default());
    let narrow = files.store(&Value::new(vec![Measure { celsius: 1.5 }]));
    let wide = files.store(&Value::new(vec![Wider {
        celsius: 1.5,
        height_m: None,
    }]));

    for (refused, column) in [
        (files.load::<Vec<Warmer>>(&narrow).unwrap_err(), "kelvin"),
        (files.load::<Vec<Coarser>>(&narrow).unwrap_err(), "celsius"),
        (files.load::<Vec<Wider>>(&narrow).unwrap_err(), "height_m"),
        (files.load::<Vec<Measure>>(&wide).unwrap_err(), "height_m"),
    ] {
        assert_eq!(refused.kind(), ErrorKind::TypeMismatch);
        assert!(refused.message().contains(column), "{refused}");
        assert!(refused.advice().is_some());
    }
}

#[test]
fn an_instant_outside_the_columns_range_is_refused_and_not_bent() {
    #[derive(Debug, Clone, Serialize, Deserialize)]
    struct Event {
        at: Timestamp,
    }
    let files = Files::in_memory(&Parquet::default());

    let refused = files
        .try_store(&Value::new(vec![Event { at: Timestamp::MAX }]))
        .unwrap_err();

    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(refused.message().contains("at"), "{refused}");
    assert!(refused.advice().is_some());
}

#[test]
fn a_value_that_is_no_table_is_refused_when_the_pipeline_is_built() {
    let refused = Parquet::default()
        .accepts(TypeInfo::of::<BTreeMap<String, i64>>())
        .unwrap_err();

    assert_eq!(refused.kind(), ErrorKind::TypeMismatch);
    assert!(
        refused
            .advice()
            .unwrap()
            .contains("return a `Table` or a `Vec` of rows")
    );
}

/// Few and short, so that every byte of the file can be tried.
fn small_file() -> (Files, flowstone_core::io::Stored, Vec<Inner>) {
    let rows = vec![
        Inner {
            label: "x".to_owned(),
            at: None,
        },
        Inner {
            label: String::new(),
            at: Some(Timestamp::UNIX_EPOCH),
        },
    ];
    let files = Files::on_disk(&Parquet::default());
    let stored = files.store(&Value::new(rows.clone()));
    (files, stored, rows)
}

#[test]
fn a_file_cut_short_at_any_byte_is_corrupt() {
    let (files, stored, _) = small_file();
    let file = files.only_file();
    let whole = std::fs::read(&file).unwrap();

    for len in 0..whole.len() {
        std::fs::write(&file, &whole[..len]).unwrap();
        let refused = files.load::<Vec<Inner>>(&stored).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Corrupt, "cut at {len}: {refused}");
        assert!(
            refused.to_string().contains(file.to_str().unwrap()),
            "cut at {len}: {refused}"
        );
        assert!(refused.advice().is_some());
    }
}

#[test]
fn a_flipped_bit_at_any_byte_is_corrupt() {
    let (files, stored, rows) = small_file();
    let file = files.only_file();
    let whole = std::fs::read(&file).unwrap();

    for at in 0..whole.len() {
        std::fs::write(&file, flipped(&whole, at, at % 8)).unwrap();
        let refused = files.load::<Vec<Inner>>(&stored).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Corrupt, "flipped at {at}: {refused}");
    }
    std::fs::write(&file, &whole).unwrap();
    assert_eq!(files.load::<Vec<Inner>>(&stored).unwrap(), rows);
}
