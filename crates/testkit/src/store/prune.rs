//! Forgetting: what is old goes, and nothing that is still needed.

use std::collections::BTreeMap;

use flowstone_core::io::Address;
use flowstone_core::partition::PartitionSet;
use flowstone_core::retention::Keep;
use flowstone_core::run::RunState;
use flowstone_core::store::{ChunkProgress, ChunkState, EventKind, Materialization, Prune, Record, RunFilter, Store};
use flowstone_core::{AssetId, ErrorKind, RunId, Version};

use super::StoreUnderTest;
use super::fixture::{
    assets, at, claimed, commit, failure, made, many, moved, one_to_one, progress, refused, run_id, run_row, running,
    set,
};

/// A year later nothing is young.
const LATER: i64 = 365 * 24 * 60 * 60;

fn prune(keep: Keep, assets: &[AssetId]) -> Prune {
    Prune {
        now: at(LATER),
        events: Keep::ALL,
        runs: Keep::ALL,
        versions: assets.iter().map(|asset| (*asset, keep)).collect(),
        rows_max: u64::MAX,
        is_dry_run: false,
    }
}

/// Makes `partitions` at `version`, each from what `inputs` say.
async fn make_from(
    store: &impl Store,
    (run, chunk): (RunId, u64),
    asset: AssetId,
    partitions: PartitionSet,
    version: u64,
    inputs: Vec<flowstone_core::store::LineageInput>,
) {
    let materialized = partitions
        .iter()
        .map(|partition| made(run, asset, partition, version))
        .collect();
    let progress = ChunkProgress {
        materialized,
        inputs,
        state: ChunkState::Ended,
        ..progress(run, asset, chunk, 1)
    };
    commit(
        store,
        &[
            claimed(run, asset, chunk, 1, partitions),
            Record::ChunkProgress(progress),
        ],
    )
    .await;
}

async fn versions(store: &impl Store, asset: AssetId, partition: u64) -> Vec<u64> {
    let all = store.history(asset, &set([partition])).await.expect("a history");
    all.iter().map(|made| made.version.0).collect()
}

/// All versions are told by partition and version, also those that are no head.
pub async fn the_history_tells_all_versions<S: Store>(store: StoreUnderTest<S>) {
    let [asset, other] = assets(&*store).await;
    let run = running(&*store, 1).await;
    make_from(&*store, (run, 0), asset, set([1, 2, 70_000]), 1, Vec::new()).await;
    make_from(&*store, (run, 1), asset, set([2]), 4, Vec::new()).await;
    make_from(&*store, (run, 0), other, set([2]), 1, Vec::new()).await;

    let all = store.history(asset, &set([0, 2, 70_000])).await.expect("a history");

    let expected = [
        made(run, asset, 2, 1),
        made(run, asset, 2, 4),
        made(run, asset, 70_000, 1),
    ];
    assert_eq!(all, expected);
    assert_eq!(store.history(asset, &set([])).await.expect("a history"), []);
}

/// What goes is what the policy says, and the answer names the values behind it.
pub async fn old_versions_go_and_heads_stay<S: Store>(store: StoreUnderTest<S>) {
    let [asset, other] = assets(&*store).await;
    let run = running(&*store, 1).await;
    for asset in [asset, other] {
        make_from(&*store, (run, 0), asset, set([0, 1, 70_000]), 1, Vec::new()).await;
        make_from(&*store, (run, 1), asset, set([0, 70_000]), 2, Vec::new()).await;
        make_from(&*store, (run, 2), asset, set([0]), 5, Vec::new()).await;
    }
    let before = store.status(asset).await.expect("a status");

    let pruned = store.prune(&prune(Keep::last(2), &[asset])).await.expect("it prunes");
    assert_eq!(pruned.rows, BTreeMap::from([("materialization".to_owned(), 1)]));
    let gone = made(run, asset, 0, 1).stored;
    assert_eq!(pruned.values, [(asset, gone.address)]);
    assert_eq!((pruned.value_count, pruned.value_bytes), (1, gone.bytes));
    assert!(!pruned.has_more);
    assert_eq!(versions(&*store, asset, 0).await, [2, 5]);

    let pruned = store.prune(&prune(Keep::last(0), &[asset])).await.expect("it prunes");
    assert_eq!(pruned.value_count, 2);
    for (partition, head) in [(0, 5), (1, 1), (70_000, 2)] {
        assert_eq!(versions(&*store, asset, partition).await, [head]);
    }
    assert_eq!(
        versions(&*store, other, 0).await,
        [1, 2, 5],
        "nobody asked for this one"
    );
    assert_eq!(store.status(asset).await.expect("a status"), before);
    let again = store.prune(&prune(Keep::last(0), &[asset])).await.expect("it prunes");
    assert_eq!(again, flowstone_core::store::Pruned::default());
    let behind = ChunkProgress {
        materialized: vec![made(run, asset, 0, 4)],
        ..progress(run, asset, 9, 1)
    };
    commit(&*store, &[claimed(run, asset, 9, 1, set([0]))]).await;
    assert_eq!(
        refused(&*store, Record::ChunkProgress(behind)).await,
        ErrorKind::Conflict,
        "versions only grow, whatever was forgotten"
    );
}

