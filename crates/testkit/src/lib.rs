//! Tests for those who extend Flowstone or build on it.
//!
//! A plugin adopts the conformance suite of its trait with one line and gets one named test for each promise:
//! [`store_conformance!`], [`io_conformance!`], [`reader_conformance!`], [`coordinator_conformance!`],
//! [`sink_conformance!`]. Time is moved by hand with [`ManualClock`]. The engine's
//! decisions are played under seeded faults by [`simulation`]. Nothing here decides what the promises are: they stand in
//! the docs of the traits.

pub mod around;
mod clock;
pub mod coordinator;
mod draw;
pub mod io;
#[cfg(feature = "engine")]
mod lab;
mod mapping;
mod one_asset;
#[cfg(feature = "postgres")]
mod postgres;
pub mod reader;
pub mod simulation;
pub mod sink;
pub mod sketch;
pub mod store;

pub use clock::ManualClock;
pub use draw::Draw;
#[cfg(feature = "engine")]
pub use lab::{Disturbed, Lab};
pub use mapping::check_mapping;
pub use one_asset::OneAsset;
#[cfg(feature = "postgres")]
pub use postgres::PostgresServer;

/// Runs one test of a suite to its end, on a runtime of its own.
#[doc(hidden)]
pub fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime starts").block_on(test);
}
