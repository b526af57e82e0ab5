//! Kills the real program on the real store, as the machine may, and looks at what is left.
//!
//! A failure prints its seed; `CRASH_SEED=<seed>` kills at the same moments again. `FLOWSTONE_KILLS=<count>` kills more
//! often than usual.

#![cfg(all(unix, feature = "cli", feature = "parquet"))]

mod cycles;
mod flights;
mod ledger;
mod media;
mod process;
mod scatter;
mod signals;
mod soak;
