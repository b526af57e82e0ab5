//! What each record does to what is kept, or why it is refused.

use std::collections::HashSet;

use jiff::Timestamp;

use super::{Kept, attempt_of};
use crate::partition::PartitionSet;
use crate::store::{
    ChunkClaim, ChunkProgress, ChunkRow, ChunkState, Event, EventKind, HeadSet, Materialization, Record, RunRow,
    StepFailure,
};
use crate::{AssetId, ChunkNo, Error, ErrorKind, Incarnation, Result, RunId, Version};

impl Kept {
    pub(super) fn apply(&mut self, record: &Record) -> Result<()> {
        match record {
            Record::RunCreated(row) => self.create_run(row),
            Record::RunPlanned { run, plan } => {
                self.run_mut(*run)?.plan = Some(plan.clone());
                Ok(())
            }
            Record::RunTaken { run, incarnation } => self.take_run(*run, *incarnation),
            Record::RunMoved {
                run,
                to,
                at,
                counts,
                error,
            } => {
                let row = self.open_run_mut(*run)?;
                row.state = *to;
                row.moved_at = *at;
                row.counts = *counts;
                row.error.clone_from(error);
                self.happened(*at, *run, EventKind::RunMoved { to: *to });
                Ok(())
            }
            Record::ChunkClaimed(claim) => self.claim(claim),
            Record::ChunkProgress(progress) => self.progress(progress),
            Record::FanOutOpened(opened) => self.open_fan_out(opened),
            Record::FanOutReopened(reopened) => self.reopen_fan_out(reopened),
            Record::FanOutProgress(progress) => self.progress_fan_out(progress),
        }
    }

    fn create_run(&mut self, row: &RunRow) -> Result<()> {
        let key_taken = |other: &RunRow| row.idempotency_key.is_some() && other.idempotency_key == row.idempotency_key;
        let is_known = self.runs.contains_key(&row.run) || self.forgotten.contains_key(&row.run);
        if is_known || self.runs.values().any(key_taken) {
            return Err(Error::new(
                ErrorKind::Conflict,
                "a run with this id or idempotency key exists",
            ));
        }
        self.happened(row.created_at, row.run, EventKind::RunCreated);
        self.runs.insert(row.run, row.clone());
        Ok(())
    }

    pub(super) fn run_mut(&mut self, run: RunId) -> Result<&mut RunRow> {
        self.runs
            .get_mut(&run)
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no run {run}")))
    }

    fn open_run_mut(&mut self, run: RunId) -> Result<&mut RunRow> {
        let over = |state| Error::new(ErrorKind::Conflict, format!("run {run} is {state} already"));
        if let Some(state) = self.forgotten.get(&run) {
            return Err(over(*state));
        }
        let row = self.run_mut(run)?;
        if row.state.is_terminal() {
            return Err(over(row.state));
        }
        Ok(row)
    }

    fn take_run(&mut self, run: RunId, incarnation: Incarnation) -> Result<()> {
        let row = self.open_run_mut(run)?;
        if incarnation <= row.incarnation {
            let taken = row.incarnation;
            return Err(Error::new(
                ErrorKind::Fenced,
                format!("run {run} was taken by incarnation {taken}"),
            ));
        }
        row.incarnation = incarnation;
        Ok(())
    }

