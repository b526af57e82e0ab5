//! What one seed fans out: where its items come from, how they go, and what goes wrong besides.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use flowstone_core::asset::Retry;
use flowstone_core::fan_out::{FailurePolicy, FanOutOptions, OptionsChange, RateLimit};
use flowstone_core::reader::{Cursor, Item};

use crate::Draw;

/// How one attempt at an item goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Succeed,
    Skip,
    FailForNow,
    FailForGood,
    /// Its worker dies, or its process.
    Kill,
}

/// What goes wrong by itself.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fault {
    /// The process dies; so many in a hundred of what is queued got to disk.
    Crash(usize),
    /// A worker dies.
    WorkerDies,
    /// A worker is wanted elsewhere.
    WorkerLeaves,
    /// Who was replaced reports.
    LateReport,
    /// Somebody changes the options.
    Set(OptionsChange),
    /// The source fails for good.
    SourceFails,
    /// Somebody cancels it.
    Cancel,
}

/// What kills a process that leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deadly {
    /// Opening the source, from the so-many-th time on.
    Opening(u32),
    Gathering,
}

/// One seed's fan-out and its world.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) seed: u64,
    /// The keys of the source in its order, some of them more than once.
    source: Vec<u64>,
    empty_pages: u64,
    pub(super) options: FanOutOptions,
    pub(super) batch_len: Option<usize>,
    pub(super) workers: usize,
    /// Each in a thousand.
    skip: u64,
    fail_for_now: u64,
    fail_for_good: u64,
    killers: BTreeSet<u64>,
    pub(super) kills_process: bool,
    /// Where the step itself kills its process, until it is mended for the second epoch.
    deadly: Option<Deadly>,
    /// What goes wrong, and at which event.
    pub(super) faults: Vec<(usize, Fault)>,
}

impl Case {
    /// Leaves out the faults that `cut` names, by number.
    pub(super) fn without(mut self, cut: &BTreeSet<usize>) -> Self {
        let mut number = 0;
        self.faults.retain(|_| {
            number += 1;
            !cut.contains(&(number - 1))
        });
        self
    }
}

fn many(count: usize) -> NonZeroU32 {
    NonZeroU32::new(count as u32).unwrap_or(NonZeroU32::MIN)
}

fn tolerance(draw: &mut Draw) -> FailurePolicy {
    if draw.chance(500) {
        FailurePolicy::tolerate_count([0, 1, 3, 100, 100][draw.below(5)])
    } else {
        let percent = [0, 5, 25, 50, 100, 100][draw.below(6)];
        FailurePolicy::tolerate_share(f64::from(percent) / 100.0).expect("a share")
    }
}

fn rate(draw: &mut Draw) -> RateLimit {
    let limit = RateLimit::new(*draw.pick(&[1, 2, 5]), Duration::from_secs(*draw.pick(&[1, 10])));
    limit.expect("not zero").burst(many(1 + draw.below(4)))
}

fn retry(draw: &mut Draw) -> Retry {
    let seconds = [1, 20][draw.below(2)];
    Retry::exponential(1 + draw.below(4) as u32).between(Duration::from_secs(seconds), Duration::from_secs(2 * seconds))
}

fn deadly(draw: &mut Draw) -> Option<Deadly> {
    match draw.below(10) {
        0 => Some(Deadly::Opening(1 + draw.below(3) as u32)),
        1 => Some(Deadly::Gathering),
        _ => None,
    }
}

fn change(draw: &mut Draw) -> OptionsChange {
    let mut change = OptionsChange::default();
    match draw.below(6) {
        0 | 1 => change.max_concurrent = Some(many(1 + draw.below(6))),
        2 => change.failure = Some(tolerance(draw)),
        3 => change.retry = Some(retry(draw)),
        4 => change.rate_limit = Some(draw.chance(600).then(|| rate(draw))),
        _ => change.priority = Some(draw.below(3) as i32),
    }
    change
}

impl Case {
    pub(super) fn draw(seed: u64) -> Self {
        let mut draw = Draw::seeded(seed);
        let len = draw.below(60);
        let distinct = if draw.chance(500) {
            1_000_000
        } else {
            1 + draw.below(40)
        };
        let source: Vec<u64> = (0..len).map(|_| draw.below(distinct) as u64).collect();
        let options = FanOutOptions {
            max_concurrent: many(1 + draw.below(6)),
            rate_limit: draw.chance(300).then(|| rate(&mut draw)),
            failure: tolerance(&mut draw),
            retry: retry(&mut draw),
            items_max: draw.chance(200).then(|| draw.below(30) as u64),
            page_len: many(1 + draw.below(9)),
            ..FanOutOptions::default()
        };
        let mut some = |chance: u64, up_to: usize| {
            if draw.chance(chance) {
                draw.below(up_to) as u64
            } else {
                0
            }
        };
        let (empty_pages, skip) = (some(500, 500), some(300, 300));
        let (fail_for_now, fail_for_good) = (some(600, 400), some(400, 200));
        let mut killers = BTreeSet::new();
        if !source.is_empty() && draw.chance(300) {
            killers.extend((0..1 + draw.below(2)).map(|_| *draw.pick(&source)));
        }
        let count = draw.below(8);
        let mut faults: Vec<(usize, Fault)> = (0..count).map(|_| (draw.below(300), Fault::draw(&mut draw))).collect();
        faults.sort_by_key(|(at, _)| *at);
        Self {
            seed,
            source,
            empty_pages,
            options,
            batch_len: draw.chance(250).then(|| 2 + draw.below(3)),
            workers: 1 + draw.below(4),
            skip,
            fail_for_now,
            fail_for_good,
            killers,
            kills_process: draw.chance(600),
            deadly: deadly(&mut Draw::of(&[seed, 51])),
            faults,
        }
    }

