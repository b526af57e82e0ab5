//! Reads back how the items of a fan-out ended, page by page, in the order of their numbers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use flowstone_core::fan_out::{BarrierCounts, ItemOutcome, ItemPage, Outcomes, RawOutcome, SegmentBody};
use flowstone_core::store::{PageRow, Store};
use flowstone_core::{Error, ErrorKind, FanOutId, Result};
use futures::StreamExt;

/// Where reading has come to.
struct Reading {
    store: Arc<dyn Store>,
    fan_out: FanOutId,
    pages: VecDeque<PageRow>,
}

/// The outcomes of a fan-out whose end is on disk.
pub(crate) async fn outcomes(store: Arc<dyn Store>, fan_out: FanOutId, counts: BarrierCounts) -> Result<Outcomes> {
    let reading = Reading {
        pages: store.item_pages(fan_out).await?.into(),
        store,
        fan_out,
    };
    let pages = futures::stream::try_unfold(reading, |mut reading| async move {
        let Some(row) = reading.pages.pop_front() else {
            return Ok(None);
        };
        let outcomes = reading.page(&row).await?;
        Ok::<_, Error>(Some((outcomes, reading)))
    });
    let outcomes = pages.flat_map(|page| {
        futures::stream::iter(match page {
            Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        })
    });
    Ok(Outcomes::new(counts, outcomes.boxed()))
}

impl Reading {
    async fn page(&self, row: &PageRow) -> Result<Vec<RawOutcome>> {
        let (fan_out, first) = (self.fan_out, row.first);
        let missing = |what: String| {
            Error::new(ErrorKind::Corrupt, what)
                .code("items_missing")
                .during("read back the outcomes of fan-out")
                .about(fan_out)
        };
        let stored = self.store.item_page(fan_out, first).await?;
        let stored = stored.ok_or_else(|| missing(format!("items from {first} on are missing")))?;
        let page = ItemPage::decode(first, stored.batch_starts, &stored.body)?;
        let mut ended: BTreeMap<u64, ItemOutcome> = BTreeMap::new();
        let failures = self.store.item_failures(fan_out, first, page.items.len()).await?;
        for failure in failures.into_iter().filter(|failure| failure.item < page.range().end) {
            ended.insert(failure.item, ItemOutcome::Failed(failure.error));
        }
        for segment in self.store.segments(fan_out, first).await? {
            for (item, result) in SegmentBody::read(&segment.succeeded, &segment.skipped, &segment.body)? {
                ended.insert(item, ItemOutcome::Ended(result));
            }
        }
        let range = page.range();
        let outcomes = range.zip(page.items).map(|(index, item)| {
            let outcome = ended.remove(&index);
            let outcome = outcome.ok_or_else(|| missing(format!("the outcome of item {index} is missing")))?;
            Ok(RawOutcome { index, item, outcome })
        });
        outcomes.collect()
    }
}
