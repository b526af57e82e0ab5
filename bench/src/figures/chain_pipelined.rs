//! `chain_pipelined_us`: what a durable step costs when only the answer waits for the disk.
//!
//! The chain of `chain_durable_over_fsync`, but its assets do not act outside, so steps run ahead of the disk and share
//! commits. The time until the answer that everything is on disk, over the number of steps.

use flowstone_core::Result;

use super::{Figure, Measured, Setup};
use crate::pipelines::{CHAIN_LEN, Pace, chain};
use crate::{disk, engine, rounds};

const ROUNDS: usize = 9;
const APPENDS: u32 = 50;

pub(crate) const FIGURE: Figure = Figure {
    name: "chain_pipelined_us",
    unit: "µs/step",
    what: "durable 1,000-chain running ahead of the disk, the answer waits for it",
    measure,
};

fn measure(setup: &Setup) -> Result<Measured> {
    let pipeline = chain(Pace::AheadOfDisk)?;
    let assets = engine::all_assets(&pipeline);
    let (mut taken, mut appends_us) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        appends_us.push(disk::append_and_sync_us(setup.folder(), APPENDS)?);
        let folder = setup.new_folder()?;
        taken.push(engine::block_on(engine::durable(
            &pipeline,
            &assets,
            CHAIN_LEN,
            folder.path(),
        ))?);
    }
    let (cpu, append_us) = (rounds::cpu_note(&taken, CHAIN_LEN), rounds::median(appends_us));
    Ok(Measured {
        value: Some(rounds::wall_us(&taken, CHAIN_LEN)),
        rounds: ROUNDS,
        doubt: None,
        note: format!("{cpu}; bare append + fdatasync {append_us:.0} µs"),
    })
}
