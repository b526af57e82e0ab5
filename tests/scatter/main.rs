//! Scatters in the real engine on the durable store.

#![cfg(all(feature = "cli", feature = "macros", feature = "scatter"))]

mod batches;
mod items;
mod order;
mod restarts;
mod support;
mod values;
