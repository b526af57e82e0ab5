//! A value that is larger than memory, on its way to where it is kept.

use std::fmt;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt};

use crate::{AssetValue, Error, ErrorKind, Result, TypeInfo, Value};

/// A sequence of rows that comes part by part.
///
/// Each part is a value of the same type as the whole; one after the other they are the whole.
pub struct Rows {
    ty: TypeInfo,
    len: u64,
    given: u64,
    parts: BoxStream<'static, Result<Part>>,
    join: fn(Vec<Value>) -> Result<Value>,
    watch: Option<Box<dyn Fn(u64) + Send>>,
}

struct Part {
    value: Value,
    len: u64,
}

impl Rows {
    /// The `T` of `len` rows that come in `parts`.
    pub fn new<T, R>(len: u64, parts: impl Stream<Item = Result<Vec<R>>> + Send + 'static) -> Self
    where
        T: AssetValue + FromIterator<R> + IntoIterator<Item = R>,
        R: Send + 'static,
    {
        let part = |rows: Vec<R>| Part {
            len: rows.len() as u64,
            value: Value::new(T::from_iter(rows)),
        };
        Self {
            ty: TypeInfo::of::<T>(),
            len,
            given: 0,
            parts: parts.map(move |rows| rows.map(part)).boxed(),
            join: |parts| {
                let parts: Vec<T> = parts.into_iter().map(Value::take).collect::<Result<_>>()?;
                Ok(Value::new(parts.into_iter().flatten().collect::<T>()))
            },
            watch: None,
        }
    }

    /// The same, which tells `watch` how many rows whoever stores them is done with, whenever it asks for more.
    #[must_use]
    pub fn watched(mut self, watch: impl Fn(u64) + Send + 'static) -> Self {
        self.watch = Some(Box::new(watch));
        self
    }

    /// The type of the whole and of each part.
    pub fn ty(&self) -> TypeInfo {
        self.ty
    }

    /// The number of rows in all.
    #[expect(
        clippy::len_without_is_empty,
        reason = "whether there are any is for the parts to say"
    )]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// The next part, or `None` after the last.
    ///
    /// # Errors
    /// What reading them gives; `Internal` when they are not as many as were announced.
    pub async fn next(&mut self) -> Result<Option<Value>> {
        if let Some(watch) = &self.watch {
            watch(self.given);
        }
        let part = self.parts.next().await.transpose()?;
        self.given += part.as_ref().map_or(0, |part| part.len);
        if self.given > self.len || (part.is_none() && self.given < self.len) {
            let (given, len) = (self.given, self.len);
            return Err(
                Error::new(ErrorKind::Internal, format!("{given} rows come, {len} were announced"))
                    .during("read the rows of")
                    .about(self.ty.name()),
            );
        }
        Ok(part.map(|part| part.value))
    }

    /// The whole, in memory.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn collect(mut self) -> Result<Value> {
        let mut parts = Vec::new();
        while let Some(part) = self.next().await? {
            parts.push(part);
        }
        (self.join)(parts)
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rows<{}>({})", self.ty.name(), self.len)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use futures::{FutureExt, stream};

    use super::*;

    fn rows(len: u64, parts: Vec<Vec<u64>>) -> Rows {
        Rows::new::<Vec<u64>, u64>(len, stream::iter(parts.into_iter().map(Ok)))
    }

    fn whole(rows: Rows) -> Result<Value> {
        rows.collect().now_or_never().expect("the parts are there")
    }

    #[test]
    fn the_parts_are_the_whole() {
        let all = whole(rows(3, vec![vec![1, 2], vec![], vec![3]])).unwrap();

        assert_eq!(all.downcast_ref::<Vec<u64>>(), Some(&vec![1, 2, 3]));
        let none = whole(rows(0, Vec::new())).unwrap();
        assert_eq!(none.downcast_ref::<Vec<u64>>(), Some(&Vec::new()));
    }

    #[test]
    fn rows_count_as_taken_once_more_are_asked_for() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let telling = Arc::clone(&told);
        let watched = rows(3, vec![vec![1, 2], vec![3]]).watched(move |rows| telling.lock().unwrap().push(rows));

        whole(watched).unwrap();

        assert_eq!(*told.lock().unwrap(), [0, 2, 3]);
    }

    #[test]
    fn no_whole_is_made_of_more_or_fewer_rows_than_were_announced() {
        for len in [2, 4] {
            let refused = whole(rows(len, vec![vec![1, 2], vec![3]])).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Internal);
        }
    }
}
