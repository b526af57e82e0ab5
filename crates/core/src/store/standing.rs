//! Where a fan-out stands: what a store judges its records by, the same for every store.
//!
//! Holds no items and no results, only what says whether the next record fits: the row, how many items came, and which
//! claims are open. Whether the writer holds the chunk that it writes under is for the store to say.

use std::collections::BTreeMap;

use super::fan_out::{FanOutOpened, FanOutProgress, FanOutReopened, FanOutRow, Lead};
use crate::fan_out::{BarrierCounts, BarrierState};
use crate::{Error, ErrorKind, FanOutId, Result};

/// What the records of one fan-out are judged by.
#[derive(Debug, Clone, PartialEq)]
pub struct FanOutStanding {
    /// The fan-out.
    pub row: FanOutRow,
    /// How many items came so far.
    pub items: u64,
    /// Greater than the number of any claim that was ever made.
    pub next_chunk: u64,
    /// The claims that are open, each with the number of its next segment.
    pub open: BTreeMap<u64, u32>,
}

impl FanOutStanding {
    /// One that has just begun.
    pub fn opened(record: &FanOutOpened) -> Self {
        Self {
            row: FanOutRow {
                fan_out: record.fan_out,
                run: record.lead.run,
                asset: record.lead.asset,
                partition: record.partition,
                parent: record.parent,
                epoch: 1,
                state: BarrierState::Filling,
                is_sealed: false,
                options: record.options.clone(),
                shared: record.shared.clone(),
                cursor: None,
                counts: BarrierCounts::default(),
                redriven: 0,
                on_schedule_at: None,
                error: None,
                opened_at: record.at,
                moved_at: record.at,
            },
            items: 0,
            next_chunk: 0,
            open: BTreeMap::new(),
        }
    }

    /// Applies a progress, and gives the state if that is another now.
    ///
    /// # Errors
    /// `Fenced` when the fan-out belongs to another run; `Conflict` when it has ended, when a page does not follow the last
    /// or comes after the seal, when a claim that is not open has an old number, and when a claim that is not open is closed or has results;
    /// `Invalid` when the counts do not add up. Nothing changed then.
    pub fn progress(&mut self, record: &FanOutProgress) -> Result<Option<BarrierState>> {
        self.belongs_to(&record.lead)?;
        let before = self.row.state;
        let is_backward = before == BarrierState::Sealed && record.state == BarrierState::Filling;
        if before.is_terminal() || is_backward {
            return Err(self.conflict("fan_out_over", format!("it is {before} already")));
        }
        adds_up(&record.counts)?;
        let items = self.items_after(record)?;
        let (next_chunk, claims) = self.claims_after(record)?;

        self.items = items;
        self.next_chunk = next_chunk;
        for (chunk, next) in claims {
            match next {
                Some(next) => self.open.insert(chunk, next),
                None => self.open.remove(&chunk),
            };
        }
        let row = &mut self.row;
        row.state = record.state;
        let is_end_of_source = record.page.is_some() && record.cursor.is_none();
        row.is_sealed |= match record.state {
            BarrierState::Filling => false,
            BarrierState::Sealed | BarrierState::Complete | BarrierState::Partial => true,
            // It may have been sealed by the last page and failed by it.
            BarrierState::Failed | BarrierState::Cancelled => is_end_of_source,
        };
        row.counts = record.counts;
        row.moved_at = record.at;
        if record.page.is_some() || record.cursor.is_some() {
            row.cursor.clone_from(&record.cursor);
        }
        if let Some(options) = &record.options {
            row.options = options.clone();
        }
        if record.on_schedule_at.is_some() {
            row.on_schedule_at = record.on_schedule_at;
        }
        if record.error.is_some() {
            row.error.clone_from(&record.error);
        }
        Ok((record.state != before).then_some(record.state))
    }

    /// Begins another epoch, and gives the state. No claim is open after it.
    ///
    /// # Errors
    /// `Conflict` when it has not ended, unless the run that it belongs to has, and when it is of another asset; `Invalid`
    /// when the counts do not add up. Nothing changed then.
    pub fn reopen(&mut self, record: &FanOutReopened, is_run_over: bool) -> Result<BarrierState> {
        let state = self.row.state;
        if !state.is_terminal() && !is_run_over {
            return Err(self.conflict("fan_out_open", format!("it is {state}, and so is its run under way")));
        }
        if record.lead.asset != self.row.asset {
            return Err(self.conflict("fan_out_of_another", "it is of another asset".to_owned()));
        }
        adds_up(&record.counts)?;
        self.open.clear();
        let row = &mut self.row;
        row.run = record.lead.run;
        row.epoch += 1;
        row.is_sealed = record.is_sealed;
        row.state = if record.is_sealed {
            BarrierState::Sealed
        } else {
            BarrierState::Filling
        };
        row.redriven = record.counts.pending;
        row.counts = record.counts;
        row.error = None;
        row.moved_at = record.at;
        Ok(row.state)
    }

