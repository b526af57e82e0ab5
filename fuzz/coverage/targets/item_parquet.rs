//! `item_parquet`, led by coverage.

#![no_main]

flowstone_fuzz_coverage::lead!("item_parquet");
