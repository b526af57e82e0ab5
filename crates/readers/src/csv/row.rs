//! Makes one JSON object of the values of one row.

use std::collections::HashSet;

use bytes::{BufMut, BytesMut};
use flowstone_core::{Error, ErrorKind, Result};

use crate::key::key_of;

/// How values become JSON.
#[derive(Debug, Clone, Default)]
pub(super) struct Types {
    pub(super) is_typed: bool,
    /// Columns that stay text.
    pub(super) texts: Vec<String>,
    /// Values that are null.
    pub(super) nulls: Vec<String>,
}

/// What is wrong with a header.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Bad {
    Twice(String),
    NoColumn(String, Vec<String>),
}

/// The columns, and what is to be made of each.
#[derive(Debug)]
pub(super) struct Header {
    columns: Vec<Column>,
    keys: Vec<usize>,
    nulls: Vec<String>,
    is_typed: bool,
}

#[derive(Debug)]
struct Column {
    name: String,
    /// What stands before the value: `,"name":`.
    before: Vec<u8>,
    is_text: bool,
}

impl Header {
    pub(super) fn new(names: &[String], types: &Types, keys: &[String]) -> Result<Self, Bad> {
        let mut seen = HashSet::new();
        if let Some(twice) = names.iter().find(|name| !seen.insert(*name)) {
            return Err(Bad::Twice(twice.clone()));
        }
        let index_of = |name: &String| {
            let index = names.iter().position(|known| known == name);
            index.ok_or_else(|| Bad::NoColumn(name.clone(), names.to_vec()))
        };
        let keys = keys.iter().map(index_of).collect::<Result<_, _>>()?;
        let texts: Vec<usize> = types.texts.iter().map(index_of).collect::<Result<_, _>>()?;
        let columns = names.iter().enumerate().map(|(index, name)| Column {
            name: name.clone(),
            before: before(index, name),
            is_text: texts.contains(&index),
        });
        Ok(Self {
            columns: columns.collect(),
            keys,
            nulls: types.nulls.clone(),
            is_typed: types.is_typed,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.columns.len()
    }

    pub(super) fn name(&self, index: usize) -> &str {
        &self.columns[index].name
    }

    /// Appends the object of these values, one for each column, to `json`.
    pub(super) fn write<'a>(&self, values: impl Iterator<Item = Result<&'a str>>, json: &mut BytesMut) -> Result<()> {
        json.put_u8(b'{');
        for (column, value) in self.columns.iter().zip(values) {
            json.put_slice(&column.before);
            self.write_value(column, value?, json)?;
        }
        json.put_u8(b'}');
        Ok(())
    }

    fn write_value(&self, column: &Column, value: &str, json: &mut BytesMut) -> Result<()> {
        let is_null =
            !column.is_text && ((self.is_typed && value.is_empty()) || self.nulls.iter().any(|null| null == value));
        if is_null {
            json.put_slice(b"null");
        } else if self.is_typed && !column.is_text && is_json(value) {
            json.put_slice(value.as_bytes());
        } else {
            serde_json::to_writer(json.writer(), value)
                .map_err(|error| Error::new(ErrorKind::Internal, error.to_string()).during("write a row as JSON"))?;
        }
        Ok(())
    }

    /// The key of a row, unless its number is its key.
    pub(super) fn key<'a>(&self, value: impl Fn(usize) -> &'a [u8]) -> Option<String> {
        if self.keys.is_empty() {
            return None;
        }
        let texts = self.keys.iter();
        let texts = texts.map(|&index| String::from_utf8_lossy(value(index)).into_owned());
        Some(key_of(texts.collect()))
    }
}

fn before(index: usize, name: &str) -> Vec<u8> {
    let name = serde_json::to_string(name).expect("a text can be written as JSON");
    let comma = if index == 0 { "" } else { "," };
    format!("{comma}{name}:").into_bytes()
}

/// True for `true`, `false` and what JSON takes for a number that 64 bits hold.
fn is_json(value: &str) -> bool {
    match value.as_bytes() {
        b"true" | b"false" => true,
        [b'-' | b'0'..=b'9', .., b'0'..=b'9'] | [b'0'..=b'9'] => {
            let is_whole = !value.contains(['.', 'e', 'E']);
            serde_json::from_str::<serde_json::Number>(value).is_ok_and(|number| !(is_whole && number.is_f64()))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn written(header: &Header, values: &[&str]) -> String {
        let mut json = BytesMut::new();
        header.write(values.iter().map(|value| Ok(*value)), &mut json).unwrap();
        String::from_utf8(json.to_vec()).unwrap()
    }

    #[test]
    fn values_are_texts_unless_types_are_asked_for() {
        let header = Header::new(&names(&["a", "q\"b"]), &Types::default(), &[]).unwrap();

        assert_eq!(written(&header, &["1", "x\ny"]), r#"{"a":"1","q\"b":"x\ny"}"#);
        assert_eq!(written(&header, &["", "NA"]), r#"{"a":"","q\"b":"NA"}"#);
    }

    #[test]
    fn typed_values_are_what_json_takes_them_for() {
        let types = Types {
            is_typed: true,
            texts: names(&["zip"]),
            nulls: names(&["NA"]),
        };
        let header = Header::new(&names(&["zip", "n"]), &types, &[]).unwrap();
        let typed = |value| written(&header, &["02134", value]);

        for number in [
            "0",
            "-1",
            "1.50",
            "2e3",
            "18446744073709551615",
            "-9223372036854775808",
            "true",
        ] {
            assert_eq!(typed(number), format!(r#"{{"zip":"02134","n":{number}}}"#));
        }
        for text in [
            "007",
            "1,5",
            " 1",
            "1 ",
            "+1",
            "1.",
            "NaN",
            "0x10",
            "18446744073709551616",
            "1e999",
            "True",
            "-",
        ] {
            assert_eq!(typed(text), format!(r#"{{"zip":"02134","n":"{text}"}}"#));
        }
        for null in ["", "NA"] {
            assert_eq!(typed(null), r#"{"zip":"02134","n":null}"#);
        }
        assert_eq!(written(&header, &["NA", "1"]), r#"{"zip":"NA","n":1}"#);
    }

    #[test]
    fn a_header_names_each_column_once_and_has_those_that_are_asked_for() {
        let known = names(&["carrier", "origin"]);

        let twice = Header::new(&names(&["a", "b", "a"]), &Types::default(), &[]).unwrap_err();
        let no_key = Header::new(&known, &Types::default(), &names(&["carier"])).unwrap_err();

        assert_eq!(twice, Bad::Twice("a".to_owned()));
        assert_eq!(no_key, Bad::NoColumn("carier".to_owned(), known));
    }

    #[test]
    fn several_columns_make_up_a_key() {
        let header = Header::new(&names(&["a", "b"]), &Types::default(), &names(&["b", "a"])).unwrap();

        let key = header.key(|index| [b"x".as_slice(), b"y"][index]);

        assert_eq!(key.as_deref(), Some(r#"["y","x"]"#));
    }
}
