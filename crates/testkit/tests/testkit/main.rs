//! The testkit tried on itself: its suites, and its simulation.

mod conformance;
mod reference;
mod simulation;
mod support;
