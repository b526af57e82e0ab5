//! Signals: a process that is frozen and goes on, and one that is asked to stop under load.

use std::time::{Duration, Instant};

use crate::cycles::{assert_unharmed, finish, freeze};
use crate::ledger::Ledger;
use crate::process::{DEADLINE, eventually, output_at_most, send};
use crate::soak::{self, Order};

/// How long a graceful stop may take at most.
const STOP_MAX: Duration = Duration::from_secs(30);

#[test]
fn a_frozen_process_keeps_its_ledger_and_goes_on() {
    let state = tempfile::tempdir().unwrap();
    finish(state.path(), &Order::default());
    let had = made(state.path());
    // It must not come to its end before it is frozen.
    let held = Order {
        is_held: true,
        ..Order::default()
    };
    let frozen = soak::start(state.path(), &held);
    eventually("it works", || soak::executed(state.path()).len() as u64 > had);
    assert!(send("STOP", frozen.id()));

    // Whoever comes now finds the ledger in use, and says so.
    let refused = output_at_most(soak::start(state.path(), &Order::default()), DEADLINE);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success());
    assert!(
        said.contains("locked") || said.contains("in use") || said.contains("another"),
        "{said}"
    );
    soak::let_go(state.path());
    freeze(frozen.id(), Duration::from_secs(1));

    let output = output_at_most(frozen, DEADLINE);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_unharmed(state.path());
}

#[test]
fn a_stop_under_load_loses_nothing_and_nothing_runs_twice() {
    let state = tempfile::tempdir().unwrap();
    finish(state.path(), &Order::default());
    let had = soak::executed(state.path()).len();
    let stopping = soak::start(state.path(), &Order::default());
    eventually("it works", || soak::executed(state.path()).len() > had);
    let asked = Instant::now();
    assert!(send("TERM", stopping.id()));

    let output = output_at_most(stopping, DEADLINE);

    assert!(asked.elapsed() < STOP_MAX, "it took {:?}", asked.elapsed());
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let begun = soak::executed(state.path()).len();
    let only_open = Order {
        only_open: true,
        ..Order::default()
    };
    finish(state.path(), &only_open);
    let all = soak::executed(state.path());
    let twice = all.len() - all.iter().collect::<std::collections::BTreeSet<_>>().len();
    assert_eq!(twice, 0, "{begun} steps had begun");
    assert_unharmed(state.path());
}

fn made(state: &std::path::Path) -> u64 {
    Ledger::open(state).expect("there is a ledger").made()
}
