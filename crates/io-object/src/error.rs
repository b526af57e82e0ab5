//! Sorts what object stores and the operating system say into core's kinds.

use std::error::Error as StdError;
use std::fmt::Display;
use std::io;

use flowstone_core::{Error, ErrorKind};
use tokio::task::JoinError;

const MATERIALIZE_AGAIN: &str = "materialize the asset again; if it keeps happening, check the medium";

/// Sorts an error of an object store about the object called `subject`.
pub(crate) fn sort(error: object_store::Error, subject: impl Display) -> Error {
    let sorted = match (io_kind(&error), &error) {
        (Some(kind), _) => of_io_kind(kind),
        (None, object_store::Error::NotFound { .. }) => missing(),
        (None, object_store::Error::AlreadyExists { .. }) => taken(),
        (None, object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. }) => refused(),
        (None, object_store::Error::NotSupported { .. } | object_store::Error::NotImplemented { .. }) => {
            Error::new(ErrorKind::Unsupported, "the object store cannot do this")
        }
        (None, object_store::Error::JoinError { .. }) => stopped(),
        (None, _) => Error::new(ErrorKind::Unavailable, "the object store does not answer"),
    };
    sorted.about(subject).caused_by(error)
}

/// Sorts an error of the operating system about the file or folder called `subject`.
pub(crate) fn sort_io(error: io::Error, subject: impl Display) -> Error {
    of_io_kind(error.kind()).about(subject).caused_by(error)
}

/// The blocking work was dropped because the runtime is going down.
pub(crate) fn stopped() -> Error {
    Error::new(ErrorKind::Cancelled, "the runtime is shutting down")
}

/// Why a value was not coded beside the executor: its own code panicked, or the runtime is going down.
pub(crate) fn not_coded(error: JoinError) -> Error {
    let Ok(panic) = error.try_into_panic() else {
        return stopped();
    };
    let said = panic.downcast_ref::<&str>().copied();
    let said = said.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Error::new(ErrorKind::Panicked, said.unwrap_or("it panicked").to_owned()).during("code a value")
}

/// Fewer or more bytes are there than were stored.
pub(crate) fn wrong_len(found: u64, expected: u64, subject: impl Display) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!("{found} bytes are there, {expected} were stored"),
    )
    .code("object_length")
    .about(subject)
    .fix(MATERIALIZE_AGAIN)
}

/// The bytes are not those that were stored.
pub(crate) fn wrong_checksum(subject: impl Display) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        "the bytes are not those that were stored (their checksum differs)",
    )
    .code("object_checksum")
    .about(subject)
    .fix(MATERIALIZE_AGAIN)
}

fn of_io_kind(kind: io::ErrorKind) -> Error {
    match kind {
        io::ErrorKind::NotFound => missing(),
        io::ErrorKind::AlreadyExists => taken(),
        io::ErrorKind::PermissionDenied => refused(),
        io::ErrorKind::ReadOnlyFilesystem => Error::new(ErrorKind::PermissionDenied, "the file system is read-only")
            .fix("mount it writable, or keep the state in another folder"),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Error::new(ErrorKind::StorageFull, "no space is left")
                .fix("free some space or enlarge the quota; the work is tried again")
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => Error::new(
            ErrorKind::Conflict,
            "a file stands where a folder should, or the reverse",
        )
        .fix("move it away, or keep the state in another folder"),
        io::ErrorKind::UnexpectedEof => Error::new(ErrorKind::Corrupt, "fewer bytes are there than were stored")
            .code("object_length")
            .fix(MATERIALIZE_AGAIN),
        _ => Error::new(ErrorKind::Unavailable, "the storage does not answer"),
    }
}

fn missing() -> Error {
    Error::new(ErrorKind::NotFound, "it is not there").fix("if it was deleted by hand, materialize the asset again")
}

fn taken() -> Error {
    Error::new(ErrorKind::Conflict, "it exists already")
}

fn refused() -> Error {
    Error::new(ErrorKind::PermissionDenied, "access is refused").fix("give this user read and write access to it")
}

fn io_kind(error: &object_store::Error) -> Option<io::ErrorKind> {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        source = cause.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use flowstone_core::ErrorClass;

    use super::*;

    #[test]
    fn a_full_disk_is_recognized_below_the_object_stores_own_error() {
        let full = object_store::Error::Generic {
            store: "LocalFileSystem",
            source: Box::new(io::Error::from(io::ErrorKind::StorageFull)),
        };

        let sorted = sort(full, "v1/x");

        assert_eq!(sorted.kind(), ErrorKind::StorageFull);
        assert_eq!(sorted.retry(), ErrorClass::Infra);
        assert!(sorted.advice().is_some());
        assert_eq!(sorted.subject(), Some("v1/x"));
    }

    #[test]
    fn what_the_operating_system_refuses_has_a_kind_and_a_fix() {
        for (io, kind) in [
            (io::ErrorKind::PermissionDenied, ErrorKind::PermissionDenied),
            (io::ErrorKind::ReadOnlyFilesystem, ErrorKind::PermissionDenied),
            (io::ErrorKind::QuotaExceeded, ErrorKind::StorageFull),
            (io::ErrorKind::NotFound, ErrorKind::NotFound),
            (io::ErrorKind::NotADirectory, ErrorKind::Conflict),
        ] {
            let sorted = sort_io(io::Error::from(io), "data");

            assert_eq!(sorted.kind(), kind);
            assert!(sorted.advice().is_some(), "{io}");
        }
    }
}
