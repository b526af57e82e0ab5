//! Kills the flights example at random moments, as the machine may, and looks at what is left.
//!
//! A failure prints its seed; `CRASH_SEED=<seed>` kills at the same moments again.

#![cfg(all(unix, feature = "cli", feature = "parquet"))]

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use flowstone::io::Address;
use flowstone::io_object::ObjectPath;
use flowstone::partition::PartitionSet;
use flowstone::sqlite::SqliteStore;
use flowstone::store::{EventKind, RunFilter, Store};
use flowstone::{AssetKey, RunId, Version};

/// The steps of January: all partitions of all fourteen assets.
const STEPS: u64 = 937;
const KILLS: u32 = 10;
/// No condition that a test waits for takes this long, however busy the machine is.
const DEADLINE: Duration = Duration::from_secs(100);

#[test]
fn ten_kills_cost_only_what_was_in_flight() {
    let undisturbed = Workspace::new();
    let started = Instant::now();
    assert_eq!(undisturbed.start().wait().unwrap().code(), Some(0));
    let took = started.elapsed();
    let expected = undisturbed.contents();
    assert_eq!(expected.len() as u64, STEPS);

    let mut random = Random::from_env();
    let workspace = Workspace::new();
    let mut kills = 0;
    loop {
        let moment = match kills {
            KILLS => DEADLINE,
            _ => Duration::from_millis(100) + took.mul_f64(random.next() / 6.0),
        };
        match wait_at_most(workspace.start(), moment) {
            Some(status) => {
                assert_eq!(status.code(), Some(0), "the run did not end well after {kills} kills");
                break;
            }
            None => kills += 1,
        }
        assert!(kills <= KILLS, "the run does not end");
        if let Some(ledger) = workspace.ledger() {
            let (have, want) = (ledger.contents(), &expected);
            assert!(
                have.iter().all(|(step, content)| want.get(step) == Some(content)),
                "after {kills} kills"
            );
        }
    }

    assert!(
        kills >= 3,
        "only {kills} kills before the run ended: it was not disturbed"
    );
    assert_eq!(
        workspace.contents(),
        expected,
        "after {kills} kills the values are others"
    );
    workspace
        .ledger()
        .expect("there is a ledger")
        .assert_nothing_was_done_twice();
}

#[test]
fn an_interrupt_cancels_and_the_same_command_completes_the_rest() {
    let workspace = Workspace::new();
    for signal in ["INT", "TERM"] {
        let had = workspace.ledger().map_or(0, |ledger| ledger.made());
        let running = workspace.start();
        eventually("some more steps are on disk", || {
            workspace.ledger().is_some_and(|ledger| ledger.made() > had)
        });
        let pid = running.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", signal, &pid])
                .status()
                .unwrap()
                .success()
        );

        let status = wait_at_most(running, DEADLINE).expect("it ends when it is asked to");

        assert_eq!(status.code(), Some(130), "after SIG{signal}");
        assert_eq!(workspace.newest_run(), "cancelled");
    }
    assert_eq!(workspace.start().wait().unwrap().code(), Some(0));

    assert_eq!(workspace.newest_run(), "succeeded");
    workspace
        .ledger()
        .expect("there is a ledger")
        .assert_nothing_was_done_twice();
}

/// A folder in which the example runs.
struct Workspace(tempfile::TempDir);

impl Workspace {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn start(&self) -> Child {
        let mut command = Command::new(example());
        command.args(["run", "*", "--all"]).current_dir(self.0.path());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("FL") {
                command.env_remove(name);
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
    }

    fn ledger(&self) -> Option<Ledger> {
        Ledger::open(&self.0.path().join(".flowstone"))
    }

    fn contents(&self) -> BTreeMap<(AssetKey, u64), Vec<u8>> {
        self.ledger().expect("there is a ledger").contents()
    }

    fn newest_run(&self) -> String {
        let ledger = self.ledger().expect("there is a ledger");
        ledger.wait(ledger.store.runs(RunFilter::All, 1)).unwrap()[0]
            .state
            .to_string()
    }
}

/// The built example. `cargo test` builds it beside the test.
fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test
        .parent()
        .and_then(Path::parent)
        .expect("a test lies in <profile>/deps");
    let example = profile
        .join("examples")
        .join(format!("flights{}", std::env::consts::EXE_SUFFIX));
    assert!(
        example.exists(),
        "{} is missing: `cargo build --example flights` makes it",
        example.display()
    );
    example
}