    /// The keys in the order in which they come, each once.
    pub(super) fn keys(&self) -> Vec<u64> {
        let mut seen = BTreeSet::new();
        self.source.iter().copied().filter(|key| seen.insert(*key)).collect()
    }

    /// Reads a page as a reader does; the page depends on the cursor and on what is asked for only.
    pub(super) fn read(&self, cursor: Option<&Cursor>, items_max: usize) -> (Vec<Item>, Option<Cursor>) {
        let position = cursor.map_or(0, |cursor| {
            cursor
                .position
                .iter()
                .fold(0_u64, |position, byte| position << 8 | u64::from(*byte))
        });
        let at = |position: u64| {
            Some(Cursor {
                version: 1,
                position: position.to_be_bytes().to_vec(),
            })
        };
        let (index, hops) = ((position / 2) as usize, position % 2);
        let mut draw = Draw::of(&[self.seed, 21, position]);
        if hops == 0 && draw.chance(self.empty_pages) {
            return (Vec::new(), at(position + 1));
        }
        let len = if draw.chance(300) {
            1 + draw.below(items_max)
        } else {
            items_max
        };
        let end = (index + len).min(self.source.len());
        let items = self.source[index.min(end)..end].iter().map(|key| item(*key)).collect();
        let is_end = end == self.source.len() && (index == end || draw.chance(500));
        (items, if is_end { None } else { at(end as u64 * 2) })
    }

    /// How the `begun`-th try at an item of an epoch goes, in whatever process.
    pub(super) fn fate(&self, key: u64, epoch: u32, begun: u32) -> Fate {
        if self.killers.contains(&key) {
            return Fate::Kill;
        }
        let mut left = Draw::of(&[self.seed, 11, key, epoch.into(), begun.into()]).number() % 1000;
        for (fate, share) in [
            (Fate::Skip, self.skip),
            (Fate::FailForNow, self.fail_for_now),
            (Fate::FailForGood, self.fail_for_good),
        ] {
            if left < share {
                return fate;
            }
            left -= share;
        }
        Fate::Succeed
    }

    /// True when the process dies as the source is opened, the so-many-th time in an epoch.
    pub(super) fn opening_kills(&self, epoch: u32, opening: u32) -> bool {
        epoch == 1 && matches!(self.deadly, Some(Deadly::Opening(from)) if opening >= from)
    }

    /// True when the process dies as it is gathered.
    pub(super) fn gathering_kills(&self, epoch: u32) -> bool {
        epoch == 1 && self.deadly == Some(Deadly::Gathering)
    }

    /// True when nothing dies but for what the items do.
    pub(super) fn only_killers_kill(&self) -> bool {
        let kills = |fault: &Fault| matches!(fault, Fault::Crash(_) | Fault::WorkerDies);
        !self.faults.iter().any(|(_, fault)| kills(fault))
    }

    pub(super) fn is_killer(&self, key: u64) -> bool {
        self.killers.contains(&key)
    }

    /// The options of the next epoch: as they were, or with more allowed.
    pub(super) fn options_of(&self, epoch: u32) -> FanOutOptions {
        let mut draw = Draw::of(&[self.seed, 31, epoch.into()]);
        let mut options = self.options.clone();
        if draw.chance(500) {
            options.failure = tolerance(&mut draw);
        }
        if draw.chance(500) {
            options.items_max = None;
        }
        options
    }
}

impl Fault {
    fn draw(draw: &mut Draw) -> Self {
        match draw.below(20) {
            0..=6 => Self::Crash(draw.below(101)),
            7..=9 => Self::WorkerDies,
            10..=11 => Self::WorkerLeaves,
            12..=14 => Self::LateReport,
            15..=17 => Self::Set(change(draw)),
            18 => Self::SourceFails,
            _ => Self::Cancel,
        }
    }
}

fn item(key: u64) -> Item {
    Item::new(format!("key {key}"), &key).expect("short")
}

/// The number in the key of an item.
pub(super) fn key_of(item: &Item) -> u64 {
    item.read().expect("it was made of a number")
}
