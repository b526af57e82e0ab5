//! The one error that crosses crate borders.
//!
//! It answers what a caller can do: the kind says what happened, the class says whether trying again may help, the fix
//! says what a person should change. Each crate sorts its own errors into these kinds at its edge.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `Result` with Flowstone's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What happened, as far as a caller can act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// What was asked for is not well formed.
    Invalid,
    /// Something that was named does not exist.
    NotFound,
    /// A value lies outside the range that was agreed.
    OutOfRange,
    /// An input is larger than its documented bound.
    LimitExceeded,
    /// It exists already, or two things claim one name.
    Conflict,
    /// A value has another type or shape than its consumer expects.
    TypeMismatch,
    /// Stored bytes are not what was written, or not what their format promises.
    Corrupt,
    /// An ability that this implementation does not have.
    Unsupported,
    /// Another process holds the state.
    Locked,
    /// The operating system or a service refused access.
    PermissionDenied,
    /// No space left on the device.
    StorageFull,
    /// A service or device does not answer, or answers with a passing fault.
    Unavailable,
    /// User code returned an error.
    User,
    /// User code panicked.
    Panicked,
    /// A deadline passed.
    TimedOut,
    /// Someone asked for it to end.
    Cancelled,
    /// A later claim replaced the one that this write was made under.
    Fenced,
    /// An upstream that this depends on did not succeed.
    DependencyFailed,
    /// The work killed its process too often.
    Quarantined,
    /// A state machine was handed an event that its state does not accept.
    IllegalTransition,
    /// A defect of Flowstone itself.
    Internal,
}

impl ErrorKind {
    /// The stable code for this kind, used where an error has no more specific one.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::NotFound => "not_found",
            Self::OutOfRange => "out_of_range",
            Self::LimitExceeded => "limit_exceeded",
            Self::Conflict => "conflict",
            Self::TypeMismatch => "type_mismatch",
            Self::Corrupt => "corrupt",
            Self::Unsupported => "unsupported",
            Self::Locked => "locked",
            Self::PermissionDenied => "permission_denied",
            Self::StorageFull => "storage_full",
            Self::Unavailable => "unavailable",
            Self::User => "user",
            Self::Panicked => "panicked",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Fenced => "fenced",
            Self::DependencyFailed => "dependency_failed",
            Self::Quarantined => "quarantined",
            Self::IllegalTransition => "illegal_transition",
            Self::Internal => "internal",
        }
    }

    const fn class(self) -> ErrorClass {
        match self {
            Self::Unavailable => ErrorClass::Transient,
            Self::StorageFull | Self::Locked => ErrorClass::Infra,
            Self::TimedOut => ErrorClass::Timeout,
            Self::Cancelled => ErrorClass::Cancelled,
            Self::TypeMismatch | Self::Unsupported => ErrorClass::Contract,
            Self::Quarantined => ErrorClass::Poison,
            _ => ErrorClass::Permanent,
        }
    }
}

/// Whether trying again may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// A passing fault: try again after a backoff.
    Transient,
    /// The other side asks to wait this long before the next try.
    RateLimited(Duration),
    /// A deadline passed: try again after a backoff.
    Timeout,
    /// Trying again gives the same answer.
    Permanent,
    /// Two parts disagree about a type or an ability; a person must change one.
    Contract,
    /// The machine or a service that Flowstone itself needs failed; retried on a budget of its own.
    Infra,
    /// The work kills its process.
    Poison,
    /// Someone asked for it to end.
    Cancelled,
}

impl ErrorClass {
    /// True when the step's own retry budget may be spent on an error of this class.
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Transient | Self::RateLimited(_) | Self::Timeout)
    }
}

