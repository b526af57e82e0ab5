//! `partition_key_binary`, led by coverage.

#![no_main]

flowstone_fuzz_coverage::lead!("partition_key_binary");
