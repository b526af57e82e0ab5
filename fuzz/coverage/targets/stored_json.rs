//! `stored_json`, led by coverage.

#![no_main]

flowstone_fuzz_coverage::lead!("stored_json");
