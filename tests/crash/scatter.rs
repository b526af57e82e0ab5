//! Kills a program amid its items: none is lost, none counts twice, and one that kills its process is found out.
//!
//! The program is this test binary started again, with `FLOWSTONE_SCATTER` naming its state folder and what its items do.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use flowstone::fan_out::BarrierState;
use flowstone::io::IoEnv;
use flowstone::prelude::*;
use flowstone::readers::Jsonl;
use flowstone::sqlite::SqliteStore;
use flowstone::store::{FanOutFilter, FanOutRow, RunFilter, Store};
use flowstone::{EngineOptions, RunHandle};
use flowstone_core::reader::{ItemReader, ItemSource};
use flowstone_core::run::RunState;
use serde::{Deserialize, Serialize};

use crate::ledger::Ledger;
use crate::process::{DEADLINE, Random, eventually, kills, output_at_most};

const ITEMS: u64 = 20_000;

const STATE: &str = "FLOWSTONE_SCATTER";
/// What kills the process, where something does.
const KILLER: &str = "FLOWSTONE_SCATTER_KILLER";

/// What kills the program from within.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Killer {
    Nothing,
    /// This item.
    Item(u64),
    /// Opening the source when some items have run.
    OpeningAgain,
}

/// The lines, unless opening them kills.
struct Lines {
    folder: PathBuf,
    killer: Killer,
}

#[async_trait]
impl ItemSource for Lines {
    async fn open(&self) -> Result<Box<dyn ItemReader>> {
        if self.killer == Killer::OpeningAgain && ran(&self.folder).iter().any(|runs| *runs > 0) {
            std::process::abort();
        }
        Jsonl::file(self.folder.join("items.jsonl")).open().await
    }
}

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

fn start(folder: &Path, killer: Killer) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["scatter::the_program_sums_up", "--exact", "--nocapture"])
        .env(STATE, folder)
        .env(KILLER, serde_json::to_string(&killer).unwrap())
        .env_remove("RUST_BACKTRACE")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Plays the program if this process is one, and tries it undisturbed if not.
#[test]
fn the_program_sums_up() {
    if let Some(folder) = std::env::var_os(STATE) {
        return play(Path::new(&folder)).unwrap_or_else(|error| panic!("{error:?}"));
    }
    let folder = prepared();

    let output = output_at_most(start(folder.path(), Killer::Nothing), DEADLINE);

    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(ran(folder.path()).iter().all(|runs| *runs == 1));
}

