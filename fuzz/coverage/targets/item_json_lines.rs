//! `item_json_lines`, led by coverage.

#![no_main]

flowstone_fuzz_coverage::lead!("item_json_lines");
