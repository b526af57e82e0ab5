//! A program that is made to be killed: makes everything of a small pipeline once more each time it is started.
//!
//! It is this test binary started again, with `FLOWSTONE_SOAK` naming its state folder. `FLOWSTONE_FAIL_POINT=<point>:<n>`
//! aborts it when it comes to that point for the n-th time; only what stands here around store and IO manager reads it.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use flowstone::asset::BatchPartition;
use flowstone::io::{IoEnv, IoManager, Rows, Slot, Stored};
use flowstone::io_object::Object;
use flowstone::prelude::*;
use flowstone::sqlite::SqliteStore;
use flowstone::store::{Record, Store};
use flowstone::{AssetKey, EngineOptions, RunId};
use flowstone_core::Value;
use flowstone_testkit::around::{AroundCommit, AroundIo, IoFactoryAround, StoreAround};
use tokio::signal::unix::{SignalKind, signal};

/// Partitions of each partitioned asset.
pub(crate) const PARTITIONS: u64 = 60;
/// Partitions that the second asset is called for at once.
const BATCH: u64 = 8;
/// Steps of one run.
pub(crate) const STEPS: u64 = 2 * PARTITIONS + 1;
/// The points at which the program may be told to die.
pub(crate) const FAIL_POINTS: [&str; 6] = [
    "commit.before",
    "commit.after",
    "store.before",
    "store.after",
    "step.begins",
    "step.ends",
];

const STATE: &str = "FLOWSTONE_SOAK";
const FAIL_POINT: &str = "FLOWSTONE_FAIL_POINT";
/// Stops amid its steps until [`let_go`].
const HOLD: &str = "FLOWSTONE_SOAK_HOLD";
/// Makes nothing new, only what an earlier process left open.
const ONLY_OPEN: &str = "FLOWSTONE_SOAK_ONLY_OPEN";
/// Where the program notes what it executes, in its state folder.
const EXECUTED: &str = "executed";
/// The partition whose steps wait when the program is held, and the file in its state folder that lets them go.
const HELD: u64 = PARTITIONS / 2;
const LET_GO: &str = "let_go";

/// How the program is started.
#[derive(Debug, Clone, Default)]
pub(crate) struct Order {
    /// Die when this point is met for the so-manieth time.
    pub(crate) fail_point: Option<(&'static str, u64)>,
    pub(crate) only_open: bool,
    /// Stop amid the steps until [`let_go`].
    pub(crate) is_held: bool,
}

/// Starts the program on a state folder; standard output tells which runs it was told had ended.
pub(crate) fn start(state: &Path, order: &Order) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["soak::the_program_makes_everything", "--exact", "--nocapture"])
        .env(STATE, state)
        .env_remove("RUST_BACKTRACE")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some((point, count)) = order.fail_point {
        command.env(FAIL_POINT, format!("{point}:{count}"));
    }
    if order.only_open {
        command.env(ONLY_OPEN, "yes");
    }
    if order.is_held {
        command.env(HOLD, "yes");
    }
    command.spawn().unwrap()
}

/// Lets a program that is held go on.
pub(crate) fn let_go(state: &Path) {
    File::create(state.join(LET_GO)).unwrap();
}

/// The steps that were begun in a state folder, in order: run, asset, partition.
pub(crate) fn executed(state: &Path) -> Vec<(RunId, String, u64)> {
    let text = std::fs::read_to_string(state.join(EXECUTED)).unwrap_or_default();
    // A line may be cut short by a kill or by a full disk; each process starts on a line of its own.
    let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let step = |line: &str| {
        let mut words = line.split_whitespace().map(str::to_owned);
        let (run, asset, partition) = (words.next()?, words.next()?, words.next()?.parse().ok()?);
        Some((run.parse().ok()?, asset, partition))
    };
    lines.filter_map(step).collect()
}

/// Plays the program if this process is one, and tries it undisturbed if not.
#[test]
fn the_program_makes_everything() {
    if let Some(state) = std::env::var_os(STATE) {
        return play(Path::new(&state)).unwrap_or_else(|error| panic!("{error:?}"));
    }
    let state = tempfile::tempdir().unwrap();

    let output = start(state.path(), &Order::default()).wait_with_output().unwrap();

    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        told.lines().filter(|line| line.starts_with("ended ")).count(),
        1,
        "{told}"
    );
    assert_eq!(executed(state.path()).len() as u64, STEPS);
}

fn play(state: &Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let death = Arc::new(Death::from_env());
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(state).await?);
        let store = Arc::new(StoreAround::new(store, Deadly(Arc::clone(&death))));
        let options = EngineOptions {
            workers: 3,
            io: IoEnv {
                data_dir: Some(state.join("data")),
            },
            default_io: Arc::new(IoFactoryAround::new(
                Arc::new(Object::embedded()),
                Arc::new(Deadly(Arc::clone(&death))),
            )),
            ..EngineOptions::default()
        };
        let engine = Engine::start(pipeline(state, &death)?, store, options).await?;
        let mut asked = signal(SignalKind::terminate())?;
        tokio::select! {
            made = make(&engine) => made?,
            _ = asked.recv() => tell("stopping"),
        }
        engine.shutdown().await
    })
}

