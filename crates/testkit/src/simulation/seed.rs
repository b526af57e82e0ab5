//! One seed: a pipeline, its store, and a few runs of it one after the other.

use std::panic::{AssertUnwindSafe, catch_unwind};

use flowstone_core::plan::{Force, Planner, RunPlan, RunRequest};
use flowstone_core::run::{RunCounts, RunState};
use flowstone_core::store::{Record, RunRow};
use flowstone_core::{AssetKey, Incarnation, RunId};
use uuid::Uuid;

use super::broken::{Broken, broken, caught, hold, must};
use super::case::{Case, Weather};
use super::driver::{Driver, Legacy};
use super::fault::Script;
use super::planted::{Doctor, Planted};
use super::redriving::Over;
use super::story::{Faults, Seed, Story};
use super::world::World;
use super::{Promise, Tally};
use crate::Draw;
use crate::sketch::{name, now};

/// Runs of one seed.
const RUNS: u64 = 4;

impl Story for Planted {
    fn play(seed: Seed<Self>, trace: &mut Option<String>) -> Result<Tally, Broken> {
        caught(|| seed.play_runs(trace))
    }

    fn faults(seed: Seed<Self>) -> Faults {
        let mut draw = Draw::seeded(seed.seed);
        let world = World::new(seed.place);
        let case = Case::draw(seed.seed, &world, &mut draw);
        let script = Script::draw(&mut draw, case.weather, RUNS);
        let len = script.len();
        let script = script.without(&seed.cut);
        let mut kept: Vec<String> = script.planned.iter().map(|planned| format!("{planned:?}")).collect();
        if (0..Weather::KINDS).any(|kind| !seed.cut.contains(&kind)) {
            kept.push(format!("{:?}", script.weather));
        }
        Faults { len, kept }
    }
}

impl Seed<Planted> {
    fn play_runs(self, trace: &mut Option<String>) -> Tally {
        let seed = self.seed;
        let mut draw = Draw::seeded(seed);
        let world = World::new(self.place);
        let mut case = Case::draw(seed, &world, &mut draw);
        let script = Script::draw(&mut draw, case.weather.clone(), RUNS).without(&self.cut);
        case.weather.clone_from(&script.weather);
        let doctor = Doctor::new(self.planted);
        let mut legacy = Legacy::default();
        let mut over: Vec<Over> = Vec::new();
        let mut tally = Tally {
            seeds: 1,
            ..Tally::default()
        };
        for number in 0..RUNS {
            if number > 0 {
                case.era += 1;
                if draw.chance(300) {
                    let asset = draw.below(case.ids.len());
                    case.change_code(asset);
                }
            }
            let mut request = request(&case, number, &mut draw);
            let own_draw = Draw::seeded(draw.number());
            let is_redriven = Draw::of(&[seed, 13, number]).chance(case.weather.redrive);
            let chosen = Draw::of(&[seed, 17, number]).below(over.len().max(1));
            // What would be asked for is looked at for every run, and is asked for of one.
            for over in &over {
                drop(over.redrive(&case, &world, &doctor));
            }
            let redriven = over.get(chosen).filter(|_| is_redriven).and_then(|over| {
                request = over.redrive(&case, &world, &doctor)?;
                Some(over)
            });
            let plan = match (plan(&case, &world, &request), &redriven) {
                (Ok(plan), _) => plan,
                (Err(_), None) => continue,
                (Err(error), Some(_)) => broken(Promise::P20, format!("a redrive cannot be planned: {error}")),
            };
            if let Some(redriven) = &redriven {
                redriven.check_plan(&case, &legacy.ledger, &plan);
            }
            let run = RunId(Uuid::from_u64_pair(number + 1, seed));
            create(&world, run);
            let faults = script.of_run(number);
            let mut driver = Driver::new((&case, &world, &doctor), (run, number), &plan, faults, legacy, own_draw);
            driver.redriven = redriven.map(|redriven| redriven.left.clone());
            driver.trace = trace.take();
            if let Some(trace) = &mut driver.trace {
                trace.push_str(&format!("run {number}\n"));
            }
            let went = catch_unwind(AssertUnwindSafe(|| {
                driver.drive();
                driver.check_end();
            }));
            *trace = driver.trace.take();
            if let Err(found) = went {
                std::panic::resume_unwind(found);
            }
            tally.runs += 1;
            tally.events += driver.events as u64;
            tally.crashes += driver.crashes as u64;
            let has_made_all = driver.machine.state() == RunState::Succeeded
                && driver
                    .durable
                    .skipped
                    .iter()
                    .all(flowstone_core::partition::PartitionSet::is_empty)
                && request.assets.len() == case.ids.len()
                && request.redrive.is_none();
            let (left, state) = (driver.left(), driver.durable.state);
            legacy = driver.legacy();
            let is_cancelled = state == RunState::Cancelled;
            over.retain(|earlier| !earlier.is_cancelled);
            over.push(Over {
                run,
                request: request.clone(),
                plan: plan.clone(),
                left,
                is_cancelled,
            });
            if has_made_all {
                let again = RunRequest {
                    force: Force::Nothing,
                    ..request
                };
                let again = must(
                    plan_of(&case, &world, &again),
                    "what was planned before cannot be planned",
                );
                hold!(
                    Stale,
                    again.is_empty(),
                    "all was made, and still there is something to do: {again:?}"
                );
            }
        }
        tally
    }
}

fn request(case: &Case, number: u64, draw: &mut Draw) -> RunRequest {
    let takes_all = number == 0 || draw.chance(500);
    let keys = (0..case.ids.len()).filter(|_| takes_all || draw.chance(700));
    let assets: Vec<AssetKey> = keys.map(|number| name(number).parse().expect("a name")).collect();
    let targets = assets.iter().filter(|_| draw.chance(300)).cloned().collect();
    let force = *draw.pick(&[Force::Nothing, Force::Target, Force::Downstream, Force::All]);
    RunRequest {
        assets,
        targets,
        force,
        ..RunRequest::default()
    }
}

/// What is stored is what is run.
fn plan(case: &Case, world: &World, request: &RunRequest) -> flowstone_core::Result<RunPlan> {
    RunPlan::decode(&plan_of(case, world, request)?.encode()?)
}

fn plan_of(case: &Case, world: &World, request: &RunRequest) -> flowstone_core::Result<RunPlan> {
    let store = world.store();
    let statuses: Vec<_> = case.ids.iter().map(|id| world.ask(store.status(*id))).collect();
    let planner = Planner {
        graph: case.graph(),
        ids: &case.ids,
        statuses: &statuses,
        now: now(),
        sets: None,
    };
    planner.plan(request)
}

/// A run that has just begun.
pub(super) fn new_run(run: RunId, pipeline: &str) -> RunRow {
    RunRow {
        run,
        pipeline: pipeline.to_owned(),
        idempotency_key: None,
        request: bytes::Bytes::new(),
        plan: None,
        incarnation: Incarnation::NONE,
        state: RunState::Running,
        created_at: now(),
        moved_at: now(),
        counts: RunCounts::default(),
        error: None,
    }
}

fn create(world: &World, run: RunId) {
    let store = world.store();
    let taken = Record::RunTaken {
        run,
        incarnation: Incarnation::NONE.next(),
    };
    for verdict in world.ask(store.commit(&[Record::RunCreated(new_run(run, "drawn")), taken])) {
        must(verdict, "a new run is refused");
    }
}
