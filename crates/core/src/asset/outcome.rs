//! What a function of an asset may give back.

use crate::{AssetValue, Error, Result, Value};

/// What user code gave back when it did not fail.
///
/// A function that always makes a value returns the value itself; one that may find nothing to do returns this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<T> {
    /// The value of the partition.
    Value(T),
    /// There is nothing to make, with the reason. Nothing is published; what needs the value is skipped too.
    Skipped(String),
}

impl<T> Outcome<T> {
    /// There is nothing to make, for this reason.
    pub fn skip(reason: impl Into<String>) -> Self {
        Self::Skipped(reason.into())
    }

    /// The same with what `change` makes of the value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Outcome<U> {
        match self {
            Self::Value(value) => Outcome::Value(change(value)),
            Self::Skipped(reason) => Outcome::Skipped(reason),
        }
    }
}

/// A function that always gives something back; see [`IntoOutcome`].
#[derive(Debug)]
pub enum Plain {}

/// A function that may fail; see [`IntoOutcome`].
#[derive(Debug)]
pub enum Fallible {}

/// Everything that an asset's function may return: a value, an [`Outcome`], or a `Result` of either with any error that
/// becomes an [`Error`]. `M` only tells the two apart; the compiler finds it.
#[diagnostic::on_unimplemented(
    message = "an asset's function cannot return `{Self}`",
    label = "return a value, an `Outcome`, or a `Result` of either",
    note = "a value derives `Clone`, `serde::Serialize` and `serde::Deserialize`"
)]
pub trait IntoOutcome<M = Plain>: Send + 'static {
    /// The type of the value that is kept.
    type Output: AssetValue;

    /// Sorts what came back.
    ///
    /// # Errors
    /// The function's own.
    fn into_outcome(self) -> Result<Outcome<Value>>;
}

impl<T: AssetValue> IntoOutcome for T {
    type Output = T;

    fn into_outcome(self) -> Result<Outcome<Value>> {
        Ok(Outcome::Value(Value::new(self)))
    }
}

impl<T: AssetValue> IntoOutcome for Outcome<T> {
    type Output = T;

    fn into_outcome(self) -> Result<Outcome<Value>> {
        Ok(self.map(Value::new))
    }
}

impl<R: IntoOutcome, E: Into<Error> + Send + 'static> IntoOutcome<Fallible> for Result<R, E> {
    type Output = R::Output;

    fn into_outcome(self) -> Result<Outcome<Value>> {
        self.map_err(Into::into).and_then(R::into_outcome)
    }
}
