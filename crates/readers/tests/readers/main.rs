//! The readers of this crate, tried on real files, stores and servers.

mod conformance;
mod csv;
mod jsonl;
mod object;
mod parquet;
mod postgres;
mod sources;
mod sql;
mod support;
