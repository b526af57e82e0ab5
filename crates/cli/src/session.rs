//! Carries out one request, or one saved plan: opens the state, lets what an earlier process left open end, runs, and tells of it.
//!
//! The first Ctrl-C cancels and waits, the second ends the process at once; either way nothing is half-visible.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flowstone_core::io::IoEnv;
use flowstone_core::pipeline::Pipeline;
use flowstone_core::plan::{RunPlan, RunRequest, SavedPlan};
use flowstone_core::run::{RunCounts, RunState};
use flowstone_core::{FanOutId, Result, ResultExt as _, RunId};
use flowstone_io_object::Object;
use flowstone_runtime::{Engine, EngineOptions, RunHandle, RunReport};
use flowstone_store::SqliteStore;
use jiff::Timestamp;
use tokio::time::MissedTickBehavior;

use crate::control::{ControlServer, Holder};
use crate::entry::Context;
use crate::exit::Failure;
use crate::interrupt::Interrupts;
use crate::output::{Output, counted, readable};
use crate::progress::{Meter, duration};
use crate::settings::Settings;

/// How often is looked how far the items of a run are: their ends are too many to tell of each.
const ITEMS_LOOK_EVERY: Duration = Duration::from_millis(200);

/// The folder for data in the state folder.
pub(crate) const DATA_FOLDER: &str = "data";

/// What is carried out.
#[derive(Debug, Clone)]
pub(crate) enum Work {
    /// What a request comes to now.
    Request(RunRequest),
    /// A plan that was made before.
    Saved(Box<SavedPlan>),
    /// Let this run go on, which was paused.
    Resume(RunId),
    /// Run what this run did not bring to a good end.
    Redrive(RunId),
    /// Try again what did not succeed of this fan-out.
    RedriveFanOut(FanOutId),
}

/// How it was carried out.
pub(crate) struct Carried {
    /// How the runs ended that an earlier process had left open.
    pub(crate) recovered: Vec<RunReport>,
    /// How the run of the work ended; none when there was nothing to do, or somebody interrupted before it began.
    pub(crate) report: Option<RunReport>,
    /// The run of the work and its steps, if somebody paused it.
    pub(crate) paused: Option<(RunId, RunCounts)>,
    /// True when somebody interrupted.
    pub(crate) is_interrupted: bool,
}

/// Starts an engine on the state in `state_dir`.
pub(crate) async fn start(
    pipeline: Pipeline,
    state_dir: &Path,
    settings: &Settings,
    accepts_orphans: bool,
) -> Result<Engine> {
    let store = Arc::new(SqliteStore::open(state_dir).await?);
    let options = EngineOptions {
        accepts_orphans,
        ..options(state_dir, settings)
    };
    Engine::start(pipeline, store, options).await
}

/// How an engine on the state in `state_dir` runs.
pub(crate) fn options(state_dir: &Path, settings: &Settings) -> EngineOptions {
    EngineOptions {
        workers: settings.workers.value,
        cancel_grace: settings.cancel_grace.value,
        io: IoEnv {
            data_dir: Some(state_dir.join(DATA_FOLDER)),
        },
        default_io: Arc::new(Object::embedded()),
        retention: settings.retention.value.clone(),
        pools: settings.pools.value.clone(),
        ..EngineOptions::default()
    }
}

/// Carries out `work` on behalf of `verb`.
///
/// # Errors
/// What stands in the way of running; a run that does not end well is no error. `Interrupted` when the process is to end
/// at once.
pub(crate) async fn carry_out(
    context: &Context,
    pipeline: Pipeline,
    verb: &'static str,
    work: Work,
) -> std::result::Result<Carried, Failure> {
    let mut interrupts = Interrupts::listen()?;
    let since = Timestamp::now();
    let engine = tokio::select! {
        started = start(pipeline, context.state_dir(), &context.settings, context.accepts_orphans) => Arc::new(started?),
        _ = interrupts.next() => return Err(Failure::Interrupted),
    };
    let holder = Holder {
        pid: std::process::id(),
        verb: verb.to_owned(),
        since,
    };
    let control = match ControlServer::open(context.state_dir(), Arc::clone(&engine), holder) {
        Ok(control) => Some(control),
        Err(error) => {
            context
                .out
                .say(format_args!("warning: `cancel` cannot reach this process: {error}"));
            None
        }
    };
    let driven = drive(
        &context.out,
        &engine,
        work,
        &mut interrupts,
        context.settings.cancel_grace.value,
    )
    .await;
    if matches!(driven, Err(Failure::Interrupted)) {
        return Err(Failure::Interrupted);
    }
    if let Some(control) = control {
        control.close().await;
    }
    let mut stopped = Ok(());
    if let Some(engine) = Arc::into_inner(engine) {
        tokio::select! {
            ended = engine.shutdown() => stopped = ended.during("stop the engine"),
            _ = interrupts.next() => return Err(Failure::Interrupted),
        }
    }
    // What went wrong first is the better complaint.
    let carried = driven?;
    stopped?;
    Ok(carried)
}

