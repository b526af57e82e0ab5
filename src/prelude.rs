//! What a file of assets needs.

pub use std::process::ExitCode;
pub use std::time::Duration;

pub use flowstone_core::asset::{
    Asset, AssetContext, Batch, BatchContext, BatchOutcome, Config, In, Outcome, PartitionStream, Res, Retry,
    RowStream, Upstream,
};
pub use flowstone_core::partition::{
    Cron, Daily, EveryMinutes, Hourly, Mapping, Monthly, PartitionSelector, Partitions, Weekly, Yearly,
};
pub use flowstone_core::pipeline::Pipeline;
pub use flowstone_core::plan::{Force, RunRequest};
pub use flowstone_core::{Error, ErrorKind, Result, ResultExt};
#[cfg(feature = "io-object")]
pub use flowstone_io_object::Object;
#[cfg(feature = "parquet")]
pub use flowstone_io_parquet::{Parquet, Table};
#[cfg(feature = "macros")]
pub use flowstone_macros::{asset, assets};
pub use flowstone_runtime::{Engine, RunReport};
#[cfg(feature = "scatter")]
pub use flowstone_scatter::{Batches, Gather, Item, ItemBatch, ItemOutcomes, Items, Results, Scatter, Shared};
