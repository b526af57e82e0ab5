//! `csv`, led by coverage.

#![no_main]

flowstone_fuzz_coverage::lead!("csv");
