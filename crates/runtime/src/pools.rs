//! The slots of all pools, and the leases that hold them.
//!
//! Who may take slots is decided in core. A lease belongs to a chunk in flight and goes with it, however that ends, so
//! no slot outlives its holder; those who wait are told whenever some come back.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flowstone_core::RunId;
use flowstone_core::pool::{Claimant, Pools, Slots};
use ractor::ActorRef;

use crate::run_actor::RunMessage;

/// The pools of an engine. Clones share them.
#[derive(Clone)]
pub(crate) struct PoolTable(Arc<Mutex<Table>>);

/// The pools, locked.
pub(crate) struct Table {
    pub(crate) pools: Pools,
    actors: HashMap<RunId, ActorRef<RunMessage>>,
}

impl PoolTable {
    pub(crate) fn new(limits: &BTreeMap<String, u32>) -> Self {
        Self(Arc::new(Mutex::new(Table {
            pools: Pools::new(limits),
            actors: HashMap::new(),
        })))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes whom to tell when slots come back that a run waits for.
    pub(crate) fn enroll(&self, run: RunId, actor: ActorRef<RunMessage>) {
        self.lock().actors.insert(run, actor);
    }

    /// A run wants nothing for now.
    pub(crate) fn forget(&self, run: RunId) {
        let mut table = self.lock();
        let waiting = table.pools.forget(|(other, _)| other == run);
        table.tell(&waiting);
    }

    /// A run is gone.
    pub(crate) fn leave(&self, run: RunId) {
        self.forget(run);
        self.lock().actors.remove(&run);
    }

    /// The lease of slots that were taken in `table`.
    pub(crate) fn lease(&self, slots: Slots) -> Lease {
        Lease {
            table: self.clone(),
            slots,
        }
    }
}

impl Table {
    /// A claimant does not use its turn, or wants nothing any more.
    pub(crate) fn pass(&mut self, is_meant: impl Fn(Claimant) -> bool) {
        let waiting = self.pools.forget(is_meant);
        self.tell(&waiting);
    }

    fn tell(&self, runs: &[RunId]) {
        for actor in runs.iter().filter_map(|run| self.actors.get(run)) {
            // One that is gone has left, or is about to.
            drop(actor.cast(RunMessage::NeedWorkers));
        }
    }
}

/// The slots of one chunk in flight. Dropping it gives them back.
pub(crate) struct Lease {
    table: PoolTable,
    slots: Slots,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut table = self.table.lock();
        let waiting = table.pools.give_back(&self.slots);
        table.tell(&waiting);
    }
}