/// How it ended, or nothing if it was killed because it had not by then.
fn wait_at_most(mut child: Child, moment: Duration) -> Option<ExitStatus> {
    let (sender, ended) = sync_channel(1);
    let pid = child.id().to_string();
    let waiting = std::thread::spawn(move || {
        let status = child.wait().unwrap();
        // Nobody listens when it was killed.
        let _ = sender.send(status);
    });
    let status = ended.recv_timeout(moment).unwrap_or_else(|_| {
        // It may have ended just now; then there is nobody to kill.
        drop(
            Command::new("kill")
                .args(["-s", "KILL", &pid])
                .stderr(Stdio::null())
                .status(),
        );
        ended.recv().unwrap()
    });
    waiting.join().unwrap();
    // A process that was killed has no code.
    status.code().is_some().then_some(status)
}

fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < DEADLINE, "waited in vain until {what}");
        // Leaves the cores to what is waited for.
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// What is on disk.
struct Ledger {
    store: SqliteStore,
    data: PathBuf,
    runtime: tokio::runtime::Runtime,
}

impl Ledger {
    /// Nothing when there is none yet, or not even its tables.
    fn open(state: &Path) -> Option<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let store = runtime.block_on(SqliteStore::open_read_only(state)).ok()?;
        Some(Self {
            store,
            data: state.join("data"),
            runtime,
        })
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    fn made(&self) -> u64 {
        let assets = self.wait(self.store.assets()).unwrap();
        assets
            .iter()
            .map(|asset| self.wait(self.store.status(asset.id)).unwrap().materialized().len())
            .sum()
    }

    /// The stored bytes of every value that a reader can see.
    fn contents(&self) -> BTreeMap<(AssetKey, u64), Vec<u8>> {
        let mut contents = BTreeMap::new();
        for asset in self.wait(self.store.assets()).unwrap() {
            let all = self.wait(self.store.status(asset.id)).unwrap().materialized();
            for head in self.wait(self.store.heads(asset.id, &all)).unwrap() {
                let bytes = match &head.stored.address {
                    Address::Inline(bytes) => bytes.to_vec(),
                    address @ Address::Location(_) => {
                        let path = ObjectPath::of_address(address).unwrap();
                        std::fs::read(self.data.join(path.to_string())).unwrap()
                    }
                };
                assert_eq!(bytes.len() as u64, head.stored.bytes, "a value is not whole");
                contents.insert((asset.key.clone(), head.partition), bytes);
            }
        }
        contents
    }

    fn assert_nothing_was_done_twice(&self) {
        assert!(
            self.wait(self.store.runs(RunFilter::Open, 100)).unwrap().is_empty(),
            "a run is open"
        );
        for asset in self.wait(self.store.assets()).unwrap() {
            let heads = self.wait(self.store.status(asset.id)).unwrap().heads;
            assert!(
                heads.iter().all(|set| set.version == Version(1)),
                "{} has later versions",
                asset.key
            );
        }
        assert_eq!(self.made(), STEPS);
        let mut succeeded: HashMap<_, PartitionSet> = HashMap::new();
        for run in self.wait(self.store.runs(RunFilter::All, 100)).unwrap() {
            assert!(run.counts.adds_up(), "{:?}", run.counts);
            self.assert_what_succeeded_was_never_claimed_again(run.run);
            for chunk in self.wait(self.store.chunks(run.run)).unwrap() {
                let before = succeeded.entry(chunk.claim.asset).or_default();
                assert!(before.is_disjoint(&chunk.succeeded), "a step succeeded twice");
                before.union_with(&chunk.succeeded);
            }
        }
        assert_eq!(succeeded.values().map(PartitionSet::len).sum::<u64>(), STEPS);
        let events = self.wait(self.store.events(0, 100_000)).unwrap();
        let told: u64 = events
            .iter()
            .map(|event| match &event.kind {
                EventKind::Materialized { partitions, .. } => partitions.len(),
                _ => 0,
            })
            .sum();
        assert_eq!(told, STEPS, "each was told once");
    }

    fn assert_what_succeeded_was_never_claimed_again(&self, run: RunId) {
        let chunks = self.wait(self.store.chunks(run)).unwrap();
        for done in &chunks {
            for other in chunks.iter().filter(|other| other.claim.asset == done.claim.asset) {
                let is_later = other.claim.chunk > done.claim.chunk;
                assert!(
                    !is_later || other.claim.steps.is_disjoint(&done.succeeded),
                    "{done:?} and then {other:?}"
                );
            }
        }
    }
}

/// Numbers from 0 to 1 that are the same for the same seed (SplitMix64, Steele and others, 2014).
struct Random(u64);

impl Random {
    fn from_env() -> Self {
        let given = std::env::var("CRASH_SEED")
            .ok()
            .map(|text| text.parse().expect("CRASH_SEED is a number"));
        let seed = given.unwrap_or_else(|| {
            let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            time.map_or(0, |time| time.as_micros() as u64)
        });
        let told = format!("to kill at the same moments again: CRASH_SEED={seed}\n");
        std::io::stderr().write_all(told.as_bytes()).unwrap();
        Self(seed)
    }

    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) as f64 / u64::MAX as f64
    }
}
