//! `scatter_1m_s`, `scatter_1m_rss_mb`, `scatter_bytes_per_item`, `scatter_memory_s`, `scatter_resume_s`,
//! `scatter_rerun_items` and `scatter_kills_exact`: what a million items behind one durable barrier cost, and what a crash
//! costs.
//!
//! The items are the lines of a JSON lines file, the function of an item does nothing but give its number back, the
//! gathering sums them up. The ledger is SQLite with fsync on every commit. Each round is a process of its own, this
//! program again, which tells how long the run took from its request to its answer and the most memory that it ever held.
//!
//! The million-item run is killed at twenty random moments, each in a state of its own, and gone on with; the sum must be
//! exact each time. To measure a crash, 100,000 items note their numbers in a file while they run. The process is killed when half of them did; the
//! next one on the same state notes when it began and when it ran the first item that had not run before.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use flowstone_core::io::IoEnv;
use flowstone_core::pipeline::Pipeline;
use flowstone_core::plan::RunRequest;
use flowstone_core::{Error, ErrorKind, Result};
use flowstone_io_object::Object;
use flowstone_readers::{Jsonl, items_from};
use flowstone_runtime::{Engine, EngineOptions};
use flowstone_scatter::{Gathered, Item, Scatter};
use flowstone_store::SqliteStore;

use super::{Figure, Measured, Setup};
use crate::{child, disk, engine, machine, rounds};

const ITEMS: u64 = 1_000_000;
const MEMORY_ITEMS: u64 = 100_000;
const CRASH_ITEMS: u64 = 100_000;
const ROUNDS: usize = 3;
const KILLS_LEN: usize = 20;
/// How long anything here may take at most.
const PATIENCE: Duration = Duration::from_secs(300);

/// Makes this program be a process that is measured; what follows says which.
pub(crate) const CHILD_ARGUMENT: &str = "__scatter";

pub(crate) const TIME: Figure = Figure {
    name: "scatter_1m_s",
    unit: "s",
    what: "1,000,000 no-op items of a JSON lines file, durable barrier, summing gather",
    measure: |setup| of_million(setup, |seen| seen.seconds),
};

pub(crate) const MEMORY: Figure = Figure {
    name: "scatter_1m_rss_mb",
    unit: "MB",
    what: "most memory of the process that does it",
    measure: |setup| of_million(setup, |seen| seen.rss_mb),
};

pub(crate) const BYTES: Figure = Figure {
    name: "scatter_bytes_per_item",
    unit: "bytes",
    what: "bytes of the closed state folder per item, items and results included",
    measure: |setup| of_million(setup, |seen| seen.bytes),
};

pub(crate) const IN_MEMORY: Figure = Figure {
    name: "scatter_memory_s",
    unit: "s",
    what: "100,000 no-op items in memory",
    measure: in_memory,
};

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

pub(crate) const KILLS: Figure = Figure {
    name: "scatter_kills_exact",
    unit: "of 20",
    what: "`kill -9` at 20 random moments of the million-item run: sums that are exact",
    measure: kills,
};

/// What one process told of a million items.
struct Seen {
    seconds: f64,
    rss_mb: f64,
    first_item_ms: f64,
    bytes: f64,
}

fn of_million(setup: &Setup, value: fn(&Seen) -> f64) -> Result<Measured> {
    let folder = setup.new_folder()?;
    let lines = folder.path().join("items.jsonl");
    write_lines(&lines, ITEMS)?;
    let (mut values, mut first_ms, mut rss) = (Vec::new(), Vec::new(), 0_f64);
    for round in 0..ROUNDS {
        let state = folder.path().join(round.to_string());
        let [seconds, rss_mb, first_item_ms, bytes] = child::ask([
            CHILD_ARGUMENT.as_ref(),
            "million".as_ref(),
            lines.as_os_str(),
            state.as_os_str(),
        ])?;
        let seen = Seen {
            seconds,
            rss_mb,
            first_item_ms,
            bytes: bytes / ITEMS as f64,
        };
        values.push(value(&seen));
        first_ms.push(seen.first_item_ms);
        rss = rss.max(seen.rss_mb);
    }
    Ok(Measured {
        value: Some(rounds::median(values)),
        rounds: ROUNDS,
        doubt: None,
        note: format!(
            "the first item ran after {:.0} ms, while the file was read",
            rounds::median(first_ms)
        ),
    })
}

