//! Which Arrow types a table may have, and the text by which a schema enters a data version.
//!
//! Only types that Parquet gives back exactly are let in. The text is our own, so that another version of Arrow, which
//! may print its types otherwise, does not make equal tables differ.

use std::fmt::Write;

use arrow::datatypes::{DataType, Field, IntervalUnit, Metadata, Schema, TimeUnit};
use flowstone_core::{Error, ErrorKind, Result};

/// The canonical text of `schema`. Two schemas have the same text exactly when they are equal.
///
/// # Errors
/// `Invalid` with the column's name when a type cannot be kept in Parquet.
pub(crate) fn describe(schema: &Schema) -> Result<String> {
    let mut text = String::new();
    for field in schema.fields() {
        describe_field(&mut text, field, field.name())?;
    }
    describe_metadata(&mut text, schema.metadata());
    Ok(text)
}

fn describe_field(text: &mut String, field: &Field, path: &str) -> Result<()> {
    quote(text, field.name());
    text.push(if field.is_nullable() { '?' } else { '!' });
    describe_type(text, field.data_type(), path)?;
    describe_metadata(text, field.metadata());
    text.push(';');
    Ok(())
}

fn describe_metadata(text: &mut String, metadata: &Metadata) {
    let mut entries: Vec<_> = metadata.iter().collect();
    entries.sort_unstable();
    for (key, value) in entries {
        text.push('@');
        quote(text, key);
        quote(text, value);
    }
}

/// Length first, so that no name can pass for syntax.
fn quote(text: &mut String, name: &str) {
    push(text, format_args!("{}:{name}", name.len()));
}

fn push(text: &mut String, part: std::fmt::Arguments<'_>) {
    text.write_fmt(part).expect("a string can be written to");
}

fn describe_type(text: &mut String, ty: &DataType, path: &str) -> Result<()> {
    let child = |text: &mut String, field: &Field| describe_field(text, field, &format!("{path}.{}", field.name()));
    let plain = match ty {
        DataType::Null => "null",
        DataType::Boolean => "bool",
        DataType::Int8 => "i8",
        DataType::Int16 => "i16",
        DataType::Int32 => "i32",
        DataType::Int64 => "i64",
        DataType::UInt8 => "u8",
        DataType::UInt16 => "u16",
        DataType::UInt32 => "u32",
        DataType::UInt64 => "u64",
        DataType::Float16 => "f16",
        DataType::Float32 => "f32",
        DataType::Float64 => "f64",
        DataType::Utf8 => "text",
        DataType::LargeUtf8 => "large-text",
        DataType::Utf8View => "text-view",
        DataType::Binary => "bytes",
        DataType::LargeBinary => "large-bytes",
        DataType::BinaryView => "bytes-view",
        DataType::Date32 => "date",
        DataType::Date64 => "date64",
        DataType::FixedSizeBinary(len) => {
            push(text, format_args!("bytes[{len}]"));
            return Ok(());
        }
        DataType::Time32(unit) | DataType::Time64(unit) => {
            push(text, format_args!("time[{}]", unit_name(unit)));
            return Ok(());
        }
        DataType::Duration(unit) => {
            push(text, format_args!("duration[{}]", unit_name(unit)));
            return Ok(());
        }
        DataType::Timestamp(unit, zone) => {
            push(text, format_args!("timestamp[{}", unit_name(unit)));
            if let Some(zone) = zone {
                text.push(' ');
                quote(text, zone);
            }
            text.push(']');
            return Ok(());
        }
        DataType::Decimal128(precision, scale) => {
            push(text, format_args!("decimal128[{precision} {scale}]"));
            return Ok(());
        }
        DataType::Decimal256(precision, scale) => {
            push(text, format_args!("decimal256[{precision} {scale}]"));
            return Ok(());
        }
        DataType::List(field) => {
            text.push_str("list ");
            return child(text, field);
        }
        DataType::LargeList(field) => {
            text.push_str("large-list ");
            return child(text, field);
        }
        DataType::FixedSizeList(field, len) if *len > 0 => {
            push(text, format_args!("list[{len}] "));
            return child(text, field);
        }
        DataType::Struct(fields) if !fields.is_empty() => {
            text.push_str("struct(");
            for field in fields {
                child(text, field)?;
            }
            text.push(')');
            return Ok(());
        }
        DataType::Map(entries, false) => {
            text.push_str("map ");
            return child(text, entries);
        }
        DataType::Dictionary(key, value) if is_text(value) => {
            text.push_str("dictionary ");
            describe_type(text, key, path)?;
            text.push(' ');
            return describe_type(text, value, path);
        }
        other => return Err(unsupported(path, other)),
    };
    text.push_str(plain);
    Ok(())
}

fn is_text(ty: &DataType) -> bool {
    matches!(ty, DataType::Utf8 | DataType::LargeUtf8)
}

fn unit_name(unit: &TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Second => "s",
        TimeUnit::Millisecond => "ms",
        TimeUnit::Microsecond => "us",
        TimeUnit::Nanosecond => "ns",
    }
}

fn unsupported(path: &str, ty: &DataType) -> Error {
    let fix = match ty {
        DataType::Struct(_) => "give the struct a field, or leave the column out",
        DataType::Union(..) => "split the variants into columns, or store the value as json",
        DataType::Interval(IntervalUnit::DayTime | IntervalUnit::MonthDayNano | IntervalUnit::YearMonth) => {
            "cast the column to a duration or to a number"
        }
        _ => "cast the column to a type that Parquet gives back as it was",
    };
    Error::new(ErrorKind::Invalid, format!("Parquet cannot keep a column of type {ty}"))
        .code("parquet_column_type")
        .during("write a table")
        .about(format_args!("column {path:?}"))
        .fix(fix)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn one(name: &str, ty: DataType) -> Schema {
        Schema::new(vec![Field::new(name, ty, true)])
    }

    #[test]
    fn schemas_that_differ_have_texts_that_differ() {
        let texts: Vec<_> = [
            one("a", DataType::Int64),
            one("b", DataType::Int64),
            one("a", DataType::UInt64),
            one("a", DataType::Timestamp(TimeUnit::Second, None)),
            one("a", DataType::Timestamp(TimeUnit::Second, Some("UTC".into()))),
            one(
                "a",
                DataType::Struct(vec![Field::new("b", DataType::Int8, true)].into()),
            ),
            Schema::new(vec![Field::new("a", DataType::Int64, false)]),
            Schema::new(vec![Field::new("a", DataType::Int64, true); 2]),
        ]
        .iter()
        .map(|schema| describe(schema).unwrap())
        .collect();

        for (at, text) in texts.iter().enumerate() {
            assert!(!texts[..at].contains(text), "{text}");
        }
    }

    #[test]
    fn an_unsupported_column_is_named_however_deep_it_lies() {
        let inner = Field::new("unit", DataType::Interval(IntervalUnit::DayTime), true);
        let schema = one("outer", DataType::List(Arc::new(inner)));

        let refused = describe(&schema).unwrap_err();

        assert_eq!(refused.kind(), ErrorKind::Invalid);
        assert_eq!(refused.subject(), Some("column \"outer.unit\""));
    }
}
