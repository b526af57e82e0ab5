//! `chain_durable_over_fsync`: what a durable step costs over the least that it could cost.
//!
//! A chain of 1,000 assets that act outside, so each starts only when the one before is on disk: one fsync a step can't
//! be saved. The time per step over that of a bare append + fdatasync on the same disk. The two are measured in turns,
//! since an fsync costs more the busier the machine is. On a busy machine most of
//! either is waiting for a core, and the ratio tells nothing.

use flowstone_core::Result;

use super::{Figure, Measured, Setup};
use crate::pipelines::{CHAIN_LEN, Pace, chain};
use crate::{disk, engine, rounds};

const ROUNDS: usize = 7;
const APPENDS: u32 = 500;

pub(crate) const FIGURE: Figure = Figure {
    name: "chain_durable_over_fsync",
    unit: "ratio",
    what: "durable 1,000-chain, each step waits for disk, over a bare append + fdatasync",
    measure,
};

fn measure(setup: &Setup) -> Result<Measured> {
    let pipeline = chain(Pace::WaitsForDisk)?;
    let assets = engine::all_assets(&pipeline);
    let mut appends_us = vec![disk::append_and_sync_us(setup.folder(), APPENDS)?];
    let (mut taken, mut ratios) = (Vec::new(), Vec::new());
    for no in 0..ROUNDS {
        let folder = setup.new_folder()?;
        let round = engine::block_on(engine::durable(&pipeline, &assets, CHAIN_LEN, folder.path()))?;
        appends_us.push(disk::append_and_sync_us(setup.folder(), APPENDS)?);
        let append_us = f64::midpoint(appends_us[no], appends_us[no + 1]);
        ratios.push(rounds::wall_us(&[round], CHAIN_LEN) / append_us);
        taken.push(round);
    }
    let (step_us, append_us) = (rounds::wall_us(&taken, CHAIN_LEN), rounds::median(appends_us));
    let cpu = rounds::cpu_note(&taken, CHAIN_LEN);
    let ratio = rounds::median(ratios);
    Ok(Measured {
        value: Some(ratio),
        rounds: ROUNDS,
        doubt: (ratio < 1.0).then_some("less than the limit: the machine is too busy to tell"),
        note: format!("step {step_us:.0} µs, append {append_us:.0} µs; {cpu}"),
    })
}
