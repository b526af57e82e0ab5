//! The step that leads: the machine of its run says when it is claimed, and whether it has died too often.
//!
//! Machine and recovery are the engine's own; the run has no other step.

use std::collections::HashMap;

use flowstone_core::asset::Asset;
use flowstone_core::partition::PartitionSet;
use flowstone_core::pipeline::Pipeline;
use flowstone_core::plan::{Planner, RunPlan, RunRequest};
use flowstone_core::run::{Decision, Recorded, RunEffect, RunEvent, RunMachine};
use flowstone_core::store::{FanOutFilter, Lead, Record};
use flowstone_core::{AssetId, Incarnation, RunId};
use jiff::Timestamp;
use uuid::Uuid;

use super::disk::commit;
use super::planted::Doctor;
use crate::simulation::Promise;
use crate::simulation::broken::{broken, must};
use crate::simulation::seed::new_run;
use crate::simulation::world::World;
use crate::sketch::now;

/// A run of one step, which fans out.
pub(super) struct LeadingStep {
    pipeline: Pipeline,
    ids: Vec<AssetId>,
    plan: RunPlan,
    run: RunId,
}

/// The step was claimed.
pub(super) struct Led {
    pub(super) lead: Lead,
    /// A process may have died of it before.
    pub(super) awaits_claims: bool,
}

impl LeadingStep {
    /// Creates a run, and claims its step.
    pub(super) fn create(world: &World, number: u64, seed: u64) -> (Self, Led) {
        let many = Asset::new("many").run(|| async { 1_i64 });
        let pipeline = must(Pipeline::builder("drawn").asset(many).build(), "the pipeline");
        let nodes = pipeline.graph().nodes();
        let declared: Vec<_> = nodes
            .map(|(_, node)| (node.key().clone(), node.space().clone()))
            .collect();
        let store = world.store();
        let ids = world.ask(store.declare_assets(&declared));
        let planner = Planner {
            graph: pipeline.graph(),
            ids: &ids,
            statuses: &world.ask(store.statuses(&ids)),
            now: now(),
            sets: None,
        };
        let request = RunRequest {
            assets: vec![declared[0].0.clone()],
            ..RunRequest::default()
        };
        let plan = must(planner.plan(&request), "the step cannot be planned");
        let run = RunId(Uuid::from_u64_pair(number, seed));
        let row = new_run(run, pipeline.name());
        let incarnation = Incarnation::NONE.next();
        commit(world, &[Record::RunCreated(row), Record::RunTaken { run, incarnation }]);
        let machine = RunMachine::new(run, &plan, pipeline.graph(), &ids);
        let mut machine = must(machine, "the run cannot be started");
        let mut begun = Decision::default();
        let concluded = machine.conclude(now(), &mut begun);
        must(concluded, "a new run cannot be concluded");
        let step = Self {
            pipeline,
            ids,
            plan,
            run,
        };
        let Some(led) = step.claim(world, machine, &begun, now()) else {
            broken(Promise::P11, "a new step is not claimed".to_owned())
        };
        (step, led)
    }

    /// Another process takes the run up, and claims its step; `None` when that is quarantined.
    pub(super) fn take_up(&self, world: &World, doctor: &Doctor, at: Timestamp) -> Option<Led> {
        let (store, run) = (world.store(), self.run);
        let Some(row) = world.ask(store.run(run)) else {
            broken(Promise::P1, "the run is gone".to_owned())
        };
        let incarnation = row.incarnation.next();
        commit(world, &[Record::RunTaken { run, incarnation }]);
        let recorded = doctor.led(Recorded {
            chunks: world.ask(store.chunks(run)),
            failures: world.ask(store.failures(run)),
            stale: HashMap::new(),
            spared: self.spared(world),
            is_paused: false,
            incarnation,
        });
        let recovered = RunMachine::recover(run, &self.plan, self.pipeline.graph(), &self.ids, &recorded, at);
        let (machine, follows) = must(recovered, "the run cannot be recovered");
        self.claim(world, machine, &follows, at)
    }

    fn spared(&self, world: &World) -> HashMap<AssetId, PartitionSet> {
        let store = world.store();
        let rows = world.ask(store.fan_outs(FanOutFilter::OfRun(self.run)));
        let spared = rows
            .into_iter()
            .filter(|row| row.spares_step(&world.ask(store.item_claims(row.fan_out))));
        spared
            .map(|row| (row.asset, PartitionSet::single(row.partition)))
            .collect()
    }

    fn claim(&self, world: &World, mut machine: RunMachine, follows: &Decision, at: Timestamp) -> Option<Led> {
        commit(world, &follows.records);
        if machine.is_over() {
            return None;
        }
        let mut claimed = Decision::default();
        let told = machine.apply(RunEvent::SlotFree { workers: 1 }, at, &mut claimed);
        must(told, "a free worker is refused");
        commit(world, &claimed.records);
        let starts = claimed.effects.into_iter().find_map(|effect| match effect {
            RunEffect::Start(work) => Some(work),
            _ => None,
        });
        let Some(work) = starts else {
            broken(Promise::Rest, "the step is neither claimed nor over".to_owned())
        };
        Some(Led {
            lead: Lead {
                run: self.run,
                asset: self.ids[0],
                chunk: work.id.number,
                fence: work.fence,
            },
            awaits_claims: work.after_commit,
        })
    }
}