    /// The error about a fan-out that nobody opened.
    pub fn unknown(fan_out: FanOutId) -> Error {
        Error::new(ErrorKind::NotFound, "there is no such fan-out").about(format!("fan-out {fan_out}"))
    }

    /// The error about a fan-out that is opened again.
    pub fn known(fan_out: FanOutId) -> Error {
        Error::new(ErrorKind::Conflict, "it was opened already")
            .code("fan_out_exists")
            .about(format!("fan-out {fan_out}"))
    }

    /// Says whether a writer may write about it.
    ///
    /// # Errors
    /// `Fenced` unless the fan-out is of the writer's run and asset.
    pub fn belongs_to(&self, lead: &Lead) -> Result<()> {
        if (self.row.run, self.row.asset) == (lead.run, lead.asset) {
            return Ok(());
        }
        let run = self.row.run;
        Err(Error::new(ErrorKind::Fenced, format!("it belongs to a step of run {run} now")).about(self.name()))
    }

    fn items_after(&self, record: &FanOutProgress) -> Result<u64> {
        let Some(page) = &record.page else {
            return Ok(self.items);
        };
        if self.row.is_sealed {
            return Err(self.conflict("fan_out_sealed", "all its items are known, and more come".to_owned()));
        }
        if page.first != self.items {
            let (first, items) = (page.first, self.items);
            return Err(self.conflict(
                "page_gap",
                format!("a page begins with item {first}, and {items} came so far"),
            ));
        }
        page.first
            .checked_add(page.len)
            .ok_or_else(|| self.conflict("page_len", "a page ends beyond all numbers".to_owned()))
    }

    /// The number of the next claim, and what becomes of claims: the number of the next segment, or `None` for those that
    /// are closed.
    fn claims_after(&self, record: &FanOutProgress) -> Result<(u64, BTreeMap<u64, Option<u32>>)> {
        let mut after = BTreeMap::new();
        let mut next_chunk = self.next_chunk;
        for claim in &record.claimed {
            let chunk = claim.chunk;
            let is_new = chunk >= self.next_chunk && chunk < u64::MAX;
            if !is_new && !self.open.contains_key(&chunk) {
                return Err(self.conflict("claim_taken", format!("the number {chunk} of a claim is not new")));
            }
            if is_new {
                after.insert(chunk, Some(0));
                next_chunk = next_chunk.max(chunk + 1);
            }
        }
        let next_of = |after: &BTreeMap<u64, Option<u32>>, chunk: u64| {
            let known = self.open.get(&chunk).copied();
            let next = after.get(&chunk).copied().unwrap_or(known);
            next.ok_or_else(|| self.conflict("claim_over", format!("claim {chunk} is not open")))
        };
        for segment in &record.segments {
            let (chunk, seq) = (segment.chunk, segment.seq);
            if seq < next_of(&after, chunk)? || seq == u32::MAX {
                return Err(self.conflict("segment_taken", format!("segment {seq} of claim {chunk} is not new")));
            }
            after.insert(chunk, Some(seq + 1));
        }
        for chunk in &record.closed {
            next_of(&after, *chunk)?;
            after.insert(*chunk, None);
        }
        Ok((next_chunk, after))
    }

    fn conflict(&self, code: &'static str, what: String) -> Error {
        Error::new(ErrorKind::Conflict, what).code(code).about(self.name())
    }

    fn name(&self) -> String {
        format!("fan-out {}", self.row.fan_out)
    }
}

