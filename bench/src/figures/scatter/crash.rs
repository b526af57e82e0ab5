//! `scatter_resume_s` and `scatter_rerun_items`: what a crash costs.
//!
//! 100,000 items note their numbers in a file while they run. The process is killed when half of them did; the next one on the same
//! state notes when it began and when it ran the first item that had not run before.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flowstone_core::pipeline::Pipeline;
use flowstone_core::{Error, ErrorKind, Result};
use flowstone_readers::items_from;
use flowstone_runtime::{Engine, EngineOptions};
use flowstone_scatter::{Item, Scatter};
use flowstone_store::SqliteStore;

use super::{CHILD_ARGUMENT, go_on, sum};
use crate::figures::{Figure, Measured, Setup};
use crate::{engine, rounds};

const ITEMS: u64 = 100_000;
const ROUNDS: usize = 3;
/// How long anything here may take at most.
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) const RESUME: Figure = Figure {
    name: "scatter_resume_s",
    unit: "s",
    what: "after `kill -9` amid 100,000 items: process start to the first item that had not run",
    measure: |setup| of_crash(setup, |crash| crash.resume_s),
};

pub(crate) const RERUN: Figure = Figure {
    name: "scatter_rerun_items",
    unit: "of in flight",
    what: "items that ran twice because of it, over those in flight when it was killed",
    measure: |setup| of_crash(setup, |crash| crash.rerun / crash.in_flight.max(1.0)),
};

/// What a crash cost.
struct Crash {
    resume_s: f64,
    rerun: f64,
    in_flight: f64,
}

fn of_crash(setup: &Setup, value: fn(&Crash) -> f64) -> Result<Measured> {
    let (mut values, mut rerun, mut in_flight) = (Vec::new(), 0_f64, 0_f64);
    for _ in 0..ROUNDS {
        let folder = setup.new_folder()?;
        let crash = crash(folder.path())?;
        values.push(value(&crash));
        (rerun, in_flight) = (rerun.max(crash.rerun), in_flight.max(crash.in_flight));
    }
    Ok(Measured {
        value: Some(rounds::median(values)),
        rounds: ROUNDS,
        doubt: None,
        note: format!("at most {rerun} ran twice, {in_flight} were in flight"),
    })
}

/// Kills a process amid its items, and lets the next one go on.
fn crash(folder: &Path) -> Result<Crash> {
    let noted = folder.join("noted");
    File::create(&noted)?.set_len(ITEMS)?;
    let spawn = || {
        Command::new(std::env::current_exe()?)
            .args([CHILD_ARGUMENT.as_ref(), "crash".as_ref(), folder.as_os_str()])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
    };
    let mut first = spawn()?;
    let started = Instant::now();
    while (ran(&noted)?.iter().filter(|runs| **runs > 0).count() as u64) < ITEMS / 2 {
        if started.elapsed() > PATIENCE || first.try_wait()?.is_some() {
            return Err(Error::new(
                ErrorKind::Internal,
                "the process ended before it was killed",
            ));
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    first.kill()?;
    first.wait()?;
    let before = ran(&noted)?;
    let in_flight = engine::block_on(in_flight(folder))?;
    let second = spawn()?.wait_with_output()?;
    let told = String::from_utf8_lossy(&second.stderr).trim().to_owned();
    let after = ran(&noted)?;
    let resume_s = told.parse().ok().filter(|_| second.status.success());
    let resume_s =
        resume_s.ok_or_else(|| Error::new(ErrorKind::Internal, format!("the second process said {told:?}")))?;
    if after.contains(&0) {
        return Err(Error::new(ErrorKind::Internal, "an item was lost"));
    }
    let rerun = after
        .iter()
        .zip(&before)
        .filter(|(after, before)| **before > 0 && after > before);
    Ok(Crash {
        resume_s,
        rerun: rerun.count() as f64,
        in_flight: in_flight as f64,
    })
}

/// How often each item ran.
fn ran(noted: &Path) -> Result<Vec<u8>> {
    Ok(std::fs::read(noted)?)
}

/// The items that ran, or had been claimed, without being recorded to have ended.
async fn in_flight(folder: &Path) -> Result<usize> {
    use flowstone_core::store::{FanOutFilter, RunFilter, Store as _};

    // A look at a copy leaves what the next process finds as it was.
    let copy = tempfile::tempdir_in(folder)?;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), copy.path().join(entry.file_name()))?;
        }
    }
    let store = SqliteStore::open(copy.path()).await?;
    let ran = ran(&folder.join("noted"))?;
    let mut in_flight = 0;
    for run in store.runs(RunFilter::Open, 1).await? {
        for fan_out in store.fan_outs(FanOutFilter::OfRun(run.run)).await? {
            let ends = store.item_ends(fan_out.fan_out).await?;
            let has_run = (0..).zip(&ran).filter(|(_, runs)| **runs > 0);
            in_flight += has_run.filter(|(item, _)| !ends.succeeded.contains(*item)).count();
        }
    }
    store.close().await?;
    Ok(in_flight)
}

/// Runs the items, or what is left of them, and tells after how long the first ran that had not.
pub(super) async fn run(started: Instant, folder: &Path) -> Result<Vec<f64>> {
    let noted = folder.join("noted");
    let runs = ran(&noted)?;
    let file = Arc::new(OpenOptions::new().write(true).open(&noted)?);
    let (runs, first_new_ns) = (Arc::new(runs), Arc::new(AtomicU64::new(0)));
    let noting = (Arc::clone(&runs), Arc::clone(&first_new_ns));
    let scatter = Scatter::read(items_from(0..ITEMS)?)
        .each((), move |number: Item<u64>| {
            let number = number.into_inner();
            let before = noting.0[number as usize];
            if before == 0 && noting.1.load(Ordering::Relaxed) == 0 {
                let elapsed = started.elapsed().as_nanos() as u64;
                noting.1.fetch_max(elapsed, Ordering::Relaxed);
            }
            let written = file.write_at(&[before + 1], number);
            async move { written.map(|_| number) }
        })
        .fold(0, sum);
    let pipeline = Pipeline::builder("scatter").assets([scatter.asset("sum")]).build()?;
    let store = Arc::new(SqliteStore::open(folder).await?);
    let engine = Engine::start(pipeline, store, EngineOptions::default()).await?;
    go_on(&engine).await?;
    let sum: u64 = engine.load("sum", "").await?;
    engine.shutdown().await?;
    if sum != ITEMS * (ITEMS - 1) / 2 {
        return Err(Error::new(ErrorKind::Internal, format!("the sum is {sum}")));
    }
    Ok(vec![first_new_ns.load(Ordering::Relaxed) as f64 / 1e9])
}
