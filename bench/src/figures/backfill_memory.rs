//! `backfill_memory_steps_per_s`: how fast the engine itself goes through a long range.
//!
//! One asset of 100,000 partitions that does nothing, in memory; steps over the time of the whole run.

use flowstone_core::Result;

use super::{Figure, Measured, Setup};
use crate::pipelines::{BACKFILL_LEN, partitioned};
use crate::{engine, rounds};

const ROUNDS: usize = 7;

pub(crate) const FIGURE: Figure = Figure {
    name: "backfill_memory_steps_per_s",
    unit: "steps/s",
    what: "100,000 partitions in memory",
    measure,
};

fn measure(_: &Setup) -> Result<Measured> {
    let pipeline = partitioned()?;
    let taken = engine::block_on(async {
        let mut taken = Vec::new();
        for _ in 0..ROUNDS {
            taken.push(engine::in_memory(&pipeline, BACKFILL_LEN).await?);
        }
        Ok(taken)
    })?;
    Ok(Measured {
        value: Some(1e6 / rounds::wall_us(&taken, BACKFILL_LEN)),
        rounds: ROUNDS,
        doubt: None,
        note: rounds::cpu_note(&taken, BACKFILL_LEN),
    })
}
