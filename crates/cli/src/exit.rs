//! How a command ends: what went wrong, and the exit code for it.

use std::process::ExitCode;

use flowstone_core::{Error, Result};

/// How a command ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did what it was asked to.
    Done,
    /// It did, and something that it tells about did not go well.
    Failed,
    /// There is something to do still.
    Pending,
    /// Somebody interrupted it.
    Interrupted,
}

/// Why a command did not get to its end.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was asked for is not well formed, or names what does not exist.
    Usage(Error),
    /// It failed.
    Failed(Error),
    /// Somebody interrupted it.
    Interrupted,
}

impl Exit {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Pending => 2,
            Self::Interrupted => 130,
        }
    }
}

impl Failure {
    pub(crate) const fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => USAGE,
            Self::Failed(_) => Exit::Failed.code(),
            Self::Interrupted => Exit::Interrupted.code(),
        }
    }
}

/// The exit code of `sysexits.h` for a command that was used wrongly.
pub(crate) const USAGE: u8 = 64;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Sorts errors that the person at the command line caused.
pub(crate) trait OrUsage<T> {
    fn or_usage(self) -> std::result::Result<T, Failure>;
}

impl<T> OrUsage<T> for Result<T> {
    fn or_usage(self) -> std::result::Result<T, Failure> {
        self.map_err(Failure::Usage)
    }
}

/// The code of any way in which a command may end.
pub(crate) fn exit_code(ended: &std::result::Result<Exit, Failure>) -> ExitCode {
    ExitCode::from(match ended {
        Ok(exit) => exit.code(),
        Err(failure) => failure.code(),
    })
}

#[cfg(test)]
mod tests {
    use flowstone_core::ErrorKind;

    use super::*;

    #[test]
    fn each_way_to_end_has_its_documented_code() {
        let error = || Error::new(ErrorKind::Invalid, "x");

        let codes = [Exit::Done, Exit::Failed, Exit::Pending, Exit::Interrupted].map(Exit::code);
        let failures = [Failure::Usage(error()), Failure::Failed(error()), Failure::Interrupted];

        assert_eq!(codes, [0, 1, 2, 130]);
        assert_eq!(failures.map(|failure| failure.code()), [64, 1, 130]);
    }
}
