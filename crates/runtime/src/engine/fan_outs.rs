//! What somebody outside may ask of the fan-outs of an engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use flowstone_core::fan_out::{BarrierState, FanOutEvent, FanOutOptions, OptionsChange};
use flowstone_core::partition::PartitionSet;
use flowstone_core::plan::{Force, Redrive, RunRequest};
use flowstone_core::store::{FanOutFilter, FanOutRow};
use flowstone_core::{Error, ErrorKind, FanOutId, Result};

use super::Engine;
use crate::fan_out::{ItemProgress, LiveFanOut};
use crate::handle::RunHandle;

impl Engine {
    /// How far a fan-out is, as of now; `None` unless it goes on in this engine, or what it gave is stored for a run that does.
    /// The store knows it as of the last commit.
    pub fn fan_out_progress(&self, fan_out: FanOutId) -> Option<ItemProgress> {
        self.shared.fan_outs.progress(fan_out)
    }

    /// Changes how a fan-out goes about its items while it runs. What runs already is not interrupted: where fewer may run at
    /// once, no more are started until that few run. Returns the options from now on, once they are on disk.
    ///
    /// # Errors
    /// `NotFound` unless the fan-out goes on in this engine; `IllegalTransition` when it is over, or another number of items is
    /// asked for once they are all read; `Unsupported` when another number of failures is, and its coordinator does not go by
    /// that. Nothing has changed then.
    pub async fn change_fan_out(&self, fan_out: FanOutId, change: OptionsChange) -> Result<FanOutOptions> {
        let live = self.live_fan_out(fan_out)?;
        live.take_in(FanOutEvent::OptionsSet(change)).await?;
        let options = live.options();
        live.look();
        live.nudge();
        self.on_disk().await?;
        Ok(options)
    }

    /// Ends a fan-out: what runs is asked to end, its step fails as cancelled. What has ended is kept, and may be redriven.
    /// Returns when that is on disk.
    ///
    /// # Errors
    /// `NotFound` unless the fan-out goes on in this engine.
    pub async fn cancel_fan_out(&self, fan_out: FanOutId) -> Result<()> {
        let live = self.live_fan_out(fan_out)?;
        live.take_in(FanOutEvent::CancelAsked).await?;
        self.on_disk().await
    }

    /// Waits until what was queued so far is on disk.
    async fn on_disk(&self) -> Result<()> {
        self.shared.ledger.commit(Vec::new()).await
    }

    fn live_fan_out(&self, fan_out: FanOutId) -> Result<Arc<LiveFanOut>> {
        self.shared.fan_outs.find(fan_out).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "it does not go on here")
                .code("fan_out_not_live")
                .during("find fan-out")
                .about(fan_out)
                .fix("look at `scatter show` for what goes on; what has ended can be redriven")
        })
    }

    /// Starts a run that tries again what did not succeed of a fan-out, and gathers anew. What succeeded is not run again.
    ///
    /// # Errors
    /// As [`redrive_fan_out_request`](Self::redrive_fan_out_request) and [`submit`](Self::submit).
    pub async fn redrive_fan_out(&self, fan_out: FanOutId) -> Result<RunHandle> {
        let request = self.redrive_fan_out_request(fan_out).await?;
        self.submit(request).await
    }

    /// What [`redrive_fan_out`](Self::redrive_fan_out) asks for.
    ///
    /// # Errors
    /// `NotFound` for a fan-out that is not kept; `Conflict` for one that goes on, that stands within another, or of which
    /// every item succeeded.
    pub async fn redrive_fan_out_request(&self, fan_out: FanOutId) -> Result<RunRequest> {
        let request = self.fan_out_left(fan_out).await;
        request.map_err(|error| error.during("redrive fan-out").about(fan_out))
    }

    async fn fan_out_left(&self, fan_out: FanOutId) -> Result<RunRequest> {
        let store = &*self.shared.store;
        let row = store.fan_outs(FanOutFilter::One(fan_out)).await?.pop();
        let gone = || Error::new(ErrorKind::NotFound, "it never was, or is no longer kept").code("fan_out_unknown");
        let row: FanOutRow = row.ok_or_else(gone)?;
        let run = store.run(row.run).await?.ok_or_else(gone)?;
        if !run.state.is_terminal() {
            return Err(Error::new(ErrorKind::Conflict, format!("its run is {}", run.state))
                .code("run_open")
                .fix("wait until it has ended, or cancel it first"));
        }
        if let Some((outer, _)) = row.parent {
            return Err(
                Error::new(ErrorKind::Conflict, format!("it stands within fan-out {outer}"))
                    .code("fan_out_nested")
                    .fix("redrive that one: what did not succeed within it is tried again with it"),
            );
        }
        if row.state == BarrierState::Complete && !row.has_more_to_read() {
            return Err(Error::new(ErrorKind::Conflict, "every item of it succeeded")
                .code("nothing_to_redrive")
                .fix("`run --force` makes its asset anew, with all items"));
        }
        let place = self.shared.ids.iter().position(|id| *id == row.asset);
        let (_, node) = place
            .and_then(|place| self.pipeline().graph().nodes().nth(place))
            .ok_or_else(|| {
                Error::new(ErrorKind::Conflict, "the pipeline does not have its asset any more").code("code_changed")
            })?;
        let key = node.key().clone();
        Ok(RunRequest {
            assets: vec![key.clone()],
            targets: vec![key.clone()],
            force: Force::Target,
            idempotency_key: None,
            redrive: Some(Redrive {
                of: row.run,
                steps: BTreeMap::from([(key, PartitionSet::single(row.partition))]),
            }),
            ..RunRequest::decode(&run.request)?
        })
    }
}
