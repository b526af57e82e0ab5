//! The columns that a row type has, from the type alone.
//!
//! A type is asked to read one row from a probe that notes what it asks for; what it makes of the probe's texts tells
//! dates and instants from plain text. The row is then written and read back once, so that a type whose serde code does
//! not fit its own output is refused when the pipeline is built and not when its first value is lost.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, Fields, Metadata, Schema, SchemaRef, TimeUnit};
use flowstone_core::{Result, TypeInfo, Value};
use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};

use crate::error::unfit;
use crate::{probe, rows};

/// What serde_arrow calls the mark of a struct that is a tuple in Rust.
const TUPLE_MARK: (&str, &str) = ("SERDE_ARROW:strategy", "TupleAsStruct");

/// One thing that a row type asks for: a column, or what a column is made of.
#[derive(Debug, Default)]
pub(crate) struct Shape {
    pub(crate) kind: Kind,
    pub(crate) nullable: bool,
}

#[derive(Debug, Default)]
pub(crate) enum Kind {
    /// Nothing was asked yet.
    #[default]
    Unknown,
    /// A plain value; the type reads the `sample`-th of the values that the probe has for such a leaf.
    Leaf {
        data_type: DataType,
        sample: usize,
    },
    /// Variants without data, of which the first `seen` were tried.
    Enum {
        seen: usize,
    },
    List(Box<Shape>),
    Map(Box<(Shape, Shape)>),
    Tuple(Vec<Shape>),
    Struct(Vec<(&'static str, Shape)>),
}

/// The columns of a sequence of rows.
#[derive(Debug, Clone)]
pub(crate) struct RowType {
    pub(crate) schema: SchemaRef,
}

/// Reads one value of a type that is not known here, and gives it in a form that can be written.
pub(crate) type ReadAny<'a> = &'a dyn Fn(
    &mut dyn erased_serde::Deserializer<'_>,
) -> Result<Box<dyn erased_serde::Serialize>, erased_serde::Error>;

impl RowType {
    /// The columns of `T`, a sequence of structs.
    pub(crate) fn of<T: Serialize + DeserializeOwned + 'static>() -> Result<Self> {
        Self::known(TypeId::of::<T>(), std::any::type_name::<T>(), &|deserializer| {
            Ok(Box::new(erased_serde::deserialize::<T>(deserializer)?))
        })
    }

    /// The columns of the type that `ty` describes.
    pub(crate) fn of_type(ty: TypeInfo) -> Result<Self> {
        struct Shown(Value);
        impl Serialize for Shown {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                erased_serde::serialize(self.0.as_serialize(), serializer)
            }
        }
        Self::known(ty.id(), ty.name(), &|deserializer| {
            Ok(Box::new(Shown(ty.read(deserializer)?)))
        })
    }

    fn known(id: TypeId, name: &str, read: ReadAny<'_>) -> Result<Self> {
        static KNOWN: LazyLock<Mutex<HashMap<TypeId, RowType>>> = LazyLock::new(Mutex::default);
        let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known().get(&id) {
            return Ok(found.clone());
        }
        let traced = trace(read).map_err(|why| unfit(format!("`{name}` does not fit into Parquet: {why}")))?;
        known().insert(id, traced.clone());
        Ok(traced)
    }
}

fn trace(read: ReadAny<'_>) -> Result<RowType, String> {
    let (mut root, row) = probe::probe(read)?;
    let Kind::List(item) = &mut root.kind else {
        return Err("it is not a sequence of rows".to_owned());
    };
    if item.nullable {
        return Err("a whole row may be missing".to_owned());
    }
    let Kind::Struct(columns) = &mut item.kind else {
        return Err("its rows are not structs, so its columns have no names".to_owned());
    };

    let texts = written(&*row, &schema_of(columns))?;
    for ((name, column), array) in columns.iter_mut().zip(texts.columns()) {
        column.refine(array).map_err(|why| format!("column {name:?}: {why}"))?;
    }
    let schema = schema_of(columns);

    let batch = written(&*row, &schema)?;
    let again = rows::read(std::slice::from_ref(&batch), read).map_err(|error| error.message().to_owned())?;
    if written(&*again, &schema)? != batch {
        return Err("it reads another row than it writes".to_owned());
    }
    Ok(RowType { schema })
}

fn written(rows: &dyn erased_serde::Serialize, schema: &SchemaRef) -> Result<arrow::record_batch::RecordBatch, String> {
    let mut batches = rows::write(rows, schema, 0).map_err(|error| error.message().to_owned())?;
    batches
        .pop()
        .ok_or_else(|| "it writes no row where it read one".to_owned())
}

