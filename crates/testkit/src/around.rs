//! Stores and IO managers with something in between: faults, delays, counting, death.
//!
//! A wrapper passes everything on, and hands the calls that matter to whoever stands in between.

mod io;
mod store;

pub use io::{AroundIo, IoAround, IoFactoryAround};
pub use store::{AroundCommit, StoreAround};
