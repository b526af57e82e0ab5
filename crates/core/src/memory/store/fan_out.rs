//! Keeps fan-outs with all that belongs to them. What may happen to one is decided by its standing.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;

use super::Kept;
use super::records::fenced;
use crate::store::{
    ChunkState, EventKind, FanOutFilter, FanOutOpened, FanOutProgress, FanOutReopened, FanOutRow, FanOutStanding,
    ItemClaim, ItemEnds, ItemFailure, Lead, PageRow, Segment,
};
use crate::{FanOutId, Result, RunId};

#[derive(Debug, Default)]
pub(super) struct FanOuts {
    kept: HashMap<FanOutId, FanOut>,
    opened_count: u64,
}

#[derive(Debug)]
struct FanOut {
    /// Grows in the order in which they were opened.
    number: u64,
    standing: FanOutStanding,
    pages: BTreeMap<u64, PageRow>,
    claims: BTreeMap<u64, ItemClaim>,
    segments: BTreeMap<(u64, u64, u32), Segment>,
    failed: BTreeMap<u64, ItemFailure>,
}

impl Kept {
    pub(super) fn open_fan_out(&mut self, record: &FanOutOpened) -> Result<()> {
        self.leads(&record.lead)?;
        let fan_out = record.fan_out;
        if self.fan_outs.kept.contains_key(&fan_out) {
            return Err(FanOutStanding::known(fan_out));
        }
        if let Some((parent, _)) = record.parent {
            self.fan_outs.get_mut(parent)?.standing.belongs_to(&record.lead)?;
        }
        self.fan_outs.opened_count += 1;
        let opened = FanOut {
            number: self.fan_outs.opened_count,
            standing: FanOutStanding::opened(record),
            pages: BTreeMap::new(),
            claims: BTreeMap::new(),
            segments: BTreeMap::new(),
            failed: BTreeMap::new(),
        };
        self.fan_outs.kept.insert(fan_out, opened);
        let kind = EventKind::FanOutOpened {
            asset: record.lead.asset,
            partition: record.partition,
            fan_out,
        };
        self.happened(record.at, record.lead.run, kind);
        Ok(())
    }

    pub(super) fn reopen_fan_out(&mut self, record: &FanOutReopened) -> Result<()> {
        let Lead { run, .. } = record.lead;
        self.leads(&record.lead)?;
        let fan_out = record.fan_out;
        let kept = self.fan_outs.get_mut(fan_out)?;
        let owner = self.runs.get(&kept.standing.row.run);
        let is_run_over = owner.is_none_or(|row| row.state.is_terminal());
        let to = kept.standing.reopen(record, is_run_over)?;
        kept.claims.clear();
        self.fan_outs.bring_along(fan_out, run);
        self.happened(record.at, run, EventKind::FanOutMoved { fan_out, to });
        Ok(())
    }

    pub(super) fn progress_fan_out(&mut self, record: &FanOutProgress) -> Result<()> {
        self.leads(&record.lead)?;
        let fan_out = record.fan_out;
        let kept = self.fan_outs.get_mut(fan_out)?;
        let moved = kept.standing.progress(record)?;
        if let Some(page) = record.page.as_ref().filter(|page| page.len > 0) {
            kept.pages.insert(page.first, page.clone());
        }
        let claims = record.claimed.iter().map(|claim| (claim.chunk, claim.clone()));
        kept.claims.extend(claims);
        for segment in &record.segments {
            let key = (segment.page, segment.chunk, segment.seq);
            kept.segments.insert(key, segment.clone());
        }
        for chunk in &record.closed {
            kept.claims.remove(chunk);
        }
        let failed = record.failed.iter().map(|failure| (failure.item, failure.clone()));
        kept.failed.extend(failed);
        if let Some(to) = moved {
            self.happened(record.at, record.lead.run, EventKind::FanOutMoved { fan_out, to });
        }
        Ok(())
    }

    /// Refuses a writer that does not hold the chunk that it writes under.
    fn leads(&mut self, lead: &Lead) -> Result<()> {
        if self.forgotten.contains_key(&lead.run) {
            return Err(fenced(lead.chunk));
        }
        let taken = self.run_mut(lead.run)?.incarnation;
        match self.chunks.get(&(lead.run, lead.asset, lead.chunk)) {
            Some(row)
                if row.claim.fence == lead.fence
                    && row.state == ChunkState::Running
                    && lead.fence.incarnation() >= taken =>
            {
                Ok(())
            }
            _ => Err(fenced(lead.chunk)),
        }
    }
}

