//! Runs by a seeded model: random pipelines, plans, workers, accidents and crashes, checked key by key.
//!
//! A failure prints its seed; `FLOWSTONE_SEED=<seed>` plays that one again and prints what happened, and
//! `FLOWSTONE_SEEDS=<count>` plays more than usual.

mod case;
mod check;
mod crash;
mod driver;
mod late;
mod ledger;
mod trying;
mod worker;

use std::panic::{AssertUnwindSafe, catch_unwind};

use flowstone_core::memory::MemoryStore;
use flowstone_core::plan::{Force, Planner, RunPlan, RunRequest};
use flowstone_core::run::{RunCounts, RunState};
use flowstone_core::store::{Record, RunRow, Store};
use flowstone_core::{AssetKey, RunId};
use uuid::Uuid;

use crate::draw::Draw;
use crate::sketch::{name, now, ready};
use case::Case;
use driver::Driver;
use ledger::Ledger;

/// Runs of one seed, one after the other over the same store.
const RUNS: u64 = 4;

/// Plays `seed`; what happened is added to `trace` if there is one.
fn simulate(seed: u64, mut trace: Option<&mut String>) {
    let mut draw = Draw::seeded(seed);
    let store = MemoryStore::default();
    let mut case = Case::draw(seed, &store, &mut draw);
    let mut ledger = Ledger::default();
    for number in 0..RUNS {
        if number > 0 {
            case.era += 1;
            if draw.chance(300) {
                let asset = draw.below(case.ids.len());
                case.change_code(asset);
            }
        }
        let request = request(&case, number, &mut draw);
        let Ok(plan) = plan(&case, &store, &request) else {
            continue;
        };
        let run = RunId(Uuid::from_u64_pair(number + 1, seed));
        create(&store, run);
        let mut driver = Driver::new(
            &case,
            &store,
            (run, number),
            &plan,
            ledger.clone(),
            Draw::seeded(draw.next()),
        );
        driver.trace = trace.is_some().then(String::new);
        let went = catch_unwind(AssertUnwindSafe(|| {
            driver.drive();
            driver.check_end();
        }));
        if let (Some(all), Some(this)) = (&mut trace, &driver.trace) {
            all.push_str(this);
        }
        if let Err(panic) = went {
            let assets = case.sketch.assets.iter().enumerate();
            let listed: String = assets.map(|(number, asset)| format!("{number}: {asset:?}\n")).collect();
            let why = panic.downcast_ref::<String>().map(String::as_str);
            let why = why.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a bare panic");
            let Some(trace) = trace else {
                panic!("run {number} of seed {seed}: {why}\nsee what happened with FLOWSTONE_SEED={seed}");
            };
            panic!(
                "{listed}{:?}\n{:#?}\n{trace}run {number} of seed {seed}: {why}",
                case.weather, plan.assets
            );
        }
        let is_whole = driver.machine.state() == RunState::Succeeded
            && driver
                .durable
                .skipped
                .iter()
                .all(flowstone_core::partition::PartitionSet::is_empty)
            && request.assets.len() == case.ids.len();
        ledger = driver.ledger;
        if is_whole {
            let again = self::plan(
                &case,
                &store,
                &RunRequest {
                    force: Force::Nothing,
                    ..request
                },
            )
            .expect("it planned before");
            assert!(
                again.is_empty(),
                "seed {seed}: all was made, and still there is something to do: {again:?}"
            );
        }
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

fn plan(case: &Case, store: &MemoryStore, request: &RunRequest) -> flowstone_core::Result<RunPlan> {
    let statuses: Vec<_> = case.ids.iter().map(|id| ready(store.status(*id))).collect();
    let planner = Planner {
        graph: case.graph(),
        ids: &case.ids,
        statuses: &statuses,
        now: now(),
    };
    let plan = planner.plan(request)?;
    // What is stored is what is run.
    RunPlan::decode(&plan.encode()?)
}

fn create(store: &MemoryStore, run: RunId) {
    let row = RunRow {
        run,
        pipeline: "drawn".to_owned(),
        idempotency_key: None,
        request: Default::default(),
        plan: None,
        state: RunState::Running,
        created_at: now(),
        moved_at: now(),
        counts: RunCounts::default(),
        error: None,
    };
    for verdict in ready(store.commit(&[Record::RunCreated(row)])) {
        verdict.expect("a new run");
    }
}

/// Plays so many seeds, or the one that the environment names.
fn seeds(count: u64) {
    if let Ok(seed) = std::env::var("FLOWSTONE_SEED") {
        simulate(
            seed.parse().expect("FLOWSTONE_SEED is a number"),
            Some(&mut String::new()),
        );
        return;
    }
    let count =
        std::env::var("FLOWSTONE_SEEDS").map_or(count, |count| count.parse().expect("FLOWSTONE_SEEDS is a number"));
    (0..count).for_each(|seed| simulate(seed, None));
}

#[test]
fn a_run_keeps_its_promises_whatever_happens() {
    seeds(300);
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..20 {
        let (mut first, mut second) = (String::new(), String::new());
        simulate(seed, Some(&mut first));
        simulate(seed, Some(&mut second));
        assert_eq!(first, second, "seed {seed}");
    }
}
