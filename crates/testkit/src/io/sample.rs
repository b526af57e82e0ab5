//! Values to store: many of each type, told apart by number.

use std::sync::Arc;
use std::{fmt, iter};

use flowstone_core::io::Rows;
use flowstone_core::{AssetValue, Error, ErrorKind, TypeInfo, Value};
use futures::stream;
use serde::{Deserialize, Serialize};

/// A kind of values, one for each number: equal numbers give equal values, others differ.
///
/// Number 0 is the emptiest value that the type has, and size grows with the number.
#[derive(Clone)]
pub struct Sample {
    ty: TypeInfo,
    make: Arc<dyn Fn(u64) -> Value + Send + Sync>,
    is_equal: fn(&Value, &Value) -> bool,
    parts: Option<fn(Value, usize, u64) -> Rows>,
    join: fn(Vec<Value>) -> Value,
}

impl Sample {
    /// The values that `make` makes of numbers.
    pub fn of<T: AssetValue + PartialEq>(make: impl Fn(u64) -> T + Send + Sync + 'static) -> Self {
        Self {
            ty: TypeInfo::of::<T>(),
            make: Arc::new(move |number| Value::new(make(number))),
            is_equal: |left, right| left.downcast_ref::<T>() == right.downcast_ref::<T>(),
            parts: None,
            join: |mut parts| {
                assert_eq!(parts.len(), 1, "what is no sequence comes whole");
                parts.remove(0)
            },
        }
    }

    /// The same of sequences, which are stored in parts too.
    pub fn of_rows<T, R>(make: impl Fn(u64) -> T + Send + Sync + 'static) -> Self
    where
        T: AssetValue + PartialEq + FromIterator<R> + IntoIterator<Item = R>,
        R: Send + 'static,
    {
        Self {
            parts: Some(|whole, len, missing| {
                let rows: Vec<R> = whole
                    .take::<T>()
                    .expect("it is a value of the sample")
                    .into_iter()
                    .collect();
                let count = rows.len() as u64;
                let mut rows = rows.into_iter();
                let parts = iter::from_fn(move || {
                    let part: Vec<R> = rows.by_ref().take(len).collect();
                    (!part.is_empty()).then_some(Ok(part))
                });
                let broken = (missing > 0).then(|| Err(Error::new(ErrorKind::Unavailable, "there are no more rows")));
                Rows::new::<T, R>(count + missing, stream::iter(parts.chain(broken)))
            }),
            join: |parts| {
                let parts = parts
                    .into_iter()
                    .map(|part| part.take::<T>().expect("a part is of the type of the whole"));
                Value::new(parts.flatten().collect::<T>())
            },
            ..Self::of(make)
        }
    }

    /// Whole numbers, text and rows.
    pub(super) fn usual() -> Vec<Self> {
        vec![
            Self::of(|number| number as i64),
            Self::of(|number| "ü\0'\"".chars().cycle().take(number as usize).collect::<String>()),
            Self::of_rows(|number| (0..number).map(Row::numbered).collect::<Vec<Row>>()),
        ]
    }

    pub(super) fn ty(&self) -> TypeInfo {
        self.ty
    }

    pub(super) fn value(&self, number: u64) -> Value {
        (self.make)(number)
    }

    /// The value with this number in parts of `len` rows, if it is a sequence.
    pub(super) fn rows(&self, number: u64, len: usize) -> Option<Rows> {
        self.parts.map(|parts| parts(self.value(number), len, 0))
    }

    /// The same with one row more, which is an error.
    pub(super) fn broken_rows(&self, number: u64, len: usize) -> Option<Rows> {
        self.parts.map(|parts| parts(self.value(number), len, 1))
    }

    /// The whole that these are the parts of.
    pub(super) fn join(&self, parts: Vec<Value>) -> Value {
        (self.join)(parts)
    }

    /// Refuses a value that is not the one with this number.
    pub(super) fn check(&self, found: &Value, number: u64) {
        assert!(
            found.ty() == self.ty,
            "a `{}` comes back as a `{}`",
            self.ty.name(),
            found.ty().name()
        );
        assert!(
            (self.is_equal)(found, &self.value(number)),
            "`{}` number {number} comes back changed",
            self.ty.name()
        );
    }
}

impl fmt::Debug for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sample<{}>", self.ty.name())
    }
}

/// A row as a user may have it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Row {
    number: u64,
    name: String,
    share: f64,
    note: Option<String>,
}

impl Row {
    fn numbered(number: u64) -> Self {
        Self {
            number,
            name: format!("row {number} — ü'\""),
            share: number as f64 / 3.0,
            note: number.is_multiple_of(3).then(|| "noted".to_owned()),
        }
    }
}
