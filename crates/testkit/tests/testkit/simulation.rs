//! The simulation itself: the engine keeps its promises, a bug that is planted is found, and a seed is a trace.
//!
//! `FLOWSTONE_SEED=<seed>` plays one seed and prints what happened, `FLOWSTONE_SEEDS=<count>` plays more than usual.

use flowstone_testkit::simulation::{Planted, Promise, Simulation};

use crate::support::{mixed, on_sqlite, seeds, tell};

#[test]
fn a_run_keeps_its_promises_whatever_happens() {
    if let Ok(seed) = std::env::var("FLOWSTONE_SEED") {
        let seed = seed.parse().expect("FLOWSTONE_SEED is a number");
        tell(&mixed().trace(seed));
        mixed()
            .play(seed..seed + 1)
            .unwrap_or_else(|violation| panic!("{violation}"));
        return;
    }

    let tally = mixed()
        .play(0..seeds(500))
        .unwrap_or_else(|violation| panic!("{violation}"));

    tell(&format!(
        "figure simulated_seeds {}\nfigure simulated_violations 0",
        tally.seeds
    ));
    tell(&format!(
        "figure simulated_events {}\nfigure simulated_crashes {}",
        tally.events, tally.crashes
    ));
    assert!(tally.crashes > tally.seeds / 2, "hardly anything went wrong: {tally:?}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..20 {
        let (first, second) = (Simulation::new().trace(seed), Simulation::new().trace(seed));
        assert_eq!(first, second, "seed {seed}");
        assert!(!first.is_empty());
    }
}

#[test]
fn the_trace_is_the_same_on_every_store() {
    for seed in 0..6 {
        let (in_memory, on_sqlite) = (Simulation::new().trace(seed), on_sqlite().trace(seed));
        let mut lines = in_memory.lines().zip(on_sqlite.lines());
        let differing = lines.find(|(one, other)| one != other);
        assert_eq!(differing, None, "seed {seed}");
        assert_eq!(in_memory.len(), on_sqlite.len(), "seed {seed}");
    }
}

#[test]
fn every_planted_bug_is_found() {
    const SEEDS_MAX: u64 = 1_000;
    let mut missed = Vec::new();
    for planted in Planted::ALL {
        match Simulation::new().with(planted).find(0..SEEDS_MAX) {
            Some((seeds, promise, what)) => {
                let what: String = what.chars().take(90).collect();
                tell(&format!("{planted:?}: seed {seeds}, {promise}: {what}"));
            }
            None => missed.push(planted),
        }
    }
    for (bug, feature) in Planted::WAITING {
        tell(&format!("{bug}: waits for {feature}"));
    }
    tell(&format!("figure planted_bugs {}", Planted::ALL.len()));
    tell(&format!(
        "figure planted_bugs_found {}",
        Planted::ALL.len() - missed.len()
    ));
    tell(&format!("figure planted_bugs_waiting {}", Planted::WAITING.len()));
    assert!(missed.is_empty(), "not found in {SEEDS_MAX} seeds: {missed:?}");
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
