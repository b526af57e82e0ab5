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
//!
//! Files are read from the local disk or, with the feature `object`, from any object store. Memory is bounded by a page and a
//! piece of the file. Keys that are numbers are distinct, which spares whoever reads from remembering them.
//!
//! What a cursor means in a source that changed is said by each. In general: what is appended is read too, and a source
//! that is not the one that was read so far is refused, with code `source_changed`, rather than read from some place.

#[cfg(feature = "files")]
mod content;
#[cfg(feature = "csv")]
mod csv;
mod cursor;
mod error;
mod function;
mod items;
#[cfg(feature = "jsonl")]
mod jsonl;
#[cfg(feature = "files")]
mod key;
mod page;
#[cfg(feature = "files")]
mod place;
mod stream;

#[cfg(feature = "csv")]
pub use csv::Csv;
pub use function::{PageFn, from_fn};
pub use items::{Items, items_from, keyed_items_from};
#[cfg(feature = "jsonl")]
pub use jsonl::Jsonl;
pub use stream::{StreamSource, from_stream};
