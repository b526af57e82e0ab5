//! `scatter_1m_s`, `scatter_1m_rss_mb`, `scatter_bytes_per_item`, `scatter_memory_s` and `scatter_kills_exact`: what a million
//! items behind one durable barrier cost.
//!
//! The items are the lines of a JSON lines file, the function of an item does nothing but give its number back, the
//! gathering sums them up. The ledger is SQLite with fsync on every commit. Each round is a process of its own, this
//! program again, which tells how long the run took from its request to its answer and the most memory that it ever held.
//!
//! The million-item run is killed at twenty random moments, each in a state of its own, and gone on with; the sum must be
//! exact each time.

pub(crate) mod crash;
pub(crate) mod results;

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

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
const ROUNDS: usize = 3;
const KILLS_LEN: usize = 20;

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
        Some(["crash", folder]) => engine::block_on(crash::run(started, Path::new(folder))),
        Some(["results", io, lines, state]) => engine::block_on(results::run(io, Path::new(lines), Path::new(state))),
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
