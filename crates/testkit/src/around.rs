//! Stores, IO managers and sources of items with something in between: faults, delays, counting, death.
//!
//! A wrapper passes everything on, and hands the calls that matter to whoever stands in between.

mod io;
mod reader;
mod store;

pub use io::{AroundIo, IoAround, IoFactoryAround};
pub use reader::{AroundRead, ReadCounts, ReadTrouble, SourceAround};
pub use store::{AroundCommit, StoreAround};
