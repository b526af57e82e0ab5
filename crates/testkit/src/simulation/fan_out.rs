//! Fan-outs by a seeded model: random sources, options, workers, accidents and crashes, checked item by item.
//!
//! The machine of a fan-out, its recovery and the rules of a real store are the engine's own. Played are the reader, the
//! workers with their calls, the clock, the disk and deaths. Another simulation than that of runs, because what it draws and
//! what it checks are others: see `docs/adr/0037`.

mod case;
mod check;
mod disk;
mod driver;
mod model;
mod planted;
mod session;

use std::fmt;
use std::ops::Range;

pub use planted::FanOutBug;

use super::broken::{Broken, caught};
use super::world::{InMemory, StorePlace, World};
use super::{Places, Promise, Tally, Violation};
use case::Case;
use driver::Driver;
use planted::Doctor;

/// Plays fan-outs, a seed each.
///
/// ```
/// use flowstone_testkit::simulation::FanOutSimulation;
///
/// let tally = FanOutSimulation::new().play(0..3).unwrap_or_else(|violation| panic!("{violation}"));
/// assert_eq!(tally.seeds, 3);
/// ```
pub struct FanOutSimulation {
    places: Places,
    planted: Option<FanOutBug>,
}

impl FanOutSimulation {
    /// Plays over stores in memory.
    pub fn new() -> Self {
        Self::over(|_| Box::new(InMemory::default()))
    }

    /// Plays over the stores that `places` makes, one for each seed, each of them empty.
    pub fn over(places: impl Fn(u64) -> Box<dyn StorePlace> + Send + Sync + 'static) -> Self {
        Self {
            places: Box::new(places),
            planted: None,
        }
    }

    /// Plants a bug, to see whether it is found.
    #[must_use]
    pub fn with(mut self, planted: FanOutBug) -> Self {
        self.planted = Some(planted);
        self
    }

    /// Plays `seeds` up to the first violation.
    ///
    /// # Errors
    /// The violation, with as few faults as it needs.
    pub fn play(&self, seeds: Range<u64>) -> Result<Tally, Box<Violation>> {
        let mut tally = Tally::default();
        for seed in seeds {
            let played = self.seed(&Case::draw(seed), &mut None);
            tally.add(&played.map_err(|found| self.violation(seed, &found))?);
        }
        Ok(tally)
    }

    /// Plays one seed and tells what happened, violation or not.
    pub fn trace(&self, seed: u64) -> String {
        let mut trace = Some(String::new());
        let played = self.seed(&Case::draw(seed), &mut trace);
        let mut trace = trace.unwrap_or_default();
        if let Err(found) = played {
            trace.push_str(&found.what);
        }
        trace
    }

    /// The number of seeds up to the one that finds the planted bug, and what was seen; `None` if none of `seeds` does.
    pub fn find(&self, seeds: Range<u64>) -> Option<(u64, Promise, String)> {
        let first = seeds.start;
        for seed in seeds {
            if let Err(found) = self.seed(&Case::draw(seed), &mut None) {
                return Some((seed - first + 1, found.promise, found.what));
            }
        }
        None
    }

    fn seed(&self, case: &Case, trace: &mut Option<String>) -> Result<Tally, Broken> {
        let world = World::new((self.places)(case.seed));
        let doctor = Doctor::new(self.planted);
        caught(|| Driver::new(case, &world, &doctor, trace).play())
    }

    /// Leaves out faults one after the other while the seed still fails.
    fn violation(&self, seed: u64, found: &Broken) -> Box<Violation> {
        let with = |faults: &[_], trace: &mut Option<String>| {
            let mut case = Case::draw(seed);
            case.faults = faults.to_vec();
            self.seed(&case, trace)
        };
        let mut faults = Case::draw(seed).faults;
        for number in (0..faults.len()).rev() {
            let mut fewer = faults.clone();
            fewer.remove(number);
            if with(&fewer, &mut None).is_err_and(|still| still.promise == found.promise) {
                faults = fewer;
            }
        }
        let mut trace = Some(String::new());
        let last = with(&faults, &mut trace);
        Box::new(Violation {
            seed,
            promise: found.promise,
            what: last.map_or_else(|last| last.what, |_| found.what.clone()),
            faults: faults.iter().map(|fault| format!("{fault:?}")).collect(),
            trace: trace.unwrap_or_default(),
        })
    }
}

impl Default for FanOutSimulation {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for FanOutSimulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FanOutSimulation")
            .field("planted", &self.planted)
            .finish_non_exhaustive()
    }
}