async fn drive(
    out: &Output,
    engine: &Engine,
    work: Work,
    interrupts: &mut Interrupts,
    grace: Duration,
) -> std::result::Result<Carried, Failure> {
    let mut carried = Carried {
        recovered: Vec::new(),
        report: None,
        paused: None,
        is_interrupted: false,
    };
    if let Work::Resume(run) = work {
        engine.active(run).await?.resume().await?;
    }
    for handle in engine.recovered() {
        if matches!(work, Work::Resume(run) if run == handle.run_id()) {
            continue;
        }
        if handle.progress().state == RunState::Paused {
            out.say(format_args!("run {} is paused and stays so", handle.run_id()));
            continue;
        }
        out.say(format_args!(
            "run {} was left open by an earlier process: it goes on",
            handle.run_id()
        ));
        if let Watched::Ended(report) = follow(out, handle, engine.recovered(), interrupts, grace).await? {
            tell_end(out, &report);
            carried.recovered.push(report);
        }
    }
    if interrupts.heard() > 0 {
        carried.is_interrupted = true;
        return Ok(carried);
    }
    let Some(handle) = begin(out, engine, work).await? else {
        return Ok(carried);
    };
    match follow(out, &handle, std::slice::from_ref(&handle), interrupts, grace).await? {
        Watched::Ended(report) => {
            carried.is_interrupted = interrupts.heard() > 0 && report.state == RunState::Cancelled;
            carried.report = Some(report);
        }
        Watched::Paused(counts) => carried.paused = Some((handle.run_id(), counts)),
    }
    finish_others(out, engine, interrupts, grace).await?;
    Ok(carried)
}

/// Starts the run of the work; none when there is nothing to do.
async fn begin(out: &Output, engine: &Engine, work: Work) -> Result<Option<RunHandle>> {
    let request = match work {
        Work::Request(request) => request,
        Work::Redrive(run) => engine.redrive_request(run).await?,
        Work::RedriveFanOut(fan_out) => engine.redrive_fan_out_request(fan_out).await?,
        Work::Resume(run) => return engine.active(run).await.map(Some),
        Work::Saved(saved) => {
            let plan = saved.plan().clone();
            if plan.is_empty() {
                return Ok(None);
            }
            let handle = engine.apply(*saved).await?;
            tell_start(out, &handle, &plan);
            return Ok(Some(handle));
        }
    };
    let plan = engine.plan(&request).await?;
    if plan.is_empty() {
        return Ok(None);
    }
    let handle = engine.submit(request).await?;
    tell_start(out, &handle, &plan);
    if handle.progress().state == RunState::Queued {
        let open = engine.open_runs().await?;
        for paused in open.iter().filter(|other| other.progress().state == RunState::Paused) {
            out.say(format_args!(
                "it waits for another run, and run {} is paused: `backfill resume` or `cancel` it from elsewhere",
                paused.run_id()
            ));
        }
    }
    Ok(Some(handle))
}

/// Runs that somebody asked this process for meanwhile are its business too.
async fn finish_others(
    out: &Output,
    engine: &Engine,
    interrupts: &mut Interrupts,
    grace: Duration,
) -> std::result::Result<(), Failure> {
    while interrupts.heard() == 0 {
        let open = engine.open_runs().await?;
        let Some(handle) = open.iter().find(|other| other.progress().state == RunState::Running) else {
            return Ok(());
        };
        out.say(format_args!("run {} goes on here too", handle.run_id()));
        if let Watched::Ended(report) = follow(out, handle, &open, interrupts, grace).await? {
            tell_end(out, &report);
        }
    }
    Ok(())
}

fn tell_start(out: &Output, handle: &RunHandle, plan: &RunPlan) {
    out.say(format_args!(
        "run {}: {} in {}",
        handle.run_id(),
        counted(plan.steps(), "step"),
        counted(plan.assets.len() as u64, "asset")
    ));
}

fn tell_end(out: &Output, report: &RunReport) {
    out.say(format_args!(
        "run {} {} in {}",
        report.run,
        report.state,
        duration(report.elapsed)
    ));
    if let Some(error) = &report.error {
        out.say(format_args!("  {}", readable(&error.message)));
    }
}

/// What came of watching a run.
enum Watched {
    Ended(RunReport),
    /// Somebody paused it, and nothing of it runs any more.
    Paused(RunCounts),
}

/// Watches `handle` to its end, or until it rests. An interrupt cancels all of `open`.
async fn follow(
    out: &Output,
    handle: &RunHandle,
    open: &[RunHandle],
    interrupts: &mut Interrupts,
    grace: Duration,
) -> std::result::Result<Watched, Failure> {
    let mut meter = Meter::new(out, Instant::now());
    let mut progress = handle.watch();
    let mut is_watched = true;
    let ended = handle.wait();
    tokio::pin!(ended);
    let mut looks = tokio::time::interval(ITEMS_LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let watched = loop {
        let now = *progress.borrow_and_update();
        meter.update(now, handle.items().as_ref(), Instant::now());
        if now.state == RunState::Paused && now.counts.running == 0 {
            break Watched::Paused(now.counts);
        }
        tokio::select! {
            report = &mut ended => break Watched::Ended(report?),
            changed = progress.changed(), if is_watched => is_watched = changed.is_ok(),
            _ = looks.tick() => {}
            heard = interrupts.next() => {
                if heard > 1 {
                    meter.finish();
                    return Err(Failure::Interrupted);
                }
                out.say(format_args!(
                    "interrupted: cancelling, steps that run have {} to end; once more ends this process at once",
                    duration(grace)
                ));
                for handle in open {
                    let handle = handle.clone();
                    // Beside the watching, so that a second interrupt is heard. The wait tells what becomes of it.
                    tokio::spawn(async move { handle.cancel().await });
                }
            }
        }
    };
    meter.finish();
    Ok(watched)
}
