//! The fan-outs of an engine that go on, for whoever wants to change one or know how far they are.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
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
    /// How far the rows that the items gave are stored; `None` before they are, and where a function gathers them.
    pub results: Option<ResultRows>,
}

/// How far the rows that items gave are stored. They are visible when the value is committed, not before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResultRows {
    /// Those that the IO manager has taken.
    pub written: u64,
    /// All of them.
    pub total: u64,
}

impl ItemProgress {
    /// That of both.
    fn and(mut self, other: Self) -> Self {
        self.counts += other.counts;
        self.is_filling |= other.is_filling;
        self.ended_before += other.ended_before;
        self.since = self.since.min(other.since);
        self.with(other.results)
    }

    fn with(mut self, results: Option<ResultRows>) -> Self {
        self.results = self.results.into_iter().chain(results).reduce(ResultRows::and);
        self
    }
}

impl ResultRows {
    /// That of both.
    fn and(self, other: Self) -> Self {
        Self {
            written: self.written + other.written,
            total: self.total + other.total,
        }
    }
}

/// The fan-outs of an engine that go on.
#[derive(Default)]
pub(crate) struct LiveFanOuts(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    live: HashMap<FanOutId, Arc<LiveFanOut>>,
    /// The items of those that are over, of runs that are not.
    over: HashMap<RunId, Over>,
    /// Those of such runs whose rows are or were stored.
    storing: HashMap<FanOutId, Storing>,
}

/// The items of the fan-outs of a run that are over.
#[derive(Default)]
struct Over {
    /// Of steps, which may be taken up again.
    of_steps: HashMap<FanOutId, ItemProgress>,
    /// Of all items that fanned out, together: they may be many.
    of_items: Option<ItemProgress>,
}

impl Over {
    fn sum(&self) -> Option<ItemProgress> {
        let all = self.of_steps.values().copied().chain(self.of_items);
        all.reduce(ItemProgress::and)
    }
}

/// A fan-out that is over, and whose rows are stored.
struct Storing {
    run: RunId,
    items: ItemProgress,
    written: Arc<AtomicU64>,
    total: u64,
}

impl Storing {
    fn results(&self) -> Option<ResultRows> {
        Some(ResultRows {
            written: self.written.load(Ordering::Relaxed),
            total: self.total,
        })
    }
}

impl LiveFanOuts {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, fan_out: &Arc<LiveFanOut>) {
        let mut kept = self.kept();
        // It is taken up again if it was over: its items count once, and its rows are stored from the first on.
        if let Some(over) = kept.over.get_mut(&fan_out.live.run) {
            over.of_steps.remove(&fan_out.fan_out);
        }
        kept.storing.remove(&fan_out.fan_out);
        kept.live.insert(fan_out.fan_out, Arc::clone(fan_out));
    }

    pub(crate) fn remove(&self, fan_out: FanOutId) {
        let Some(over) = self.find(fan_out) else {
            return;
        };
        let items = over.own_items();
        let mut kept = self.kept();
        kept.live.remove(&fan_out);
        let Some(items) = items else { return };
        let sums = kept.over.entry(over.live.run).or_default();
        if over.depth == 0 {
            sums.of_steps.insert(fan_out, items);
        } else {
            sums.of_items = sums.of_items.into_iter().chain([items]).reduce(ItemProgress::and);
        }
    }

    /// The rows of a fan-out that is over are going to be stored: gives where it is to be told how many are.
    pub(crate) fn stores(&self, fan_out: &LiveFanOut, total: u64) -> Arc<AtomicU64> {
        let written = Arc::new(AtomicU64::new(0));
        let storing = Storing {
            run: fan_out.live.run,
            items: fan_out.progress(),
            written: Arc::clone(&written),
            total,
        };
        self.kept().storing.insert(fan_out.fan_out, storing);
        written
    }

    /// A run is over.
    pub(crate) fn forget(&self, run: RunId) {
        let mut kept = self.kept();
        kept.over.remove(&run);
        kept.storing.retain(|_, storing| storing.run != run);
    }

    /// How far one is that goes on, or is over while its run is not and has its rows stored.
    pub(crate) fn progress(&self, fan_out: FanOutId) -> Option<ItemProgress> {
        if let Some(live) = self.find(fan_out) {
            return Some(live.progress());
        }
        let kept = self.kept();
        let storing = kept.storing.get(&fan_out)?;
        Some(storing.items.with(storing.results()))
    }

    pub(crate) fn find(&self, fan_out: FanOutId) -> Option<Arc<LiveFanOut>> {
        self.kept().live.get(&fan_out).cloned()
    }

    /// How far the items of a run are; `None` while nothing of it has fanned out. Items that fan out themselves do not count,
    /// their own items do.
    pub(crate) fn of_run(&self, run: RunId) -> Option<ItemProgress> {
        let (over, live, results) = {
            let kept = self.kept();
            let live = kept.live.values().filter(|fan_out| fan_out.live.run == run);
            let storing = kept.storing.values().filter(|storing| storing.run == run);
            (
                kept.over.get(&run).and_then(Over::sum),
                live.cloned().collect::<Vec<_>>(),
                storing.filter_map(Storing::results).reduce(ResultRows::and),
            )
        };
        // Counted without the lock, which everybody who begins or ends takes.
        let live = live.iter().filter_map(|fan_out| fan_out.own_items());
        let sum = over.into_iter().chain(live).reduce(ItemProgress::and)?;
        Some(sum.with(results))
    }
}

impl LiveFanOut {
    /// How far its items are, unless they fan out themselves.
    fn own_items(&self) -> Option<ItemProgress> {
        (!matches!(self.work, ItemWork::Nested(_))).then(|| self.progress())
    }
}