/// What is young stays, as long as the policy says.
pub async fn young_versions_stay<S: Store>(store: StoreUnderTest<S>) {
    let [asset] = assets(&*store).await;
    let run = running(&*store, 1).await;
    for (version, second) in [(1, 0), (2, 1_000), (3, 2_000)] {
        let row = Materialization {
            started_at: at(second),
            ended_at: at(second),
            ..made(run, asset, 0, version)
        };
        let progress = ChunkProgress {
            materialized: vec![row],
            ..progress(run, asset, version, 1)
        };
        commit(
            &*store,
            &[
                claimed(run, asset, version, 1, set([0])),
                Record::ChunkProgress(progress),
            ],
        )
        .await;
    }
    let keep = Keep {
        age: std::time::Duration::from_secs(2_000),
        count: 0,
    };
    let asked = Prune {
        now: at(2_500),
        ..prune(keep, &[asset])
    };

    store.prune(&asked).await.expect("it prunes");

    assert_eq!(versions(&*store, asset, 0).await, [2, 3]);
}

/// A version that something kept was made from stays with it, and goes with it; its own inputs go when nothing of it is
/// left.
pub async fn what_something_kept_was_made_from_stays<S: Store>(store: StoreUnderTest<S>) {
    let [up, down] = assets(&*store).await;
    let run = running(&*store, 1).await;
    let from_up = |partitions: (u64, u64), version, upstream_version| {
        one_to_one((down, partitions, version), (up, partitions.0, upstream_version))
    };
    make_from(&*store, (run, 0), up, set(0..4), 1, Vec::new()).await;
    make_from(&*store, (run, 0), down, set(0..4), 1, vec![from_up((0, 3), 1, 1)]).await;
    make_from(&*store, (run, 1), up, set(0..4), 2, Vec::new()).await;
    make_from(&*store, (run, 1), down, set([0, 1]), 2, vec![from_up((0, 1), 2, 2)]).await;
    let everything = prune(Keep::last(0), &[up, down]);

    store.prune(&everything).await.expect("it prunes");
    store.prune(&everything).await.expect("it prunes");

    assert_eq!(
        (versions(&*store, down, 0).await, versions(&*store, down, 2).await),
        (vec![2], vec![1])
    );
    let inputs = store.inputs_of(down, 3, Version(1)).await.expect("inputs");
    assert_eq!(inputs, [from_up((0, 3), 1, 1)], "inputs of a head never go");
    assert_eq!(
        versions(&*store, up, 3).await,
        [1, 2],
        "a head was made from the old one"
    );

    make_from(&*store, (run, 2), down, set([2, 3]), 2, vec![from_up((2, 3), 2, 2)]).await;
    store.prune(&everything).await.expect("it prunes");
    store.prune(&everything).await.expect("it prunes");

    for partition in 0..4 {
        assert_eq!(versions(&*store, up, partition).await, [2]);
        assert_eq!(versions(&*store, down, partition).await, [2]);
    }
    assert_eq!(store.inputs_of(down, 3, Version(1)).await.expect("inputs"), []);
    assert_eq!(store.uses_of(up, 3, None).await.expect("uses"), [from_up((2, 3), 2, 2)]);
}

