//! Flowstone makes *assets* — named, partitioned pieces of data that code knows how to make — durably and fast, on one
//! machine.
//!
//! ```
//! use flowstone::prelude::*;
//!
//! #[asset]
//! async fn numbers() -> Vec<i64> {
//!     vec![1, 2, 3]
//! }
//!
//! /// An argument named after an asset is that asset's value; its type is checked when this compiles.
//! #[asset]
//! async fn total(numbers: Vec<i64>) -> i64 {
//!     numbers.iter().sum()
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<()> {
//! let pipeline = Pipeline::builder("hello").assets(assets![numbers, total]).build()?;
//!
//! let total: i64 = flowstone::run(&pipeline, "total").await?;
//!
//! assert_eq!(total, 6);
//! # Ok(())
//! # }
//! ```
//!
//! An asset may become many items, found when it runs, and is made of what they gave:
//!
//! ```
//! use std::sync::Arc;
//!
//! use flowstone::prelude::*;
//!
//! #[asset]
//! async fn numbers() -> Vec<i64> {
//!     vec![1, 2, 3]
//! }
//!
//! async fn each_of(numbers: Arc<Vec<i64>>) -> Vec<i64> {
//!     numbers.to_vec()
//! }
//!
//! async fn total(mut squares: Gather<i64>) -> Result<i64> {
//!     let mut total = 0;
//!     while let Some(square) = squares.next_value().await? {
//!         total += square;
//!     }
//!     Ok(total)
//! }
//!
//! #[asset(scatter(items = each_of(numbers), gather = total() -> i64, max_concurrent = 8))]
//! async fn squares(number: Item<i64>) -> i64 {
//!     *number * *number
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<()> {
//! let pipeline = Pipeline::builder("squares").assets(assets![numbers, squares]).build()?;
//!
//! let total: i64 = flowstone::run(&pipeline, "squares").await?;
//!
//! assert_eq!(total, 14);
//! # Ok(())
//! # }
//! ```
//!
//! This crate re-exports the others: one feature, one crate. [`run`] makes an asset in memory inside any program or test;
//! `cli::main` gives your own binary every verb, with a durable ledger in `.flowstone/`.

#[cfg(feature = "cli")]
pub mod cli;
pub mod prelude;
mod run;

pub use flowstone_core::asset;
pub use flowstone_core::{
    AssetKey, AssetValue, CodeVersion, DataVersion, Error, ErrorClass, ErrorKind, ErrorRecord, Result, ResultExt,
    RunId, Version,
};
pub use flowstone_core::{
    clock, codec, coordinator, fan_out, graph, io, memory, partition, pipeline, plan, reader, registry,
};
pub use flowstone_core::{selection, store, telemetry};

#[cfg(feature = "cli")]
pub use flowstone_cli::open;
#[cfg(feature = "io-object")]
pub use flowstone_io_object as io_object;
#[cfg(feature = "parquet")]
pub use flowstone_io_parquet as parquet;
#[cfg(feature = "lineage")]
pub use flowstone_lineage as lineage;
#[cfg(feature = "macros")]
pub use flowstone_macros::{asset, assets};
#[cfg(feature = "readers")]
pub use flowstone_readers as readers;
pub use flowstone_runtime::{Engine, EngineOptions, FailedStep, RunHandle, RunProgress, RunReport};
#[cfg(feature = "scatter")]
pub use flowstone_scatter as scatter;
#[cfg(feature = "sqlite")]
pub use flowstone_store as sqlite;

pub use run::run;

#[doc(hidden)]
pub use flowstone_core::__private;

/// Compiles the code of the README.
#[cfg(all(doctest, feature = "cli", feature = "macros"))]
#[doc = include_str!("../README.md")]
struct Readme;
