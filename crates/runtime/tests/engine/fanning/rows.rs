//! What items gave as rows: how far they are stored is told, and they are gathered again where that failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use flowstone_core::asset::{Asset, Outcome, Retry, Step};
use flowstone_core::fan_out::{FanOut, FanOutOptions, GatheredValue, ItemWork, Outcomes};
use flowstone_core::io::{Manifest, Rows};
use flowstone_core::memory::MemoryStore;
use flowstone_core::reader::ItemReader;
use flowstone_core::run::RunState;
use flowstone_core::{Error, Result, TypeInfo};
use futures::{StreamExt, stream};

use super::{Numbers, fan_outs, sum_of_all};
use crate::support::{Gate, engine, engine_on, within};

/// The numbers as rows, of which each waits at a gate before it is stored. So many attempts at gathering fail first.
struct Rowed(Numbers, Gate, AtomicU32);

#[async_trait]
impl FanOut for Rowed {
    fn options(&self) -> FanOutOptions {
        self.0.options()
    }

    async fn open(&self, step: &Step) -> Result<Box<dyn ItemReader>> {
        self.0.open(step).await
    }

    fn work(&self) -> ItemWork {
        self.0.work()
    }

    async fn gather(&self, _: Step, outcomes: Outcomes) -> Result<Outcome<GatheredValue>> {
        if self
            .2
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
            .is_ok()
        {
            return Err(Error::transient("not yet"));
        }
        let (total, gate) = (outcomes.counts().total, self.1.clone());
        let parts = stream::iter(0..total).then(move |number| {
            let gate = gate.clone();
            async move {
                gate.pass().await;
                Ok(vec![number])
            }
        });
        let manifest = Manifest::of(&total)?;
        Ok(Outcome::Value(GatheredValue::Rows(
            Rows::new::<Vec<u64>, u64>(total, parts),
            manifest,
        )))
    }
}

#[tokio::test]
async fn how_many_rows_are_stored_is_told_while_they_are() {
    let gate = Gate::new();
    let rowed = Rowed(Numbers::plain(3), gate.clone(), AtomicU32::new(0));
    let asset = Asset::new("sum").fan_out(Vec::new(), TypeInfo::of::<Vec<u64>>(), Arc::new(rowed));
    let store = Arc::new(MemoryStore::default());
    let engine = engine_on(Arc::clone(&store) as _, 2, [asset]).await;
    let run = engine.submit(sum_of_all()).await.unwrap();
    gate.arrived().await;
    let row = fan_outs(&store, run.run_id()).await.pop().unwrap();
    let told = || {
        let results = [engine.fan_out_progress(row.fan_out), run.items()].map(|known| known?.results);
        results.map(|results| results.map(|rows| (rows.written, rows.total)))
    };

    for written in 0..3 {
        assert_eq!(told(), [Some((written, 3)); 2]);
        assert_eq!(engine.fan_out_progress(row.fan_out).unwrap().counts.succeeded, 3);
        gate.let_through(1);
        if written < 2 {
            gate.arrived().await;
        }
    }

    let report = within(run.wait()).await.unwrap();
    assert_eq!(report.state, RunState::Succeeded, "{report:?}");
    assert_eq!(engine.load::<Vec<u64>>("sum", "").await.unwrap(), [0, 1, 2]);
    assert_eq!(engine.fan_out_progress(row.fan_out), None, "the ledger says it now");
}

#[tokio::test(start_paused = true)]
async fn items_count_once_however_often_they_are_gathered() {
    let gate = Gate::new();
    let rowed = Rowed(Numbers::plain(3), gate.clone(), AtomicU32::new(2));
    let asset = Asset::new("sum")
        .fan_out(Vec::new(), TypeInfo::of::<Vec<u64>>(), Arc::new(rowed))
        .retry(Retry::exponential(3));
    let engine = engine([asset]).await;
    let run = engine.submit(sum_of_all()).await.unwrap();

    gate.arrived().await;

    let counts = run.items().unwrap().counts;
    assert_eq!((counts.total, counts.succeeded), (3, 3));
    gate.let_through(3);
    assert_eq!(run.wait().await.unwrap().state, RunState::Succeeded);
}
