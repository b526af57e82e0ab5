//! Sorts what SQLite, sqlx and the operating system report into the kinds that a caller can act on.
//!
//! Adds the advice that holds wherever the error came up; who calls adds the operation and the subject.

use std::io;

use flowstone_core::{Error, ErrorKind};

const FIX_FULL: &str = "free some space on the disk that holds the state folder; work goes on by itself";
const FIX_DENIED: &str = "make the state folder and its files writable for this user, or choose another folder";
const FIX_CORRUPT: &str =
    "restore the state folder from a backup, or move the ledger away to start over; stored data stays where it is";
const FIX_BUSY: &str = "close the other program that has the ledger open for writing";
const FIX_DEVICE: &str = "check the device that holds the state folder";

/// The primary result codes of SQLite that a caller can act on.
mod result_code {
    pub(super) const PERM: u32 = 3;
    pub(super) const BUSY: u32 = 5;
    pub(super) const LOCKED: u32 = 6;
    pub(super) const READONLY: u32 = 8;
    pub(super) const IOERR: u32 = 10;
    pub(super) const CORRUPT: u32 = 11;
    pub(super) const FULL: u32 = 13;
    pub(super) const CANTOPEN: u32 = 14;
    pub(super) const AUTH: u32 = 23;
    pub(super) const NOTADB: u32 = 26;
    /// An extended code of `IOERR`: the file system says that it is damaged.
    pub(super) const IOERR_CORRUPTFS: u32 = 10 | (33 << 8);
}

/// Sorts an error of sqlx.
pub(crate) fn sort(error: sqlx::Error) -> Error {
    let sorted = match &error {
        sqlx::Error::Database(reported) => {
            let extended = reported.code().and_then(|code| code.parse::<u32>().ok());
            return sort_code(extended.unwrap_or_default(), reported.message());
        }
        sqlx::Error::Io(io) => return sort_io_kind(io.kind(), io.to_string()),
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::RowNotFound => {
            Error::new(ErrorKind::Corrupt, "a row is not what was written")
                .code("ledger_corrupt")
                .fix(FIX_CORRUPT)
        }
        sqlx::Error::PoolTimedOut => Error::new(ErrorKind::Unavailable, "no connection became free in time")
            .code("ledger_busy")
            .fix(FIX_BUSY),
        sqlx::Error::PoolClosed => Error::new(ErrorKind::Unavailable, "the store is closed").code("ledger_closed"),
        _ => Error::new(ErrorKind::Internal, "the ledger was used in a wrong way").code("ledger_misused"),
    };
    sorted.caused_by(error)
}

/// Sorts an error of the operating system.
pub(crate) fn sort_io(error: &io::Error) -> Error {
    sort_io_kind(error.kind(), error.to_string())
}

/// Says that a stored value cannot be read, and why.
pub(crate) fn corrupt(what: &str, why: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Corrupt, format!("the stored {what} cannot be read: {why}"))
        .code("ledger_corrupt")
        .fix(FIX_CORRUPT)
}

fn sort_code(extended: u32, message: &str) -> Error {
    let message = message.to_owned();
    match extended & 0xff {
        result_code::FULL => Error::new(ErrorKind::StorageFull, message)
            .code("ledger_full")
            .fix(FIX_FULL),
        result_code::PERM | result_code::READONLY | result_code::AUTH | result_code::CANTOPEN => {
            Error::new(ErrorKind::PermissionDenied, message)
                .code("ledger_denied")
                .fix(FIX_DENIED)
        }
        result_code::CORRUPT | result_code::NOTADB => Error::new(ErrorKind::Corrupt, message)
            .code("ledger_corrupt")
            .fix(FIX_CORRUPT),
        result_code::IOERR if extended == result_code::IOERR_CORRUPTFS => Error::new(ErrorKind::Corrupt, message)
            .code("ledger_corrupt")
            .fix(FIX_CORRUPT),
        result_code::BUSY | result_code::LOCKED => Error::new(ErrorKind::Unavailable, message)
            .code("ledger_busy")
            .fix(FIX_BUSY),
        result_code::IOERR => Error::new(ErrorKind::Unavailable, message)
            .code("ledger_io")
            .fix(FIX_DEVICE),
        // Constraints and triggers hold what the writer has checked before, so this is our own mistake.
        _ => Error::new(ErrorKind::Internal, message).code("ledger_misused"),
    }
}

fn sort_io_kind(kind: io::ErrorKind, message: String) -> Error {
    match kind {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::new(ErrorKind::StorageFull, message)
            .code("ledger_full")
            .fix(FIX_FULL),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Error::new(ErrorKind::PermissionDenied, message)
                .code("ledger_denied")
                .fix(FIX_DENIED)
        }
        io::ErrorKind::NotFound => Error::new(ErrorKind::NotFound, message).code("ledger_not_found"),
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => Error::new(ErrorKind::Invalid, message)
            .code("state_folder_invalid")
            .fix("name a folder; what stands there is something else"),
        _ => Error::new(ErrorKind::Unavailable, message)
            .code("ledger_io")
            .fix(FIX_DEVICE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sqlite_reports_becomes_what_a_caller_can_do() {
        let expected = [
            (13, ErrorKind::StorageFull),
            (8, ErrorKind::PermissionDenied),
            (8 | (1 << 8), ErrorKind::PermissionDenied),
            (14, ErrorKind::PermissionDenied),
            (11, ErrorKind::Corrupt),
            (26, ErrorKind::Corrupt),
            (10 | (33 << 8), ErrorKind::Corrupt),
            (5, ErrorKind::Unavailable),
            (10 | (4 << 8), ErrorKind::Unavailable),
            (19 | (7 << 8), ErrorKind::Internal),
        ];

        for (code, kind) in expected {
            assert_eq!(sort_code(code, "as reported").kind(), kind, "result code {code}");
        }
    }

    #[test]
    fn a_full_disk_says_how_to_mend_it() {
        let error = sort_io(&io::Error::from(io::ErrorKind::StorageFull));

        assert_eq!(error.kind(), ErrorKind::StorageFull);
        assert!(error.advice().unwrap().contains("free some space"));
    }
}
