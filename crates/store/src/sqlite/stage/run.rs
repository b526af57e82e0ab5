//! The rules of runs: ids and idempotency keys are unique, an incarnation only grows, a terminal state is final.

use bytes::Bytes;
use flowstone_core::store::RunRow;
use flowstone_core::{Error, ErrorKind, Incarnation, Result, RunId};

use super::super::cache::KnownRun;
use super::{Move, Stage, What, fit_time};

impl<'r> Stage<'_, 'r> {
    pub(super) fn create(&mut self, row: &'r RunRow) -> Result<()> {
        fit_time(row.created_at)?;
        fit_time(row.moved_at)?;
        let about = |error: Error| Err(error.during("create").about(format!("run {}", row.run)));
        if self.run(row.run).is_ok() {
            return about(Error::new(ErrorKind::Conflict, "a run with this id exists").code("run_exists"));
        }
        if let Some(key) = &row.idempotency_key {
            let is_staged = self
                .staged
                .created
                .iter()
                .any(|(_, other)| other.idempotency_key.as_ref() == Some(key));
            if is_staged || self.kept.idempotency_keys.contains(key) {
                return about(
                    Error::new(
                        ErrorKind::Conflict,
                        format!("a run with the idempotency key {key:?} exists"),
                    )
                    .code("idempotency_key_taken"),
                );
            }
        }
        let number = self.run_next;
        self.run_next += 1;
        let known = KnownRun {
            number,
            state: row.state,
            incarnation: row.incarnation,
        };
        self.staged.runs.insert(row.run, known);
        self.staged.created.push((number, row));
        if let Some(plan) = &row.plan {
            self.staged.plans.insert(number, plan);
        }
        self.happened(number, row.created_at, What::Created);
        Ok(())
    }

    pub(super) fn plan(&mut self, run: RunId, plan: &'r Bytes) -> Result<()> {
        let known = self.run(run)?;
        self.staged.plans.insert(known.number, plan);
        Ok(())
    }

    pub(super) fn take(&mut self, run: RunId, incarnation: Incarnation) -> Result<()> {
        let known = self.open(run, "take")?;
        if incarnation <= known.incarnation {
            let taken = known.incarnation;
            return Err(
                Error::new(ErrorKind::Fenced, format!("it was taken by incarnation {taken}"))
                    .during("take")
                    .about(format!("run {run}")),
            );
        }
        self.staged.taken.insert(known.number, incarnation);
        self.staged.runs.insert(run, KnownRun { incarnation, ..known });
        Ok(())
    }

    pub(super) fn move_run(&mut self, run: RunId, step: Move<'r>) -> Result<()> {
        fit_time(step.at)?;
        let known = self.open(run, "move")?;
        self.staged.runs.insert(
            run,
            KnownRun {
                state: step.to,
                ..known
            },
        );
        self.happened(known.number, step.at, What::Moved(step.to));
        self.staged.moves.insert(known.number, step);
        Ok(())
    }

    /// A run that has not ended.
    fn open(&self, run: RunId, during: &'static str) -> Result<KnownRun> {
        let known = self.run(run)?;
        if known.state.is_terminal() {
            let state = known.state;
            return Err(Error::new(ErrorKind::Conflict, format!("it is {state} already"))
                .code("run_terminal")
                .during(during)
                .about(format!("run {run}")));
        }
        Ok(known)
    }
}
