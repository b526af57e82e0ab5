//! What a batched function gives back: an outcome for each partition that it was called for.
//!
//! Decides what an outcome that is missing, or that nobody asked for, comes to: it fails what it concerns and nothing else.

use std::collections::BTreeMap;

use super::{BatchPartition, Call};
use crate::asset::{Fallible, Outcome, Plain};
use crate::{AssetValue, Error, ErrorClass, ErrorKind, Result, Value};

/// How many partitions are named in a message.
const NAMED_MAX: usize = 3;

/// What a batched function gives back: for each partition of the call a value, "nothing to make", or a failure.
///
/// ```
/// use flowstone_core::Error;
/// use flowstone_core::asset::{Asset, Batch, BatchOutcome, In};
/// use flowstone_core::partition::Daily;
///
/// let clean = Asset::new("clean").partitions(Daily::from("2013-01-01")).upstream("raw").run_batch(
///     50,
///     |raw: Batch<In<String>>| async move {
///         let mut outcome = BatchOutcome::new();
///         for (day, In(rows)) in raw {
///             match rows.trim().parse::<i64>() {
///                 Ok(count) => outcome.value(day, count),
///                 Err(_) if rows.is_empty() => outcome.skip(day, "no rows"),
///                 Err(bad) => outcome.fail(day, bad),
///             }
///         }
///         outcome
///     },
/// );
/// # assert_eq!(clean.name(), "clean");
/// ```
///
/// An iterator over partitions with values, or with results, can be collected into one.
#[derive(Debug)]
#[must_use = "what is not returned is not made"]
pub struct BatchOutcome<T>(Vec<(BatchPartition, Result<Outcome<T>>)>);

impl<T> BatchOutcome<T> {
    /// No outcome yet.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The partition has this value.
    pub fn value(&mut self, partition: impl Into<BatchPartition>, value: T) {
        self.set(partition, Ok(Outcome::Value(value)));
    }

    /// There is nothing to make of the partition, with the reason; what needs it is skipped too.
    pub fn skip(&mut self, partition: impl Into<BatchPartition>, reason: impl Into<String>) {
        self.set(partition, Ok(Outcome::skip(reason)));
    }

    /// The partition failed. It is tried again if the error is one that is; the others are not.
    pub fn fail(&mut self, partition: impl Into<BatchPartition>, error: impl Into<Error>) {
        self.set(partition, Err(error.into()));
    }

    /// The partition ended like this.
    pub fn set(&mut self, partition: impl Into<BatchPartition>, outcome: Result<Outcome<T>>) {
        self.0.push((partition.into(), outcome));
    }
}

/// What a call came to, partition by partition.
#[derive(Debug)]
pub struct SortedOutcome {
    /// The outcome of each partition of the call, in order.
    pub outcomes: Vec<(u64, Result<Outcome<Value>>)>,
    /// The partitions that the call was not for; what was said of them counts for nothing.
    pub strangers: Vec<BatchPartition>,
}

impl BatchOutcome<Value> {
    /// What was said of each partition of `call`. One that has no outcome, or two, has failed.
    pub fn sorted(self, call: &Call) -> SortedOutcome {
        let mut given: BTreeMap<u64, Vec<Result<Outcome<Value>>>> = BTreeMap::new();
        let mut strangers = Vec::new();
        for (partition, outcome) in self.0 {
            let at = call.partitions.binary_search_by_key(&partition.index, |(one, _)| *one);
            if at.is_ok() && partition.scope.node == call.scope.node {
                given.entry(partition.index).or_default().push(outcome);
            } else {
                strangers.push(partition);
            }
        }
        let sort = |(index, _): &(u64, u32)| {
            let mut outcomes = given.remove(index).unwrap_or_default();
            let outcome = match (outcomes.pop(), outcomes.is_empty()) {
                (Some(outcome), true) => outcome,
                (Some(_), false) => Err(given_twice()),
                (None, _) => Err(not_given(&strangers)),
            };
            (*index, outcome)
        };
        SortedOutcome {
            outcomes: call.partitions.iter().map(sort).collect(),
            strangers,
        }
    }
}