fn adds_up(counts: &BarrierCounts) -> Result<()> {
    if counts.adds_up() {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Invalid,
        format!("the counts of items do not add up: {counts:?}"),
    )
    .code("counts_wrong"))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::fan_out::FanOutOptions;
    use crate::partition::PartitionSet;
    use crate::store::{ItemClaim, PageRow, Segment};
    use crate::{AssetId, ChunkNo, Fence, RunId};

    fn lead(run: u128) -> Lead {
        Lead {
            run: RunId(Uuid::from_u128(run)),
            asset: AssetId(0),
            chunk: ChunkNo(0),
            fence: Fence(1),
        }
    }

    fn standing() -> FanOutStanding {
        FanOutStanding::opened(&FanOutOpened {
            lead: lead(1),
            fan_out: FanOutId(Uuid::from_u128(1)),
            partition: 0,
            parent: None,
            options: FanOutOptions::default(),
            shared: None,
            at: Timestamp::UNIX_EPOCH,
        })
    }

    fn nothing() -> FanOutProgress {
        FanOutProgress::empty(lead(1), FanOutId(Uuid::from_u128(1)), Timestamp::UNIX_EPOCH)
    }

    fn page(first: u64, len: u64) -> PageRow {
        PageRow {
            first,
            len,
            batch_starts: PartitionSet::new(),
            body: bytes::Bytes::new(),
        }
    }

    fn claim(chunk: u64) -> ItemClaim {
        ItemClaim {
            chunk,
            items: PartitionSet::single(chunk),
            crashes: 0,
            is_held: true,
        }
    }

    fn segment(chunk: u64, seq: u32) -> Segment {
        Segment {
            page: 0,
            chunk,
            seq,
            succeeded: PartitionSet::single(chunk),
            skipped: PartitionSet::new(),
            body: bytes::Bytes::new(),
        }
    }

    fn reopened() -> FanOutReopened {
        FanOutReopened {
            lead: lead(2),
            fan_out: FanOutId(Uuid::from_u128(1)),
            is_sealed: true,
            counts: BarrierCounts::default(),
            at: Timestamp::UNIX_EPOCH,
        }
    }

    proptest! {
        #[test]
        fn what_is_refused_changes_nothing_and_what_is_taken_is_taken_once(
            drawn in prop::collection::vec((0..4_u64, 0..3_u64, 0..5_u64, 0..3_u32, 0..6_usize), 1..40)
        ) {
            let mut standing = standing();
            for (first, len, chunk, seq, state) in drawn {
                let record = FanOutProgress {
                    page: (len > 0).then(|| page(first, len)),
                    claimed: vec![claim(chunk)],
                    segments: vec![segment(chunk, seq)],
                    closed: vec![chunk],
                    state: BarrierState::ALL[state / 3],
                    ..nothing()
                };
                let before = standing.clone();

                let verdict = standing.progress(&record);

                if verdict.is_err() {
                    prop_assert_eq!(&standing, &before);
                } else {
                    prop_assert!(standing.next_chunk > chunk && standing.items == before.items + len);
                    prop_assert!(standing.progress(&record).is_err(), "its claim has a number that is taken");
                }
            }
        }
    }

    #[test]
    fn a_claim_that_is_told_again_keeps_its_results() {
        let mut standing = standing();
        let first = FanOutProgress {
            claimed: vec![claim(0)],
            segments: vec![segment(0, 0)],
            ..nothing()
        };
        standing.progress(&first).unwrap();

        let again = FanOutProgress {
            segments: Vec::new(),
            ..first.clone()
        };
        standing.progress(&again).unwrap();

        assert_eq!(standing.open[&0], 1);
        assert_eq!(standing.progress(&first).unwrap_err().kind(), ErrorKind::Conflict);
    }

    #[test]
    fn the_last_page_seals_even_what_it_fails() {
        let mut standing = standing();
        let last = FanOutProgress {
            page: Some(page(0, 3)),
            state: BarrierState::Failed,
            ..nothing()
        };

        let moved = standing.progress(&last).unwrap();

        assert_eq!((moved, standing.row.is_sealed), (Some(BarrierState::Failed), true));
    }

    #[test]
    fn a_fan_out_of_a_run_that_ended_is_reopened_as_it_is() {
        let mut standing = standing();
        let begun = FanOutProgress {
            claimed: vec![claim(0)],
            ..nothing()
        };
        standing.progress(&begun).unwrap();

        let refused = standing.reopen(&reopened(), false).unwrap_err();
        let state = standing.reopen(&reopened(), true).unwrap();

        assert_eq!((refused.kind(), state), (ErrorKind::Conflict, BarrierState::Sealed));
        assert_eq!((standing.row.epoch, standing.next_chunk), (2, 1));
        assert!(standing.open.is_empty());
        assert_eq!(standing.progress(&begun).unwrap_err().kind(), ErrorKind::Fenced);
    }
}
