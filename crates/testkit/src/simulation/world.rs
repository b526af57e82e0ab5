//! Where a simulated process finds its store, again and again.

use std::cell::RefCell;
use std::sync::Arc;

use flowstone_core::memory::MemoryStore;
use flowstone_core::store::Store;
use flowstone_core::{BoxFuture, Result};
use tokio::runtime::Runtime;

use super::broken::must;

/// Where a simulated process finds its store, again and again.
pub trait StorePlace {
    /// Opens the store. The one that was opened before is gone by then, as after a crash.
    ///
    /// # Errors
    /// What the store says; the simulation stops at it.
    fn open(&mut self) -> BoxFuture<'static, Result<Arc<dyn Store>>>;
}

/// A store in memory that outlives the simulated processes.
#[derive(Debug, Default)]
pub struct InMemory(Arc<MemoryStore>);

impl StorePlace for InMemory {
    fn open(&mut self) -> BoxFuture<'static, Result<Arc<dyn Store>>> {
        let store = Arc::clone(&self.0);
        Box::pin(async move { Ok(store as Arc<dyn Store>) })
    }
}

/// The store of one seed and the thread that waits for it.
pub(super) struct World {
    runtime: Runtime,
    place: RefCell<Box<dyn StorePlace>>,
    store: RefCell<Option<Arc<dyn Store>>>,
}

impl World {
    pub(super) fn new(place: Box<dyn StorePlace>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let world = Self {
            runtime: runtime.expect("a runtime starts"),
            place: RefCell::new(place),
            store: RefCell::new(None),
        };
        world.reopen();
        world
    }

    /// The process has died; another opens the store.
    pub(super) fn reopen(&self) {
        self.store.replace(None);
        let opening = self.place.borrow_mut().open();
        self.store
            .replace(Some(must(self.runtime.block_on(opening), "the store cannot be opened")));
    }

    pub(super) fn store(&self) -> Arc<dyn Store> {
        let store = self.store.borrow();
        Arc::clone(store.as_ref().expect("it is only taken away to be opened again"))
    }

    /// What the store answers; it never fails by itself.
    pub(super) fn ask<T>(&self, question: impl Future<Output = Result<T>>) -> T {
        must(self.runtime.block_on(question), "the store fails")
    }
}
