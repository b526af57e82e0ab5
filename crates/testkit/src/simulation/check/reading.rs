//! What a step reads, and what was planned that it reads: a reader of the model that the machine is held against.

use std::collections::BTreeSet;

use flowstone_core::DataVersion;
use flowstone_core::Version;
use flowstone_core::asset::InputKind;
use flowstone_core::run::{StepSets, StepState};

use crate::simulation::broken::{hold, hold_eq};
use crate::simulation::driver::Driver;
use crate::simulation::planted::Planted;
use crate::sketch::Key;

impl Driver<'_> {
    /// What a step of `lane` reads, from what the run has made so far, and what it makes of that.
    pub(in crate::simulation) fn read_inputs(&mut self, lane: usize, key: Key) -> DataVersion {
        let mut versions = BTreeSet::new();
        let mut contents = Vec::new();
        let sketch = &self.case.sketch.assets[key.0];
        for (input, upstreams) in sketch.inputs.iter().zip(&self.case.reading.upstreams[key.0]) {
            for partition in &upstreams[key.1 as usize] {
                let upstream = (input.upstream, *partition);
                let planned = self
                    .lane_of(upstream.0)
                    .filter(|lane| self.plan.assets[*lane].steps.contains(*partition));
                if let Some(up) = planned {
                    self.check_upstream(up, upstream, input.kind, key);
                }
                let Some((version, content)) = self.read_one(upstream, planned.is_some()) else {
                    hold!(
                        P5,
                        input.kind != InputKind::Value || planned.is_some(),
                        "{key:?} needs {upstream:?}, which was never made"
                    );
                    continue;
                };
                let pinned = match planned {
                    Some(up) => self.machine.version_of(up, *partition).0,
                    None => {
                        self.plan.assets[lane].pinned[self.input_number(key.0, input)]
                            .get(*partition)
                            .0
                    }
                };
                hold_eq!(P5, version, pinned, "the version of {upstream:?} that {key:?} reads");
                versions.insert((upstream.0, upstream.1, version));
                contents.push((upstream.0, upstream.1, content));
            }
        }
        self.read.insert(key, versions);
        self.case.content(key, &contents)
    }

    /// The version and content of a partition as a step of this run sees it.
    fn read_one(&mut self, upstream: Key, is_planned: bool) -> Option<(u64, DataVersion)> {
        let head = self
            .before
            .heads
            .get(&upstream)
            .map(|head| (head.version, head.content));
        let made = self.live.contents.get(&upstream).copied().filter(|_| is_planned);
        if head.is_some() && self.doctor.has(Planted::StaleValueRead) {
            return head;
        }
        let Some(content) = made else { return head };
        let version = head.map_or(0, |(version, _)| version) + 1;
        // What is on disk may be read from there as well as from the memory of this process.
        if self.durable.contents.contains_key(&upstream) && self.draw.chance(300) {
            let store = self.world.store();
            let (asset, wanted) = (self.case.ids[upstream.0], Some(Version(version)));
            let found = self.world.ask(store.materialization(asset, upstream.1, wanted));
            let found = found.map(|made| made.stored.data_version);
            hold_eq!(
                P5,
                found,
                Some(content),
                "version {version} of {upstream:?} in the store"
            );
        }
        Some((version, content))
    }

    fn input_number(&self, asset: usize, input: &crate::sketch::InputSketch) -> usize {
        let inputs = &self.case.sketch.assets[asset].inputs;
        inputs
            .iter()
            .position(|other| std::ptr::eq(other, input))
            .expect("an input of this asset")
    }

    fn check_upstream(&self, lane: usize, upstream: Key, kind: InputKind, reader: Key) {
        let steps = self.steps(lane);
        let state = state_of(steps, upstream.1);
        let fits = match state {
            StepState::Succeeded => true,
            StepState::Skipped => kind != InputKind::Value || !self.made_nothing(upstream),
            _ => false,
        };
        hold!(P5, fits, "{reader:?} begins while {upstream:?} is {state:?}");
    }

    pub(in crate::simulation) fn steps(&self, lane: usize) -> &StepSets {
        self.machine.assets().nth(lane).expect("the lane is planned").1
    }

    pub(in crate::simulation) fn lane_of(&self, asset: usize) -> Option<usize> {
        let id = self.case.ids[asset];
        self.plan.assets.iter().position(|planned| planned.id == id)
    }

    /// The planned steps that `key` reads, with how.
    pub(in crate::simulation) fn upstream_steps(&self, key: Key) -> Vec<(usize, Key, InputKind)> {
        let mut steps = Vec::new();
        let inputs = &self.case.sketch.assets[key.0].inputs;
        for (input, upstreams) in inputs.iter().zip(&self.case.reading.upstreams[key.0]) {
            let Some(lane) = self.lane_of(input.upstream) else {
                continue;
            };
            let planned = &self.plan.assets[lane].steps;
            let needed = upstreams[key.1 as usize]
                .iter()
                .filter(|partition| planned.contains(**partition));
            steps.extend(needed.map(|partition| (lane, (input.upstream, *partition), input.kind)));
        }
        steps
    }

    /// True when a step was skipped for want of anything to make, and not because its value is current.
    pub(super) fn made_nothing(&self, key: Key) -> bool {
        if self.live.skipped[key.0].contains(key.1) {
            return true;
        }
        let mut upstreams = self.upstream_steps(key).into_iter();
        upstreams.any(|(lane, upstream, kind)| {
            kind == InputKind::Value
                && state_of(self.steps(lane), upstream.1) == StepState::Skipped
                && self.made_nothing(upstream)
        })
    }

    /// True when a step runs whatever happens, or something that it reads has changed.
    pub(in crate::simulation) fn was_wanted(&self, lane: usize, key: Key) -> bool {
        self.plan.assets[lane].certain.contains(key.1)
            || self
                .upstream_steps(key)
                .iter()
                .any(|(_, (asset, partition), _)| self.live.changed[*asset].contains(*partition))
    }
}

pub(super) fn state_of(steps: &StepSets, partition: u64) -> StepState {
    *StepState::ALL
        .iter()
        .find(|state| steps.get(**state).contains(partition))
        .expect("a step is in one state")
}
