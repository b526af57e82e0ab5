//! `step_memory_layered_us`: what one step costs when a hundred could run at once.
//!
//! 10 layers of 100 assets that do nothing, each made from three of the layer before, in memory. The time of a whole run
//! over the number of its steps.

use flowstone_core::Result;

use super::{Figure, Measured, Setup};
use crate::pipelines::{LAYER_LEN, LAYERS, layered};
use crate::{engine, rounds};

const ROUNDS: usize = 15;
const STEPS: u64 = LAYERS * LAYER_LEN;

pub(crate) const FIGURE: Figure = Figure {
    name: "step_memory_layered_us",
    unit: "µs/step",
    what: "no-op step in memory, 10 layers of 100, 3 upstreams each",
    measure,
};

fn measure(_: &Setup) -> Result<Measured> {
    let pipeline = layered()?;
    let taken = engine::block_on(async {
        let mut taken = Vec::new();
        for _ in 0..ROUNDS {
            taken.push(engine::in_memory(&pipeline, STEPS).await?);
        }
        Ok(taken)
    })?;
    Ok(Measured {
        value: Some(rounds::wall_us(&taken, STEPS)),
        rounds: ROUNDS,
        doubt: None,
        note: rounds::cpu_note(&taken, STEPS),
    })
}
