//! Kill after kill: at random moments and at named points, with a look at what is left after each.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use flowstone::partition::PartitionSet;
use flowstone::store::{RunFilter, Store};
use flowstone::{AssetKey, RunId};
use flowstone_core::AssetId;
use flowstone_core::run::RunState;

use crate::ledger::Ledger;
use crate::process::{DEADLINE, Random, figure, kills, output_at_most, send};
use crate::soak::{self, FAIL_POINTS, Order, STEPS};

/// What a look at the ledger found.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    heads: BTreeMap<(AssetKey, u64), u64>,
    succeeded: BTreeMap<(RunId, AssetId), PartitionSet>,
    /// How many executions had begun by then.
    executed: usize,
}

/// What went wrong over all kills.
#[derive(Debug, Default)]
pub(crate) struct Damage {
    /// What was there, or was said to have ended, and is not.
    pub(crate) lost: Vec<String>,
    /// What was recorded as made and was made again, or was recorded twice.
    pub(crate) doubled: Vec<String>,
    /// Values that a reader can see and that are not whole.
    pub(crate) half_visible: Vec<String>,
}

impl Damage {
    pub(crate) fn assert_none(&self) {
        let is_none = self.lost.is_empty() && self.doubled.is_empty() && self.half_visible.is_empty();
        let counts = (self.lost.len(), self.doubled.len(), self.half_visible.len());
        let mut all = self.lost.iter().chain(&self.doubled).chain(&self.half_visible);
        assert!(
            is_none,
            "lost, doubled, half visible {counts:?}: {:?}",
            all.by_ref().take(5).collect::<Vec<_>>()
        );
    }
}

#[test]
fn no_kill_loses_doubles_or_halves_anything() {
    let mut random = Random::from_env();
    let kills_wanted = kills(20);
    let state = tempfile::tempdir().unwrap();
    let took = {
        let started = Instant::now();
        finish(state.path(), &Order::default());
        started.elapsed()
    };
    let (mut seen, mut damage) = (Snapshot::default(), Damage::default());
    look(state.path(), &mut seen, &mut damage);
    let (mut killed, mut at_points) = (0, 0);
    while killed < kills_wanted {
        let is_at_point = killed % 2 == 1;
        let order = if is_at_point {
            let point = FAIL_POINTS[(random.next() * FAIL_POINTS.len() as f64) as usize % FAIL_POINTS.len()];
            // Commits are groups, so there are fewer of them.
            let most = if point.starts_with("commit") { 8.0 } else { 100.0 };
            Order {
                fail_point: Some((point, 1 + (random.next() * most) as u64)),
                ..Order::default()
            }
        } else {
            Order::default()
        };
        let moment = if is_at_point {
            DEADLINE
        } else {
            took.mul_f64(random.next() * 0.9)
        };
        let output = output_at_most(soak::start(state.path(), &order), moment);
        killed += u32::from(output.status.code().is_none());
        at_points += u32::from(is_at_point && output.status.code().is_none());
        look(state.path(), &mut seen, &mut damage);
        note_told(state.path(), &output, &mut damage);

        // What was left open is taken up, now and then only to be killed again.
        if random.next() < 0.3 {
            let only_open = Order {
                only_open: true,
                ..Order::default()
            };
            let output = output_at_most(soak::start(state.path(), &only_open), took.mul_f64(random.next() * 0.5));
            killed += u32::from(output.status.code().is_none());
            look(state.path(), &mut seen, &mut damage);
        }
        let only_open = Order {
            only_open: true,
            ..Order::default()
        };
        let output = finish(state.path(), &only_open);
        look(state.path(), &mut seen, &mut damage);
        note_told(state.path(), &output, &mut damage);
    }
    check_end(state.path(), &mut damage);

    figure("kills", killed.into());
    figure("kills_at_fail_points", at_points.into());
    figure("kills_lost", damage.lost.len() as u64);
    figure("kills_doubled", damage.doubled.len() as u64);
    figure("kills_half_visible", damage.half_visible.len() as u64);
    damage.assert_none();
    assert!(at_points > 0, "no fail point was met");
}

