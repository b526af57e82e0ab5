//! Kills a program amid its items: none is lost, none counts twice, and one that kills its process is found out.
//!
//! The program is this test binary started again, with `FLOWSTONE_SCATTER` naming its state folder and what its items do.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use flowstone::fan_out::BarrierState;
use flowstone::io::IoEnv;
use flowstone::prelude::*;
use flowstone::readers::Jsonl;
use flowstone::sqlite::SqliteStore;
use flowstone::store::{FanOutFilter, FanOutRow, RunFilter, Store};
use flowstone::{EngineOptions, RunHandle};
use flowstone_core::run::RunState;
use serde::{Deserialize, Serialize};

use crate::process::{DEADLINE, Random, kills, output_at_most};

const ITEMS: u64 = 20_000;
/// The item that kills its process, where there is one.
const POISON: u64 = 7_777;

const STATE: &str = "FLOWSTONE_SCATTER";
const IS_POISONED: &str = "FLOWSTONE_SCATTER_POISONED";

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Line {
    n: u64,
}

/// A folder with the items, and a byte for each that counts how often it ran.
fn prepared() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let lines: String = (0..ITEMS).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    std::fs::write(folder.path().join("items.jsonl"), lines).unwrap();
    File::create(folder.path().join("ran")).unwrap().set_len(ITEMS).unwrap();
    folder
}

fn ran(folder: &Path) -> Vec<u8> {
    std::fs::read(folder.join("ran")).unwrap()
}

fn start(folder: &Path, is_poisoned: bool) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["scatter::the_program_sums_up", "--exact", "--nocapture"])
        .env(STATE, folder)
        .env_remove("RUST_BACKTRACE")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    if is_poisoned {
        command.env(IS_POISONED, "yes");
    }
    command.spawn().unwrap()
}

/// Plays the program if this process is one, and tries it undisturbed if not.
#[test]
fn the_program_sums_up() {
    if let Some(folder) = std::env::var_os(STATE) {
        return play(Path::new(&folder)).unwrap_or_else(|error| panic!("{error:?}"));
    }
    let folder = prepared();

    let output = output_at_most(start(folder.path(), false), DEADLINE);

    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(ran(folder.path()).iter().all(|runs| *runs == 1));
}

#[tokio::main]
async fn play(folder: &Path) -> Result<()> {
    let is_poisoned = std::env::var_os(IS_POISONED).is_some();
    let counts = Arc::new(OpenOptions::new().read(true).write(true).open(folder.join("ran"))?);
    let items = Jsonl::file(folder.join("items.jsonl"));
    let scatter = Scatter::read(items)
        .each((), move |line: Item<Line>| {
            let counts = Arc::clone(&counts);
            async move {
                let Line { n } = line.into_inner();
                let mut runs = [0];
                counts.read_exact_at(&mut runs, n)?;
                counts.write_all_at(&[runs[0] + 1], n)?;
                if is_poisoned && n == POISON {
                    std::process::abort();
                }
                Ok::<_, Error>(n)
            }
        })
        .tolerate_count(1);
    let sum = Asset::new("sum")
        .upstream("rows")
        .run(|In(rows): In<Results<u64>>| async move { rows.values().sum::<u64>() });
    let pipeline = Pipeline::builder("scatter")
        .plugin(flowstone::io_object::ObjectFormats)
        .assets([scatter.asset("rows").io("jsonl"), sum])
        .build()?;
    let store = Arc::new(SqliteStore::open(folder).await?);
    let options = EngineOptions {
        io: IoEnv {
            data_dir: Some(folder.join("data")),
        },
        default_io: Arc::new(Object::embedded()),
        ..EngineOptions::default()
    };
    let engine = Engine::start(pipeline, store, options).await?;
    let run: RunHandle = match engine.recovered().first() {
        Some(run) => run.clone(),
        None => {
            let assets = vec!["rows".parse()?, "sum".parse()?];
            engine
                .submit(RunRequest {
                    assets,
                    ..RunRequest::default()
                })
                .await?
        }
    };
    let report = run.wait().await?;
    assert_eq!(report.state, RunState::Succeeded, "{report:?}");
    let poison = if is_poisoned { POISON } else { 0 };
    assert_eq!(engine.load::<u64>("sum", "").await?, ITEMS * (ITEMS - 1) / 2 - poison);
    engine.shutdown().await
}

/// What the store has of the fan-out.
#[tokio::main(flavor = "current_thread")]
async fn fan_out(folder: &Path) -> FanOutRow {
    let store = SqliteStore::open(folder).await.unwrap();
    let mut found = Vec::new();
    // The program may have been killed after its run had ended; then the next one had nothing to make.
    for run in store.runs(RunFilter::All, 100).await.unwrap() {
        found.append(&mut store.fan_outs(FanOutFilter::OfRun(run.run)).await.unwrap());
    }
    store.close().await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn after_any_kills_every_item_counts_once() {
    let mut random = Random::from_env();
    for _ in 0..kills(20).div_ceil(5) {
        let folder = prepared();
        // Several in one run: each in the middle of something else.
        for _ in 0..5 {
            let moment = Duration::from_millis((random.next() * 700.0) as u64);
            let child = start(folder.path(), false);
            if output_at_most(child, moment).status.success() {
                break;
            }
        }

        let output = output_at_most(start(folder.path(), false), DEADLINE);

        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let row = fan_out(folder.path());
        assert_eq!((row.state, row.counts.succeeded), (BarrierState::Complete, ITEMS));
        assert!(ran(folder.path()).iter().all(|runs| *runs >= 1));
    }
}

#[test]
fn an_item_that_kills_its_process_is_found_out_and_its_neighbors_succeed() {
    let folder = prepared();
    let mut deaths = 0_u8;

    while !output_at_most(start(folder.path(), true), DEADLINE).status.success() {
        deaths += 1;
        assert!(deaths <= 4, "it dies again and again");
    }

    // The first process runs ahead of the disk: it may die before it is known there what it was at. No later one does.
    assert!(deaths >= 3, "{deaths} deaths");
    let row = fan_out(folder.path());
    assert_eq!(row.state, BarrierState::Partial);
    assert_eq!((row.counts.succeeded, row.counts.quarantined), (ITEMS - 1, 1));
    assert_eq!(ran(folder.path())[POISON as usize], deaths);
}