impl FanOuts {
    fn get_mut(&mut self, fan_out: FanOutId) -> Result<&mut FanOut> {
        self.kept
            .get_mut(&fan_out)
            .ok_or_else(|| FanOutStanding::unknown(fan_out))
    }

    /// Lets what stands within a fan-out belong to `run`, too.
    fn bring_along(&mut self, fan_out: FanOutId, run: RunId) {
        let mut brought = HashSet::from([fan_out]);
        let mut in_order: Vec<_> = self.kept.values_mut().collect();
        in_order.sort_unstable_by_key(|kept| kept.number);
        for kept in in_order {
            let row = &mut kept.standing.row;
            if row.parent.is_some_and(|(parent, _)| brought.contains(&parent)) {
                brought.insert(row.fan_out);
                row.run = run;
            }
        }
    }

    /// Forgets the fan-outs of a run.
    pub(super) fn forget(&mut self, run: RunId) {
        self.kept.retain(|_, kept| kept.standing.row.run != run);
    }

    /// How many rows there are of fan-outs whose run is meant, by table.
    pub(super) fn row_counts(&self, is_meant: impl Fn(RunId) -> bool) -> [(&'static str, usize); 5] {
        let meant = || self.kept.values().filter(|kept| is_meant(kept.standing.row.run));
        [
            ("fan_out", meant().count()),
            ("item_page", meant().map(|kept| kept.pages.len()).sum()),
            ("item_claim", meant().map(|kept| kept.claims.len()).sum()),
            ("segment", meant().map(|kept| kept.segments.len()).sum()),
            ("failed_item", meant().map(|kept| kept.failed.len()).sum()),
        ]
    }

    pub(super) fn rows(&self, filter: FanOutFilter) -> Vec<FanOutRow> {
        let is_meant = |row: &FanOutRow| match filter {
            FanOutFilter::One(fan_out) => row.fan_out == fan_out,
            FanOutFilter::OfRun(run) => row.run == run,
            FanOutFilter::Within(parent) => row.parent.is_some_and(|(of, _)| of == parent),
            FanOutFilter::OfStep(asset, partition) => {
                (row.asset, row.partition, row.parent) == (asset, partition, None)
            }
        };
        let mut found: Vec<&FanOut> = self.kept.values().filter(|kept| is_meant(&kept.standing.row)).collect();
        found.sort_unstable_by_key(|kept| {
            let item = kept.standing.row.parent.map(|(_, item)| item);
            let is_by_item = matches!(filter, FanOutFilter::Within(_));
            (item.filter(|_| is_by_item), kept.number)
        });
        found.into_iter().map(|kept| kept.standing.row.clone()).collect()
    }

    pub(super) fn pages(&self, fan_out: FanOutId) -> Vec<PageRow> {
        let pages = self.kept.get(&fan_out).into_iter().flat_map(|kept| kept.pages.values());
        let without_body = |page: &PageRow| PageRow {
            body: Bytes::new(),
            ..page.clone()
        };
        pages.map(without_body).collect()
    }

    pub(super) fn page(&self, fan_out: FanOutId, first: u64) -> Option<PageRow> {
        self.kept.get(&fan_out)?.pages.get(&first).cloned()
    }

    pub(super) fn claims(&self, fan_out: FanOutId) -> Vec<ItemClaim> {
        let claims = self
            .kept
            .get(&fan_out)
            .into_iter()
            .flat_map(|kept| kept.claims.values());
        claims.cloned().collect()
    }

    pub(super) fn ends(&self, fan_out: FanOutId) -> ItemEnds {
        let mut ends = ItemEnds::default();
        let Some(kept) = self.kept.get(&fan_out) else {
            return ends;
        };
        ends.next_chunk = kept.standing.next_chunk;
        for segment in kept.segments.values() {
            ends.succeeded.union_with(&segment.succeeded);
            ends.skipped.union_with(&segment.skipped);
        }
        ends
    }

    pub(super) fn segments(&self, fan_out: FanOutId, page: u64) -> Vec<Segment> {
        let kept = self.kept.get(&fan_out).into_iter();
        let of_page = (page, 0, 0)..=(page, u64::MAX, u32::MAX);
        let segments = kept.flat_map(|kept| kept.segments.range(of_page.clone()));
        segments.map(|(_, segment)| segment.clone()).collect()
    }

    pub(super) fn failures(&self, fan_out: FanOutId, from: u64, count_max: usize) -> Vec<ItemFailure> {
        let kept = self.kept.get(&fan_out).into_iter();
        let failures = kept.flat_map(|kept| kept.failed.range(from..));
        failures.take(count_max).map(|(_, failure)| failure.clone()).collect()
    }
}
