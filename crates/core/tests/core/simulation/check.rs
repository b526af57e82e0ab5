//! What must hold: at every step of a run, when a step begins, and when the run is over.

use flowstone_core::DataVersion;
use flowstone_core::asset::InputKind;
use flowstone_core::partition::PartitionSet;
use flowstone_core::run::{ChunkWork, RunState, StepSets, StepState};
use flowstone_core::store::{AssetStatus, ChunkProgress, Record, Store};

use super::driver::Driver;
use super::ledger::Ledger;
use crate::sketch::{Key, ready};

impl Driver<'_> {
    /// After every event.
    pub(super) fn check_counts(&self) {
        let counts = self.machine.counts();
        assert!(counts.adds_up(), "{counts:?}");
        assert_eq!(counts.total, self.steps_planned, "{counts:?}");
    }

    /// Now and then, after every crash and at the end: what has ended never moves again, so nothing escapes.
    pub(super) fn check_sets(&self) {
        for (lane, (planned, steps)) in self.machine.assets().enumerate() {
            let asset = self.asset_of(lane);
            assert_eq!(
                *steps.get(StepState::Succeeded),
                self.live.made[asset],
                "what succeeded is what was published"
            );
            assert_eq!(*steps.get(StepState::Quarantined), self.live.quarantined[asset]);
            let failed = steps.get(StepState::Failed).difference(steps.dependency_failed());
            assert_eq!(failed, self.live.failed[asset]);
            assert!(self.live.skipped[asset].is_subset(steps.get(StepState::Skipped)));
            let all = StepState::ALL
                .iter()
                .fold(PartitionSet::new(), |all, state| all.union(steps.get(*state)));
            assert_eq!(all, planned.steps);
        }
    }

    pub(super) fn check_start(&self, work: &ChunkWork) {
        assert!(!self.is_cancelling(), "a cancelled run starts a step");
        let asset = self.asset_of(work.id.lane);
        for partition in work.steps.iter() {
            let key = (asset, partition);
            assert!(!self.live.has_ended(key), "{key:?} has ended and starts again");
            let failed = self.live.failures.get(&key).copied().unwrap_or(0);
            assert_eq!(work.attempt(partition), failed + 1, "attempt of {key:?}");
            assert!(work.attempt(partition) <= self.case.sketch.assets[asset].attempts_max);
            assert!(
                self.live.not_before.get(&key).is_none_or(|due| *due <= self.now),
                "{key:?} starts too early"
            );
            assert!(
                self.was_wanted(work.id.lane, key),
                "{key:?} starts and nothing that it reads has changed"
            );
        }
        if self.case.sketch.assets[asset].acts_outside {
            assert!(work.after_commit);
        }
    }

    /// What a step of `lane` reads, from what the run has made so far, and what it makes of that.
    pub(super) fn read_inputs(&mut self, lane: usize, key: Key) -> DataVersion {
        let mut versions = std::collections::BTreeSet::new();
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
                let head = self.before.heads.get(&upstream);
                let (version, content) = match self.live.contents.get(&upstream) {
                    Some(content) => (head.map_or(0, |head| head.version) + 1, *content),
                    None => match head {
                        Some(head) => (head.version, head.content),
                        None if input.kind == InputKind::Value && planned.is_none() => {
                            panic!("{key:?} needs {upstream:?}, which was never made")
                        }
                        None => continue,
                    },
                };
                if let Some(up) = planned {
                    assert_eq!(
                        self.machine.version_of(up, *partition).0,
                        version,
                        "{key:?} reads {upstream:?}"
                    );
                } else {
                    let pinned = &self.plan.assets[lane].pinned[self.input_number(key.0, input)];
                    assert_eq!(pinned.get(*partition).0, version, "{key:?} reads {upstream:?}");
                }
                versions.insert((upstream.0, upstream.1, version));
                contents.push((upstream.0, upstream.1, content));
            }
        }
        self.read.insert(key, versions);
        self.case.content(key, &contents)
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
        assert!(fits, "{reader:?} begins while {upstream:?} is {state:?}");
    }

    pub(super) fn steps(&self, lane: usize) -> &StepSets {
        self.machine.assets().nth(lane).expect("the lane is planned").1
    }

    pub(super) fn lane_of(&self, asset: usize) -> Option<usize> {
        let id = self.case.ids[asset];
        self.plan.assets.iter().position(|planned| planned.id == id)
    }

    /// The planned steps that `key` reads, with how.
    fn upstream_steps(&self, key: Key) -> Vec<(usize, Key, InputKind)> {
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
    fn made_nothing(&self, key: Key) -> bool {
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
    fn was_wanted(&self, lane: usize, key: Key) -> bool {
        self.plan.assets[lane].certain.contains(key.1)
            || self
                .upstream_steps(key)
                .iter()
                .any(|(_, (asset, partition), _)| self.live.changed[*asset].contains(*partition))
    }

    pub(super) fn check_record(&self, record: &Record) {
        match record {
            Record::ChunkProgress(progress) => self.check_progress(progress),
            Record::ChunkClaimed(claim) => {
                let chunk = (self.case.place_of(claim.asset), claim.chunk.0);
                assert!(
                    self.live.claims.get(&chunk).is_none_or(|fence| *fence < claim.fence.0),
                    "a fence is not raised"
                );
            }
            Record::RunMoved { counts, to, .. } => {
                assert!(counts.adds_up());
                self.live.state.to(*to).expect("a legal move of the run");
            }
            Record::RunCreated(_) | Record::RunPlanned { .. } => panic!("a machine makes no runs"),
        }
    }

    fn check_progress(&self, progress: &ChunkProgress) {
        if self.is_cancelling() {
            assert!(
                progress.materialized.is_empty() && progress.skipped.is_empty(),
                "a cancelled run publishes"
            );
        }
        let asset = self.case.place_of(progress.asset);
        let made: PartitionSet = progress.materialized.iter().map(|made| made.partition).collect();
        for made in &progress.materialized {
            let key = (asset, made.partition);
            let base = self.before.heads.get(&key).map_or(0, |head| head.version);
            assert_eq!(made.version.0, base + 1);
            let mut named = std::collections::BTreeSet::new();
            for row in progress.inputs.iter().filter(|row| row.version == made.version) {
                if let Some((first, last)) = row.upstream_of(made.partition) {
                    let upstream = self.case.place_of(row.upstream);
                    named.extend((first..=last).map(|partition| (upstream, partition, row.upstream_version.0)));
                }
            }
            assert_eq!(named, self.read[&key], "lineage of {key:?}");
        }
        for row in &progress.inputs {
            assert_eq!(row.asset, progress.asset);
            assert!(
                made.contains_range(row.partitions.0..=row.partitions.1),
                "lineage of what was not made: {row:?}"
            );
        }
    }

    /// When the run is over and everything is on disk.
    pub(super) fn check_end(&self) {
        self.check_quarantine();
        self.check_statuses();
        check_contents(self);
        if self.was_given_up {
            return;
        }
        self.check_sets();
        let state = self.machine.state();
        assert_eq!(self.durable.state, state);
        let row = ready(self.store.run(self.run)).expect("the run is in the store");
        assert_eq!((row.state, row.counts), (state, self.machine.counts()));
        let counts = self.machine.counts();
        let went_wrong = counts.failed + counts.dependency_failed + counts.quarantined > 0;
        match state {
            RunState::Succeeded => assert!(!went_wrong && counts.cancelled == 0, "{counts:?}"),
            RunState::Failed => {
                assert!(went_wrong && counts.cancelled == 0, "{counts:?}");
                let error = row.error.expect("a failed run says why");
                let failures = ready(self.store.failures(self.run));
                assert!(
                    failures
                        .iter()
                        .any(|failure| failure.is_final && failure.error == error)
                );
            }
            RunState::Cancelled => {}
            _ => panic!("a run ends {state}"),
        }
        for (lane, planned) in self.plan.assets.iter().enumerate() {
            let asset = self.asset_of(lane);
            for partition in planned.steps.iter() {
                self.check_ended(lane, (asset, partition), state);
            }
        }
    }

    /// How one step ended, given how those that it reads did.
    fn check_ended(&self, lane: usize, key: Key, run: RunState) {
        let steps = self.steps(lane);
        let upstreams = self.upstream_steps(key);
        let state = |lane: usize, key: Key| state_of(self.steps(lane), key.1);
        let failed = upstreams
            .iter()
            .any(|(lane, upstream, _)| matches!(state(*lane, *upstream), StepState::Failed | StepState::Quarantined));
        let withheld = upstreams.iter().any(|(lane, upstream, kind)| {
            *kind == InputKind::Value && state(*lane, *upstream) == StepState::Skipped && self.made_nothing(*upstream)
        });
        let wanted = self.was_wanted(lane, key);
        let ran = self.live.has_ended(key);
        let fits = match state(lane, key) {
            StepState::Succeeded | StepState::Quarantined => ran && !failed && !withheld && wanted,
            StepState::Failed if steps.dependency_failed().contains(key.1) => failed && !ran,
            StepState::Failed => ran && !failed && !withheld && wanted,
            StepState::Skipped if ran => !failed && !withheld && wanted,
            StepState::Skipped if withheld => !failed,
            StepState::Skipped => !failed && !wanted,
            StepState::Cancelled => run == RunState::Cancelled,
            StepState::Blocked | StepState::Ready | StepState::Running => false,
        };
        let state = state(lane, key);
        assert!(
            fits,
            "{key:?} ended {state:?} (ran {ran}, upstream failed {failed}, withheld {withheld}, wanted {wanted})"
        );
    }

    fn check_quarantine(&self) {
        for (asset, steps) in self.durable.quarantined.iter().enumerate() {
            for partition in steps.iter() {
                let deaths = self.deaths.get(&(asset, partition)).cloned().unwrap_or_default();
                assert!(
                    deaths.len() >= 3,
                    "({asset}, {partition}) is quarantined after {deaths:?}"
                );
                assert!(
                    deaths.contains(&true),
                    "an innocent ({asset}, {partition}) is quarantined after {deaths:?}"
                );
            }
        }
        for key in &self.case.weather.poison {
            let tries = self.begun.get(key).copied().unwrap_or(0) as usize;
            assert!(tries <= 4 + self.kills, "{key:?} kills {tries} times");
        }
    }

    fn check_statuses(&self) {
        for (asset, id) in self.case.ids.iter().enumerate() {
            let status = ready(self.store.status(*id));
            assert_eq!(
                listed(&status.stale, asset),
                self.ledger.stale_of(asset),
                "stale partitions of {asset}"
            );
            assert_eq!(
                listed(&status.failed, asset),
                self.ledger.failed_of(asset),
                "failed partitions of {asset}"
            );
            check_heads(&status, asset, &self.ledger);
        }
    }
}

fn check_heads(status: &AssetStatus, asset: usize, ledger: &Ledger) {
    let heads = ledger.heads.range((asset, 0)..(asset + 1, 0));
    assert_eq!(status.materialized().len(), heads.clone().count() as u64);
    for (key, head) in heads {
        let mut sets = status.heads.iter().filter(|set| set.partitions.contains(key.1));
        let set = sets.next().expect("a head is in one of the sets");
        assert!(sets.next().is_none(), "a head is in one set only");
        assert_eq!(
            (set.version.0, set.code_version),
            (head.version, head.code),
            "head of {key:?}"
        );
    }
}

/// What is neither stale nor of other code is what a build from nothing would make of the heads that it reads.
fn check_contents(driver: &Driver<'_>) {
    let (case, ledger) = (driver.case, &driver.ledger);
    for (key, head) in &ledger.heads {
        let sketch = &case.sketch.assets[key.0];
        let node = case
            .graph()
            .find(&crate::sketch::name(key.0))
            .expect("the asset is in the graph");
        let is_current = !ledger.stale.contains(key) && case.graph().node(node).code_version() == head.code;
        if sketch.inputs.is_empty() || !is_current {
            continue;
        }
        let mut contents = Vec::new();
        for (input, upstreams) in sketch.inputs.iter().zip(&case.reading.upstreams[key.0]) {
            for partition in &upstreams[key.1 as usize] {
                if let Some(up) = ledger.heads.get(&(input.upstream, *partition)) {
                    contents.push((input.upstream, *partition, up.content));
                }
            }
        }
        assert_eq!(
            head.content,
            case.content(*key, &contents),
            "{key:?} is not stale, and is not what its inputs give"
        );
    }
}

fn listed(set: &PartitionSet, asset: usize) -> Vec<Key> {
    set.iter().map(|partition| (asset, partition)).collect()
}

fn state_of(steps: &StepSets, partition: u64) -> StepState {
    *StepState::ALL
        .iter()
        .find(|state| steps.get(**state).contains(partition))
        .expect("a step is in one state")
}
