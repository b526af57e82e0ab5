//! What follows of a run in a group of which a record was refused.
//!
//! Whoever queued the later records took the earlier ones for granted: a run must not be recorded as succeeded when its
//! last progress was refused. Which records are refused by themselves is the store's affair.

use std::collections::HashMap;

use crate::store::Record;
use crate::{Error, ErrorKind, Result, RunId};

/// The runs of one group of which a record was refused. A store makes a new one for each group.
#[derive(Debug, Default)]
pub struct RefusedRuns(HashMap<RunId, ErrorKind>);

impl RefusedRuns {
    /// Applies `record` by `rule`, unless an earlier one of its run was refused.
    ///
    /// # Errors
    /// What `rule` says; for every later record of that run, an error of the same kind with code `run_refused`.
    pub fn judge(&mut self, record: &Record, rule: impl FnOnce() -> Result<()>) -> Result<()> {
        let run = record.run();
        if let Some(kind) = self.0.get(&run) {
            return Err(Error::new(*kind, "an earlier record of this run was refused")
                .code("run_refused")
                .about(format!("run {run}")));
        }
        rule().inspect_err(|error| {
            self.0.insert(run, error.kind());
        })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_follows_of_a_refused_run_is_refused_in_the_same_way_and_others_go_on() {
        let planned = |run| Record::RunPlanned {
            run: RunId(Uuid::from_u128(run)),
            plan: bytes::Bytes::new(),
        };
        let mut refused = RefusedRuns::default();

        let first = refused.judge(&planned(1), || Err(Error::new(ErrorKind::Fenced, "late")));
        let second = refused.judge(&planned(1), || Ok(()));
        let other = refused.judge(&planned(2), || Ok(()));

        assert_eq!(first.unwrap_err().kind(), ErrorKind::Fenced);
        let second = second.unwrap_err();
        assert_eq!(
            (second.kind(), second.to_record().code.as_str()),
            (ErrorKind::Fenced, "run_refused")
        );
        other.unwrap();
    }
}
