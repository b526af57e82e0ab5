//! The SQLite ledger on real files.

#[path = "sqlite/chunks.rs"]
mod chunks;
#[path = "sqlite/crash.rs"]
mod crash;
#[path = "sqlite/fan_outs.rs"]
mod fan_outs;
#[path = "sqlite/folder.rs"]
mod folder;
#[path = "sqlite/lineage.rs"]
mod lineage;
#[path = "sqlite/model.rs"]
mod model;
#[path = "sqlite/redefining.rs"]
mod redefining;
#[path = "sqlite/runs.rs"]
mod runs;
#[path = "sqlite/samples.rs"]
mod samples;
#[path = "sqlite/values.rs"]
mod values;
