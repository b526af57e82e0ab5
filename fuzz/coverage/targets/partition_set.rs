//! `partition_set`, led by coverage.

#![no_main]

flowstone_fuzz_coverage::lead!("partition_set");
