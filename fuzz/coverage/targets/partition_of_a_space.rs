//! `partition_of_a_space`, led by coverage.

#![no_main]

flowstone_fuzz_coverage::lead!("partition_of_a_space");
