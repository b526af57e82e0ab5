//! `store_bytes_per_step`: how much room a durable step leaves behind.
//!
//! The backfill of `backfill_durable_steps_per_s`; by how many bytes its 100,000 steps made the closed state folder
//! grow, lineage and the small values themselves included.

use flowstone_core::Result;

use super::backfill_durable::backfill;
use super::{Figure, Measured, Setup};
use crate::pipelines::BACKFILL_LEN;
use crate::{engine, rounds};

const ROUNDS: usize = 3;

pub(crate) const FIGURE: Figure = Figure {
    name: "store_bytes_per_step",
    unit: "bytes",
    what: "bytes on disk per step of the durable backfill",
    measure,
};

fn measure(setup: &Setup) -> Result<Measured> {
    let mut bytes = Vec::new();
    for _ in 0..ROUNDS {
        let folder = setup.new_folder()?;
        bytes.push(engine::block_on(backfill(folder.path()))?.bytes as f64 / BACKFILL_LEN as f64);
    }
    Ok(Measured {
        value: Some(rounds::median(bytes)),
        rounds: ROUNDS,
        doubt: None,
        note: "ledger, lineage and inline values".to_owned(),
    })
}
