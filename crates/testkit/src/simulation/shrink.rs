//! Leaves out faults one after the other while a seed still fails, so that what is told is what matters.

use std::collections::BTreeSet;

use super::broken::Broken;
use super::case::Weather;
use super::seed::Seed;
use super::{Simulation, Violation};

/// The violation of a seed with as few faults as it needs.
pub(super) fn violation(simulation: &Simulation, seed: u64, found: &Broken) -> Box<Violation> {
    let script = Seed::script(seed, (simulation.places)(seed));
    let mut cut = BTreeSet::new();
    // What strikes last is most likely not needed.
    for number in (0..script.len()).rev() {
        cut.insert(number);
        let still = simulation.seed(seed, &cut).play(&mut None);
        if !still.is_err_and(|still| still.promise == found.promise) {
            cut.remove(&number);
        }
    }
    let mut trace = Some(String::new());
    let last = simulation.seed(seed, &cut).play(&mut trace);
    let what = last.map_or_else(|last| last.what, |_| found.what.clone());
    let kept = script.without(&cut);
    let mut faults: Vec<String> = kept.planned.iter().map(|planned| format!("{planned:?}")).collect();
    if (0..Weather::KINDS).any(|kind| !cut.contains(&kind)) {
        faults.push(format!("{:?}", kept.weather));
    }
    Box::new(Violation {
        seed,
        promise: found.promise,
        what,
        faults,
        trace: trace.unwrap_or_default(),
    })
}
