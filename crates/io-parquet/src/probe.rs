//! A serde format without data: it lets a type read one row and notes what the type asks for.
//!
//! A type may refuse a value (a date that is handed `a`), so every leaf has several samples, and a round of reading
//! that fails at a leaf is repeated with its next one. Enums are read once for each variant. Rounds end, since each
//! moves one leaf or one enum forward.

mod access;

use std::cell::{Cell, RefCell};
use std::fmt;

use arrow::datatypes::DataType;
use erased_serde::Serialize as ErasedSerialize;
use serde::de::{Deserializer, Visitor};

use self::access::{Entry, Items, NamedFields, Variant};
use crate::shape::{Kind, ReadAny, Shape};

const DEPTH_MAX: usize = 32;
const NUMBERS: [bool; 2] = [false, true];
const BYTES: [&[u8]; 2] = [&[], &[0; 16]];

/// Texts that some type may be particular about. The first serves all that take any text; the times of day differ from
/// their offset, so that it shows whether a type keeps the offset, and midnight is avoided for the same reason.
const TEXTS: [&str; 18] = [
    "a",
    "",
    "2000-01-02T05:04:05+02:00",
    "2000-01-02T05:04:05",
    "2000-01-02",
    "05:04:05",
    "2000-01-02T05:04:05Z",
    "2000-01-02T05:04:05+00:00[UTC]",
    "P1D",
    "PT1S",
    "00000000-0000-0000-0000-000000000000",
    "127.0.0.1",
    "127.0.0.1:80",
    "UTC",
    "0",
    "1.5",
    "true",
    "https://example.org/",
];

/// Lets a type read until all is known that it asks for; gives that with the last row read.
pub(crate) fn probe(read: ReadAny<'_>) -> Result<(Shape, Box<dyn ErasedSerialize>), String> {
    let mut root = Shape::default();
    loop {
        let round = Round::default();
        let probe = Probe {
            shape: &mut root,
            round: &round,
            path: String::new(),
            depth: 0,
            in_option: false,
        };
        let row = read(&mut <dyn erased_serde::Deserializer<'_>>::erase(probe));
        match (round.refusal.take(), row) {
            (Some(why), _) => return Err(why),
            (None, _) if round.again.get() => {}
            (None, Ok(row)) => return Ok((root, row)),
            (None, Err(error)) => return Err(format!("its serde code says: {error}")),
        }
    }
}

/// What one round of reading found out.
#[derive(Default)]
struct Round {
    again: Cell<bool>,
    refusal: RefCell<Option<String>>,
}

/// Ends a round of reading; the reason stands in the [`Round`].
#[derive(Debug)]
struct Stop(String);

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Stop {}

impl serde::de::Error for Stop {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

struct Probe<'a> {
    shape: &'a mut Shape,
    round: &'a Round,
    path: String,
    depth: usize,
    in_option: bool,
}

impl<'a> Probe<'a> {
    fn refuse<T>(&self, why: impl fmt::Display) -> Result<T, Stop> {
        let mut refusal = self.round.refusal.borrow_mut();
        let text = match self.path.as_str() {
            "" | "[]" => why.to_string(),
            path => format!("column {:?}: {why}", path.trim_start_matches("[].")),
        };
        refusal.get_or_insert(text);
        Err(Stop(String::new()))
    }

    /// The sample of which a leaf of `data_type` is to be read.
    fn sample(&mut self, data_type: DataType) -> usize {
        match self.shape.kind {
            Kind::Leaf { sample, .. } => sample,
            _ => {
                self.shape.kind = Kind::Leaf { data_type, sample: 0 };
                0
            }
        }
    }

    /// Reads a leaf from one of `samples`; a type that refuses it is given the next one in the next round.
    fn leaf<S: Copy, T>(
        mut self,
        data_type: DataType,
        samples: &[S],
        visit: impl FnOnce(S) -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        let at = self.sample(data_type);
        visit(samples[at]).or_else(|stop| {
            if at + 1 == samples.len() {
                return self.refuse(format_args!("no example of such a value is known ({stop})"));
            }
            self.round.again.set(true);
            if let Kind::Leaf { sample, .. } = &mut self.shape.kind {
                *sample = at + 1;
            }
            Err(stop)
        })
    }
}

/// A probe for what lies inside `shape`.
fn inside<'a>(shape: &'a mut Shape, round: &'a Round, path: String, depth: usize) -> Probe<'a> {
    Probe {
        shape,
        round,
        path,
        depth: depth + 1,
        in_option: false,
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $ty:ty => $data_type:ident;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
            self.leaf(DataType::$data_type, &NUMBERS, |number| visitor.$visit(<$ty>::from(number)))
        })*
    };
}

