//! Uses the moments when no run goes on to remove what nobody needs any more: a bounded part at a time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use flowstone_core::AssetId;
use flowstone_core::run::RunState;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::{Active, SupervisorState};
use crate::engine::Shared;
use crate::upkeep::Upkeep;

/// So often at most, while an engine lives.
const UPKEEP_EVERY: Duration = Duration::from_secs(60 * 60);
/// How long a stop waits for it.
const UPKEEP_AT_STOP_MAX: Duration = Duration::from_secs(1);

/// What there is to do in a quiet moment.
pub(super) struct Quiet {
    since: Instant,
    /// True when runs have ended since it was done last.
    is_due: bool,
    /// Assets with runs that did not go well, and so may have left something behind.
    messy: BTreeSet<AssetId>,
    going: Option<JoinHandle<()>>,
}

impl Default for Quiet {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            is_due: false,
            messy: BTreeSet::new(),
            going: None,
        }
    }
}

impl Quiet {
    pub(super) fn note_end(&mut self, ended: &Active) {
        self.is_due = true;
        if ended.was_open || ended.progress.borrow().state != RunState::Succeeded {
            self.messy.extend(ended.footprint.makes());
        }
    }

    /// Ends what goes on; it may be left half-way.
    pub(super) async fn stop(&mut self) {
        if let Some(going) = self.going.take() {
            going.abort();
            drop(going.await);
        }
    }

    fn start(&mut self, shared: &Arc<Shared>) {
        self.is_due = false;
        self.since = Instant::now();
        let messy: Vec<AssetId> = std::mem::take(&mut self.messy).into_iter().collect();
        let shared = Arc::clone(shared);
        self.going = Some(tokio::spawn(async move {
            match Upkeep::of(&shared).some(&messy).await {
                Ok(garbage) => debug!(?garbage, "removed what nobody needs any more"),
                // It is tried again; what a run needs fails where it needs it.
                Err(error) => warn!(%error, "could not remove what nobody needs any more"),
            }
        }));
    }
}

impl SupervisorState {
    /// Starts upkeep if this is a quiet moment, and it is time.
    pub(super) fn use_quiet(&mut self) {
        let is_quiet = self.active.is_empty() && self.waiting.is_empty() && self.draining.is_none();
        let is_going = self.quiet.going.as_ref().is_some_and(|going| !going.is_finished());
        if is_quiet && !is_going && self.quiet.is_due && self.quiet.since.elapsed() >= UPKEEP_EVERY {
            self.quiet.start(&self.shared);
        }
    }

    /// Upkeep at the end of an engine, for those that live shortly; not for long.
    pub(super) async fn finish_upkeep(&mut self) {
        if self.shared.ledger.failure().borrow().is_some() {
            return;
        }
        if self.quiet.is_due && self.quiet.going.as_ref().is_none_or(JoinHandle::is_finished) {
            self.quiet.start(&self.shared);
        }
        if let Some(going) = &mut self.quiet.going
            && tokio::time::timeout(UPKEEP_AT_STOP_MAX, going).await.is_ok()
        {
            self.quiet.going = None;
        }
        self.quiet.stop().await;
    }
}