/// What was left open, and then everything once more.
async fn make(engine: &Engine) -> Result<()> {
    for run in engine.recovered() {
        let report = run.wait().await?;
        tell(&format!("ended {} {}", report.run, report.state));
    }
    if std::env::var_os(ONLY_OPEN).is_some() {
        return Ok(());
    }
    let assets: Vec<AssetKey> = ["source", "double", "total"]
        .map(|name| name.parse().expect("a name"))
        .into();
    let request = RunRequest {
        assets,
        force: Force::All,
        ..RunRequest::default()
    };
    let report = engine.run(request).await?;
    tell(&format!("ended {} {}", report.run, report.state));
    report.error.map_or(Ok(()), |error| Err(error.into_error()))
}

/// Numbers, of which every other partition is too large for the ledger.
fn pipeline(state: &Path, death: &Arc<Death>) -> Result<Pipeline> {
    let note = Arc::new(Note::open(state, death)?);
    let (of_source, of_double, of_total) = (Arc::clone(&note), Arc::clone(&note), note);
    // A failure is told at once: nobody here waits for a disk to get room.
    let once = Retry::exponential(1);
    let keys = Partitions::keys(0..PARTITIONS as i64);
    Pipeline::builder("soak")
        .asset(
            Asset::new("source")
                .partitions(keys.clone())
                .retry(once)
                .run(move |context: AssetContext| {
                    let note = Arc::clone(&of_source);
                    async move {
                        let partition = note.begins(context.run_id(), context.asset(), &context.partition_label())?;
                        let count = if partition % 2 == 0 { 10 } else { 2_000 };
                        note.ends(vec![partition; count])
                    }
                }),
        )
        .asset(
            Asset::new("double")
                .partitions(keys)
                .retry(once)
                .upstream("source")
                .run_batch(BATCH, move |context: BatchContext, source: Batch<In<Vec<u64>>>| {
                    let note = Arc::clone(&of_double);
                    async move {
                        let double = |(partition, In(numbers)): (BatchPartition, In<Vec<u64>>)| {
                            let begun = note.begins(context.run_id(), context.asset(), &partition.label());
                            let made = begun.and_then(|_| note.ends(numbers.iter().map(|number| 2 * number).collect()));
                            (partition, made)
                        };
                        source.into_iter().map(double).collect::<BatchOutcome<Vec<u64>>>()
                    }
                }),
        )
        .asset(Asset::new("total").retry(once).upstream("double").run(
            move |context: AssetContext, mut all: PartitionStream<Vec<u64>>| {
                let note = Arc::clone(&of_total);
                async move {
                    note.begins(context.run_id(), context.asset(), &context.partition_label())?;
                    let mut total = 0;
                    while let Some(numbers) = all.next().await? {
                        total += numbers.iter().sum::<u64>();
                    }
                    note.ends(vec![total])
                }
            },
        ))
        .build()
}

/// Notes each execution in a file; what is in it survives the process.
struct Note {
    file: File,
    death: Arc<Death>,
    /// What lets it go, if it is held.
    held: Option<PathBuf>,
}

impl Note {
    fn open(state: &Path, death: &Arc<Death>) -> Result<Self> {
        let path: PathBuf = state.join(EXECUTED);
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        file.write_all(b"\n")?;
        Ok(Self {
            file,
            death: Arc::clone(death),
            held: std::env::var_os(HOLD).map(|_| state.join(LET_GO)),
        })
    }

    fn begins(&self, run: RunId, asset: &str, label: &str) -> Result<u64> {
        self.death.at("step.begins");
        let partition = label.parse().unwrap_or(0);
        let line = format!("{run} {asset} {partition}\n");
        // One write, so that lines of two workers do not mix.
        (&self.file).write_all(line.as_bytes())?;
        while partition == HELD && self.held.as_ref().is_some_and(|let_go| !let_go.exists()) {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        Ok(partition)
    }

    fn ends(&self, made: Vec<u64>) -> Result<Vec<u64>> {
        self.death.at("step.ends");
        Ok(made)
    }
}

/// The point at which the process is to die.
struct Death {
    point: String,
    left: AtomicI64,
}

impl Death {
    fn from_env() -> Self {
        let text = std::env::var(FAIL_POINT).unwrap_or_default();
        let (point, count) = text.split_once(':').unwrap_or(("", "0"));
        Self {
            point: point.to_owned(),
            left: AtomicI64::new(count.parse().expect("FLOWSTONE_FAIL_POINT is <point>:<count>")),
        }
    }

    fn at(&self, point: &str) {
        if self.point == point && self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            std::process::abort();
        }
    }
}

/// Stands around the store and the IO manager and dies at its point.
struct Deadly(Arc<Death>);

#[async_trait]
impl AroundCommit for Deadly {
    async fn commit(&self, store: &dyn Store, records: &[Record]) -> Result<Vec<Result<()>>> {
        self.0.at("commit.before");
        let verdicts = store.commit(records).await;
        self.0.at("commit.after");
        verdicts
    }
}

#[async_trait]
impl AroundIo for Deadly {
    async fn store(&self, io: &dyn IoManager, slot: Slot, value: &Value) -> Result<Stored> {
        self.0.at("store.before");
        let stored = io.store(slot, value).await;
        self.0.at("store.after");
        stored
    }

    async fn store_rows(&self, io: &dyn IoManager, slot: Slot, rows: Rows) -> Result<Stored> {
        self.0.at("store.before");
        let stored = io.store_rows(slot, rows).await;
        self.0.at("store.after");
        stored
    }
}

/// A line for whoever started this process.
fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody may listen any more; the store has it all.
    drop(writeln!(out, "\n{line}").and_then(|()| out.flush()));
}
