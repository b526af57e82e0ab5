//! The reference implementations that keep everything in memory.
//!
//! They serve tests, `flowstone::run` and programs that want no state; they are also the plainest statement of what
//! every other implementation must do.

mod io;
mod store;

pub use io::{MemoryIo, MemoryIoFactory};
pub use store::MemoryStore;