#[tokio::main]
async fn play(folder: &Path) -> Result<()> {
    let killer: Killer = serde_json::from_str(&std::env::var(KILLER)?)?;
    let counts = Arc::new(OpenOptions::new().read(true).write(true).open(folder.join("ran"))?);
    let lines = Lines {
        folder: folder.to_owned(),
        killer,
    };
    let scatter = Scatter::read(lines)
        .each((), move |line: Item<Line>| {
            let counts = Arc::clone(&counts);
            async move {
                let Line { n } = line.into_inner();
                let mut runs = [0];
                counts.read_exact_at(&mut runs, n)?;
                counts.write_all_at(&[runs[0] + 1], n)?;
                match killer {
                    Killer::Item(poison) if n == poison => std::process::abort(),
                    // So that it can be killed amid its items.
                    Killer::OpeningAgain => tokio::time::sleep(Duration::from_millis(5)).await,
                    _ => {}
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
        None => match engine.store().runs(RunFilter::All, 1).await?.first() {
            Some(last) if last.state == RunState::Failed => engine.redrive(last.run).await?,
            _ => {
                let assets = vec!["rows".parse()?, "sum".parse()?];
                let request = RunRequest {
                    assets,
                    ..RunRequest::default()
                };
                engine.submit(request).await?
            }
        },
    };
    let report = run.wait().await?;
    assert_eq!(report.state, RunState::Succeeded, "{report:?}");
    let lost = match killer {
        Killer::Item(poison) => poison,
        _ => 0,
    };
    assert_eq!(engine.load::<u64>("sum", "").await?, ITEMS * (ITEMS - 1) / 2 - lost);
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

/// How many items have succeeded for good, while the program goes on.
fn succeeded_on_disk(folder: &Path) -> u64 {
    let Some(ledger) = Ledger::open(folder) else { return 0 };
    let runs = ledger.wait(ledger.store.runs(RunFilter::All, 1)).unwrap();
    let fan_outs = runs.first().map(|run| {
        ledger
            .wait(ledger.store.fan_outs(FanOutFilter::OfRun(run.run)))
            .unwrap()
    });
    fan_outs.into_iter().flatten().map(|row| row.counts.succeeded).sum()
}

#[test]
fn after_any_kills_every_item_counts_once() {
    let mut random = Random::from_env();
    for _ in 0..kills(20).div_ceil(5) {
        let folder = prepared();
        // Several in one run: each in the middle of something else.
        for _ in 0..5 {
            let moment = Duration::from_millis((random.next() * 700.0) as u64);
            let child = start(folder.path(), Killer::Nothing);
            if output_at_most(child, moment).status.success() {
                break;
            }
        }

        let output = output_at_most(start(folder.path(), Killer::Nothing), DEADLINE);

        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let row = fan_out(folder.path());
        assert_eq!((row.state, row.counts.succeeded), (BarrierState::Complete, ITEMS));
        assert!(ran(folder.path()).iter().all(|runs| *runs >= 1));
    }
}

#[test]
fn an_item_that_kills_its_process_is_found_out_and_its_neighbors_succeed() {
    // The first one runs before anything is on disk.
    for poison in [0, 7_777] {
        let folder = prepared();
        let mut deaths = 0_u8;

        while !output_at_most(start(folder.path(), Killer::Item(poison)), DEADLINE)
            .status
            .success()
        {
            deaths += 1;
            assert!(deaths <= 4, "item {poison} kills again and again");
        }

        // The first process runs ahead of the disk: it may die before it is known there what it was at. No later one does.
        assert!(deaths >= 3, "{deaths} deaths");
        let row = fan_out(folder.path());
        assert_eq!(row.state, BarrierState::Partial);
        assert_eq!((row.counts.succeeded, row.counts.quarantined), (ITEMS - 1, 1));
        assert_eq!(ran(folder.path())[poison as usize], deaths);
    }
}

#[test]
fn a_source_that_kills_its_process_is_given_up_with_its_step_and_loses_no_item() {
    let folder = prepared();
    let mut child = start(folder.path(), Killer::OpeningAgain);
    eventually("some items to be on disk", || succeeded_on_disk(folder.path()) > 500);
    child.kill().unwrap();
    child.wait().unwrap();
    let mut deaths = 0;

    let output = loop {
        let output = output_at_most(start(folder.path(), Killer::OpeningAgain), DEADLINE);
        if output.status.code().is_some() {
            break output;
        }
        deaths += 1;
        assert!(deaths <= 3, "it dies again and again");
    };

    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("Quarantined"), "{told}");
    assert_eq!(deaths, 3);
    let row = fan_out(folder.path());
    assert!(!row.state.is_terminal() && row.counts.succeeded > 0, "{row:?}");
    let before = ran(folder.path());

    let mended = output_at_most(start(folder.path(), Killer::Nothing), DEADLINE);

    assert!(mended.status.success(), "{}", String::from_utf8_lossy(&mended.stderr));
    let after = fan_out(folder.path());
    assert_eq!((after.epoch, after.counts.succeeded), (2, ITEMS));
    let ran_before = before.iter().filter(|runs| **runs > 0).count() as u64;
    let again = before
        .iter()
        .zip(ran(folder.path()))
        .filter(|(before, after)| **before > 0 && after > *before);
    assert!(
        again.count() as u64 <= ran_before - row.counts.succeeded.min(ran_before),
        "what succeeded ran again"
    );
}