macro_rules! refused {
    ($($method:ident $why:literal;)*) => {
        $(fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Stop> {
            self.refuse($why)
        })*
    };
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Stop;

    numbers! {
        deserialize_i8 visit_i8 i8 => Int8;
        deserialize_i16 visit_i16 i16 => Int16;
        deserialize_i32 visit_i32 i32 => Int32;
        deserialize_i64 visit_i64 i64 => Int64;
        deserialize_u8 visit_u8 u8 => UInt8;
        deserialize_u16 visit_u16 u16 => UInt16;
        deserialize_u32 visit_u32 u32 => UInt32;
        deserialize_u64 visit_u64 u64 => UInt64;
        deserialize_f32 visit_f32 f32 => Float32;
        deserialize_f64 visit_f64 f64 => Float64;
    }

    refused! {
        deserialize_i128 "it is of 128 bits; keep it as text";
        deserialize_u128 "it is of 128 bits; keep it as text";
        deserialize_any "its serde code decides by the data, as with `flatten`, `untagged` or a JSON value";
        deserialize_identifier "its serde code reads a field's name where a value should be";
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_unit()
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.leaf(DataType::Boolean, &[false, true], |sample| visitor.visit_bool(sample))
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.leaf(DataType::UInt32, &['a', '0'], |sample| visitor.visit_char(sample))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.leaf(DataType::Utf8, &TEXTS, |sample| visitor.visit_str(sample))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.leaf(DataType::Binary, &BYTES, |sample| visitor.visit_bytes(sample))
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        if self.in_option {
            return self.refuse("an option in an option; a column has one kind of null");
        }
        self.shape.nullable = true;
        visitor.visit_some(Probe {
            in_option: true,
            ..self
        })
    }

    fn deserialize_unit<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Stop> {
        if self.in_option {
            return self.refuse("an option of nothing; use a bool");
        }
        self.sample(DataType::Null);
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Stop> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        if self.depth > DEPTH_MAX {
            return self.refuse("its type contains itself");
        }
        if !matches!(self.shape.kind, Kind::List(_)) {
            self.shape.kind = Kind::List(Box::default());
        }
        let Kind::List(item) = &mut self.shape.kind else {
            unreachable!("set above")
        };
        visitor.visit_seq(Items(vec![inside(
            item,
            self.round,
            format!("{}[]", self.path),
            self.depth,
        )]))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Stop> {
        if len == 0 {
            return self.deserialize_unit(visitor);
        }
        if !matches!(self.shape.kind, Kind::Tuple(_)) {
            self.shape.kind = Kind::Tuple((0..len).map(|_| Shape::default()).collect());
        }
        let Kind::Tuple(parts) = &mut self.shape.kind else {
            unreachable!("set above")
        };
        let probes = parts.iter_mut().enumerate();
        let probes = probes.map(|(at, part)| inside(part, self.round, format!("{}.{at}", self.path), self.depth));
        visitor.visit_seq(Items(probes.rev().collect()))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        if self.path == "[]" {
            return self.refuse("its rows are maps or use `flatten`, so its columns are not known from the type");
        }
        if self.depth > DEPTH_MAX {
            return self.refuse("its type contains itself");
        }
        if !matches!(self.shape.kind, Kind::Map(_)) {
            self.shape.kind = Kind::Map(Box::default());
        }
        let Kind::Map(entry) = &mut self.shape.kind else {
            unreachable!("set above")
        };
        let (key, value) = &mut **entry;
        visitor.visit_map(Entry {
            key: Some(inside(key, self.round, format!("{}.key", self.path), self.depth)),
            value: Some(inside(value, self.round, format!("{}.value", self.path), self.depth)),
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        if self.depth > DEPTH_MAX {
            return self.refuse("its type contains itself");
        }
        if fields.is_empty() {
            return self.refuse("a struct without fields");
        }
        if !matches!(self.shape.kind, Kind::Struct(_)) {
            self.shape.kind = Kind::Struct(fields.iter().map(|name| (*name, Shape::default())).collect());
        }
        let Kind::Struct(parts) = &mut self.shape.kind else {
            unreachable!("set above")
        };
        let probes = parts.iter_mut().map(|(name, part)| {
            (
                *name,
                inside(part, self.round, format!("{}.{name}", self.path), self.depth),
            )
        });
        visitor.visit_map(NamedFields {
            fields: probes.rev().collect(),
            current: None,
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        let seen = if let Kind::Enum { seen } = self.shape.kind {
            seen
        } else {
            0
        };
        let Some(variant) = variants.get(seen).or(variants.last()) else {
            return self.refuse("an enum without variants");
        };
        if seen + 1 < variants.len() {
            self.round.again.set(true);
        }
        self.shape.kind = Kind::Enum {
            seen: variants.len().min(seen + 1),
        };
        visitor.visit_enum(Variant {
            name: variant,
            probe: self,
        })
    }
}
