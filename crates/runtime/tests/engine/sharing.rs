//! Several runs, and several versions, of the same partitions.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use flowstone_core::asset::{Asset, In};
use flowstone_core::io::Address;
use flowstone_core::partition::PartitionSet;
use flowstone_core::plan::{Force, RunRequest};
use flowstone_core::run::{RunCounts, RunState};
use flowstone_core::store::{ChunkClaim, ChunkProgress, ChunkState, Materialization, Record, RunRow};
use flowstone_core::{ChunkNo, Fence, Incarnation, RunId, Version};
use flowstone_runtime::Engine;

use crate::support::{Count, Gate, all_of, engine, forced, within};

#[tokio::test]
async fn two_runs_of_one_partition_are_one_execution_and_both_get_the_value() {
    let (gate, made) = (Gate::new(), Count::default());
    let (at_gate, counting) = (gate.clone(), made.clone());
    let engine = engine([Asset::new("shared").run(move || {
        let (gate, made) = (at_gate.clone(), counting.clone());
        async move {
            gate.pass().await;
            made.add() as i64
        }
    })])
    .await;

    let first = engine.submit(all_of(&["shared"])).await.unwrap();
    gate.arrived().await;
    let second = engine.submit(all_of(&["shared"])).await.unwrap();
    assert_eq!(second.progress().state, RunState::Queued);
    gate.let_through(2);
    let (first, second) = within(async { tokio::join!(first.wait(), second.wait()) }).await;

    assert_eq!((first.unwrap().counts.succeeded, made.get()), (1, 1));
    let second = second.unwrap();
    assert_eq!((second.state, second.counts.total), (RunState::Succeeded, 0));
    assert_eq!(engine.load::<i64>("shared", "").await.unwrap(), 1);
}

#[tokio::test]
async fn requests_with_one_key_are_one_run() {
    let made = Count::default();
    let counting = made.clone();
    let engine = engine([Asset::new("once").run(move || {
        let made = counting.clone();
        async move { made.add() as i64 }
    })])
    .await;
    let request = RunRequest {
        idempotency_key: Some("monday's".to_owned()),
        ..forced(&["once"])
    };

    let first = engine.submit(request.clone()).await.unwrap();
    let second = engine.submit(request.clone()).await.unwrap();
    let report = within(first.wait()).await.unwrap();
    let third = engine.submit(request).await.unwrap();

    assert_eq!((second.run_id(), third.run_id()), (first.run_id(), first.run_id()));
    assert_eq!(within(second.wait()).await.unwrap(), report);
    assert_eq!(within(third.wait()).await.unwrap(), report);
    assert_eq!(made.get(), 1);
}

/// A chain of two; the first gives what it finds in the number, and both count.
async fn chain() -> (Engine, Arc<AtomicI64>, Count, Count) {
    let (content, firsts, seconds) = (Arc::new(AtomicI64::new(1)), Count::default(), Count::default());
    let (reading, counting, counting_too) = (Arc::clone(&content), firsts.clone(), seconds.clone());
    let engine = engine([
        Asset::new("first").run(move || {
            counting.add();
            let value = reading.load(Ordering::SeqCst);
            async move { value }
        }),
        Asset::new("second").upstream("first").run(move |In(first): In<i64>| {
            counting_too.add();
            async move { first * 10 }
        }),
    ])
    .await;
    within(engine.run(all_of(&["first", "second"]))).await.unwrap();
    (engine, content, firsts, seconds)
}

fn target_first(force: Force) -> RunRequest {
    RunRequest {
        targets: vec!["first".parse().unwrap()],
        force,
        ..all_of(&["first", "second"])
    }
}

#[tokio::test]
async fn what_is_current_is_left_alone_unless_it_is_forced() {
    let (engine, _, firsts, seconds) = chain().await;

    let report = within(engine.run(all_of(&["first", "second"]))).await.unwrap();
    assert_eq!((report.state, report.counts.total), (RunState::Succeeded, 0));
    within(engine.run(target_first(Force::Downstream))).await.unwrap();
    assert_eq!((firsts.get(), seconds.get()), (2, 2));
    within(engine.run(target_first(Force::All))).await.unwrap();
    assert_eq!((firsts.get(), seconds.get()), (3, 3));
}

