//! The rules of fan-outs: whoever writes holds the step's chunk, and the fan-out's standing allows it.

use std::collections::HashSet;
use std::collections::hash_map::Entry;

use flowstone_core::store::{
    ChunkState, FanOutOpened, FanOutProgress, FanOutReopened, FanOutStanding, Lead, PageRow, Segment,
};
use flowstone_core::{Error, ErrorKind, FanOutId, Result, RunId};

use super::super::body::BODY_LEN_MAX;
use super::super::cache::{KnownFanOut, KnownRun};
use super::chunk::fenced;
use super::{Stage, What, fit, fit_time};

impl<'r> Stage<'_, 'r> {
    pub(super) fn open_fan_out(&mut self, record: &'r FanOutOpened) -> Result<()> {
        fit("the partition", [record.partition])?;
        fit("the item", record.parent.map(|(_, item)| item))?;
        fit_time(record.at)?;
        fit_body(record.shared.as_ref().map_or(0, |shared| shared.len()))?;
        let run = self.lead(&record.lead)?;
        if self.fan_out(record.fan_out).is_ok() {
            return Err(FanOutStanding::known(record.fan_out));
        }
        if let Some((parent, _)) = record.parent {
            self.fan_out(parent)?.standing.belongs_to(&record.lead)?;
        }
        let number = self.fan_out_next;
        self.fan_out_next += 1;
        let mut standing = FanOutStanding::opened(record);
        if standing.row.shared.take().is_some() {
            self.staged
                .shared
                .extend(record.shared.as_ref().map(|shared| (number, shared)));
        }
        let known = KnownFanOut {
            number,
            run: run.number,
            standing,
        };
        self.staged.fan_outs.insert(record.fan_out, known);
        self.happened(run.number, record.at, What::FanOutOpened(record));
        Ok(())
    }

    pub(super) fn reopen_fan_out(&mut self, record: &'r FanOutReopened) -> Result<()> {
        fit_time(record.at)?;
        let run = self.lead(&record.lead)?;
        let mut known = self.fan_out(record.fan_out)?.clone();
        let is_run_over = self.run(known.standing.row.run)?.state.is_terminal();
        let open: Vec<u64> = known.standing.open.keys().copied().collect();
        let to = known.standing.reopen(record, is_run_over)?;

        known.run = run.number;
        for chunk in open {
            self.close(record.fan_out, (known.number, chunk));
        }
        self.staged.fan_outs.insert(record.fan_out, known);
        self.bring_along(record.fan_out, record.lead.run, run.number);
        self.happened(run.number, record.at, What::FanOutMoved(record.fan_out, to));
        Ok(())
    }

    pub(super) fn progress_fan_out(&mut self, record: &'r FanOutProgress) -> Result<()> {
        let run = self.lead(&record.lead)?;
        fit_progress(record)?;
        let fan_out = record.fan_out;
        let (number, moved) = match self.staged.fan_outs.entry(fan_out) {
            Entry::Occupied(mut staged) => {
                let known = staged.get_mut();
                (known.number, known.standing.progress(record)?)
            }
            Entry::Vacant(vacant) => {
                let cached = self.cache.fan_outs.get(&fan_out);
                let mut known = cached.cloned().ok_or_else(|| FanOutStanding::unknown(fan_out))?;
                let moved = known.standing.progress(record)?;
                (vacant.insert(known).number, moved)
            }
        };
        let staged = &mut self.staged;
        staged.pages.extend(
            record
                .page
                .iter()
                .filter(|page| page.len > 0)
                .map(|page| (number, page)),
        );
        staged
            .claims
            .extend(record.claimed.iter().map(|claim| ((number, claim.chunk), claim)));
        staged
            .segments
            .extend(record.segments.iter().map(|segment| (number, segment)));
        staged
            .failed_items
            .extend(record.failed.iter().map(|failure| ((number, failure.item), failure)));
        for chunk in &record.closed {
            self.close(fan_out, (number, *chunk));
        }
        if let Some(to) = moved {
            self.happened(run.number, record.at, What::FanOutMoved(fan_out, to));
        }
        Ok(())
    }

    /// Refuses a writer that does not hold the chunk that it writes under.
    fn lead(&self, lead: &Lead) -> Result<KnownRun> {
        let run = self.run(lead.run)?;
        match self.chunk(lead.run, (lead.asset, lead.chunk)) {
            Some(row)
                if row.claim.fence == lead.fence
                    && row.state == ChunkState::Running
                    && lead.fence.incarnation() >= run.incarnation =>
            {
                Ok(run)
            }
            _ => Err(fenced(lead.chunk)),
        }
    }

    fn fan_out(&self, fan_out: FanOutId) -> Result<&KnownFanOut> {
        let staged = self.staged.fan_outs.get(&fan_out);
        staged
            .or_else(|| self.cache.fan_outs.get(&fan_out))
            .ok_or_else(|| FanOutStanding::unknown(fan_out))
    }

    /// A claim is open no more: one that came with this group was never there, for all that the ledger knows.
    fn close(&mut self, fan_out: FanOutId, claim: (i64, u64)) {
        self.staged.claims.remove(&claim);
        let before = self.cache.fan_outs.get(&fan_out);
        if before.is_some_and(|known| known.standing.open.contains_key(&claim.1)) {
            self.staged.claims_gone.push(claim);
        }
    }

    /// Lets what stands within a fan-out belong to `run`, too. All of it has been loaded.
    fn bring_along(&mut self, fan_out: FanOutId, run: RunId, run_number: i64) {
        let cached = self.cache.fan_outs.iter();
        let mut all: Vec<(i64, FanOutId, FanOutId)> = cached
            .chain(&self.staged.fan_outs)
            .filter_map(|(id, known)| Some((known.number, *id, known.standing.row.parent?.0)))
            .collect();
        // What stands within another was opened after it.
        all.sort_unstable();
        let mut brought = HashSet::from([fan_out]);
        for (_, id, parent) in all {
            if brought.contains(&parent) && brought.insert(id) {
                let cached = || self.cache.fan_outs[&id].clone();
                let known = self.staged.fan_outs.entry(id).or_insert_with(cached);
                known.run = run_number;
                known.standing.row.run = run;
            }
        }
    }
}

fn fit_progress(record: &FanOutProgress) -> Result<()> {
    fit_time(record.at)?;
    record.on_schedule_at.map_or(Ok(()), fit_time)?;
    if let Some(PageRow { first, len, body, .. }) = &record.page {
        fit("the end of a page", [first.saturating_add(*len)])?;
        fit_body(body.len())?;
    }
    // The number of the next claim must fit, too.
    fit(
        "the number of a claim",
        record.claimed.iter().map(|claim| claim.chunk.saturating_add(1)),
    )?;
    for Segment { page, body, .. } in &record.segments {
        fit("the page of a segment", [*page])?;
        fit_body(body.len())?;
    }
    for failure in &record.failed {
        fit("the item", [failure.item])?;
        fit_time(failure.at)?;
    }
    Ok(())
}

fn fit_body(len: usize) -> Result<()> {
    if len <= BODY_LEN_MAX {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::LimitExceeded,
        format!("it has {len} bytes, and the ledger holds up to {BODY_LEN_MAX} in one piece"),
    )
    .code("body_too_long")
    .fix("let items and their results be smaller, or pages shorter"))
}
