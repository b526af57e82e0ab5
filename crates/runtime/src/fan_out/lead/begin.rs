//! How a fan-out begins: opened for the first time, or taken up as somebody left it.

use std::sync::Arc;

use bytes::Bytes;
use flowstone_core::fan_out::{BarrierState, FanOutMachine, ItemPage, NESTING_MAX, RecordedFanOut, TakeUp};
use flowstone_core::plan::RunRequest;
use flowstone_core::store::{FanOutFilter, FanOutOpened, FanOutRow, Record, Store};
use flowstone_core::{Error, ErrorKind, FanOutId, Result, RunId};
use tracing::info;

use super::Leading;
use crate::fan_out::feed::OpenSource;
use crate::fan_out::{LiveFanOut, Opening};

/// How many failures are read back at once.
const FAILURES_LEN: usize = 10_000;

/// A fan-out that may go on.
pub(super) struct Begun {
    pub(super) fan_out: Arc<LiveFanOut>,
    /// Where its items come from, and how far they came; `None` when they are all known.
    pub(super) source: Option<OpenSource>,
    pub(super) row: Option<FanOutRow>,
}

impl Leading {
    pub(super) async fn begin(self) -> Result<Begun> {
        match self.find().await? {
            None => self.open().await,
            Some(row) => self.take_up(row).await,
        }
    }

    fn store(&self) -> &dyn Store {
        &*self.live.shared.store
    }

    fn depth(&self) -> usize {
        self.parent.map_or(0, |parent| parent.depth + 1)
    }

    /// The fan-out of this step, if it was opened before.
    async fn find(&self) -> Result<Option<FanOutRow>> {
        if let Some(parent) = self.parent {
            let within = self.store().fan_outs(FanOutFilter::Within(parent.fan_out)).await?;
            return Ok(within
                .into_iter()
                .find(|row| row.parent == Some((parent.fan_out, parent.item))));
        }
        let of_step = FanOutFilter::OfStep(self.lead.asset, self.step.partition);
        let rows = self.store().fan_outs(of_step).await?;
        if let Some(own) = rows.iter().rfind(|row| row.run == self.lead.run) {
            return Ok(Some(own.clone()));
        }
        let first = self.first_run(self.lead.run).await?;
        if first == self.lead.run {
            return Ok(None);
        }
        // It belongs to whichever redrive went on with it last.
        for row in rows.into_iter().rev() {
            if self.first_run(row.run).await? == first {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// The run that a redrive goes back to, over all redrives in between.
    async fn first_run(&self, mut run: RunId) -> Result<RunId> {
        while let Some(row) = self.store().run(run).await?
            && let Some(redrive) = RunRequest::decode(&row.request)?.redrive
        {
            run = redrive.of;
        }
        Ok(run)
    }

    /// Opens one for the first time.
    async fn open(self) -> Result<Begun> {
        if self.depth() >= NESTING_MAX {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                format!("fan-outs may stand {NESTING_MAX} deep in each other"),
            )
            .code("fan_outs_too_deep"));
        }
        let shared_value = self.spec.shared(&self.step).await?;
        let reader = self.spec.open(&self.step).await?;
        let fan_out = FanOutId(uuid::Uuid::now_v7());
        let options = self.spec.options();
        let coordinator = self.spec.coordinator(&options);
        let mut machine = FanOutMachine::new(fan_out, self.lead, options.clone(), coordinator);
        if self.awaits_claims {
            machine.await_claims();
        }
        if reader.has_distinct_keys() {
            machine.forget_keys();
        }
        let opened = Record::FanOutOpened(Box::new(FanOutOpened {
            lead: self.lead,
            fan_out,
            partition: self.step.partition,
            parent: self.parent.map(|parent| (parent.fan_out, parent.item)),
            options,
            shared: shared_value.clone(),
            at: self.live.shared.clock.now(),
        }));
        let fan_out = self.live_with(machine, shared_value);
        let mut source = OpenSource::new(reader, None);
        if let Err(error) = fan_out.queue(vec![opened], Vec::new()).await {
            source.close().await;
            return Err(error);
        }
        Ok(Begun {
            fan_out,
            source: Some(source),
            row: None,
        })
    }

    /// Goes on with one that was opened before, by whoever.
    async fn take_up(self, row: FanOutRow) -> Result<Begun> {
        let recorded = read_back(self.store(), row.clone()).await?;
        let now = self.live.shared.clock.now();
        let (machine, records, effects) = match TakeUp::of(&row, self.lead.run, self.step.attempt) {
            TakeUp::Reopen => {
                let options = self.spec.options();
                let coordinator = self.spec.coordinator(&options);
                let (mut machine, reopened) = FanOutMachine::reopen(&recorded, self.lead, (options, coordinator), now)?;
                info!(fan_out = %row.fan_out, "fan-out goes on in another epoch");
                let effects = machine.begin(now)?;
                (machine, vec![Record::FanOutReopened(Box::new(reopened))], effects)
            }
            TakeUp::Recover => {
                let coordinator = self.spec.coordinator(&row.options);
                let (machine, effects) = FanOutMachine::recover(&recorded, self.lead, coordinator, now)?;
                (machine, Vec::new(), effects)
            }
        };
        let fan_out = self.live_with(machine, row.shared.clone());
        fan_out.queue(records, effects).await?;
        let mut source = None;
        if fan_out.state() == BarrierState::Filling {
            // That no item is at work any more is on disk before the source is opened: if that kills the process, it is the step
            // that does.
            fan_out.live.shared.ledger.commit(Vec::new()).await?;
            source = Some(fan_out.open_again(&recorded).await?);
        }
        Ok(Begun {
            fan_out,
            source,
            row: Some(row),
        })
    }

    fn live_with(self, machine: FanOutMachine, shared_value: Option<Bytes>) -> Arc<LiveFanOut> {
        let depth = self.depth();
        Arc::new(LiveFanOut::new(Opening {
            live: self.live,
            spec: self.spec,
            step: self.step,
            lead: self.lead,
            shared_value,
            depth,
            machine,
        }))
    }
}

impl LiveFanOut {
    /// Opens the source of the items again, to read on from where it was left.
    async fn open_again(&self, recorded: &RecordedFanOut) -> Result<OpenSource> {
        let reader = self.spec.open(&self.step).await?;
        if reader.has_distinct_keys() {
            self.core().machine.forget_keys();
        }
        let mut source = OpenSource::new(reader, recorded.row.cursor.clone());
        if let Err(error) = self.remember_keys(recorded).await {
            source.close().await;
            return Err(error);
        }
        Ok(source)
    }

