//! Leaves out faults one after the other while a seed still fails, so that what is told is what matters.

use std::collections::BTreeSet;

use super::broken::Broken;
use super::story::Story;
use super::{SimulationOf, Violation};

/// The violation of a seed with as few faults as it needs.
pub(super) fn violation<S: Story>(simulation: &SimulationOf<S>, seed: u64, found: &Broken) -> Box<Violation> {
    let mut cut = BTreeSet::new();
    // What strikes last is most likely not needed.
    for number in (0..S::faults(simulation.seed(seed, &cut)).len).rev() {
        cut.insert(number);
        let still = S::play(simulation.seed(seed, &cut), &mut None);
        if !still.is_err_and(|still| still.promise == found.promise) {
            cut.remove(&number);
        }
    }
    let mut trace = Some(String::new());
    let last = S::play(simulation.seed(seed, &cut), &mut trace);
    Box::new(Violation {
        seed,
        promise: found.promise,
        what: last.map_or_else(|last| last.what, |_| found.what.clone()),
        faults: S::faults(simulation.seed(seed, &cut)).kept,
        trace: trace.unwrap_or_default(),
    })
}
