//! What must hold when a run is over and everything is on disk.

use std::collections::BTreeSet;

use flowstone_core::Version;
use flowstone_core::asset::InputKind;
use flowstone_core::io::Address;
use flowstone_core::partition::PartitionSet;
use flowstone_core::run::{RunState, StepState};
use flowstone_core::store::{AssetStatus, ChunkState, EventKind};

use super::reading::state_of;
use crate::simulation::Promise;
use crate::simulation::broken::{broken, hold, hold_eq};
use crate::simulation::driver::Driver;
use crate::simulation::model::Ledger;
use crate::simulation::planted::Planted;
use crate::simulation::shelf::Lying;
use crate::sketch::Key;

/// More events than the runs of a seed have.
const EVENTS_MAX: usize = 1_000_000;

impl Driver<'_> {
    /// When the run is over and everything is on disk.
    pub(in crate::simulation) fn check_end(&mut self) {
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
    pub(in crate::simulation) fn check_values(&self) {
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
