//! Reads the items of a fan-out, page by page, as fast as they are worked at.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use flowstone_core::asset::NextAttempt;
use flowstone_core::fan_out::{FanOutEvent, ItemPage};
use flowstone_core::reader::{Cursor, Item, ItemReader, Page};
use flowstone_core::{ErrorKind, Result};
use futures::FutureExt;
use tracing::warn;

use super::LiveFanOut;
use crate::worker::panicked;

/// A source that is read, and is closed once, whatever happens.
pub(super) struct OpenSource {
    reader: Box<dyn ItemReader>,
    /// From where to read.
    cursor: Option<Cursor>,
    is_closed: bool,
}

impl OpenSource {
    pub(super) fn new(reader: Box<dyn ItemReader>, cursor: Option<Cursor>) -> Self {
        Self {
            reader,
            cursor,
            is_closed: false,
        }
    }

    pub(super) async fn close(&mut self) {
        if !std::mem::replace(&mut self.is_closed, true)
            && let Err(panic) = AssertUnwindSafe(self.reader.close()).catch_unwind().await
        {
            let error = panicked(&*panic);
            warn!(%error, "a reader could not be closed");
        }
    }
}

impl LiveFanOut {
    /// Reads to the end of the source, or as many items as may come; then the source is closed.
    pub(super) async fn feed(&self, source: &mut OpenSource) -> Result<()> {
        let cursor = source.cursor.take();
        let fed = AssertUnwindSafe(self.feed_from(&mut *source.reader, cursor))
            .catch_unwind()
            .await;
        source.close().await;
        match fed.unwrap_or_else(|panic| Err(panicked(&*panic))) {
            Ok(()) => Ok(()),
            // The lead is told to stop by other means.
            Err(error) if error.kind() == ErrorKind::Cancelled => Ok(()),
            Err(error) => {
                let error = error.during("read the items of").about(self.label());
                self.report(FanOutEvent::Failed(error.to_record())).await
            }
        }
    }

    async fn feed_from(&self, reader: &mut dyn ItemReader, mut cursor: Option<Cursor>) -> Result<()> {
        loop {
            let items_max = self.room().await;
            if items_max == 0 {
                return self.report(FanOutEvent::EnoughRead).await;
            }
            let page = self.read(reader, cursor.as_ref(), items_max).await?;
            cursor.clone_from(&page.next);
            self.admit(page).await?;
            if cursor.is_none() {
                return Ok(());
            }
        }
    }

    /// Waits until more items may be read; gives how many.
    async fn room(&self) -> usize {
        loop {
            if !self.live.holds_back()
                && let Some(items_max) = self.core().machine.to_read()
            {
                return items_max;
            }
            self.has_room.notified().await;
        }
    }

    /// Reads a page, again if that fails in a way that may pass.
    async fn read(&self, reader: &mut dyn ItemReader, cursor: Option<&Cursor>, items_max: usize) -> Result<Page> {
        let mut attempt = 1;
        loop {
            let error = match reader.read(cursor, items_max).await {
                Ok(page) => return page.check(items_max).map(|()| page),
                Err(error) => error,
            };
            let retry = self.core().machine.options().retry;
            let wait = match retry.after(attempt, error.kind(), error.retry(), 0.5) {
                NextAttempt::After(wait) => wait,
                NextAttempt::Never => return Err(error),
            };
            warn!(fan_out = %self.fan_out, attempt, %error, "the source of the items failed and is tried again");
            attempt += 1;
            tokio::time::sleep(wait).await;
        }
    }

    async fn admit(&self, Page { mut items, next }: Page) -> Result<()> {
        let first = {
            let mut core = self.core();
            core.machine.keep_new(&mut items);
            // Nobody else adds items.
            core.machine.counts().total
        };
        let page = self.page_of(first, items)?;
        let permit = self.live.shared.ledger.permit().await?;
        {
            let mut core = self.core();
            let event = FanOutEvent::PageRead {
                page: page.clone(),
                next,
            };
            let effects = core.machine.apply(event, self.live.shared.clock.now())?;
            if !page.items.is_empty() && core.machine.works_at(&page.range()) {
                core.pages.insert(first, Arc::new(page));
            }
            self.perform(&mut core, effects, permit);
        }
        self.live.nudge_for_items();
        self.has_more.notify_waiters();
        Ok(())
    }

    /// The page of these items, in batches if they are taken so.
    fn page_of(&self, first: u64, items: Vec<Item>) -> Result<ItemPage> {
        let Some(batching) = self.spec.batching().filter(|_| !items.is_empty()) else {
            return Ok(ItemPage::new(first, items));
        };
        catch_unwind(AssertUnwindSafe(|| batching.batches(&items)))
            .unwrap_or_else(|panic| Err(panicked(&*panic)))
            .and_then(|batches| ItemPage::in_batches(first, items, &batches))
            .map_err(|error| error.during("put items in batches"))
    }

    pub(super) fn label(&self) -> String {
        let graph = self.step.scope.pipeline.graph();
        let node = graph.node(self.step.scope.node);
        let partition = node.space().label(self.step.partition);
        if node.space().is_unit() {
            node.key().to_string()
        } else {
            format!("{}[{partition}]", node.key())
        }
    }
}
