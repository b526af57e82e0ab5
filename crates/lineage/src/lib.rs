//! Which materialization was made from which, and how that looks.
//!
//! [`upstream`] and [`downstream`] ask a store; what they find is a [`LineageGraph`] over intervals of partitions and
//! exact versions. [`render`] turns that, and the graph of a pipeline's assets, into a text tree, Mermaid, DOT or JSON.
//! Recording lineage is not done here: it is decided in `flowstone-core` and committed with the data that it describes.

mod graph;
mod query;
pub mod render;

pub use graph::{Direction, LineageEdge, LineageGraph, LineageNode};
pub use query::{DEPTH_MAX, LOOKUPS_MAX, LineageQuery, NODES_MAX, downstream, upstream};
