//! What goes wrong besides the steps themselves, and when: drawn before anything happens, so that it can be left out.

use std::collections::BTreeSet;

use super::case::Weather;
use crate::Draw;

/// Something that goes wrong once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The process is killed; a part of what was queued is on disk.
    Kill,
    /// The process is killed before it performs one of its next effects.
    KillBeforeEffect(u8),
    /// The process is killed, and what it had sent to the store arrives after another has taken over.
    KillAndArriveLate,
    /// The run is over, and the process is killed before that is on disk.
    KillAtEnd,
    /// The next commit fails so often, with nothing stored.
    CommitFails(u8),
    /// The next commit is stored, and the answer is lost.
    AckLost,
    /// The store takes nothing for so many events.
    StoreSlow(u8),
    /// Somebody asks for the end of the run.
    Cancel,
    /// Somebody pauses the run, and resumes it after so many events.
    Pause(u8),
    /// The wall clock jumps by so many seconds.
    ClockJumps(i16),
}

/// A fault and the moment at which it strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Planned {
    pub(super) run: u64,
    pub(super) event: usize,
    pub(super) fault: Fault,
}

/// Everything that goes wrong in one seed.
#[derive(Debug, Clone)]
pub(super) struct Script {
    pub(super) weather: Weather,
    pub(super) planned: Vec<Planned>,
}

impl Script {
    pub(super) fn draw(draw: &mut Draw, weather: Weather, runs: u64) -> Self {
        let mut planned = Vec::new();
        for run in 0..runs {
            let count = if draw.chance(600) { 1 + draw.below(5) } else { 0 };
            for _ in 0..count {
                // As likely among the first ten events as among the first thousand.
                let span = draw.below(11);
                let event = draw.below(1 << span);
                let fault = fault(draw);
                planned.push(Planned { run, event, fault });
            }
        }
        Self { weather, planned }
    }

    /// How many things could be left out.
    pub(super) fn len(&self) -> usize {
        Weather::KINDS + self.planned.len()
    }

    /// Leaves out what `cut` names, by number.
    pub(super) fn without(mut self, cut: &BTreeSet<usize>) -> Self {
        let mut number = 0;
        self.planned.retain(|_| {
            number += 1;
            !cut.contains(&(Weather::KINDS + number - 1))
        });
        for kind in cut.range(..Weather::KINDS) {
            self.weather.clear(*kind);
        }
        self
    }

    /// Those that strike in one run.
    pub(super) fn of_run(&self, run: u64) -> Vec<(usize, Fault)> {
        let of_run = self.planned.iter().filter(|planned| planned.run == run);
        of_run.map(|planned| (planned.event, planned.fault)).collect()
    }
}

fn fault(draw: &mut Draw) -> Fault {
    match draw.below(18) {
        0..4 => Fault::Kill,
        4 | 5 => Fault::KillBeforeEffect(1 + draw.below(4) as u8),
        6..9 => Fault::KillAndArriveLate,
        9 => Fault::KillAtEnd,
        10 => Fault::CommitFails(1 + draw.below(6) as u8),
        11 | 12 => Fault::AckLost,
        13 => Fault::StoreSlow(1 + draw.below(60) as u8),
        14 => Fault::Cancel,
        15 | 16 => Fault::Pause(draw.below(60) as u8),
        _ => Fault::ClockJumps(draw.below(7200) as i16 - 3600),
    }
}
