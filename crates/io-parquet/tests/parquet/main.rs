//! Parquet files in real folders and in memory.

mod conformance;
mod files;
mod rows;
mod tables;
mod types;