/// Inputs that stand for many partitions stay while one of them does.
pub async fn inputs_stay_while_they_stand_for_something<S: Store>(store: StoreUnderTest<S>) {
    let [up, down] = assets(&*store).await;
    let run = running(&*store, 1).await;
    let row = many((down, (0, 9), 1), (up, (0, 2), 1));
    make_from(&*store, (run, 0), up, set(0..3), 1, Vec::new()).await;
    make_from(&*store, (run, 0), down, set(0..10), 1, vec![row]).await;
    make_from(
        &*store,
        (run, 1),
        down,
        set(0..9),
        2,
        vec![many((down, (0, 8), 2), (up, (0, 2), 1))],
    )
    .await;

    store
        .prune(&prune(Keep::last(0), &[up, down]))
        .await
        .expect("it prunes");
    assert_eq!(store.inputs_of(down, 9, Version(1)).await.expect("inputs"), [row]);
    make_from(&*store, (run, 2), down, set([9]), 2, Vec::new()).await;
    store
        .prune(&prune(Keep::last(0), &[up, down]))
        .await
        .expect("it prunes");

    assert_eq!(store.inputs_of(down, 9, Version(1)).await.expect("inputs"), []);
    assert_eq!(store.inputs_of(down, 8, Version(2)).await.expect("inputs").len(), 1);
}

/// Runs that have ended go with all that they consist of; their values stay, and so does their name.
pub async fn ended_runs_go_and_open_ones_stay<S: Store>(store: StoreUnderTest<S>) {
    let [asset] = assets(&*store).await;
    let mut runs = Vec::new();
    for number in 0..5 {
        let run = run_id(number);
        let mut row = run_row(run);
        row.idempotency_key = Some(format!("key {number}"));
        commit(&*store, &[Record::RunCreated(row), moved(run, RunState::Running)]).await;
        let plan = bytes::Bytes::from_static(b"plan");
        let progress = ChunkProgress {
            materialized: vec![made(run, asset, number, 1)],
            failed: vec![failure(asset, 100 + number, 1, true)],
            state: ChunkState::Ended,
            ..progress(run, asset, 0, 1)
        };
        commit(
            &*store,
            &[
                Record::RunPlanned { run, plan },
                claimed(run, asset, 0, 1, set([number, 100 + number])),
                Record::ChunkProgress(progress),
            ],
        )
        .await;
        runs.push(run);
    }
    for run in [runs[0], runs[1], runs[3]] {
        commit(&*store, &[moved(run, RunState::Failed)]).await;
    }
    let status = store.status(asset).await.expect("a status");
    let asked = Prune {
        runs: Keep::last(1),
        ..prune(Keep::ALL, &[])
    };

    let pruned = store.prune(&asked).await.expect("it prunes");

    let rows = |table: &str| pruned.rows.get(table).copied();
    assert_eq!(
        (rows("run"), rows("chunk"), rows("step_failure")),
        (Some(2), Some(2), Some(2))
    );
    let listed = store.runs(RunFilter::All, 100).await.expect("runs");
    let listed: Vec<_> = listed.iter().map(|row| row.run).collect();
    assert_eq!(listed, [runs[4], runs[3], runs[2]]);
    for run in &runs[..2] {
        assert_eq!(store.run(*run).await.expect("an answer"), None);
        assert_eq!(store.chunks(*run).await.expect("chunks"), []);
        assert_eq!(store.failures(*run).await.expect("failures"), []);
        assert_eq!(store.run_state(*run).await.expect("a state"), Some(RunState::Failed));
    }
    assert_eq!(store.run_by_key("key 0").await.expect("an answer"), None);
    assert_eq!(
        store.run_state(runs[4]).await.expect("a state"),
        Some(RunState::Running)
    );
    assert_eq!(store.run_state(run_id(99)).await.expect("an answer"), None);
    assert_eq!(store.status(asset).await.expect("a status"), status);
    let head = store.materialization(asset, 0, None).await.expect("an answer");
    assert_eq!(head, Some(made(runs[0], asset, 0, 1)), "a value says which run made it");
    assert_eq!(
        refused(&*store, Record::RunCreated(run_row(runs[0]))).await,
        ErrorKind::Conflict
    );
    assert_eq!(store.chunks(runs[2]).await.expect("chunks").len(), 1);
}

