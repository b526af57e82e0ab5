//! `partition_range`, led by coverage.

#![no_main]

flowstone_fuzz_coverage::lead!("partition_range");
