//! The testkit tried on itself: its suites, and its simulation.

mod conformance;
mod lab;
mod reference;
mod simulation;
mod simulation_of_items;
mod support;
