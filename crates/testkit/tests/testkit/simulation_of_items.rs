//! The simulation of fan-outs itself: their promises hold, and each bug that is planted is found.
//!
//! `FLOWSTONE_SEED` and `FLOWSTONE_SEEDS` as for the simulation of runs.

use flowstone_testkit::simulation::FanOutBug;

use crate::support::{finds_every_bug, keeps_its_promises, the_same_seed_is_the_same_trace};

#[test]
fn a_fan_out_keeps_its_promises_whatever_happens() {
    keeps_its_promises::<FanOutBug>();
}

#[test]
fn the_same_seed_fans_out_in_the_same_way_on_every_store() {
    the_same_seed_is_the_same_trace::<FanOutBug>();
}

#[test]
fn every_bug_that_is_planted_in_a_fan_out_is_found() {
    finds_every_bug(&FanOutBug::ALL);
}
