//! The flights example, killed and interrupted: it comes to the same values, byte for byte, and nothing is made twice.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use flowstone::AssetKey;
use flowstone::store::{RunFilter, Store};

use crate::ledger::Ledger;
use crate::process::{DEADLINE, Random, eventually, send, wait_at_most, wait_until};

/// The steps of January: all partitions of all fourteen assets.
const STEPS: u64 = 937;
const KILLS: u32 = 10;
/// Steps that come to disk between two kills, at most: together fewer than there are, however fast or slow they are made.
const STEPS_BETWEEN: f64 = STEPS as f64 / (KILLS + 1) as f64;

#[test]
fn ten_kills_cost_only_what_was_in_flight() {
    let undisturbed = Workspace::new();
    assert_eq!(undisturbed.start().wait().unwrap().code(), Some(0));
    let expected = undisturbed.contents();
    assert_eq!(expected.len() as u64, STEPS);

    let mut random = Random::from_env();
    let workspace = Workspace::new();
    let mut kills = 0;
    loop {
        let made = || workspace.ledger().map_or(0, |ledger| ledger.made());
        let enough = made() + (random.next() * STEPS_BETWEEN) as u64;
        match wait_until(workspace.start(), || kills < KILLS && made() >= enough) {
            Some(status) => {
                assert_eq!(status.code(), Some(0), "the run did not end well after {kills} kills");
                break;
            }
            None => kills += 1,
        }
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
        .assert_nothing_was_done_twice(STEPS);
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
        assert!(send(signal, running.id()));

        let status = wait_at_most(running, DEADLINE).expect("it ends when it is asked to");

        assert_eq!(status.code(), Some(130), "after SIG{signal}");
        assert_eq!(workspace.newest_run(), "cancelled");
    }
    assert_eq!(workspace.start().wait().unwrap().code(), Some(0));

    assert_eq!(workspace.newest_run(), "succeeded");
    workspace
        .ledger()
        .expect("there is a ledger")
        .assert_nothing_was_done_twice(STEPS);
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
