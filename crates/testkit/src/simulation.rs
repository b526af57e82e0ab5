//! Runs by a seeded model: random pipelines, plans, workers, accidents and crashes, checked key by key.
//!
//! What decides is the engine's own: the planner, the machine of a run, recovery, and the rules of a real store. What
//! surrounds it is played: user code, workers, messages, the clock, the disk and the death of the process, one event
//! after the other on one thread, in an order that is drawn from a seed. After every event the promises of the engine are
//! checked; at the end nothing goes wrong any more and everything must come to rest. The same seed gives the same trace,
//! byte for byte. Actors and threads are not played.

mod broken;
mod case;
mod check;
mod crash;
mod disk;
mod driver;
mod fan_out;
mod fault;
mod late;
mod model;
mod planted;
mod pooling;
mod redriving;
mod seed;
mod shelf;
mod shrink;
mod story;
mod trying;
mod worker;
mod world;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

pub use broken::Promise;
pub use fan_out::FanOutBug;
pub use planted::Planted;
pub use story::Story;
pub use world::{InMemory, StorePlace};

use story::Seed;

/// Makes the place of the store of one seed.
type Places = Box<dyn Fn(u64) -> Box<dyn StorePlace> + Send + Sync>;

/// Plays seeds, of which each tells a story. Which bugs may be planted in it says what it is about.
pub struct SimulationOf<S> {
    places: Places,
    planted: Option<S>,
}

/// Plays runs: a pipeline and a few runs of it a seed.
///
/// ```
/// use flowstone_testkit::simulation::Simulation;
///
/// let tally = Simulation::new().play(0..3).unwrap_or_else(|violation| panic!("{violation}"));
/// assert_eq!(tally.seeds, 3);
/// ```
pub type Simulation = SimulationOf<Planted>;

/// Plays fan-outs, one a seed: random sources, options, workers, accidents and crashes, checked item by item.
///
/// ```
/// use flowstone_testkit::simulation::FanOutSimulation;
///
/// let tally = FanOutSimulation::new().play(0..3).unwrap_or_else(|violation| panic!("{violation}"));
/// assert_eq!(tally.seeds, 3);
/// ```
pub type FanOutSimulation = SimulationOf<FanOutBug>;

/// What was played.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Seeds.
    pub seeds: u64,
    /// Runs that came to rest.
    pub runs: u64,
    /// Events, after each of which the promises were checked.
    pub events: u64,
    /// Deaths of a process, or of the actor of a run.
    pub crashes: u64,
}

/// A promise that did not hold.
#[derive(Debug, Clone)]
pub struct Violation {
    /// The seed.
    pub seed: u64,
    /// The promise.
    pub promise: Promise,
    /// What was seen.
    pub what: String,
    /// What must go wrong for it, after everything else was left out.
    pub faults: Vec<String>,
    /// What happened, event by event, with only these faults.
    pub trace: String,
}

/// Lines of a trace that are shown.
const LINES_SHOWN: usize = 60;

impl<S: Story> SimulationOf<S> {
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
    pub fn with(mut self, planted: S) -> Self {
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
            let played = S::play(self.seed(seed, &BTreeSet::new()), &mut None);
            let played = played.map_err(|found| shrink::violation(self, seed, &found))?;
            tally.add(&played);
        }
        Ok(tally)
    }

    /// Plays one seed and tells what happened, violation or not.
    pub fn trace(&self, seed: u64) -> String {
        let mut trace = Some(String::new());
        let played = S::play(self.seed(seed, &BTreeSet::new()), &mut trace);
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
            if let Err(found) = S::play(self.seed(seed, &BTreeSet::new()), &mut None) {
                return Some((seed - first + 1, found.promise, found.what));
            }
        }
        None
    }

    fn seed(&self, seed: u64, cut: &BTreeSet<usize>) -> Seed<S> {
        Seed {
            seed,
            place: (self.places)(seed),
            planted: self.planted,
            cut: cut.clone(),
        }
    }
}

impl<S: Story> Default for SimulationOf<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Story> fmt::Debug for SimulationOf<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation")
            .field("planted", &self.planted)
            .finish_non_exhaustive()
    }
}

impl Tally {
    /// Adds what another one has counted.
    pub fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.runs += other.runs;
        self.events += other.events;
        self.crashes += other.crashes;
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<&str> = self.trace.lines().collect();
        let shown = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
        writeln!(f, "{} does not hold: {}", self.promise, self.what)?;
        writeln!(f, "the last {} of {} lines of what happened:", shown.len(), lines.len())?;
        for line in shown {
            writeln!(f, "  {line}")?;
        }
        writeln!(
            f,
            "it needs {}:",
            if self.faults.is_empty() {
                "no fault"
            } else {
                "these faults"
            }
        )?;
        for fault in &self.faults {
            writeln!(f, "  {fault}")?;
        }
        write!(f, "play it again with FLOWSTONE_SEED={}", self.seed)
    }
}