fn schema_of(columns: &[(&'static str, Shape)]) -> SchemaRef {
    Arc::new(Schema::new(
        columns
            .iter()
            .map(|(name, shape)| shape.field(name))
            .collect::<Fields>(),
    ))
}

impl Shape {
    /// The Arrow field for this shape, under `name`.
    fn field(&self, name: &str) -> Field {
        let mut metadata = Metadata::default();
        let data_type = match &self.kind {
            Kind::Unknown => DataType::Null,
            Kind::Leaf { data_type, .. } => data_type.clone(),
            Kind::Enum { .. } => DataType::Utf8,
            Kind::List(item) => DataType::List(Arc::new(item.field("element"))),
            Kind::Map(entry) => {
                let entry = Fields::from(vec![entry.0.field("key"), entry.1.field("value")]);
                DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entry), false)), false)
            }
            Kind::Tuple(parts) => {
                metadata = [TUPLE_MARK]
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .collect();
                let parts = parts.iter().enumerate();
                DataType::Struct(parts.map(|(at, part)| part.field(&at.to_string())).collect())
            }
            Kind::Struct(fields) => DataType::Struct(fields.iter().map(|(name, shape)| shape.field(name)).collect()),
        };
        let nullable = self.nullable || data_type == DataType::Null;
        Field::new(name, data_type, nullable).with_metadata(metadata)
    }

    /// Gives texts that the type wrote as a date or an instant the type that they stand for.
    fn refine(&mut self, written: &ArrayRef) -> Result<(), String> {
        // The probe never hands out a null, so one here is a field that is read under another name than it is written.
        if self.nullable && written.null_count() > 0 {
            return Err("it is read and not written, as with an alias or two names".to_owned());
        }
        match &mut self.kind {
            Kind::Leaf { data_type, .. } if *data_type == DataType::Utf8 => {
                let texts = written.as_string::<i32>();
                if texts.len() == 1 {
                    *data_type = meaning_of(texts.value(0));
                }
                Ok(())
            }
            Kind::Leaf { .. } | Kind::Enum { .. } | Kind::Unknown => Ok(()),
            Kind::List(item) => item.refine(written.as_list::<i32>().values()),
            Kind::Map(entry) => {
                let entries = written.as_map();
                entry.0.refine(entries.keys())?;
                entry.1.refine(entries.values())
            }
            Kind::Tuple(parts) => {
                let mut parts = parts.iter_mut().zip(written.as_struct().columns());
                parts.try_for_each(|(part, array)| part.refine(array))
            }
            Kind::Struct(fields) => {
                let mut fields = fields.iter_mut().zip(written.as_struct().columns());
                fields.try_for_each(|((_, field), array)| field.refine(array))
            }
        }
    }
}

