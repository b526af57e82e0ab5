//! An upstream that is a sequence of rows, read without having all of it in memory.

use std::fmt;

use futures::{Stream, TryStreamExt};

use super::Argument;
use super::argument::{FromStep, In, never_materialized, only_partition};
use super::context::Step;
use crate::io::RowParts;
use crate::{AssetValue, Error, ErrorRecord, Result};

/// The rows of an upstream whose value is the sequence `T`, one after the other, in order.
///
/// How many are in memory at a time is the IO manager's affair: JSON, JSON lines, bincode and postcard objects are read
/// about a megabyte at a time, Parquet files by row group; a manager that does not say how loads the whole. Nothing is given of
/// a value that is not the one that was stored, as with every other way to read it.
///
/// ```
/// use flowstone_core::Result;
/// use flowstone_core::asset::{Asset, RowStream};
///
/// async fn sum(mut numbers: RowStream<Vec<i64>>) -> Result<i64> {
///     let mut sum = 0;
///     while let Some(number) = numbers.next().await? {
///         sum += number;
///     }
///     Ok(sum)
/// }
///
/// let total = Asset::new("total").upstream("numbers").run(sum);
/// # drop(total);
/// ```
pub struct RowStream<T: IntoIterator> {
    parts: RowParts,
    part: Option<T::IntoIter>,
    /// Why there will be no more rows, though these were not all.
    failed: Option<ErrorRecord>,
}

impl<T: AssetValue + IntoIterator> RowStream<T> {
    /// The next row, or `None` after the last.
    ///
    /// # Errors
    /// What loading it gives, then and whenever it is asked again: rows that are missing are never passed over.
    pub async fn next(&mut self) -> Result<Option<T::Item>> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone().into_error());
        }
        let next = self.next_of_parts().await;
        self.failed = next.as_ref().err().map(Error::to_record);
        next
    }

    async fn next_of_parts(&mut self) -> Result<Option<T::Item>> {
        loop {
            if let Some(row) = self.part.as_mut().and_then(Iterator::next) {
                return Ok(Some(row));
            }
            self.part = None;
            match self.parts.try_next().await? {
                Some(part) => self.part = Some(part.take::<T>()?.into_iter()),
                None => return Ok(None),
            }
        }
    }

    /// The same as a [`Stream`].
    pub fn into_stream(self) -> impl Stream<Item = Result<T::Item>> + Send
    where
        T::IntoIter: Send,
        T::Item: Send,
    {
        futures::stream::try_unfold(
            self,
            |mut rows| async move { Ok(rows.next().await?.map(|row| (row, rows))) },
        )
    }
}

impl<T> FromStep for RowStream<T>
where
    T: AssetValue + IntoIterator<IntoIter: Send>,
{
    fn argument() -> Argument {
        In::<T>::argument()
    }

    async fn from_step(step: &Step, input: usize) -> Result<Self> {
        let only = only_partition(step, input)?.ok_or_else(never_materialized)?;
        let parts = step.inputs.load_rows(input, only).await?;
        Ok(Self {
            parts: parts.ok_or_else(never_materialized)?,
            part: None,
            failed: None,
        })
    }
}

impl<T: IntoIterator> fmt::Debug for RowStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowStream").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, StreamExt as _, stream};

    use super::*;
    use crate::Value;

    #[test]
    fn rows_behind_an_error_are_not_given() {
        let parts = [
            Ok(Value::new(vec![1])),
            Err(Error::transient("gone")),
            Ok(Value::new(vec![3])),
        ];
        let mut rows = RowStream::<Vec<i32>> {
            parts: stream::iter(parts).boxed(),
            part: None,
            failed: None,
        };
        let mut next = || rows.next().now_or_never().unwrap();

        assert_eq!(next().unwrap(), Some(1));
        for _ in 0..2 {
            assert_eq!(next().unwrap_err().message(), "gone");
        }
    }
}
