//! Looks at a line once: is it JSON, and what stands where the key is?
//!
//! Everything but the key is checked and passed over, never kept.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::key::key_of;

/// Where the key stands in a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyPath {
    text: String,
    names: Vec<String>,
}

/// Why a line has no key.
#[derive(Debug)]
pub(super) enum Bad<'p> {
    /// It is no JSON.
    Json(String),
    /// Nothing, or null, stands there.
    NoKey(&'p KeyPath),
    /// Something else than a text, a number or a truth value stands there.
    KeyIs(&'p KeyPath, &'static str),
}

impl KeyPath {
    /// A JSON pointer, or the name of a field.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let names = match text.strip_prefix('/') {
            None => vec![text.to_owned()],
            Some(pointer) => pointer.split('/').map(unescape).collect::<Option<_>>()?,
        };
        Some(Self {
            text: text.to_owned(),
            names,
        })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Says what is missing where in `line`, by `say`, which is told the name and those that are there.
    pub(super) fn missing<E>(&self, line: &[u8], say: impl Fn(&str, std::vec::IntoIter<&str>) -> E) -> E {
        let document = serde_json::from_slice::<serde_json::Value>(line).unwrap_or_default();
        let mut here = &document;
        for name in &self.names {
            let below = match here {
                serde_json::Value::Object(fields) => fields.get(name),
                serde_json::Value::Array(values) => name.parse().ok().and_then(|index: usize| values.get(index)),
                _ => None,
            };
            match below {
                Some(below) if !below.is_null() => here = below,
                Some(_) => return say(&self.text, Vec::new().into_iter()),
                None => {
                    let fields = here.as_object().into_iter().flatten();
                    let known: Vec<&str> = fields.map(|(field, _)| field.as_str()).collect();
                    return say(name, known.into_iter());
                }
            }
        }
        say(&self.text, Vec::new().into_iter())
    }
}

fn unescape(name: &str) -> Option<String> {
    let mut parts = name.split('~');
    let mut unescaped = parts.next()?.to_owned();
    for part in parts {
        let (escaped, rest) = match part.split_at_checked(1)? {
            ("0", rest) => ('~', rest),
            ("1", rest) => ('/', rest),
            _ => return None,
        };
        unescaped.push(escaped);
        unescaped.push_str(rest);
    }
    Some(unescaped)
}

/// Says whether `line` is one JSON document.
pub(super) fn check(line: &[u8]) -> Result<(), Bad<'static>> {
    serde_json::from_str::<IgnoredAny>(text(line)?)
        .map(|_| ())
        .map_err(|error| Bad::Json(place_in_line(&error)))
}

/// The key of the document in `line`.
pub(super) fn key<'p>(line: &[u8], paths: &'p [KeyPath]) -> Result<String, Bad<'p>> {
    let line = text(line)?;
    let texts = paths.iter().map(|path| {
        let mut document = serde_json::Deserializer::from_str(line);
        let found = At(&path.names)
            .deserialize(&mut document)
            .and_then(|found| document.end().map(|()| found))
            .map_err(|error| Bad::Json(place_in_line(&error)))?;
        let found = found.ok_or(Bad::NoKey(path))?.get();
        match found.as_bytes().first() {
            Some(b'"') => serde_json::from_str(found).map_err(|error| Bad::Json(error.to_string())),
            Some(b'n') => Err(Bad::NoKey(path)),
            Some(b'{') => Err(Bad::KeyIs(path, "an object")),
            Some(b'[') => Err(Bad::KeyIs(path, "a list")),
            _ => Ok(found.to_owned()),
        }
    });
    Ok(key_of(texts.collect::<Result<_, _>>()?))
}

fn text(line: &[u8]) -> Result<&str, Bad<'static>> {
    std::str::from_utf8(line).map_err(|error| {
        let column = error.valid_up_to() + 1;
        Bad::Json(format!("byte {column} of it is not UTF-8"))
    })
}

/// Every line is the first one for the parser.
fn place_in_line(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column ", " at column ")
}

/// What stands at these names, below one another.
struct At<'p>(&'p [String]);

impl<'de> DeserializeSeed<'de> for At<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        if self.0.is_empty() {
            <&RawValue>::deserialize(deserializer).map(Some)
        } else {
            deserializer.deserialize_any(self)
        }
    }
}

impl<'de> Visitor<'de> for At<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON document")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(is_name) = map.next_key_seed(Is(&self.0[0]))? {
            if is_name {
                found = map.next_value_seed(At(&self.0[1..]))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let index: Option<usize> = self.0[0].parse().ok();
        let mut found = None;
        for here in 0.. {
            let next = if Some(here) == index {
                seq.next_element_seed(At(&self.0[1..]))?.map(|value| found = value)
            } else {
                seq.next_element::<IgnoredAny>()?.map(drop)
            };
            if next.is_none() {
                break;
            }
        }
        Ok(found)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// Whether a field has this name.
struct Is<'p>(&'p str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_at(line: &str, paths: &[&str]) -> Result<String, String> {
        let paths: Vec<_> = paths.iter().map(|path| KeyPath::parse(path).unwrap()).collect();
        key(line.as_bytes(), &paths).map_err(|bad| format!("{bad:?}"))
    }

    #[test]
    fn a_key_is_a_text_a_number_or_a_truth_value() {
        let line = r#"{"a": "x\"y", "b": 1.50, "c": true, "d": {"e/f": [10, {"g~": "deep"}]}}"#;

        assert_eq!(key_at(line, &["a"]).unwrap(), "x\"y");
        assert_eq!(key_at(line, &["/b"]).unwrap(), "1.50");
        assert_eq!(key_at(line, &["c"]).unwrap(), "true");
        assert_eq!(key_at(line, &["/d/e~1f/1/g~0"]).unwrap(), "deep");
        assert_eq!(key_at(line, &["a", "/d/e~1f/0"]).unwrap(), r#"["x\"y","10"]"#);
    }

    #[test]
    fn what_is_no_key_says_why() {
        assert!(key_at("{}", &["a"]).unwrap_err().starts_with("NoKey"));
        assert!(key_at(r#"{"a": null}"#, &["a"]).unwrap_err().starts_with("NoKey"));
        assert!(key_at("7", &["a"]).unwrap_err().starts_with("NoKey"));
        assert!(key_at(r#"{"a": {}}"#, &["a"]).unwrap_err().contains("an object"));
        assert!(key_at(r#"{"a": 1} {"a": 2}"#, &["a"]).unwrap_err().starts_with("Json"));
        assert!(key_at(r#"{"b": , "a": 1}"#, &["a"]).unwrap_err().starts_with("Json"));
    }

    #[test]
    fn a_pointer_with_a_wrong_escape_is_none() {
        assert!(KeyPath::parse("/a~2").is_none());
        assert!(KeyPath::parse("/a~").is_none());
        assert_eq!(KeyPath::parse("a/b").unwrap().names, ["a/b"]);
    }

    #[test]
    fn a_line_is_checked_to_its_end() {
        assert!(check(br#"{"a": [1, 2.5, "x", null]}"#).is_ok());
        assert!(check(b"{} x").is_err());
        assert!(check(b"\"\xff\"").is_err());
        assert!(check(b"{\"a\": 01}").is_err());
    }
}
