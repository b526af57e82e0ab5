//! The fan-outs of an engine that go on, for whoever wants to change one or know how far they are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flowstone_core::fan_out::{BarrierCounts, ItemWork};
use flowstone_core::{FanOutId, RunId};
use jiff::Timestamp;

use super::LiveFanOut;

/// How far items are, of one fan-out or of all of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ItemProgress {
    /// The items by state.
    pub counts: BarrierCounts,
    /// True while more may come.
    pub is_filling: bool,
    /// How many had ended before they went on in this engine.
    pub ended_before: u64,
    /// Since when they go on in this engine.
    pub since: Timestamp,
}

impl ItemProgress {
    /// That of both.
    fn and(mut self, other: Self) -> Self {
        self.counts += other.counts;
        self.is_filling |= other.is_filling;
        self.ended_before += other.ended_before;
        self.since = self.since.min(other.since);
        self
    }
}

/// The fan-outs of an engine that go on.
#[derive(Default)]
pub(crate) struct LiveFanOuts(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    live: HashMap<FanOutId, Arc<LiveFanOut>>,
    /// The items of those that are over, for runs that are not.
    over: HashMap<RunId, ItemProgress>,
}

impl LiveFanOuts {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, fan_out: &Arc<LiveFanOut>) {
        self.kept().live.insert(fan_out.fan_out, Arc::clone(fan_out));
    }

    pub(crate) fn remove(&self, fan_out: FanOutId) {
        let Some(over) = self.find(fan_out) else {
            return;
        };
        let (run, items) = (over.live.run, over.own_items());
        let mut kept = self.kept();
        kept.live.remove(&fan_out);
        if let Some(more) = items {
            let sum = kept.over.remove(&run).map_or(more, |sum| sum.and(more));
            kept.over.insert(run, sum);
        }
    }

    /// A run is over.
    pub(crate) fn forget(&self, run: RunId) {
        self.kept().over.remove(&run);
    }

    pub(crate) fn find(&self, fan_out: FanOutId) -> Option<Arc<LiveFanOut>> {
        self.kept().live.get(&fan_out).cloned()
    }

    /// How far the items of a run are; `None` while nothing of it has fanned out. Items that fan out themselves do not count,
    /// their own items do.
    pub(crate) fn of_run(&self, run: RunId) -> Option<ItemProgress> {
        let (over, live) = {
            let kept = self.kept();
            let live = kept.live.values().filter(|fan_out| fan_out.live.run == run);
            (kept.over.get(&run).copied(), live.cloned().collect::<Vec<_>>())
        };
        // Counted without the lock, which everybody who begins or ends takes.
        let live = live.iter().filter_map(|fan_out| fan_out.own_items());
        over.into_iter().chain(live).reduce(ItemProgress::and)
    }
}

impl LiveFanOut {
    /// How far its items are, unless they fan out themselves.
    fn own_items(&self) -> Option<ItemProgress> {
        (!matches!(self.work, ItemWork::Nested(_))).then(|| self.progress())
    }
}
