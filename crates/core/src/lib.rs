//! The words, traits and pure decisions of Flowstone.
//!
//! Everything that chooses is here, as plain functions over values: what a graph means, what a plan holds, what a run
//! does next. Nothing here touches a clock, a disk, a socket or an executor, and nothing here knows SQL or Arrow; the
//! crates above perform what this one decides. See `ARCHITECTURE.md` in the repository for the map.

pub mod asset;
pub mod clock;
pub mod codec;
pub mod coordinator;
mod error;
pub mod fan_out;
pub mod graph;
mod ids;
pub mod io;
pub mod lineage;
pub mod memory;
pub mod partition;
pub mod pipeline;
pub mod plan;
pub mod pool;
pub mod reader;
pub mod registry;
pub mod retention;
pub mod run;
pub mod selection;
pub mod store;
pub mod telemetry;
mod value;

pub use error::{Error, ErrorClass, ErrorKind, ErrorRecord, Result, ResultExt};
pub use ids::{AssetId, AssetKey, ChunkNo, CodeVersion, DataVersion, FanOutId, Fence, Incarnation, RunId, Version};
pub use value::{AssetValue, TypeInfo, Value};

/// What code written by the macros names, whether it finds this crate or the facade. No part of the interface.
#[doc(hidden)]
pub mod __private {
    pub use crate::*;
}

/// A boxed future that may move between threads, as the object-safe traits of this crate return it.
pub type BoxFuture<'a, T> = futures::future::BoxFuture<'a, T>;
