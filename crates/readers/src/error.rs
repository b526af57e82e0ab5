//! Sorts what files, object stores and databases say into core's kinds.

use std::fmt::Display;

use flowstone_core::{Error, ErrorKind};

/// What stands in the source is not what it should be.
#[cfg(feature = "files")]
pub(crate) fn corrupt(code: &'static str, subject: impl Display, message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, message)
        .code(code)
        .during("read")
        .about(subject)
}

/// A source that was read up to somewhere is another one now.
#[cfg(feature = "files")]
pub(crate) fn changed(subject: impl Display, how: impl Display) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!("it is not the file that was read so far: {how}"),
    )
    .code("source_changed")
    .during("go on reading")
    .about(subject)
    .fix("put the file back as it was, or start the reading anew; appending to it is fine")
}

/// The reader was told something that cannot be.
#[cfg(any(feature = "files", feature = "sql"))]
pub(crate) fn invalid(subject: impl Display, message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, message)
        .code("reader_invalid")
        .during("open")
        .about(subject)
}

/// A column or field that the reader is to take its keys from, or to give, is not there.
#[cfg(any(feature = "files", feature = "sql"))]
pub(crate) fn no_column<'a>(subject: impl Display, name: &str, known: impl Iterator<Item = &'a str> + Clone) -> Error {
    let fix = match nearest(name, known.clone()) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("name one of these: {}", some_of(known)),
    };
    Error::new(ErrorKind::NotFound, format!("it has no column {name:?}"))
        .code("column_not_found")
        .during("read")
        .about(subject)
        .fix(fix)
}

/// The name that a person may have meant.
#[cfg(any(feature = "files", feature = "sql"))]
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distances = known.map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate));
    let near = distances.filter(|(distance, candidate)| {
        let len = candidate.chars().count();
        *distance <= 1 + len / 3 && *distance < len.max(name.chars().count())
    });
    near.min().map(|(_, candidate)| candidate)
}

#[cfg(any(feature = "files", feature = "sql"))]
fn some_of<'a>(known: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = known.take(21).collect();
    if names.is_empty() {
        return "(there are none)".to_owned();
    }
    if names.len() == 21 {
        names[20] = "…";
    }
    names.join(", ")
}

/// Sorts an error of the operating system about the file called `subject`.
#[cfg(feature = "files")]
pub(crate) fn sort_io(error: std::io::Error, subject: impl Display) -> Error {
    use std::io::ErrorKind as Io;
    let sorted = match error.kind() {
        Io::NotFound => missing(),
        Io::PermissionDenied => refused(),
        Io::IsADirectory => Error::new(ErrorKind::Invalid, "it is a folder").fix("name a file"),
        Io::NotADirectory => {
            Error::new(ErrorKind::NotFound, "a file stands where a folder should").fix("check the path")
        }
        _ => Error::new(ErrorKind::Unavailable, "the storage does not answer"),
    };
    sorted.during("read").about(subject).caused_by(error)
}

/// Sorts an error of an object store.
#[cfg(feature = "object")]
pub(crate) fn sort_object(error: object_store::Error) -> Error {
    use object_store::Error as Object;
    let sorted = match &error {
        Object::NotFound { .. } => missing(),
        Object::PermissionDenied { .. } | Object::Unauthenticated { .. } => refused(),
        Object::NotSupported { .. } | Object::NotImplemented { .. } => {
            Error::new(ErrorKind::Unsupported, "the object store cannot do this")
        }
        Object::JoinError { .. } => Error::new(ErrorKind::Cancelled, "the runtime is shutting down"),
        _ => Error::new(ErrorKind::Unavailable, "the object store does not answer"),
    };
    sorted.during("read").caused_by(error)
}

#[cfg(any(feature = "files", feature = "object"))]
fn missing() -> Error {
    Error::new(ErrorKind::NotFound, "it is not there")
        .code("source_not_found")
        .fix("check its name; a relative path starts at the folder in which the program was started")
}

#[cfg(any(feature = "files", feature = "object"))]
fn refused() -> Error {
    Error::new(ErrorKind::PermissionDenied, "access is refused").fix("let this user read it")
}

/// Blocking work ended without an answer: the runtime stops, or we have a defect.
#[cfg(feature = "files")]
pub(crate) fn stopped(error: tokio::task::JoinError) -> Error {
    if error.is_panic() {
        Error::new(ErrorKind::Internal, "the code of an item reader panicked").caused_by(error)
    } else {
        Error::new(ErrorKind::Cancelled, "the runtime is shutting down")
    }
}

/// A source of counted items has fewer than were read.
pub(crate) fn moved(subject: impl Display, read: u64, found: u64) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!("{read} items were read before, and now there are {found} only"),
    )
    .code("source_changed")
    .during("go on reading")
    .about(subject)
    .fix("make it of the same items again, or start the reading anew")
}
