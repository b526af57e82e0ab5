//! Tests for those who extend Flowstone or build on it.
//!
//! A store or an IO manager adopts its conformance suite with one line, [`store_conformance!`] or [`io_conformance!`],
//! and gets one named test for each promise of its trait. Time is moved by hand with [`ManualClock`]. The engine's
//! decisions are played under seeded faults by [`simulation`]. Nothing here decides what the promises are: they stand in
//! the docs of the traits.

mod clock;
mod draw;
pub mod io;
pub mod simulation;
pub mod sketch;
pub mod store;

pub use clock::ManualClock;
pub use draw::Draw;

/// Runs one test of a suite to its end, on a runtime of its own.
#[doc(hidden)]
pub fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime starts").block_on(test);
}
