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
mod step;

pub use planted::FanOutBug;

use super::Tally;
use super::broken::{Broken, caught};
use super::story::{Faults, Seed, Story};
use super::world::World;
use case::Case;
use driver::Driver;
use planted::Doctor;

impl Story for FanOutBug {
    fn play(seed: Seed<Self>, trace: &mut Option<String>) -> Result<Tally, Broken> {
        let case = Case::draw(seed.seed).without(&seed.cut);
        let world = World::new(seed.place);
        let doctor = Doctor::new(seed.planted);
        caught(|| Driver::new(&case, &world, &doctor, trace).play())
    }

    fn faults(seed: Seed<Self>) -> Faults {
        let case = Case::draw(seed.seed);
        let len = case.faults.len();
        let case = case.without(&seed.cut);
        Faults {
            len,
            kept: case.faults.iter().map(|fault| format!("{fault:?}")).collect(),
        }
    }
}
