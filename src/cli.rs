//! Every verb on your own binary: `check`, `list`, `graph`, `plan`, `run`, `backfill`, `status`, `runs`, `show`,
//! `cancel`, `lineage`, `doctor`.

pub use flowstone_cli::{main, main_with, state_dir};
