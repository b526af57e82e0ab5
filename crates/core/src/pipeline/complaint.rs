//! Complaints, gathered so that a person sees them all at once.

use std::fmt::Write as _;

use crate::asset::SourceLocation;
use crate::{Error, ErrorKind, Result};

/// One thing that does not fit, and where.
#[derive(Debug)]
pub struct Complaint {
    /// What does not fit.
    pub error: Error,
    /// Where in the user's code.
    pub location: Option<SourceLocation>,
}

/// All complaints of one check.
#[derive(Debug, Default)]
pub struct Complaints(Vec<Complaint>);

impl Complaints {
    /// Adds one.
    pub fn push(&mut self, error: Error, location: Option<SourceLocation>) {
        self.0.push(Complaint { error, location });
    }

    /// What was gathered so far.
    pub fn as_slice(&self) -> &[Complaint] {
        &self.0
    }

    /// `Ok` when there are none.
    ///
    /// # Errors
    /// One error that holds the text of all.
    pub fn into_result(self) -> Result<()> {
        let Some(first) = self.0.first() else { return Ok(()) };
        let (kind, code) = (first.error.kind(), first.error.stable_code().to_owned());
        let mut text = match self.0.len() {
            1 => "the pipeline does not fit together".to_owned(),
            count => format!("the pipeline does not fit together in {count} places"),
        };
        for complaint in &self.0 {
            write!(text, "\n  - {}", complaint.error).expect("writing to a string cannot fail");
            if let Some(location) = complaint.location {
                write!(text, "\n    at {location}").expect("writing to a string cannot fail");
            }
            if let Some(fix) = complaint.error.advice() {
                write!(text, "\n    fix: {fix}").expect("writing to a string cannot fail");
            }
        }
        let single_kind = self.0.iter().all(|complaint| complaint.error.kind() == kind);
        Err(Error::new(if single_kind { kind } else { ErrorKind::Invalid }, text).code(code))
    }
}

/// The name that a person may have meant.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| {
            let len = candidate.chars().count();
            // Nothing left in common is no likeness.
            *distance <= 1 + len / 3 && *distance < len.max(name.chars().count())
        })
        .min()
        .map(|(_, candidate)| candidate)
}