fn write_lines(path: &Path, count: u64) -> Result<()> {
    let mut lines = BufWriter::new(File::create(path)?);
    for number in 0..count {
        writeln!(lines, "{{\"n\":{number}}}")?;
    }
    Ok(lines
        .into_inner()
        .map_err(std::io::IntoInnerError::into_error)?
        .sync_all()?)
}

/// An item of the file.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
struct Line {
    n: u64,
}

fn sum(sum: u64, gathered: Gathered<u64>) -> u64 {
    sum + gathered.into_value().unwrap_or_default()
}

/// When the first item ran.
static FIRST_ITEM: OnceLock<Instant> = OnceLock::new();

fn million(lines: &Path) -> Result<Pipeline> {
    let scatter = Scatter::read(Jsonl::file(lines))
        .each((), |line: Item<Line>| async move {
            FIRST_ITEM.get_or_init(Instant::now);
            line.into_inner().n
        })
        .fold(0, sum);
    Pipeline::builder("scatter").assets([scatter.asset("sum")]).build()
}

fn in_memory(_: &Setup) -> Result<Measured> {
    let mut values = Vec::new();
    for _ in 0..ROUNDS {
        let scatter = Scatter::read(items_from(0..MEMORY_ITEMS)?)
            .each((), |number: Item<u64>| async move { number.into_inner() })
            .fold(0, sum);
        let pipeline = Pipeline::builder("scatter").assets([scatter.asset("sum")]).build()?;
        let round = engine::block_on(engine::in_memory(&pipeline, 1))?;
        values.push(round.wall.as_secs_f64());
    }
    Ok(Measured {
        value: Some(rounds::median(values)),
        rounds: ROUNDS,
        doubt: None,
        note: String::new(),
    })
}

