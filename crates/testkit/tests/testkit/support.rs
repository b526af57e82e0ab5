//! Places for stores, and how much is played.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use flowstone_core::store::Store;
use flowstone_core::{BoxFuture, Result};
use flowstone_store::SqliteStore;
use flowstone_testkit::simulation::{InMemory, Simulation, StorePlace};
use tempfile::TempDir;

/// One seed in so many is played on SQLite.
const SQLITE_EVERY: u64 = 16;

/// A ledger in a folder of its own, in memory where the machine has such folders: what is proven here is not the disk.
pub(crate) struct OnSqlite(TempDir);

impl OnSqlite {
    pub(crate) fn new() -> Self {
        let in_memory = Path::new("/dev/shm");
        let folder = if in_memory.is_dir() {
            TempDir::new_in(in_memory)
        } else {
            TempDir::new()
        };
        Self(folder.expect("a folder is made"))
    }
}

impl StorePlace for OnSqlite {
    fn open(&mut self) -> BoxFuture<'static, Result<Arc<dyn Store>>> {
        let folder = self.0.path().to_owned();
        Box::pin(async move { Ok(Arc::new(SqliteStore::open(&folder).await?) as Arc<dyn Store>) })
    }
}

pub(crate) fn on_sqlite() -> Simulation {
    Simulation::over(|_| Box::new(OnSqlite::new()))
}

/// Most seeds in memory, the others on SQLite.
pub(crate) fn mixed() -> Simulation {
    Simulation::over(mixed_place)
}

/// The place of one seed of a mixture.
pub(crate) fn mixed_place(seed: u64) -> Box<dyn StorePlace> {
    if seed % SQLITE_EVERY == SQLITE_EVERY - 1 {
        Box::new(OnSqlite::new())
    } else {
        Box::new(InMemory::default())
    }
}

/// How many seeds to play; the environment may ask for more.
pub(crate) fn seeds(usual: u64) -> u64 {
    let asked = std::env::var("FLOWSTONE_SEEDS");
    asked.map_or(usual, |count| count.parse().expect("FLOWSTONE_SEEDS is a number"))
}

/// Says something that is seen with `--nocapture`.
pub(crate) fn tell(text: &str) {
    writeln!(std::io::stdout(), "{text}").expect("somebody listens");
}
