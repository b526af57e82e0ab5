//! Arrow tables and serde rows, kept as Parquet.
//!
//! The one crate that knows Arrow and Parquet. [`Parquet`] is the IO manager; a [`Table`] or any `Vec` of serde structs
//! is a value for it. [`TableWriter`] and [`TableReader`] work by row group, in bounded memory. Where files lie and how
//! they become durable is `flowstone-io-object`'s.
//!
//! ```
//! use flowstone_io_parquet::Table;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, PartialEq, Serialize, Deserialize)]
//! struct Flight {
//!     carrier: String,
//!     delay_min: Option<i32>,
//! }
//!
//! let flights = vec![
//!     Flight { carrier: "UA".into(), delay_min: Some(11) },
//!     Flight { carrier: "B6".into(), delay_min: None },
//! ];
//! let table = Table::from_rows(&flights)?;
//! assert_eq!(table.num_rows(), 2);
//! assert_eq!(table.values::<Option<i32>>("delay_min")?, [Some(11), None]);
//! assert_eq!(table.to_rows::<Flight>()?, flights);
//! # Ok::<(), flowstone_core::Error>(())
//! ```

mod blocks;
mod content;
mod error;
mod lens;
mod manager;
mod options;
mod probe;
mod reader;
mod rows;
mod schema;
mod seal;
mod shape;
mod table;
mod writer;

/// The Arrow whose types this crate speaks.
pub use arrow;

pub use options::{Compression, Parquet};
pub use reader::TableReader;
pub use table::Table;
pub use writer::TableWriter;
