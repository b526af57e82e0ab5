//! Item readers: where the items of a fan-out come from.
//!
//! A source is an [`ItemSource`](flowstone_core::reader::ItemSource); each gives pages of items and a cursor from which
//! reading goes on after a crash. What becomes of the items is not decided here.
//!
//! | source | gives | key, unless told otherwise | cargo feature |
//! |---|---|---|---|
//! | [`items_from`], [`keyed_items_from`] | values that are there already | number | – |
//! | [`from_fn`] | what a function gives, page by page | the function's | – |
//! | [`from_stream`] | what any stream gives | the stream's | – |
#![cfg_attr(
    feature = "jsonl",
    doc = "| [`Jsonl`] | the lines of a file, each a JSON document | number of the line | `jsonl` |"
)]
#![cfg_attr(
    feature = "csv",
    doc = "| [`Csv`] | the rows of a CSV, TSV or PSV file | number of the row | `csv` |"
)]
#![cfg_attr(
    feature = "parquet",
    doc = "| [`Parquet`] | the rows of a Parquet file | number of the row | `parquet` |"
)]
#![cfg_attr(
    feature = "object",
    doc = "| [`Objects`] | the objects below a prefix | path | `object` |"
)]
#![cfg_attr(
    feature = "sql",
    doc = "| [`Sql`] | the rows of a query | the key by which it is read | `sqlite`, `postgres` |"
)]
//!
//! Files are read from the local disk or, with the feature `object`, from any object store. Memory is bounded by a page and a
//! piece of the file. Keys that are numbers are distinct, which spares whoever reads from remembering them.
//!
//! What a cursor means in a source that changed is said by each. In general: what is appended is read too, and a source
//! that is not the one that was read so far is refused, with code `source_changed`, rather than read from some place.

#[cfg(feature = "text")]
mod content;
#[cfg(feature = "csv")]
mod csv;
mod cursor;
mod error;
mod function;
mod items;
#[cfg(feature = "jsonl")]
mod jsonl;
#[cfg(any(feature = "files", feature = "sql"))]
mod key;
#[cfg(feature = "object")]
mod object;
mod page;
#[cfg(feature = "parquet")]
mod parquet;
#[cfg(feature = "text")]
mod pieces;
#[cfg(feature = "files")]
mod place;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod sql;
mod stream;

#[cfg(feature = "csv")]
pub use csv::Csv;
pub use function::{PageFn, from_fn};
pub use items::{Items, items_from, keyed_items_from};
#[cfg(feature = "jsonl")]
pub use jsonl::Jsonl;
#[cfg(feature = "object")]
pub use object::{ObjectInfo, Objects};
#[cfg(feature = "parquet")]
pub use parquet::Parquet;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub use sql::{Sql, SqlValue};
pub use stream::{StreamSource, from_stream};
