//! `run_request`, led by coverage.

#![no_main]

flowstone_fuzz_coverage::lead!("run_request");