/// Kills the million-item run at random moments, lets the next process go on, and counts the exact sums.
fn kills(setup: &Setup) -> Result<Measured> {
    let folder = setup.new_folder()?;
    let lines = folder.path().join("items.jsonl");
    write_lines(&lines, ITEMS)?;
    let run = |state: &Path| {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([
            CHILD_ARGUMENT.as_ref(),
            "sum".as_ref(),
            lines.as_os_str(),
            state.as_os_str(),
        ]);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()
    };
    let sum_of = |child: std::process::Child| -> Result<Option<u64>> {
        let output = child.wait_with_output()?;
        Ok(String::from_utf8_lossy(&output.stderr).trim().parse().ok())
    };
    let expected = Some(ITEMS * (ITEMS - 1) / 2);
    let started = Instant::now();
    if sum_of(run(&folder.path().join("whole"))?)? != expected {
        return Err(Error::new(ErrorKind::Internal, "the sum is wrong without any kill"));
    }
    let (whole, mut exact, mut killed) = (started.elapsed(), 0, 0);
    for round in 0..KILLS_LEN {
        let state = folder.path().join(round.to_string());
        let mut child = run(&state)?;
        // Any moment will do; the clock's last digits are random enough.
        let share = f64::from(
            std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)?
                .subsec_nanos(),
        ) / 1e9;
        std::thread::park_timeout(whole.mul_f64(share));
        killed += u32::from(child.try_wait()?.is_none());
        child.kill()?;
        child.wait()?;
        exact += u32::from(sum_of(run(&state)?)? == expected);
        std::fs::remove_dir_all(&state)?;
    }
    Ok(Measured {
        value: Some(f64::from(exact)),
        rounds: KILLS_LEN,
        doubt: None,
        note: format!("{killed} of the processes had not ended by then"),
    })
}

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
    File::create(&noted)?.set_len(CRASH_ITEMS)?;
    let spawn = || {
        Command::new(std::env::current_exe()?)
            .args([CHILD_ARGUMENT.as_ref(), "crash".as_ref(), folder.as_os_str()])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
    };
    let mut first = spawn()?;
    let started = Instant::now();
    while (ran(&noted)?.iter().filter(|runs| **runs > 0).count() as u64) < CRASH_ITEMS / 2 {
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

/// The child: does what its second argument says.
pub(crate) fn child() -> ExitCode {
    let started = Instant::now();
    let arguments: Vec<_> = std::env::args_os().skip(2).collect();
    let told = match arguments
        .iter()
        .map(|argument| argument.to_str())
        .collect::<Option<Vec<_>>>()
        .as_deref()
    {
        Some(["million", lines, state]) => engine::block_on(run_million(Path::new(lines), Path::new(state))),
        Some(["sum", lines, state]) => return sum_up(Path::new(lines), Path::new(state)),
        Some(["crash", folder]) => engine::block_on(run_crash(started, Path::new(folder))),
        _ => Err(Error::new(ErrorKind::Invalid, "the child does not know what to be")),
    };
    match told {
        Ok(numbers) => child::tell(&numbers),
        Err(error) => {
            drop(writeln!(std::io::stderr(), "{error:?}"));
            ExitCode::FAILURE
        }
    }
}

async fn run_million(lines: &Path, state: &Path) -> Result<Vec<f64>> {
    let pipeline = million(lines)?;
    let started = Instant::now();
    let round = engine::durable(&pipeline, &engine::all_assets(&pipeline), 1, state).await?;
    let first = FIRST_ITEM
        .get()
        .map_or(0.0, |first| (*first - started).as_secs_f64() * 1e3);
    let rss_mb = machine::memory_most_mb().unwrap_or_default();
    Ok(vec![
        round.wall.as_secs_f64(),
        rss_mb,
        first,
        disk::bytes_below(state)? as f64,
    ])
}

/// Runs the million items, or what is left of them, and tells their sum.
fn sum_up(lines: &Path, state: &Path) -> ExitCode {
    let sum = engine::block_on(async {
        let options = EngineOptions {
            io: IoEnv {
                data_dir: Some(state.join("data")),
            },
            default_io: Arc::new(Object::embedded()),
            ..EngineOptions::default()
        };
        let store = Arc::new(SqliteStore::open(state).await?);
        let engine = Engine::start(million(lines)?, store, options).await?;
        go_on(&engine).await?;
        let sum: u64 = engine.load("sum", "").await?;
        engine.shutdown().await?;
        Ok(sum)
    });
    match sum.and_then(|sum| Ok(writeln!(std::io::stderr(), "{sum}")?)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Goes on with the run that was left open, or begins one.
async fn go_on(engine: &Engine) -> Result<()> {
    let run = match engine.recovered().first() {
        Some(run) => run.clone(),
        None => {
            let assets = engine::all_assets(engine.pipeline());
            let request = RunRequest {
                assets,
                ..RunRequest::default()
            };
            engine.submit(request).await?
        }
    };
    run.wait().await.map(drop)
}

/// Runs the items of the crash, or what is left of them, and tells after how long the first ran that had not.
async fn run_crash(started: Instant, folder: &Path) -> Result<Vec<f64>> {
    let noted = folder.join("noted");
    let runs = ran(&noted)?;
    let file = Arc::new(OpenOptions::new().write(true).open(&noted)?);
    let (runs, first_new_ns) = (Arc::new(runs), Arc::new(AtomicU64::new(0)));
    let noting = (Arc::clone(&runs), Arc::clone(&first_new_ns));
    let scatter = Scatter::read(items_from(0..CRASH_ITEMS)?)
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
    if sum != CRASH_ITEMS * (CRASH_ITEMS - 1) / 2 {
        return Err(Error::new(ErrorKind::Internal, format!("the sum is {sum}")));
    }
    Ok(vec![first_new_ns.load(Ordering::Relaxed) as f64 / 1e9])
}
