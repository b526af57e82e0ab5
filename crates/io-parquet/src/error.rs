//! Sorts what Arrow, Parquet and serde say into core's kinds.

use std::fmt::Display;

use flowstone_core::{Error, ErrorKind};

const MATERIALIZE_AGAIN: &str = "materialize the asset again; if it keeps happening, check the medium";
const WHAT_FITS: &str = "return a `Table` or a `Vec` of rows (structs of plain columns), or store it as json";

/// The type is nothing that a Parquet file can hold.
pub(crate) fn unfit(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::TypeMismatch, message)
        .code("parquet_type")
        .fix(WHAT_FITS)
}

/// The value cannot be written, though its type could.
pub(crate) fn unwritable(error: impl Display) -> Error {
    Error::new(ErrorKind::Invalid, error.to_string())
        .code("parquet_value")
        .during("write a table")
        .fix("change the value or the column's type, or store it as json")
}

/// The columns are not those that the reader's type has.
pub(crate) fn mismatch(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::TypeMismatch, message)
        .code("parquet_columns")
        .during("read rows")
        .fix("the type changed since this was stored: materialize the asset again, or change it back")
}

/// The bytes are not those that were stored.
pub(crate) fn corrupt(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, message)
        .code("parquet_corrupt")
        .during("load a table")
        .fix(MATERIALIZE_AGAIN)
}

/// Blocking work ended without an answer: the runtime stops, or we have a defect.
pub(crate) fn stopped(error: tokio::task::JoinError) -> Error {
    if error.is_panic() {
        Error::new(ErrorKind::Internal, "the code for Parquet files panicked").caused_by(error)
    } else {
        Error::new(ErrorKind::Cancelled, "the runtime is shutting down")
    }
}
