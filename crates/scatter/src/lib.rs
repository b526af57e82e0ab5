//! Lets an asset become many items, found at run time, and be made of what they gave. How items come to run is the engine's.
//!
#![doc = include_str!("../README.md")]

mod batches;
mod body;
mod carrier;
mod gather;
mod inputs;
mod item;
mod items;
mod limits;
mod outcomes;
mod picked;
mod results;
mod scatter;
mod wiring;

pub use batches::Batches;
pub use gather::{Gather, Gathered};
pub use item::{Item, ItemBatch, Shared};
pub use items::{IntoItems, Items};
pub use outcomes::{IntoItemResults, ItemOutcomes};
pub use results::{ResultCounts, ResultRow, Results};
pub use scatter::{Makes, NoWork, Scatter};
pub use wiring::Upstreams;

/// How many calls a Distributed Map of AWS Step Functions makes at once unless told otherwise.
pub const STEP_FUNCTIONS_CONCURRENCY: u32 = 10_000;