fn given_twice() -> Error {
    Error::new(ErrorKind::Invalid, "the call gave two outcomes for it")
        .class(ErrorClass::Contract)
        .code("batch_outcome_twice")
        .fix("give each partition of the call one outcome")
}

fn not_given(strangers: &[BatchPartition]) -> Error {
    let named: Vec<String> = strangers.iter().take(NAMED_MAX).map(BatchPartition::label).collect();
    let message = match strangers.len().saturating_sub(named.len()) {
        _ if strangers.is_empty() => "the call gave no outcome for it".to_owned(),
        0 => format!(
            "the call gave no outcome for it, but for {}, which it was not for",
            named.join(", ")
        ),
        more => format!(
            "the call gave no outcome for it, but for {} and {more} others, which it was not for",
            named.join(", ")
        ),
    };
    Error::new(ErrorKind::Invalid, message)
        .class(ErrorClass::Contract)
        .code("batch_outcome_missing")
        .fix("give each partition of the call an outcome: a value, `skip` or `fail`")
}

impl<T> Default for BatchOutcome<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Extend<(BatchPartition, T)> for BatchOutcome<T> {
    fn extend<I: IntoIterator<Item = (BatchPartition, T)>>(&mut self, values: I) {
        values
            .into_iter()
            .for_each(|(partition, value)| self.value(partition, value));
    }
}

impl<T> FromIterator<(BatchPartition, T)> for BatchOutcome<T> {
    fn from_iter<I: IntoIterator<Item = (BatchPartition, T)>>(values: I) -> Self {
        let mut outcome = Self::new();
        outcome.extend(values);
        outcome
    }
}

impl<T, E: Into<Error>> FromIterator<(BatchPartition, Result<T, E>)> for BatchOutcome<T> {
    fn from_iter<I: IntoIterator<Item = (BatchPartition, Result<T, E>)>>(results: I) -> Self {
        let ended = results
            .into_iter()
            .map(|(partition, result)| (partition, result.map(Outcome::Value).map_err(Into::into)));
        Self(ended.collect())
    }
}

/// What a batched function may return: a [`BatchOutcome`], or a `Result` of it with any error that becomes an [`Error`].
///
/// An error of the whole call says nothing about its partitions: they are called for again, fewer at a time. `M` only
/// tells the two apart; the compiler finds it.
#[diagnostic::on_unimplemented(
    message = "a function that is called for a batch of partitions cannot return `{Self}`",
    label = "return a `BatchOutcome<T>`, or a `Result` of it",
    note = "`values.into_iter().collect()` makes one of pairs of a partition and its value, or its `Result`"
)]
pub trait IntoBatchOutcome<M = Plain>: Send + 'static {
    /// The type of the value that is kept of each partition.
    type Output: AssetValue;

    /// Sorts what came back.
    ///
    /// # Errors
    /// The function's own.
    fn into_batch_outcome(self) -> Result<BatchOutcome<Value>>;
}

impl<T: AssetValue> IntoBatchOutcome for BatchOutcome<T> {
    type Output = T;

    fn into_batch_outcome(self) -> Result<BatchOutcome<Value>> {
        let carried = |outcome: Outcome<T>| outcome.map(Value::new);
        let ended = self.0.into_iter();
        Ok(BatchOutcome(
            ended
                .map(|(partition, outcome)| (partition, outcome.map(carried)))
                .collect(),
        ))
    }
}

impl<T: AssetValue, E: Into<Error> + Send + 'static> IntoBatchOutcome<Fallible> for Result<BatchOutcome<T>, E> {
    type Output = T;

    fn into_batch_outcome(self) -> Result<BatchOutcome<Value>> {
        self.map_err(Into::into)
            .and_then(IntoBatchOutcome::<Plain>::into_batch_outcome)
    }
}
