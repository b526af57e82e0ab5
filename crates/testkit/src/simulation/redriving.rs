//! A run that asks for what another did not bring to a good end.
//!
//! What that is, is worked out step by step from what was recorded of the run and from who reads what.

use std::collections::BTreeSet;

use flowstone_core::asset::InputKind;
use flowstone_core::plan::{Redrive, RunPlan, RunRequest};
use flowstone_core::run::{Recorded, RunCounts, RunMachine};
use flowstone_core::{ErrorKind, RunId};

use super::broken::{broken, hold, hold_eq};
use super::case::Case;
use super::driver::Driver;
use super::model::Ledger;
use super::planted::{Doctor, Planted};
use super::world::World;
use crate::simulation::Promise;
use crate::sketch::{Key, name, now};

/// A run that has ended.
pub(super) struct Over {
    pub(super) run: RunId,
    pub(super) request: RunRequest,
    pub(super) plan: RunPlan,
    /// What it did not bring to a good end.
    pub(super) left: BTreeSet<Key>,
    /// True when it was cut off: which of its steps were not wanted is not known for ever.
    pub(super) is_cancelled: bool,
}

impl Over {
    /// The request that redrives it, made by the engine's own decisions from what is stored; `None` when nothing is left or
    /// other code has come since.
    pub(super) fn redrive(&self, case: &Case, world: &World, doctor: &Doctor) -> Option<RunRequest> {
        let store = world.store();
        let stale = |id| (id, world.ask(store.status(id)).stale);
        let row = world.ask(store.run(self.run))?;
        let recorded = Recorded {
            spared: Default::default(),
            chunks: world.ask(store.chunks(self.run)),
            failures: world.ask(store.failures(self.run)),
            stale: case.ids.iter().map(|id| stale(*id)).collect(),
            is_paused: false,
            incarnation: row.incarnation.next(),
        };
        let parts = (case.graph(), &case.ids[..]);
        let counts = match doctor.has(Planted::RedriveTakesWhatWentStale) {
            true => RunCounts::default(),
            false => row.counts,
        };
        let machine = match RunMachine::ended(self.run, &self.plan, parts, (recorded, counts), now()) {
            Ok(rebuilt) => rebuilt,
            Err(error) if error.stable_code() == "code_changed" => return None,
            Err(error) => broken(Promise::P20, format!("a run cannot be rebuilt: {error}")),
        };
        match Redrive::request(&self.request, &machine) {
            Ok(request) => {
                let redrive = request.redrive.map(|redrive| doctor.redrive(redrive, &machine));
                self.check_asked(case, redrive.as_ref());
                Some(RunRequest { redrive, ..request })
            }
            Err(error) => {
                hold_eq!(P20, error.kind(), ErrorKind::Conflict, "why a redrive is refused");
                hold!(P20, self.left.is_empty(), "{:?} is not redriven: {error}", self.left);
                None
            }
        }
    }

    /// Nothing is asked for again but what is left.
    fn check_asked(&self, case: &Case, redrive: Option<&Redrive>) {
        for (asked, steps) in redrive.into_iter().flat_map(|redrive| &redrive.steps) {
            let asset = (0..case.ids.len()).find(|number| name(*number) == asked.as_str());
            let asset = asset.expect("the asset is in the case");
            for step in steps.iter() {
                let key = (asset, step);
                hold!(
                    P20,
                    self.left.contains(&key),
                    "{key:?} had come to a good end and is redriven"
                );
            }
        }
    }

    /// What is left and not asked for again must be current by now.
    pub(super) fn check_plan(&self, case: &Case, ledger: &Ledger, plan: &RunPlan) {
        for key in &self.left {
            let id = case.ids[key.0];
            let planned = plan.assets.iter().find(|planned| planned.id == id);
            if planned.is_some_and(|planned| planned.steps.contains(key.1)) {
                continue;
            }
            let node = case.graph().find(&name(key.0)).expect("the asset is in the graph");
            let code = case.graph().node(node).code_version();
            let is_current = ledger.heads.get(key).is_some_and(|head| head.code == code) && !ledger.stale.contains(key);
            hold!(P20, is_current, "{key:?} is left and not redriven");
        }
    }
}

impl Driver<'_> {
    /// The steps that did not come to a good end: that failed, were stopped by a failure, or did not end.
    pub(super) fn left(&self) -> BTreeSet<Key> {
        let (mut left, mut nothing_made) = (BTreeSet::new(), BTreeSet::new());
        for (lane, planned) in self.plan.assets.iter().enumerate() {
            let asset = self.asset_of(lane);
            for partition in planned.steps.iter() {
                let key = (asset, partition);
                if self.durable.made[asset].contains(partition) {
                    continue;
                }
                if self.durable.skipped[asset].contains(partition) {
                    nothing_made.insert(key);
                    continue;
                }
                let upstreams = self.upstream_steps(key);
                if self.durable.has_ended(key) || upstreams.iter().any(|(_, upstream, _)| left.contains(upstream)) {
                    left.insert(key);
                } else if upstreams
                    .iter()
                    .any(|(_, upstream, kind)| *kind == InputKind::Value && nothing_made.contains(upstream))
                {
                    nothing_made.insert(key);
                } else if self.was_wanted(lane, key) {
                    left.insert(key);
                }
            }
        }
        self.add_unmade(&mut left, &nothing_made);
        left
    }

    /// Without a value of what is not asked for again, nothing that needs it could be planned.
    fn add_unmade(&self, left: &mut BTreeSet<Key>, nothing_made: &BTreeSet<Key>) {
        let mut to_see: Vec<Key> = left.iter().copied().collect();
        while let Some(key) = to_see.pop() {
            for (_, upstream, kind) in self.upstream_steps(key) {
                let is_unmade = nothing_made.contains(&upstream) && !self.ledger.heads.contains_key(&upstream);
                if kind != InputKind::Optional && is_unmade && left.insert(upstream) {
                    to_see.push(upstream);
                }
            }
        }
    }
}
