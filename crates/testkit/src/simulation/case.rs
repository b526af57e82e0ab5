//! One seed's pipeline and its world: what its functions make of what they read, and how they fail.

use std::collections::BTreeSet;
use std::sync::Arc;

use flowstone_core::graph::AssetGraph;
use flowstone_core::pipeline::Pipeline;
use flowstone_core::{AssetId, DataVersion};

use super::world::World;
use crate::Draw;
use crate::sketch::{Key, Reading, Sketch};

/// How one attempt at a step goes. What comes later decides how a call goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fate {
    Make,
    Skip,
    FailForNow,
    FailForGood,
    /// As the two before; a call for many partitions fails as a whole, and does not say because of which.
    SpoilForNow,
    SpoilForGood,
    /// It was in a call for many that failed as a whole.
    Blurred,
    /// It never comes back; its worker is given up.
    Overdue,
    /// Its worker is asked to end, and passes that on.
    Drained,
    KillsWorker,
    KillsProcess,
}

impl Fate {
    /// True for what ends a call for many partitions as a whole, or the work of a whole chunk.
    pub(super) fn is_of_all(self, is_call: bool) -> bool {
        match self {
            Self::Make | Self::Skip | Self::FailForNow | Self::FailForGood | Self::Blurred => false,
            Self::SpoilForNow | Self::SpoilForGood => is_call,
            Self::Overdue | Self::Drained | Self::KillsWorker | Self::KillsProcess => true,
        }
    }

    /// True for what is told as an error of the step or the call.
    pub(super) fn is_failure(self) -> bool {
        matches!(
            self,
            Self::FailForNow | Self::FailForGood | Self::SpoilForNow | Self::SpoilForGood | Self::Overdue
        )
    }
}

/// How often things go wrong, each in a thousand.
#[derive(Debug, Clone)]
pub(super) struct Weather {
    pub(super) skip: u64,
    pub(super) fail_for_now: u64,
    pub(super) fail_for_good: u64,
    pub(super) spoil_for_now: u64,
    pub(super) spoil_for_good: u64,
    pub(super) overdue: u64,
    pub(super) drained: u64,
    pub(super) worker_dies: u64,
    /// Sources have new content between runs.
    pub(super) news: u64,
    /// What a run did not bring to a good end is asked for again.
    pub(super) redrive: u64,
    /// Steps that kill their worker, or their process, whenever they run.
    pub(super) poison: BTreeSet<Key>,
    pub(super) poison_kills_process: bool,
}

/// One seed's pipeline and its world.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) seed: u64,
    pub(super) sketch: Sketch,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) reading: Reading,
    pub(super) ids: Vec<AssetId>,
    pub(super) weather: Weather,
    /// Counts up when the outside world changes.
    pub(super) era: u64,
}

impl Case {
    pub(super) fn draw(seed: u64, world: &World, draw: &mut Draw) -> Self {
        let sketch = Sketch::draw(draw, 12);
        let reading = Reading::of(&sketch);
        let weather = Weather::draw(draw, &reading);
        let store = world.store();
        let ids = world.ask(sketch.declare(&*store, draw));
        Self {
            seed,
            pipeline: sketch.build(),
            reading,
            sketch,
            ids,
            weather,
            era: 0,
        }
    }

    pub(super) fn graph(&self) -> &AssetGraph {
        self.pipeline.graph()
    }

    /// Other code for one asset.
    pub(super) fn change_code(&mut self, asset: usize) {
        self.sketch.assets[asset].code += 1;
        self.pipeline = self.sketch.build();
    }

    pub(super) fn place_of(&self, id: AssetId) -> usize {
        self.ids
            .iter()
            .position(|known| *known == id)
            .expect("the asset was declared")
    }

    /// What a step makes of what it reads. Few contents, so that many are what they were.
    pub(super) fn content(&self, (asset, partition): Key, read: &[(usize, u64, DataVersion)]) -> DataVersion {
        let sketch = &self.sketch.assets[asset];
        let mut parts = vec![self.seed, asset as u64, partition, sketch.code];
        if sketch.inputs.is_empty() {
            let is_new = Draw::of(&[self.seed, 7, asset as u64, partition, self.era]).chance(self.weather.news);
            parts.push(if is_new { self.era } else { 0 });
        }
        for (upstream, partition, content) in read {
            parts.extend([*upstream as u64, *partition, content.0 as u64]);
        }
        let one_of_few = Draw::of(&parts).number() % 3;
        DataVersion(u128::from(one_of_few) + 1)
    }

    /// How the `begun`-th try at a step goes, in whatever process.
    pub(super) fn fate(&self, key: Key, run: u64, begun: u32) -> Fate {
        let weather = &self.weather;
        if weather.poison.contains(&key) {
            return if weather.poison_kills_process {
                Fate::KillsProcess
            } else {
                Fate::KillsWorker
            };
        }
        let mut left = Draw::of(&[self.seed, 11, key.0 as u64, key.1, run, begun.into()]).number() % 1000;
        for (fate, share) in [
            (Fate::Skip, weather.skip),
            (Fate::FailForNow, weather.fail_for_now),
            (Fate::FailForGood, weather.fail_for_good),
            (Fate::SpoilForNow, weather.spoil_for_now),
            (Fate::SpoilForGood, weather.spoil_for_good),
            (Fate::Overdue, weather.overdue),
            (Fate::Drained, weather.drained),
            (Fate::KillsWorker, weather.worker_dies),
        ] {
            if left < share {
                return fate;
            }
            left -= share;
        }
        Fate::Make
    }
}

impl Weather {
    /// How many kinds of bad weather there are.
    pub(super) const KINDS: usize = 11;

    /// Lets one kind of bad weather pass.
    pub(super) fn clear(&mut self, kind: usize) {
        match kind {
            0 => self.skip = 0,
            1 => self.fail_for_now = 0,
            2 => self.fail_for_good = 0,
            3 => self.overdue = 0,
            4 => self.drained = 0,
            5 => self.worker_dies = 0,
            6 => self.news = 0,
            7 => self.redrive = 0,
            8 => self.spoil_for_now = 0,
            9 => self.spoil_for_good = 0,
            _ => self.poison.clear(),
        }
    }

    fn draw(draw: &mut Draw, reading: &Reading) -> Self {
        let mut some = |share: u64, up_to: usize| {
            if draw.chance(share) {
                draw.below(up_to) as u64
            } else {
                0
            }
        };
        let (skip, fail_for_now, fail_for_good) = (some(300, 200), some(500, 300), some(400, 150));
        let (overdue, drained, worker_dies) = (some(300, 100), some(300, 100), some(300, 100));
        let news = some(800, 1000);
        let redrive = some(800, 1000);
        let (spoil_for_now, spoil_for_good) = (some(300, 100), some(300, 100));
        let mut poison = BTreeSet::new();
        if draw.chance(250) {
            for _ in 0..1 + draw.below(2) {
                let asset = draw.below(reading.lens.len());
                poison.extend(
                    (reading.lens[asset] > 0).then(|| (asset, draw.below(reading.lens[asset] as usize) as u64)),
                );
            }
        }
        let poison_kills_process = draw.chance(600);
        Self {
            skip,
            fail_for_now,
            fail_for_good,
            spoil_for_now,
            spoil_for_good,
            overdue,
            drained,
            worker_dies,
            news,
            redrive,
            poison,
            poison_kills_process,
        }
    }
}