/// An error with what a caller needs to act: kind, retry class, operation, subject, stable code and fix.
///
/// `Error` deliberately does not implement [`std::error::Error`], so that `?` turns every other error into one of kind
/// [`ErrorKind::User`]. It reads as `failed to <operation> <subject>: <message>`, followed by its sources.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    class: ErrorClass,
    code: Cow<'static, str>,
    operation: Option<String>,
    subject: Option<String>,
    message: String,
    fix: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind`; `message` is a fragment that names no operation and repeats no source.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            class: kind.class(),
            code: Cow::Borrowed(kind.code()),
            operation: None,
            subject: None,
            message: message.into(),
            fix: None,
            source: None,
        }))
    }

    /// A failure of user code that a retry may mend.
    pub fn transient(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::User, message).class(ErrorClass::Transient)
    }

    /// A failure of user code that asks to be tried again no sooner than `after`.
    pub fn rate_limited(message: impl Into<String>, after: Duration) -> Self {
        Self::new(ErrorKind::User, message).class(ErrorClass::RateLimited(after))
    }

    /// A failure of user code that no retry mends.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::User, message)
    }

    /// Replaces the retry class that the kind implies.
    #[must_use]
    pub fn class(mut self, class: ErrorClass) -> Self {
        self.0.class = class;
        self
    }

    /// Gives a stable code that is more specific than the kind's.
    #[must_use]
    pub fn code(mut self, code: impl Into<Cow<'static, str>>) -> Self {
        self.0.code = code.into();
        self
    }

    /// Says what was being done, to be read after "failed to". The innermost operation wins.
    #[must_use]
    pub fn during(mut self, operation: impl Into<String>) -> Self {
        self.0.operation.get_or_insert(operation.into());
        self
    }

    /// Says what it was done to. The innermost subject wins.
    #[must_use]
    pub fn about(mut self, subject: impl fmt::Display) -> Self {
        self.0.subject.get_or_insert_with(|| subject.to_string());
        self
    }

    /// Says how a person can mend it.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.0.fix.get_or_insert(fix.into());
        self
    }

    /// Keeps the error that caused this one.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What happened.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether trying again may help.
    pub fn retry(&self) -> ErrorClass {
        self.0.class
    }

    /// The stable code, for programs.
    pub fn stable_code(&self) -> &str {
        &self.0.code
    }

    /// What was being done.
    pub fn operation(&self) -> Option<&str> {
        self.0.operation.as_deref()
    }

    /// What it was done to.
    pub fn subject(&self) -> Option<&str> {
        self.0.subject.as_deref()
    }

    /// The bare message, without operation, subject or sources.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// How a person can mend it.
    pub fn advice(&self) -> Option<&str> {
        self.0.fix.as_deref()
    }

    /// The form in which the ledger keeps this error.
    pub fn to_record(&self) -> ErrorRecord {
        ErrorRecord {
            kind: self.0.kind,
            class: self.0.class,
            code: self.0.code.to_string(),
            message: self.to_string(),
            fix: self.0.fix.clone(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        match (&inner.operation, &inner.subject) {
            (Some(operation), Some(subject)) => write!(f, "failed to {operation} {subject}: ")?,
            (Some(operation), None) => write!(f, "failed to {operation}: ")?,
            (None, Some(subject)) => write!(f, "{subject}: ")?,
            (None, None) => {}
        }
        f.write_str(&inner.message)?;
        let mut source = inner.source.as_deref().map(|source| source as &dyn StdError);
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} [{}]", self.0.code)?;
        match &self.0.fix {
            Some(fix) => write!(f, "\nfix: {fix}"),
            None => Ok(()),
        }
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        let class = match (&error as &(dyn StdError + 'static)).downcast_ref::<std::io::Error>() {
            Some(io) if is_passing(io.kind()) => ErrorClass::Transient,
            _ => ErrorClass::Permanent,
        };
        let message = error.to_string();
        let mut sorted = Self::new(ErrorKind::User, message).class(class);
        let mut source = error.source();
        while let Some(below) = source {
            let text = below.to_string();
            // Many errors repeat their source in their own text.
            if !sorted.0.message.contains(&text) {
                sorted.0.message = format!("{}: {text}", sorted.0.message);
            }
            source = below.source();
        }
        sorted
    }
}

fn is_passing(kind: std::io::ErrorKind) -> bool {
    use std::io::ErrorKind as Io;
    matches!(
        kind,
        Io::ConnectionRefused | Io::ConnectionReset | Io::ConnectionAborted | Io::Interrupted | Io::TimedOut
    )
}

/// Adds context to the error of a `Result` on its way up.
pub trait ResultExt<T> {
    /// See [`Error::during`].
    fn during(self, operation: impl Into<String>) -> Result<T>;
    /// See [`Error::about`].
    fn about(self, subject: impl fmt::Display) -> Result<T>;
}

impl<T, E: Into<Error>> ResultExt<T> for std::result::Result<T, E> {
    fn during(self, operation: impl Into<String>) -> Result<T> {
        self.map_err(|error| error.into().during(operation))
    }

    fn about(self, subject: impl fmt::Display) -> Result<T> {
        self.map_err(|error| error.into().about(subject))
    }
}

/// An error as the ledger keeps it and as reports show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorRecord {
    /// What happened.
    pub kind: ErrorKind,
    /// Whether trying again may have helped.
    pub class: ErrorClass,
    /// The stable code.
    pub code: String,
    /// The whole text, sources included.
    pub message: String,
    /// How a person can mend it.
    pub fix: Option<String>,
}

impl ErrorRecord {
    /// The error again, for whoever handles it now, with its code. What it was about is part of its message.
    pub fn into_error(self) -> Error {
        let error = Error::new(self.kind, self.message).class(self.class).code(self.code);
        match self.fix {
            Some(fix) => error.fix(fix),
            None => error,
        }
    }
}

impl fmt::Display for ErrorRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_as_a_sentence_that_names_its_subject_once() {
        let error = Error::new(ErrorKind::NotFound, "no such file")
            .during("load")
            .about("raw.csv")
            .during("run");

        assert_eq!(error.to_string(), "failed to load raw.csv: no such file");
    }

    #[test]
    fn a_foreign_error_is_the_users_and_does_not_retry() {
        let error = Error::from("x".parse::<i64>().unwrap_err());

        assert_eq!(error.kind(), ErrorKind::User);
        assert!(!error.retry().is_retryable());
    }

    #[test]
    fn an_error_is_the_same_after_a_way_through_the_ledger() {
        let error = Error::rate_limited("slow down", Duration::from_secs(7))
            .code("quota_used_up")
            .during("ask")
            .about("the weather")
            .fix("buy more");

        let again = error.to_record().into_error();

        assert_eq!(again.stable_code(), "quota_used_up");
        assert_eq!(again.to_record(), error.to_record());
    }

    #[test]
    fn a_reset_connection_may_be_tried_again() {
        let error = Error::from(std::io::Error::from(std::io::ErrorKind::ConnectionReset));

        assert_eq!(error.retry(), ErrorClass::Transient);
    }
}