#[tokio::test]
async fn the_same_content_leaves_the_downstream_alone_and_other_content_does_not() {
    let (engine, content, firsts, seconds) = chain().await;

    let same = within(engine.run(target_first(Force::Target))).await.unwrap();
    assert_eq!((firsts.get(), seconds.get()), (2, 1));
    assert_eq!((same.counts.succeeded, same.counts.skipped), (1, 1));

    content.store(2, Ordering::SeqCst);
    let other = within(engine.run(target_first(Force::Target))).await.unwrap();
    assert_eq!((firsts.get(), seconds.get()), (3, 2));
    assert_eq!(other.counts.succeeded, 2);
    assert_eq!(engine.load::<i64>("second", "").await.unwrap(), 20);
}

#[tokio::test]
async fn a_change_that_nobody_followed_is_followed_by_the_next_run() {
    let (engine, content, _, seconds) = chain().await;

    content.store(3, Ordering::SeqCst);
    within(engine.run(forced(&["first"]))).await.unwrap();
    assert_eq!(seconds.get(), 1);
    within(engine.run(all_of(&["second"]))).await.unwrap();

    assert_eq!(engine.load::<i64>("second", "").await.unwrap(), 30);
}

#[tokio::test]
async fn inputs_stay_as_they_were_when_the_run_was_planned() {
    let gate = Gate::new();
    let at_gate = gate.clone();
    let engine = engine([
        Asset::new("source").run(|| async { 1_i64 }),
        Asset::new("slow").run(move || {
            let gate = at_gate.clone();
            async move { gate.pass().await }
        }),
        Asset::new("reader")
            .upstream("source")
            .upstream("slow")
            .run(|In(source): In<i64>, In(()): In<()>| async move { source }),
    ])
    .await;
    within(engine.run(all_of(&["source"]))).await.unwrap();

    let run = engine.submit(all_of(&["slow", "reader"])).await.unwrap();
    gate.arrived().await;
    another_process_makes_version_2_of(&engine, "source").await;
    gate.let_through(1);
    let report = within(run.wait()).await.unwrap();

    assert_eq!(report.state, RunState::Succeeded, "{report:?}");
    assert_eq!(engine.load::<i64>("reader", "").await.unwrap(), 1);
    let ids = engine.asset_ids();
    let source = engine.pipeline().graph().find("source").unwrap().index();
    let reader = engine.pipeline().graph().find("reader").unwrap().index();
    let inputs = engine.store().inputs_of(ids[reader], 0, Version(1)).await.unwrap();
    let read = inputs.iter().find(|input| input.upstream == ids[source]).unwrap();
    assert_eq!(read.upstream_version, Version(1));
}

/// What it makes lies nowhere: who reads it fails.
async fn another_process_makes_version_2_of(engine: &Engine, asset: &str) {
    let id = engine.asset_ids()[engine.pipeline().graph().find(asset).unwrap().index()];
    let head = engine.store().materialization(id, 0, None).await.unwrap().unwrap();
    let (run, chunk, fence, at) = (RunId(uuid::Uuid::now_v7()), ChunkNo(0), Fence(1), head.ended_at);
    let mut stored = head.stored.clone();
    stored.address = Address::Location("nowhere".into());
    let made = Materialization {
        version: Version(2),
        run,
        stored,
        ..head
    };
    let claim = ChunkClaim {
        run,
        asset: id,
        chunk,
        fence,
        steps: PartitionSet::single(0),
        crashes: 0,
        at,
    };
    let progress = ChunkProgress {
        run,
        asset: id,
        chunk,
        fence,
        materialized: vec![made],
        inputs: Vec::new(),
        unchanged: PartitionSet::new(),
        skipped: PartitionSet::new(),
        failed: Vec::new(),
        outdated: Vec::new(),
        state: ChunkState::Ended,
        at,
    };
    let created = RunRow {
        run,
        pipeline: "another".to_owned(),
        idempotency_key: None,
        request: Default::default(),
        plan: None,
        incarnation: Incarnation::NONE,
        state: RunState::Running,
        created_at: at,
        moved_at: at,
        counts: RunCounts::default(),
        error: None,
    };
    let records = [
        Record::RunCreated(created),
        Record::ChunkClaimed(claim),
        Record::ChunkProgress(progress),
    ];
    for verdict in engine.store().commit(&records).await.unwrap() {
        verdict.unwrap();
    }
}
