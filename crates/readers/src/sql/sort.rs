//! Sorts what sqlx and the databases behind it say into core's kinds.

use flowstone_core::{Error, ErrorKind};

/// Sorts an error; what a database itself reports is told apart by `of_code`, which may know its code.
pub(super) fn sort(error: &sqlx::Error, of_code: impl Fn(&str) -> Option<ErrorKind>) -> Error {
    let kind = match error {
        sqlx::Error::Database(reported) => {
            let code = reported.code().unwrap_or_default();
            of_code(&code).unwrap_or(ErrorKind::Invalid)
        }
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::WorkerCrashed | sqlx::Error::Protocol(_) => {
            ErrorKind::Unavailable
        }
        sqlx::Error::Tls(_) => ErrorKind::Unsupported,
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => ErrorKind::Corrupt,
        _ => ErrorKind::Invalid,
    };
    let message = match error {
        sqlx::Error::Database(reported) => reported.message().to_owned(),
        other => other.to_string(),
    };
    let sorted = Error::new(kind, message).code("query_failed");
    match kind {
        ErrorKind::Unsupported => {
            sorted.fix("connections are not encrypted: go through a tunnel, and leave `sslmode` out of the address")
        }
        ErrorKind::Unavailable => sorted.fix("see that the database runs and can be reached; the work is tried again"),
        ErrorKind::PermissionDenied => sorted.fix("let this user connect and read what the query names"),
        ErrorKind::NotFound => sorted.fix("check the names in the query and of the database"),
        ErrorKind::Corrupt => sorted.fix("see whether it is a database, and whole"),
        _ => sorted.fix("mend the query; it stands within `SELECT … FROM (…) AS page`"),
    }
}
