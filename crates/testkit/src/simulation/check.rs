//! What must hold: at every step of a run, when a step begins, and when the run is over.

use std::collections::BTreeSet;

use flowstone_core::asset::InputKind;
use flowstone_core::io::Address;
use flowstone_core::partition::PartitionSet;
use flowstone_core::run::{ChunkWork, RunState, StepSets, StepState};
use flowstone_core::store::{AssetStatus, ChunkProgress, ChunkState, EventKind, Record, StepFailure};
use flowstone_core::{DataVersion, ErrorKind, Version};

use super::broken::{broken, hold, hold_eq, must};
use super::case::Fate;
use super::driver::Driver;
use super::model::Ledger;
use super::planted::Planted;
use super::shelf::Lying;
use crate::simulation::Promise;
use crate::sketch::Key;

/// More events than the runs of a seed have.
const EVENTS_MAX: usize = 1_000_000;

impl Driver<'_> {
    /// After every event.
    pub(super) fn check_counts(&self) {
        let counts = self.machine.counts();
        hold!(P18, counts.adds_up(), "{counts:?} do not add up");
        hold_eq!(P18, counts.total, self.steps_planned, "steps of {counts:?}");
    }

    /// Now and then, after every crash and at the end: what has ended never moves again, so nothing escapes.
    pub(super) fn check_sets(&self) {
        for (lane, (planned, steps)) in self.machine.assets().enumerate() {
            let asset = self.asset_of(lane);
            let succeeded = steps.get(StepState::Succeeded);
            hold_eq!(
                P2,
                *succeeded,
                self.live.made[asset],
                "steps of asset {asset} that succeeded"
            );
            let quarantined = steps.get(StepState::Quarantined);
            hold_eq!(
                P8,
                *quarantined,
                self.live.quarantined[asset],
                "quarantined steps of asset {asset}"
            );
            let failed = steps.get(StepState::Failed).difference(steps.dependency_failed());
            hold_eq!(
                P8,
                failed,
                self.live.failed[asset],
                "steps of asset {asset} that failed"
            );
            let skipped = &self.live.skipped[asset];
            hold!(
                P8,
                skipped.is_subset(steps.get(StepState::Skipped)),
                "of asset {asset} not all of {skipped:?} are skipped"
            );
            let all = StepState::ALL
                .iter()
                .fold(PartitionSet::new(), |all, state| all.union(steps.get(*state)));
            hold_eq!(P18, all, planned.steps, "the steps of asset {asset}");
        }
    }

    pub(super) fn check_start(&mut self, work: &ChunkWork) {
        hold!(P13, !self.is_cancelling(), "a cancelled run starts a step");
        hold!(
            Pause,
            self.live.state != RunState::Paused,
            "a paused run starts {:?}",
            work.id
        );
        hold!(P9, self.fences.insert(work.fence), "two claims have {:?}", work.fence);
        let asset = self.asset_of(work.id.lane);
        if let Some(batch) = self.case.sketch.assets[asset].batch {
            hold!(
                Sound,
                work.steps.len() <= batch,
                "a call for {} partitions, at most {batch} were wanted",
                work.steps.len()
            );
        }
        for partition in work.steps.iter() {
            let key = (asset, partition);
            hold!(
                P20,
                self.redriven.as_ref().is_none_or(|left| left.contains(&key)),
                "{key:?} had come to a good end and is redriven"
            );
            hold!(P10, !self.live.has_ended(key), "{key:?} has ended and starts again");
            let failed = self.live.failures.get(&key).copied().unwrap_or(0);
            hold_eq!(P12, work.attempt(partition), failed + 1, "the attempt at {key:?}");
            let attempts_max = self.case.sketch.assets[asset].attempts_max;
            hold!(
                P12,
                work.attempt(partition) <= attempts_max,
                "{key:?} is tried more than {attempts_max} times"
            );
            hold!(
                P12,
                self.live
                    .not_before
                    .get(&key)
                    .is_none_or(|due| *due <= self.latest.max(self.now)),
                "{key:?} starts too early"
            );
            hold!(
                P10,
                self.was_wanted(work.id.lane, key),
                "{key:?} starts and nothing that it reads has changed"
            );
        }
        if self.case.sketch.assets[asset].acts_outside {
            hold!(
                P1,
                work.after_commit,
                "what acts outside starts before its claim is on disk"
            );
        }
    }

    /// What a step of `lane` reads, from what the run has made so far, and what it makes of that.
    pub(super) fn read_inputs(&mut self, lane: usize, key: Key) -> DataVersion {
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

    pub(super) fn steps(&self, lane: usize) -> &StepSets {
        self.machine.assets().nth(lane).expect("the lane is planned").1
    }

    pub(super) fn lane_of(&self, asset: usize) -> Option<usize> {
        let id = self.case.ids[asset];
        self.plan.assets.iter().position(|planned| planned.id == id)
    }

    /// The planned steps that `key` reads, with how.
    pub(super) fn upstream_steps(&self, key: Key) -> Vec<(usize, Key, InputKind)> {
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
    pub(super) fn was_wanted(&self, lane: usize, key: Key) -> bool {
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
                hold!(
                    P9,
                    self.live.claims.get(&chunk).is_none_or(|fence| *fence < claim.fence.0),
                    "the fence of chunk {chunk:?} is not raised"
                );
            }
            Record::RunMoved { counts, to, .. } => {
                hold!(P18, counts.adds_up(), "{counts:?} do not add up");
                must(self.live.state.to(*to), "the run moves");
            }
            Record::RunCreated(_) | Record::RunPlanned { .. } | Record::RunTaken { .. } => {
                broken(Promise::Sound, "a machine makes or takes a run".to_owned())
            }
            Record::FanOutOpened(_) | Record::FanOutReopened(_) | Record::FanOutProgress(_) => broken(
                Promise::Sound,
                "a machine writes about a fan-out that it never heard of".to_owned(),
            ),
        }
    }

    fn check_progress(&self, progress: &ChunkProgress) {
        if self.is_cancelling() {
            hold!(
                P13,
                progress.materialized.is_empty() && progress.skipped.is_empty(),
                "a cancelled run publishes: {progress:?}"
            );
        }
        let asset = self.case.place_of(progress.asset);
        let made: PartitionSet = progress.materialized.iter().map(|made| made.partition).collect();
        for made in &progress.materialized {
            let key = (asset, made.partition);
            let base = self.before.heads.get(&key).map_or(0, |head| head.version);
            hold_eq!(P3, made.version.0, base + 1, "the version of {key:?}");
            let mut named = BTreeSet::new();
            for row in progress.inputs.iter().filter(|row| row.version == made.version) {
                if let Some((first, last)) = row.upstream_of(made.partition) {
                    let upstream = self.case.place_of(row.upstream);
                    named.extend((first..=last).map(|partition| (upstream, partition, row.upstream_version.0)));
                }
            }
            hold_eq!(P5, Some(&named), self.read.get(&key), "the lineage of {key:?}");
        }
        for row in &progress.inputs {
            hold!(
                P5,
                row.asset == progress.asset && made.contains_range(row.partitions.0..=row.partitions.1),
                "lineage of what was not made: {row:?}"
            );
        }
        for failure in &progress.failed {
            self.check_failure(asset, failure);
        }
    }

    /// A failure is final exactly if its error is no passing one, or it was the last attempt.
    fn check_failure(&self, asset: usize, failure: &StepFailure) {
        if failure.error.kind == ErrorKind::Quarantined {
            // It has no attempt that failed.
            return;
        }
        let key = (asset, failure.partition);
        let is_last = failure.attempt >= self.case.sketch.assets[asset].attempts_max;
        let should_be = match self.fates.get(&(key, failure.attempt)) {
            Some(Fate::FailForGood | Fate::SpoilForGood) => true,
            Some(Fate::FailForNow | Fate::SpoilForNow | Fate::Overdue) => is_last,
            // Nobody knows that it was to blame.
            Some(Fate::Blurred) => false,
            _ => failure.is_final,
        };
        hold_eq!(
            P12,
            failure.is_final,
            should_be,
            "whether attempt {} at {key:?} is final",
            failure.attempt
        );
    }

    /// When the run is over and everything is on disk.
    pub(super) fn check_end(&mut self) {
        self.check_quarantine();
        self.check_statuses();
        self.check_values();
        self.check_lineage();
        self.check_told();
        check_contents(self);
        self.check_over();
        if self.was_given_up {
            return;
        }
        self.check_sets();
        let state = self.machine.state();
        hold_eq!(P1, self.durable.state, state, "the recorded state");
        let store = self.world.store();
        let Some(row) = self.world.ask(store.run(self.run)) else {
            broken(Promise::P1, "the run is not in the store".to_owned())
        };
        hold_eq!(P1, row.state, state, "the stored state");
        hold_eq!(P18, row.counts, self.machine.counts(), "the stored counts");
        let counts = self.machine.counts();
        let went_wrong = counts.failed + counts.dependency_failed + counts.quarantined > 0;
        match state {
            RunState::Succeeded => hold!(
                P18,
                !went_wrong && counts.cancelled == 0,
                "a run succeeds with {counts:?}"
            ),
            RunState::Failed => {
                hold!(P18, went_wrong && counts.cancelled == 0, "a run fails with {counts:?}");
                let failures = self.world.ask(store.failures(self.run));
                let mut finals = failures.iter().filter(|failure| failure.is_final);
                let is_told = finals.any(|failure| Some(&failure.error) == row.error.as_ref());
                hold!(P8, is_told, "a failed run does not say why: {:?}", row.error);
            }
            RunState::Cancelled => {}
            _ => broken(Promise::Rest, format!("a run ends {state}")),
        }
        for (lane, planned) in self.plan.assets.iter().enumerate() {
            let asset = self.asset_of(lane);
            for partition in planned.steps.iter() {
                self.check_ended(lane, (asset, partition), state);
            }
        }
    }

    /// Of a run that is over no chunk is open, no slot is taken, and each failed attempt is listed once.
    fn check_over(&self) {
        let store = self.world.store();
        for row in self.world.ask(store.chunks(self.run)) {
            hold!(
                P9,
                row.state == ChunkState::Ended,
                "the run is over and a chunk has a holder: {:?}",
                row.claim
            );
        }
        self.pools.check_over();
        let mut attempts = BTreeSet::new();
        for failure in self.world.ask(store.failures(self.run)) {
            let attempt = (failure.asset, failure.partition, failure.attempt);
            hold!(P8, attempts.insert(attempt), "{attempt:?} failed twice");
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
        hold!(
            P8,
            fits,
            "{key:?} ended {state:?} (ran {ran}, upstream failed {failed}, withheld {withheld}, wanted {wanted})"
        );
    }

    /// Every head of the store names a value that lies there, whole, and is what it says.
    pub(super) fn check_values(&self) {
        let store = self.world.store();
        for (asset, id) in self.case.ids.iter().enumerate() {
            let all = self.world.ask(store.status(*id)).materialized();
            for head in self.world.ask(store.heads(*id, &all)) {
                let Address::Location(address) = &head.stored.address else {
                    broken(Promise::P2, format!("({asset}, {}) lies nowhere", head.partition))
                };
                let lying = self.shelf.find(address);
                let whole = Lying::Whole(head.stored.data_version);
                // What this process is told to have been written is looked at when it dies.
                let is_promised = lying.is_none() && self.doctor.has(Planted::HeadMovedBeforeDataVerified);
                hold!(
                    P2,
                    lying == Some(whole) || is_promised,
                    "the head of ({asset}, {}) names {lying:?}",
                    head.partition
                );
            }
        }
    }

    /// What the store says that each value of this run was made from.
    fn check_lineage(&self) {
        let store = self.world.store();
        for (asset, id) in self.case.ids.iter().enumerate() {
            for partition in self.durable.made[asset].iter() {
                let key = (asset, partition);
                let version = self.before.heads.get(&key).map_or(0, |head| head.version) + 1;
                let mut named = BTreeSet::new();
                for row in self.world.ask(store.inputs_of(*id, partition, Version(version))) {
                    if let Some((first, last)) = row.upstream_of(partition) {
                        let upstream = self.case.place_of(row.upstream);
                        named.extend((first..=last).map(|from| (upstream, from, row.upstream_version.0)));
                    }
                }
                hold_eq!(P2, Some(&named), self.read.get(&key), "the stored lineage of {key:?}");
            }
        }
    }

    /// Each value was told once, and nothing else.
    fn check_told(&mut self) {
        let mut told = vec![PartitionSet::new(); self.case.ids.len()];
        for event in self.world.ask(self.world.store().events(self.told, EVENTS_MAX)) {
            self.told = self.told.max(event.sequence);
            if let EventKind::Materialized { asset, partitions } = event.kind {
                let asset = self.case.place_of(asset);
                hold!(
                    P8,
                    told[asset].is_disjoint(&partitions),
                    "of asset {asset} {partitions:?} are told twice"
                );
                told[asset].union_with(&partitions);
            }
        }
        hold_eq!(P8, told, self.durable.made, "the values that are told");
    }

    fn check_quarantine(&self) {
        for (asset, steps) in self.durable.quarantined.iter().enumerate() {
            for partition in steps.iter() {
                let deaths = self.deaths.get(&(asset, partition)).cloned().unwrap_or_default();
                hold!(
                    P11,
                    deaths.len() >= 3 && deaths.contains(&true),
                    "an innocent ({asset}, {partition}) is quarantined after {deaths:?}"
                );
            }
        }
        for key in &self.case.weather.poison {
            let tries = self.begun.get(key).copied().unwrap_or(0) as usize;
            hold!(
                P11,
                tries <= 4 + self.crashes - self.poisonings,
                "{key:?} kills {tries} times"
            );
        }
    }

    fn check_statuses(&self) {
        for (asset, id) in self.case.ids.iter().enumerate() {
            let status = self.world.ask(self.world.store().status(*id));
            hold_eq!(
                Stale,
                listed(&status.stale, asset),
                self.ledger.stale_of(asset),
                "stale partitions of {asset}"
            );
            hold_eq!(
                P8,
                listed(&status.failed, asset),
                self.ledger.failed_of(asset),
                "failed partitions of {asset}"
            );
            check_heads(&status, asset, &self.ledger);
        }
    }
}

fn check_heads(status: &AssetStatus, asset: usize, ledger: &Ledger) {
    let count = ledger.heads_of(asset).count() as u64;
    hold_eq!(P1, status.materialized().len(), count, "values of asset {asset}");
    for (key, head) in ledger.heads_of(asset) {
        let sets: Vec<_> = status
            .heads
            .iter()
            .filter(|set| set.partitions.contains(key.1))
            .map(|set| (set.version.0, set.code_version))
            .collect();
        hold_eq!(P3, sets, [(head.version, head.code)], "the head of {key:?}");
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
        let content = case.content(*key, &contents);
        hold_eq!(Stale, head.content, content, "{key:?} is not stale, and its content");
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
