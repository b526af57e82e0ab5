//! `batch_memory_steps_per_s`, `batch_durable_steps_per_s`: a long range in calls for 1,000 partitions each.
//!
//! One asset of 100,000 partitions that does nothing, as in the figures of backfills. The note says how fast the same
//! range is one partition a call, as a function that takes no batches and as one that takes batches of 1.

use flowstone_core::Result;
use flowstone_core::pipeline::Pipeline;

use super::{Figure, Measured, Setup};
use crate::pipelines::{BACKFILL_LEN, batched, partitioned};
use crate::rounds::Round;
use crate::{engine, rounds};

const BATCH: u64 = 1_000;
const ROUNDS: usize = 5;
const ROUNDS_BESIDE: usize = 3;

pub(crate) const MEMORY: Figure = Figure {
    name: "batch_memory_steps_per_s",
    unit: "steps/s",
    what: "100,000 partitions in memory, 1,000 a call",
    measure: |_| {
        measure(|pipeline, rounds| {
            engine::block_on(async {
                let mut taken = Vec::new();
                for _ in 0..rounds {
                    taken.push(engine::in_memory(pipeline, BACKFILL_LEN).await?);
                }
                Ok(taken)
            })
        })
    },
};

pub(crate) const DURABLE: Figure = Figure {
    name: "batch_durable_steps_per_s",
    unit: "steps/s",
    what: "100,000 partitions on SQLite, fsync on every commit, 1,000 a call",
    measure: |setup| measure(|pipeline, rounds| durable(setup, pipeline, rounds)),
};

fn durable(setup: &Setup, pipeline: &Pipeline, rounds: usize) -> Result<Vec<Round>> {
    let mut taken = Vec::new();
    for _ in 0..rounds {
        let folder = setup.new_folder()?;
        let assets = engine::all_assets(pipeline);
        taken.push(engine::block_on(engine::durable(
            pipeline,
            &assets,
            BACKFILL_LEN,
            folder.path(),
        ))?);
    }
    Ok(taken)
}

fn measure(run: impl Fn(&Pipeline, usize) -> Result<Vec<Round>>) -> Result<Measured> {
    let taken = run(&batched(BATCH)?, ROUNDS)?;
    let per_s = |taken: &[Round]| 1e6 / rounds::wall_us(taken, BACKFILL_LEN);
    let plain = per_s(&run(&partitioned()?, ROUNDS_BESIDE)?);
    let alone = per_s(&run(&batched(1)?, ROUNDS_BESIDE)?);
    let cpu = rounds::cpu_note(&taken, BACKFILL_LEN);
    Ok(Measured {
        value: Some(per_s(&taken)),
        rounds: ROUNDS,
        doubt: None,
        note: format!("{cpu}; without batches {plain:.0}; batches of 1 {alone:.0}"),
    })
}
