//! `step_memory_chain_us`: what one step costs when nothing can run beside it.
//!
//! 1,000 assets that do nothing, each made from the one before, in memory. The time of a whole run over the number of
//! its steps, so planning and the answer are in it.

use flowstone_core::Result;

use super::{Figure, Measured, Setup};
use crate::pipelines::{CHAIN_LEN, Pace, chain};
use crate::{engine, rounds};

const ROUNDS: usize = 15;

pub(crate) const FIGURE: Figure = Figure {
    name: "step_memory_chain_us",
    unit: "µs/step",
    what: "no-op step in memory, 1,000-chain",
    measure,
};

fn measure(_: &Setup) -> Result<Measured> {
    let pipeline = chain(Pace::AheadOfDisk)?;
    let taken = engine::block_on(async {
        let mut taken = Vec::new();
        for _ in 0..ROUNDS {
            taken.push(engine::in_memory(&pipeline, CHAIN_LEN).await?);
        }
        Ok(taken)
    })?;
    Ok(Measured {
        value: Some(rounds::wall_us(&taken, CHAIN_LEN)),
        rounds: ROUNDS,
        doubt: None,
        note: rounds::cpu_note(&taken, CHAIN_LEN),
    })
}
