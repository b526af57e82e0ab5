//! The reference implementations that keep everything in memory.
//!
//! They serve tests, `flowstone::run` and programs that want no state; they are also the plainest statement of what
//! every other implementation must do.

mod io;
mod store;

pub use io::{MemoryIo, MemoryIoFactory};
pub use store::MemoryStore;

/// A map by ids that are the engine's own, so that nobody can choose them to collide.
type IdMap<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;