/// The newest event stays whatever was said, and sequences go on behind it.
pub async fn old_events_go_and_sequences_go_on<S: Store>(store: StoreUnderTest<S>) {
    let run = running(&*store, 1).await;
    let before = store.events(0, 100).await.expect("events");
    let asked = |keep| Prune {
        events: keep,
        ..prune(Keep::ALL, &[])
    };

    let young = store.prune(&asked(Keep::days(366))).await.expect("it prunes");
    assert_eq!(young.rows, BTreeMap::new());
    let old = store.prune(&asked(Keep::last(0))).await.expect("it prunes");
    assert_eq!(
        old.rows,
        BTreeMap::from([("event".to_owned(), before.len() as u64 - 1)])
    );
    assert_eq!(store.events(0, 100).await.expect("events"), before[before.len() - 1..]);
    commit(&*store, &[moved(run, RunState::Cancelling)]).await;

    let after = store.events(0, 100).await.expect("events");
    assert_eq!(after.len(), 2);
    assert!(after[1].sequence > after[0].sequence);
    assert_eq!(
        after[1].kind,
        EventKind::RunMoved {
            to: RunState::Cancelling
        }
    );
}

/// A dry run says the same and changes nothing.
pub async fn a_dry_run_removes_nothing<S: Store>(store: StoreUnderTest<S>) {
    let [asset] = assets(&*store).await;
    let run = running(&*store, 1).await;
    for version in 1..4 {
        let row = many((asset, (0, 1), version), (asset, (7, 7), 1));
        make_from(&*store, (run, version), asset, set([0, 1]), version, vec![row]).await;
    }
    commit(&*store, &[moved(run, RunState::Succeeded)]).await;
    let asked = Prune {
        events: Keep::last(0),
        runs: Keep::last(0),
        is_dry_run: true,
        ..prune(Keep::last(1), &[asset])
    };

    let would = store.prune(&asked).await.expect("it counts");
    assert_eq!(versions(&*store, asset, 0).await, [1, 2, 3]);
    assert!(store.run(run).await.expect("an answer").is_some());
    assert!(store.events(0, 100).await.expect("events").len() > 1);
    let wet = Prune {
        is_dry_run: false,
        ..asked
    };
    let did = store.prune(&wet).await.expect("it prunes");

    assert_eq!(would.rows, did.rows);
    assert_eq!(
        (would.value_count, would.value_bytes),
        (did.value_count, did.value_bytes)
    );
    assert_eq!((would.values.len(), did.values.len()), (0, 4));
    assert_eq!(did.rows.get("lineage_input"), Some(&2));
}

/// A pass that is bounded leaves the rest for the next, and gets there.
pub async fn bounded_passes_come_to_the_end<S: Store>(store: StoreUnderTest<S>) {
    let [asset] = assets(&*store).await;
    let run = running(&*store, 1).await;
    for version in 1..4 {
        let row = many((asset, (0, 99), version), (asset, (500, 500), 1));
        make_from(&*store, (run, version), asset, set(0..100), version, vec![row]).await;
    }
    let asked = Prune {
        rows_max: 30,
        events: Keep::last(0),
        ..prune(Keep::last(0), &[asset])
    };

    let mut passes = 0;
    let mut gone = Vec::new();
    loop {
        let pruned = store.prune(&asked).await.expect("it prunes");
        let heads = store.heads(asset, &set(0..100)).await.expect("heads");
        assert!(heads.iter().all(|head| head.version == Version(3)));
        gone.extend(pruned.values.into_iter().map(|(_, address)| address));
        passes += 1;
        assert!(passes < 50, "it does not come to an end");
        if !pruned.has_more {
            break;
        }
    }

    assert!(passes > 1);
    let places: std::collections::HashSet<&str> = gone.iter().filter_map(Address::place).collect();
    assert_eq!((gone.len(), places.len()), (200, 200), "each value is named once");
    assert_eq!(store.inputs_of(asset, 0, Version(2)).await.expect("inputs"), []);
    assert_eq!(store.inputs_of(asset, 0, Version(3)).await.expect("inputs").len(), 1);
}