    pub(super) fn known(&self, asset: AssetId) -> Result<()> {
        if (asset.0 as usize) < self.assets.len() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::NotFound, "it was never declared").about(format!("asset {asset}")))
    }

    fn claim(&mut self, claim: &ChunkClaim) -> Result<()> {
        let taken = self.run_mut(claim.run)?.incarnation;
        self.known(claim.asset)?;
        if claim.fence.incarnation() < taken {
            return Err(fenced(claim.chunk));
        }
        let key = (claim.run, claim.asset, claim.chunk);
        if let Some(row) = self.chunks.get_mut(&key) {
            if claim.fence <= row.claim.fence {
                return Err(fenced(claim.chunk));
            }
            row.claim = claim.clone();
            row.state = ChunkState::Running;
            return Ok(());
        }
        let row = ChunkRow {
            claim: claim.clone(),
            state: ChunkState::Running,
            succeeded: PartitionSet::new(),
            unchanged: PartitionSet::new(),
            skipped: PartitionSet::new(),
        };
        self.chunks.insert(key, row);
        Ok(())
    }

    pub(super) fn progress(&mut self, progress: &ChunkProgress) -> Result<()> {
        let key = (progress.run, progress.asset, progress.chunk);
        match self.chunks.get(&key) {
            Some(row) if row.claim.fence == progress.fence && row.state == ChunkState::Running => {}
            _ => return Err(fenced(progress.chunk)),
        }
        if progress.fence.incarnation() < self.run_mut(progress.run)?.incarnation {
            return Err(fenced(progress.chunk));
        }
        self.check(progress)?;
        let made: PartitionSet = progress.materialized.iter().map(|made| made.partition).collect();
        let row = self.chunks.get_mut(&key).expect("the row was found above");
        row.state = progress.state;
        row.succeeded.union_with(&made);
        row.unchanged.union_with(&progress.unchanged);
        row.skipped.union_with(&progress.skipped);
        for made in &progress.materialized {
            self.move_head(made);
            self.materialized
                .entry((made.asset, made.partition))
                .or_insert_with(|| Vec::with_capacity(1))
                .push(made.clone());
        }
        self.inputs.entry(progress.asset).or_default().extend(&progress.inputs);
        self.mark(progress, &made);
        if !made.is_empty() {
            let kind = EventKind::Materialized {
                asset: progress.asset,
                partitions: made,
            };
            self.happened(progress.at, progress.run, kind);
        }
        for failure in &progress.failed {
            let StepFailure {
                asset,
                partition,
                attempt,
                is_final,
                ..
            } = *failure;
            let kind = EventKind::StepFailed {
                asset,
                partition,
                attempt,
                is_final,
                code: failure.error.code.clone(),
            };
            self.happened(failure.at, progress.run, kind);
            let failures = self.failures.entry(progress.run).or_default();
            failures.attempts.insert(attempt_of(failure));
            failures.in_order.push(failure.clone());
        }
        Ok(())
    }

    /// Refuses what must not be kept, before anything of it is.
    pub(super) fn check(&self, progress: &ChunkProgress) -> Result<()> {
        let mut places = HashSet::new();
        for made in &progress.materialized {
            self.known(made.asset)?;
            let is_second = !places.insert((made.asset, made.partition));
            if is_second || self.head_version(made.asset, made.partition) >= made.version {
                let (partition, version) = (made.partition, made.version);
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!("partition {partition} has version {version} or a later one already"),
                ));
            }
        }
        let mut attempts = HashSet::new();
        let known = self.failures.get(&progress.run);
        for attempt in progress.failed.iter().map(attempt_of) {
            if !attempts.insert(attempt) || known.is_some_and(|known| known.attempts.contains(&attempt)) {
                let (_, partition, attempt) = attempt;
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!("attempt {attempt} at partition {partition} has failed already"),
                ));
            }
        }
        let inputs = progress.inputs.iter().flat_map(|input| [input.asset, input.upstream]);
        let failed = progress.failed.iter().map(|failure| failure.asset);
        let outdated = progress.outdated.iter().map(|(asset, _)| *asset);
        inputs
            .chain(failed)
            .chain(outdated)
            .try_for_each(|asset| self.known(asset))
    }

    /// Keeps the status sets in step.
    fn mark(&mut self, progress: &ChunkProgress, made: &PartitionSet) {
        let status = self.status.entry(progress.asset).or_default();
        status.failed.subtract(made);
        status.stale.subtract(made);
        status.stale.subtract(&progress.unchanged);
        for failure in progress.failed.iter().filter(|failure| failure.is_final) {
            status.failed.insert(failure.partition);
        }
        for (asset, partitions) in &progress.outdated {
            let status = self.status.entry(*asset).or_default();
            let stale = partitions.intersect(&status.materialized());
            status.stale.union_with(&stale);
        }
    }

    fn head_version(&self, asset: AssetId, partition: u64) -> Version {
        self.materialized
            .get(&(asset, partition))
            .and_then(|all| all.last())
            .map_or(Version::NONE, |made| made.version)
    }

    fn move_head(&mut self, made: &Materialization) {
        let heads = &mut self.status.entry(made.asset).or_default().heads;
        if made.version > Version::NONE.next() {
            for head in heads.iter_mut() {
                head.partitions.remove(made.partition);
            }
        }
        let same = |head: &&mut HeadSet| head.version == made.version && head.code_version == made.code_version;
        match heads.iter_mut().find(same) {
            Some(head) => {
                head.partitions.insert(made.partition);
            }
            None => {
                // Mostly the only one there ever is.
                heads.reserve_exact(1);
                heads.push(HeadSet {
                    version: made.version,
                    code_version: made.code_version,
                    partitions: PartitionSet::single(made.partition),
                });
            }
        }
        heads.retain(|head| !head.partitions.is_empty());
    }

    pub(super) fn happened(&mut self, at: Timestamp, run: RunId, kind: EventKind) {
        let sequence = self.events.last().map_or(1, |event| event.sequence + 1);
        self.events.push(Event {
            sequence,
            at,
            run,
            kind,
        });
    }
}

pub(super) fn fenced(chunk: ChunkNo) -> Error {
    Error::new(
        ErrorKind::Fenced,
        format!("chunk {chunk} is claimed by somebody else, or over"),
    )
}