    async fn remember_keys(&self, recorded: &RecordedFanOut) -> Result<()> {
        if !self.core().machine.remembers_keys() {
            return Ok(());
        }
        for page in &recorded.pages {
            if let Some(page) = load(&*self.live.shared.store, self.fan_out, page.first).await? {
                let mut core = self.core();
                page.items.iter().for_each(|item| core.machine.remember(&item.key));
            }
        }
        Ok(())
    }
}

async fn read_back(store: &dyn Store, row: FanOutRow) -> Result<RecordedFanOut> {
    let fan_out = row.fan_out;
    let mut failures = Vec::new();
    let mut from = 0;
    loop {
        let more = store.item_failures(fan_out, from, FAILURES_LEN).await?;
        let is_last = more.len() < FAILURES_LEN;
        from = more.last().map_or(from, |last| last.item + 1);
        failures.extend(more);
        if is_last {
            break;
        }
    }
    let mut recorded = RecordedFanOut {
        pages: store.item_pages(fan_out).await?,
        claims: store.item_claims(fan_out).await?,
        ends: store.item_ends(fan_out).await?,
        failures,
        keys: Default::default(),
        row,
    };
    let suspicious = RecordedFanOut::suspicious(&recorded.claims);
    for page in &recorded.pages {
        if suspicious.count_in(page.first..page.first + page.len) > 0
            && let Some(page) = load(store, fan_out, page.first).await?
        {
            let items = suspicious
                .iter()
                .filter_map(|item| Some((item, page.get(item)?.key.clone())));
            recorded.keys.extend(items);
        }
    }
    Ok(recorded)
}

async fn load(store: &dyn Store, fan_out: FanOutId, first: u64) -> Result<Option<ItemPage>> {
    let row = store.item_page(fan_out, first).await?;
    row.map(|row| ItemPage::decode(row.first, row.batch_starts, &row.body))
        .transpose()
}
