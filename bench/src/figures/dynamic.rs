//! `dynamic_1m_load_ms`: opening a ledger and knowing the 1,000,000 keys of a dynamic set.
//!
//! Each round is a new process, this program again, on a ledger that is there already. The note tells the most memory that it
//! held, and what adding the keys took.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use flowstone_core::Result;
use flowstone_core::partition::{KEYS_PER_CALL_MAX, PartitionKey};
use flowstone_core::store::Store;
use flowstone_store::SqliteStore;

use super::{Figure, Measured, Setup};
use crate::{child, engine, rounds};

const KEYS: usize = 1_000_000;
const SET: &str = "customers";
const ROUNDS: usize = 5;

/// Makes this program be the process that is measured.
pub(crate) const CHILD_ARGUMENT: &str = "__dynamic";

pub(crate) const FIGURE: Figure = Figure {
    name: "dynamic_1m_load_ms",
    unit: "ms",
    what: "from opening the ledger to knowing the 1,000,000 keys of a dynamic set",
    measure,
};

fn measure(setup: &Setup) -> Result<Measured> {
    let folder = setup.new_folder()?;
    let started = Instant::now();
    engine::block_on(add(folder.path()))?;
    let added_s = started.elapsed().as_secs_f64();
    let (mut times, mut most_mb) = (Vec::new(), 0.0_f64);
    for _ in 0..ROUNDS {
        let [took, mb] = child::ask([CHILD_ARGUMENT.as_ref(), folder.path().as_os_str()])?;
        times.push(took);
        most_mb = most_mb.max(mb);
    }
    Ok(Measured {
        value: Some(rounds::median(times)),
        rounds: ROUNDS,
        doubt: None,
        note: format!("a new process each time, {most_mb:.0} MB at most; adding them took {added_s:.1} s"),
    })
}

async fn add(folder: &Path) -> Result<()> {
    let store = SqliteStore::open(folder).await?;
    let keys: Vec<_> = (0..KEYS)
        .map(|number| PartitionKey::from(format!("customer_{number}")))
        .collect();
    for some in keys.chunks(KEYS_PER_CALL_MAX) {
        store
            .add_dynamic_keys(SET, some, "2024-01-01T00:00:00Z".parse()?)
            .await?;
    }
    store.close().await
}

/// The process that is measured.
pub(crate) fn child() -> ExitCode {
    let Some(state) = std::env::args_os().nth(2) else {
        return ExitCode::FAILURE;
    };
    let started = Instant::now();
    let loaded = engine::block_on(load(PathBuf::from(state)));
    let took = started.elapsed().as_secs_f64() * 1e3;
    let (Ok(KEYS), Some(mb)) = (loaded, crate::machine::memory_most_mb()) else {
        return ExitCode::FAILURE;
    };
    child::tell(&[took, mb])
}

async fn load(state: PathBuf) -> Result<usize> {
    let store = SqliteStore::open_read_only(&state).await?;
    Ok(store.dynamic_set(SET).await?.len() as usize)
}