/// What a type means that read one of the probe's texts and wrote `text`. One that keeps an offset or a zone name is
/// left as text, since a column of instants would lose it.
fn meaning_of(text: &str) -> DataType {
    match text {
        "2000-01-02T03:04:05Z" => DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
        "2000-01-02T05:04:05" => DataType::Timestamp(TimeUnit::Nanosecond, None),
        "2000-01-02" => DataType::Date32,
        "05:04:05" => DataType::Time64(TimeUnit::Nanosecond),
        _ => DataType::Utf8,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use jiff::civil::{Date, DateTime, Time};
    use jiff::{Timestamp, Zoned};
    use serde::Deserialize;
    use uuid::Uuid;

    use super::*;

    #[derive(Clone, Serialize, Deserialize)]
    enum Sky {
        Clear,
        Cloudy,
        Rain,
    }

    #[derive(Clone, Serialize, Deserialize)]
    struct Everything {
        flag: bool,
        small: i8,
        large: u64,
        share: f32,
        letter: char,
        name: String,
        not_zero: std::num::NonZeroU32,
        sky: Sky,
        at: Timestamp,
        seen: Option<Timestamp>,
        day: Date,
        local: DateTime,
        time: Time,
        zoned: Zoned,
        id: Uuid,
        address: std::net::IpAddr,
        tags: Vec<Option<String>>,
        place: (f64, f64),
        counts: BTreeMap<String, i32>,
        inner: Option<Inner>,
        boxed: Box<Inner>,
    }

    #[derive(Clone, Serialize, Deserialize)]
    struct Inner {
        since: Date,
        sky: Option<Sky>,
    }

    fn columns_of<T: Serialize + DeserializeOwned + 'static>() -> Vec<String> {
        let row_type = RowType::of::<Vec<T>>().unwrap();
        let shown = row_type.schema.fields().iter().map(|field| {
            let null = if field.is_nullable() { "?" } else { "" };
            format!("{}{null} {}", field.name(), field.data_type())
        });
        shown.collect()
    }

    fn refusal_of<T: Serialize + DeserializeOwned + 'static>() -> String {
        let refused = RowType::of::<T>().unwrap_err();
        assert_eq!(refused.kind(), flowstone_core::ErrorKind::TypeMismatch);
        assert!(refused.advice().unwrap().contains("json"));
        refused.message().split_once("Parquet: ").unwrap().1.to_owned()
    }

    #[test]
    fn every_field_becomes_the_column_that_stands_for_it() {
        assert_eq!(
            columns_of::<Everything>(),
            [
                "flag Boolean",
                "small Int8",
                "large UInt64",
                "share Float32",
                "letter UInt32",
                "name Utf8",
                "not_zero UInt32",
                "sky Utf8",
                "at Timestamp(ns, \"UTC\")",
                "seen? Timestamp(ns, \"UTC\")",
                "day Date32",
                "local Timestamp(ns)",
                "time Time64(ns)",
                "zoned Utf8",
                "id Utf8",
                "address Utf8",
                "tags List(Utf8, field: 'element')",
                "place Struct(\"0\": non-null Float64, \"1\": non-null Float64)",
                "counts Map(\"entries\": non-null Struct(\"key\": non-null Utf8, \"value\": non-null Int32), unsorted)",
                "inner? Struct(\"since\": non-null Date32, \"sky\": Utf8)",
                "boxed Struct(\"since\": non-null Date32, \"sky\": Utf8)",
            ]
        );
    }

    #[test]
    fn any_sequence_of_structs_will_do() {
        #[derive(PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        struct Key {
            id: u8,
        }
        #[derive(Serialize, Deserialize)]
        struct Keys(Vec<Key>);
        #[derive(Serialize, Deserialize)]
        struct Sparse {
            #[serde(skip_serializing_if = "Option::is_none", default)]
            remark: Option<String>,
        }

        assert!(RowType::of::<Vec<Sparse>>().is_ok());
        assert!(RowType::of::<BTreeSet<Key>>().is_ok());
        assert!(RowType::of::<Keys>().is_ok());
        assert!(RowType::of::<std::collections::VecDeque<Key>>().is_ok());
    }

    #[test]
    fn what_cannot_be_a_column_is_refused_by_name() {
        #[derive(Serialize, Deserialize)]
        struct Row<T> {
            x: T,
        }
        #[derive(Serialize, Deserialize)]
        enum Loaded {
            Nothing,
            Number(i32),
        }
        #[derive(Serialize, Deserialize)]
        struct Tree {
            branches: Vec<Tree>,
        }
        #[derive(Serialize, Deserialize)]
        struct Flat {
            #[serde(flatten)]
            rest: BTreeMap<String, i32>,
        }
        #[derive(Serialize, Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(i32),
            Text(String),
        }
        #[derive(Serialize, Deserialize)]
        struct Nothing {}
        #[derive(Serialize, Deserialize)]
        struct TwoNames<T> {
            #[serde(rename(serialize = "written", deserialize = "read"))]
            x: T,
        }
        #[derive(Serialize, Deserialize)]
        struct Alias {
            #[serde(alias = "old")]
            x: Option<u8>,
        }

        assert!(refusal_of::<Vec<Row<Loaded>>>().starts_with("column \"x\": an enum whose variants hold data"));
        assert!(refusal_of::<Vec<Row<Option<Option<u8>>>>>().starts_with("column \"x\": an option in an option"));
        assert!(refusal_of::<Vec<Row<Row<i128>>>>().starts_with("column \"x.x\": it is of 128 bits"));
        assert!(refusal_of::<Vec<Row<Vec<Either>>>>().starts_with("column \"x[]\": its serde code decides"));
        assert!(refusal_of::<Vec<Tree>>().contains("contains itself"));
        assert!(refusal_of::<Vec<Flat>>().contains("flatten"));
        assert!(refusal_of::<Vec<Nothing>>().contains("a struct without fields"));
        assert!(refusal_of::<Vec<TwoNames<Option<u8>>>>().starts_with("column \"read\": it is read and not written"));
        assert!(refusal_of::<Vec<TwoNames<u8>>>().contains("read"));
        assert!(refusal_of::<Vec<Alias>>().contains("duplicate field"));
        assert!(refusal_of::<Vec<i64>>().contains("its rows are not structs"));
        assert!(refusal_of::<Vec<Option<Row<u8>>>>().contains("a whole row may be missing"));
        assert!(refusal_of::<Row<u8>>().contains("not a sequence"));
        assert!(refusal_of::<String>().contains("not a sequence"));
    }
}
