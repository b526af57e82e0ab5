//! The rules of runs: ids and idempotency keys are unique, a terminal state is final.

use bytes::Bytes;
use flowstone_core::store::RunRow;
use flowstone_core::{Error, ErrorKind, Result, RunId};

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
            if is_staged || self.keys_taken.contains(key) {
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
        self.staged.runs.insert(row.run, (number, row.state));
        self.staged.created.push((number, row));
        if let Some(plan) = &row.plan {
            self.staged.plans.insert(number, plan);
        }
        self.happened(number, row.created_at, What::Created);
        Ok(())
    }

    pub(super) fn plan(&mut self, run: RunId, plan: &'r Bytes) -> Result<()> {
        let (number, _) = self.run(run)?;
        self.staged.plans.insert(number, plan);
        Ok(())
    }

    pub(super) fn move_run(&mut self, run: RunId, step: Move<'r>) -> Result<()> {
        fit_time(step.at)?;
        let (number, state) = self.run(run)?;
        if state.is_terminal() {
            return Err(Error::new(ErrorKind::Conflict, format!("it is {state} already"))
                .code("run_terminal")
                .during("move")
                .about(format!("run {run}")));
        }
        self.staged.runs.insert(run, (number, step.to));
        self.happened(number, step.at, What::Moved(step.to));
        self.staged.moves.insert(number, step);
        Ok(())
    }
}