/// Lets the program come to its end.
pub(crate) fn finish(state: &Path, order: &Order) -> Output {
    let output = output_at_most(soak::start(state, order), DEADLINE);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Looks at what is on disk, and holds it against what was there before.
pub(crate) fn look(state: &Path, seen: &mut Snapshot, damage: &mut Damage) {
    let Some(ledger) = Ledger::open(state) else {
        if !seen.heads.is_empty() {
            damage.lost.push("the ledger cannot be opened".to_owned());
        }
        return;
    };
    damage.half_visible.extend(ledger.not_whole());
    let heads = ledger.versions();
    for (key, version) in &seen.heads {
        if heads.get(key).is_none_or(|now| now < version) {
            damage
                .lost
                .push(format!("{key:?} was at version {version}, is at {:?}", heads.get(key)));
        }
    }
    let executed = soak::executed(state);
    let names = ledger.asset_names();
    for (run, asset, partition) in &executed[seen.executed.min(executed.len())..] {
        let key = names.iter().find(|(_, name)| name.as_str() == asset.as_str());
        let done = key.and_then(|(id, _)| seen.succeeded.get(&(*run, *id)));
        if done.is_some_and(|done| done.contains(*partition)) {
            damage
                .doubled
                .push(format!("{asset} {partition} had succeeded in run {run} and ran again"));
        }
    }
    let mut succeeded = BTreeMap::new();
    for run in ledger.wait(ledger.store.runs(RunFilter::All, 10_000)).unwrap() {
        if !run.counts.adds_up() {
            damage
                .doubled
                .push(format!("the counts of run {} do not add up: {:?}", run.run, run.counts));
        }
        for chunk in ledger.wait(ledger.store.chunks(run.run)).unwrap() {
            let done: &mut PartitionSet = succeeded.entry((run.run, chunk.claim.asset)).or_default();
            if !done.is_disjoint(&chunk.succeeded) {
                damage.doubled.push(format!("a step of {chunk:?} succeeded twice"));
            }
            done.union_with(&chunk.succeeded);
        }
    }
    *seen = Snapshot {
        heads,
        succeeded,
        executed: executed.len(),
    };
}

/// What the program was told had ended has ended.
pub(crate) fn note_told(state: &Path, output: &Output, damage: &mut Damage) {
    let Some(ledger) = Ledger::open(state) else { return };
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Some((run, told)) = line.strip_prefix("ended ").and_then(|words| words.split_once(' ')) else {
            continue;
        };
        let row = ledger.wait(ledger.store.run(run.parse().unwrap())).unwrap();
        let stored = row.map(|row| row.state.to_string());
        if stored.as_deref() != Some(told) {
            damage
                .lost
                .push(format!("run {run} was told to be {told} and is {stored:?}"));
        }
    }
}

/// When all is done every run has succeeded, and versions tell how often each partition was made.
fn check_end(state: &Path, damage: &mut Damage) {
    let ledger = Ledger::open(state).expect("there is a ledger");
    let runs = ledger.wait(ledger.store.runs(RunFilter::All, 10_000)).unwrap();
    let mut made = BTreeMap::<AssetId, BTreeMap<u64, u64>>::new();
    for run in &runs {
        if run.state != RunState::Succeeded || run.counts.succeeded != STEPS {
            damage
                .lost
                .push(format!("run {} is {} with {:?}", run.run, run.state, run.counts));
        }
        for chunk in ledger.wait(ledger.store.chunks(run.run)).unwrap() {
            for partition in chunk.succeeded.iter() {
                *made.entry(chunk.claim.asset).or_default().entry(partition).or_default() += 1;
            }
        }
    }
    let names: BTreeMap<AssetId, AssetKey> = ledger.asset_names().into_iter().collect();
    for ((asset, partition), version) in ledger.versions() {
        let id = names.iter().find(|(_, name)| **name == asset).map(|(id, _)| *id);
        let times = id.and_then(|id| made.get(&id)?.get(&partition).copied());
        if times != Some(version) {
            damage.doubled.push(format!(
                "{asset} {partition} was made {times:?} times and is at version {version}"
            ));
        }
    }
    let keys: BTreeSet<_> = ledger.versions().into_keys().collect();
    assert_eq!(keys.len() as u64, STEPS);
    assert!(runs.len() > 1);
}

/// Looks again after something else than a kill happened: nothing was lost, doubled or halved.
pub(crate) fn assert_unharmed(state: &Path) {
    let mut damage = Damage::default();
    look(state, &mut Snapshot::default(), &mut damage);
    check_end(state, &mut damage);
    damage.assert_none();
}

/// Stops a process for a while, and lets it go on.
pub(crate) fn freeze(pid: u32, how_long: Duration) {
    assert!(send("STOP", pid));
    std::thread::park_timeout(how_long);
    assert!(send("CONT", pid));
}
