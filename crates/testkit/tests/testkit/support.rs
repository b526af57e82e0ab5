//! Places for stores, and how much is played.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use flowstone_core::store::Store;
use flowstone_core::{BoxFuture, Result};
use flowstone_store::SqliteStore;
use flowstone_testkit::simulation::{InMemory, SimulationOf, StorePlace, Story};
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

/// Plays seeds, most in memory and the others on SQLite; `FLOWSTONE_SEED` plays that one alone and prints what happened.
pub(crate) fn keeps_its_promises<S: Story>() {
    let simulation = SimulationOf::<S>::over(|seed| match (seed + 1) % SQLITE_EVERY {
        0 => Box::new(OnSqlite::new()),
        _ => Box::new(InMemory::default()),
    });
    let play = |seeds| simulation.play(seeds).unwrap_or_else(|violation| panic!("{violation}"));
    if let Ok(seed) = std::env::var("FLOWSTONE_SEED") {
        let seed = seed.parse().expect("FLOWSTONE_SEED is a number");
        tell(&simulation.trace(seed));
        play(seed..seed + 1);
        return;
    }

    let tally = play(0..seeds(500));

    tell(&format!(
        "figure simulated_seeds {}\nfigure simulated_violations 0",
        tally.seeds
    ));
    tell(&format!(
        "figure simulated_events {}\nfigure simulated_crashes {}",
        tally.events, tally.crashes
    ));
    assert!(tally.crashes > tally.seeds / 2, "hardly anything went wrong: {tally:?}");
}

/// The same seed tells the same story, on every store.
pub(crate) fn the_same_seed_is_the_same_trace<S: Story>() {
    for seed in 0..20 {
        let trace = || SimulationOf::<S>::new().trace(seed);
        let first = trace();
        assert!(!first.is_empty());
        assert_eq!(first, trace(), "seed {seed}");
        if seed < 6 {
            let on_sqlite = SimulationOf::<S>::over(|_| Box::new(OnSqlite::new())).trace(seed);
            let differing = first.lines().zip(on_sqlite.lines()).find(|(one, other)| one != other);
            assert_eq!(differing, None, "seed {seed}");
            assert_eq!(first.len(), on_sqlite.len(), "seed {seed}");
        }
    }
}

/// Plants one bug after the other; each must be found.
pub(crate) fn finds_every_bug<S: Story>(all: &[S]) {
    const SEEDS_MAX: u64 = 1_000;
    let mut missed = Vec::new();
    for planted in all {
        match SimulationOf::new().with(*planted).find(0..SEEDS_MAX) {
            Some((seeds, promise, what)) => {
                let what: String = what.chars().take(90).collect();
                tell(&format!("{planted:?}: seed {seeds}, {promise}: {what}"));
            }
            None => missed.push(planted),
        }
    }
    tell(&format!("figure planted_bugs {}", all.len()));
    tell(&format!("figure planted_bugs_found {}", all.len() - missed.len()));
    assert!(missed.is_empty(), "not found in {SEEDS_MAX} seeds: {missed:?}");
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
