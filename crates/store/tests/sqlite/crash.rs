//! A process that is killed in the middle of committing.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use flowstone_core::partition::PartitionKey;
use flowstone_core::store::{ChunkProgress, ChunkState, Record, Store};
use flowstone_core::{ChunkNo, Version};
use flowstone_store::SqliteStore;

use super::samples::*;

const CHILD_THAT_COMMITS: &str = "crash::a_child_commits_until_it_is_killed";
const CHILD_THAT_ADDS: &str = "crash::a_child_adds_partitions_until_it_is_killed";
const ADDED_TO: &str = "customers";
const KEYS_IN_A_CALL: u64 = 20;
/// Set for a child of this test program that shall commit in the folder it names until it is killed.
const COMMIT_IN: &str = "FLOWSTONE_TEST_COMMIT_IN";
const STEPS_IN_A_GROUP: u64 = 20;
const KILLS: u64 = 6;

#[tokio::test]
async fn after_kill_9_all_that_was_acknowledged_is_there_and_nothing_by_half() {
    let state = tempfile::tempdir().unwrap();
    let mut acknowledged = HashSet::new();
    for kill in 0..KILLS {
        // No two kills come after the same number of commits; the moment within the next one is the scheduler's.
        acknowledged.extend(work_and_kill(CHILD_THAT_COMMITS, state.path(), 3 + kill * 17));
        check(state.path(), &acknowledged).await;
    }
    assert!(acknowledged.len() as u64 >= KILLS * 3);
}

#[tokio::test]
async fn after_kill_9_all_partitions_that_were_acknowledged_are_there_at_their_index() {
    let state = tempfile::tempdir().unwrap();
    let mut known = 0;
    for kill in 0..KILLS {
        let calls = work_and_kill(CHILD_THAT_ADDS, state.path(), 3 + kill * 17);
        let store = SqliteStore::open(state.path()).await.unwrap();
        let set = store.dynamic_set(ADDED_TO).await.unwrap();
        let all: Vec<_> = (0..set.len()).map(|index| set.entry(index).unwrap()).collect();
        assert!(all.iter().all(|row| row.key == PartitionKey::from(row.index as i64)));
        let told = (calls.iter().max().unwrap() + 1) * KEYS_IN_A_CALL;
        assert!(
            set.len() >= told,
            "{told} keys were acknowledged, {} are there",
            set.len()
        );
        assert_eq!(set.len() % KEYS_IN_A_CALL, 0, "no call is kept by half");
        for call in &calls {
            let first = call * KEYS_IN_A_CALL;
            assert!(
                all[first as usize].retired_at.is_some(),
                "{first} was acknowledged as retired"
            );
        }
        assert!(set.len() > known);
        known = set.len();
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_child_adds_partitions_until_it_is_killed() {
    let Some(dir) = std::env::var_os(COMMIT_IN) else { return };
    let store = SqliteStore::open(Path::new(&dir)).await.unwrap();
    let first = store.dynamic_set(ADDED_TO).await.unwrap().len() / KEYS_IN_A_CALL;
    for call in first.. {
        let keys = call * KEYS_IN_A_CALL..(call + 1) * KEYS_IN_A_CALL;
        let keys: Vec<_> = keys.map(|key| PartitionKey::from(key as i64)).collect();
        store.add_dynamic_keys(ADDED_TO, &keys, at(0)).await.unwrap();
        store.retire_dynamic_keys(ADDED_TO, &keys[..1], at(0)).await.unwrap();
        acknowledge(call);
    }
}

fn acknowledge(number: u64) {
    let mut told = std::io::stdout().lock();
    writeln!(told, "acknowledged {number}").unwrap();
    told.flush().unwrap();
}

/// Lets a child work, kills it after `count` acknowledgments, and gives all that it printed.
fn work_and_kill(child: &str, dir: &Path, count: u64) -> Vec<u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", child, "--nocapture"])
        .env(COMMIT_IN, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut numbers = Vec::new();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for line in lines.map_while(Result::ok) {
        let Some(number) = line
            .strip_prefix("acknowledged ")
            .and_then(|number| number.parse().ok())
        else {
            continue;
        };
        numbers.push(number);
        if numbers.len() as u64 == count {
            // SIGKILL on Unix. What is still in the pipe has been acknowledged too, so reading goes on.
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(numbers.len() as u64 >= count, "the child ended by itself");
    numbers
}

async fn check(dir: &Path, acknowledged: &HashSet<u64>) {
    let store = SqliteStore::open(dir).await.unwrap();
    let assets = declare(&store, 1).await;
    let chunks = store.chunks(RUN).await.unwrap();
    for number in acknowledged {
        let ended = chunks
            .iter()
            .any(|row| row.claim.chunk == ChunkNo(*number) && row.state == ChunkState::Ended);
        assert!(ended, "group {number} was acknowledged and is gone");
    }
    let status = store.status(assets[0]).await.unwrap();
    for row in &chunks {
        let number = row.claim.chunk.0;
        let steps = steps_of(number);
        let has_ended = row.state == ChunkState::Ended;
        let expected = if has_ended { steps.clone() } else { set([]) };
        assert_eq!(row.succeeded, expected, "group {number}");
        assert_eq!(status.materialized().intersect(&steps), expected, "group {number}");
        assert_eq!(
            store.heads(assets[0], &steps).await.unwrap().len() as u64,
            expected.len(),
            "group {number}"
        );
        let inputs = store
            .inputs_of(assets[0], steps.min().unwrap(), Version(1))
            .await
            .unwrap();
        assert_eq!(inputs.len(), usize::from(has_ended), "group {number}");
    }
    let made: u64 = chunks.iter().filter(|row| row.state == ChunkState::Ended).count() as u64;
    assert_eq!(status.materialized().len(), made * STEPS_IN_A_GROUP);
    assert_eq!(store.events(0, usize::MAX).await.unwrap().len() as u64, 1 + made);
    store.close().await.unwrap();
}

fn steps_of(number: u64) -> flowstone_core::partition::PartitionSet {
    set(number * STEPS_IN_A_GROUP..(number + 1) * STEPS_IN_A_GROUP)
}

#[tokio::test]
async fn a_child_commits_until_it_is_killed() {
    let Some(dir) = std::env::var_os(COMMIT_IN) else { return };
    let store = SqliteStore::open(Path::new(&dir)).await.unwrap();
    let assets = declare(&store, 1).await;
    if store.run(RUN).await.unwrap().is_none() {
        take(&store, &[created(RUN)]).await;
    }
    let claimed = store.chunks(RUN).await.unwrap();
    let first = claimed.last().map_or(0, |row| row.claim.chunk.0 + 1);
    for number in first.. {
        let steps = steps_of(number);
        take(&store, &[claim(assets[0], number, 1, steps.clone())]).await;
        let (first, last) = (steps.min().unwrap(), steps.max().unwrap());
        let ended = ChunkProgress {
            inputs: vec![input(assets[0], (first, last), assets[0], (0, 0))],
            state: ChunkState::Ended,
            ..making(assets[0], (number, 1), &steps, 1)
        };
        take(&store, &[Record::ChunkProgress(ended)]).await;
        acknowledge(number);
    }
}
