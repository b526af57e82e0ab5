//! The simulation itself: the engine keeps its promises, a bug that is planted is found, and a seed is a trace.
//!
//! `FLOWSTONE_SEED=<seed>` plays one seed and prints what happened, `FLOWSTONE_SEEDS=<count>` plays more than usual.

use flowstone_testkit::simulation::{Planted, Promise, Simulation};

use crate::support::{finds_every_bug, keeps_its_promises, tell, the_same_seed_is_the_same_trace};

#[test]
fn a_run_keeps_its_promises_whatever_happens() {
    keeps_its_promises::<Planted>();
}

#[test]
fn the_same_seed_gives_the_same_trace_on_every_store() {
    the_same_seed_is_the_same_trace::<Planted>();
}

#[test]
fn every_planted_bug_is_found() {
    for (bug, feature) in Planted::WAITING {
        tell(&format!("{bug}: waits for {feature}"));
    }
    tell(&format!("figure planted_bugs_waiting {}", Planted::WAITING.len()));
    finds_every_bug(&Planted::ALL);
}

#[test]
fn a_violation_names_what_it_needs_and_no_more() {
    let simulation = Simulation::new().with(Planted::InFlightCountedAsDone);

    let found = (0..20).filter_map(|seed| simulation.play(seed..seed + 1).err());
    // Leaving one out may move the others to moments at which they do no harm.
    let violation = found.min_by_key(|violation| violation.faults.len());

    let violation = violation.expect("the bug is found");
    assert_eq!(violation.promise, Promise::P2);
    assert_eq!(violation.faults.len(), 1, "one crash is enough: {violation}");
    let text = violation.to_string();
    assert!(text.ends_with(&format!("FLOWSTONE_SEED={}", violation.seed)), "{text}");
}
