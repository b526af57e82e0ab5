//! Partitions: which slices an asset has, what they are called, and which upstream slices a slice needs.
//!
//! A partition is a pair of space and dense index. Keys are for people and for the ledger's dictionaries; everything
//! that counts, plans or stores works on indices and on sets of them, and never lists keys.

mod author;
mod bind;
mod bound;
mod change;
mod cron;
mod custom;
mod dynamic;
mod granularity;
mod grid;
mod key;
mod key_binary;
mod key_text;
mod literal;
mod mapping;
mod moves;
mod product;
mod projection;
mod reach;
mod select;
mod set;
mod set_codec;
mod space;
mod space_wire;
mod static_space;
mod window;

pub use author::{Cron, Daily, EveryMinutes, Hourly, Monthly, Partitions, Weekly, Yearly};
pub use bound::{BoundMapping, CHECKED_LEN_MAX, EdgeShape};
pub use change::SpaceChange;
pub use cron::CronRule;
pub use custom::{CUSTOM_LEN_MAX, CustomMapping};
pub use dynamic::{DYNAMIC_LEN_MAX, DynamicKey, DynamicSpace, KEY_BYTES_PER_CALL_MAX, KEYS_PER_CALL_MAX, SetSnapshot};
pub use granularity::Granularity;
pub use key::{KEY_BYTES_MAX, KEY_DEPTH_MAX, KEY_TEXT_BYTES_MAX, PartitionKey};
pub use mapping::Mapping;
pub use moves::{PartitionMoves, PartitionRun, Piece};
pub use product::ProductSpace;
pub use reach::reach;
pub use select::PartitionSelector;
pub use set::{Intervals, PARTITIONS_MAX, PartitionSet};
pub use space::PartitionSpace;
pub use static_space::StaticSpace;
pub use window::WindowSpace;
