//! `backfill_durable_steps_per_s`: the same range durably, with where each partition came from.
//!
//! An asset of 100,000 partitions reads another one-to-one. The upstream is made first, in a process life of its own;
//! then the downstream is run and measured: its steps over the time until the answer that all of it is on disk. SQLite
//! with an fsync on every commit, lineage recorded, small values kept in the ledger. The note says how fast both together
//! are in one run, where what the downstream reads was made a moment before.

use std::path::Path;

use flowstone_core::Result;

use super::{Figure, Measured, Setup};
use crate::pipelines::{BACKFILL_LEN, DOWNSTREAM, UPSTREAM, one_to_one};
use crate::rounds::Round;
use crate::{disk, engine, rounds};

const ROUNDS: usize = 5;
const ROUNDS_TOGETHER: usize = 3;
const APPENDS: u32 = 50;

pub(crate) const FIGURE: Figure = Figure {
    name: "backfill_durable_steps_per_s",
    unit: "steps/s",
    what: "100,000 partitions on SQLite, fsync on every commit, lineage included",
    measure,
};

/// A measured backfill.
pub(super) struct Backfill {
    pub(super) round: Round,
    /// By how much the state folder grew.
    pub(super) bytes: u64,
}

/// Makes the upstream in `folder`, then the downstream.
pub(super) async fn backfill(folder: &Path) -> Result<Backfill> {
    let pipeline = one_to_one()?;
    engine::durable(&pipeline, &[UPSTREAM.parse()?], BACKFILL_LEN, folder).await?;
    let before = disk::bytes_below(folder)?;
    let round = engine::durable(&pipeline, &[DOWNSTREAM.parse()?], BACKFILL_LEN, folder).await?;
    Ok(Backfill {
        round,
        bytes: disk::bytes_below(folder)?.saturating_sub(before),
    })
}

fn measure(setup: &Setup) -> Result<Measured> {
    let (mut taken, mut appends_us) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        appends_us.push(disk::append_and_sync_us(setup.folder(), APPENDS)?);
        let folder = setup.new_folder()?;
        taken.push(engine::block_on(backfill(folder.path()))?.round);
    }
    let mut together = Vec::new();
    for _ in 0..ROUNDS_TOGETHER {
        let folder = setup.new_folder()?;
        let pipeline = one_to_one()?;
        let assets = engine::all_assets(&pipeline);
        together.push(engine::block_on(engine::durable(
            &pipeline,
            &assets,
            2 * BACKFILL_LEN,
            folder.path(),
        ))?);
    }
    let together = 1e6 / rounds::wall_us(&together, 2 * BACKFILL_LEN);
    let (cpu, append_us) = (rounds::cpu_note(&taken, BACKFILL_LEN), rounds::median(appends_us));
    Ok(Measured {
        value: Some(1e6 / rounds::wall_us(&taken, BACKFILL_LEN)),
        rounds: ROUNDS,
        doubt: None,
        note: format!("{cpu}; both assets in one run {together:.0}; bare append + fdatasync {append_us:.0} µs"),
    })
}
