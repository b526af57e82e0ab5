//! The simulation of fan-outs itself: their promises hold, and each bug that is planted is found.
//!
//! `FLOWSTONE_SEED` and `FLOWSTONE_SEEDS` as for the simulation of runs.

use flowstone_testkit::simulation::{FanOutBug, FanOutSimulation};

use crate::support::{OnSqlite, mixed_place, seeds, tell};

#[test]
fn a_fan_out_keeps_its_promises_whatever_happens() {
    let simulation = FanOutSimulation::over(mixed_place);
    if let Ok(seed) = std::env::var("FLOWSTONE_SEED") {
        let seed = seed.parse().expect("FLOWSTONE_SEED is a number");
        tell(&simulation.trace(seed));
        simulation
            .play(seed..seed + 1)
            .unwrap_or_else(|violation| panic!("{violation}"));
        return;
    }

    let tally = simulation
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
fn the_same_seed_fans_out_in_the_same_way_on_every_store() {
    for seed in 0..6 {
        let (first, second) = (FanOutSimulation::new().trace(seed), FanOutSimulation::new().trace(seed));
        let on_sqlite = FanOutSimulation::over(|_| Box::new(OnSqlite::new())).trace(seed);

        assert_eq!(first, second, "seed {seed}");
        assert_eq!(first, on_sqlite, "seed {seed}");
        assert!(!first.is_empty());
    }
}

#[test]
fn every_bug_that_is_planted_in_a_fan_out_is_found() {
    const SEEDS_MAX: u64 = 1_000;
    let mut missed = Vec::new();
    for planted in FanOutBug::ALL {
        match FanOutSimulation::new().with(planted).find(0..SEEDS_MAX) {
            Some((seeds, promise, what)) => {
                let what: String = what.chars().take(90).collect();
                tell(&format!("{planted:?}: seed {seeds}, {promise}: {what}"));
            }
            None => missed.push(planted),
        }
    }
    tell(&format!("figure planted_bugs {}", FanOutBug::ALL.len()));
    tell(&format!(
        "figure planted_bugs_found {}",
        FanOutBug::ALL.len() - missed.len()
    ));
    assert!(missed.is_empty(), "not found in {SEEDS_MAX} seeds: {missed:?}");
}
