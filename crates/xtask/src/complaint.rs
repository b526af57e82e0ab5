//! What a check says: where, what is wrong, and how to mend it.

use std::fmt;
use std::path::{Path, PathBuf};

/// One thing that is wrong with the workspace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Complaint {
    /// The file or folder, relative to the workspace.
    pub path: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong.
    pub wrong: String,
    /// What to do about it, as an imperative.
    pub fix: String,
}

impl Complaint {
    pub(crate) fn new(path: &Path, line: usize, wrong: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            path: path.to_path_buf(),
            line,
            wrong: wrong.into(),
            fix: fix.into(),
        }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}; {}", self.path.display(), self.line, self.wrong, self.fix)
    }
}
