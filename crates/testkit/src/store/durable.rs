//! What was committed outlives the store that it was committed to.

use flowstone_core::run::RunState;
use flowstone_core::store::{
    AssetRow, AssetStatus, ChunkProgress, ChunkRow, Event, LineageInput, Materialization, Record, RunFilter, RunRow,
    StepFailure, Store,
};
use flowstone_core::{AssetId, ErrorKind, RunId};

use super::StoreUnderTest;
use super::fixture::{assets, claimed, commit, failure, made, make, many, moved, progress, refused, running, set};

/// A store that was closed and opened again answers as before, and keeps its rules. Skipped for one that says that it is
/// not durable, and refused for one that says it is and cannot show it.
pub async fn what_was_committed_survives_reopening<S: Store>(under_test: StoreUnderTest<S>) {
    let StoreUnderTest { store, reopen, kept } = under_test;
    let Some(reopen) = reopen else {
        assert!(
            !store.is_durable(),
            "a durable store is tested with `StoreUnderTest::reopened_by`"
        );
        return;
    };
    assert!(
        store.is_durable(),
        "a store that can be opened again says that it is durable"
    );
    let [asset, reader] = assets(&store).await;
    let (run, ended) = (running(&store, 1).await, running(&store, 2).await);
    make(&store, (run, 0), reader, 0..9, 1).await;
    let progress = ChunkProgress {
        materialized: vec![made(run, asset, 0, 1)],
        inputs: vec![many((asset, (0, 0), 1), (reader, (0, 8), 1))],
        skipped: set([1]),
        failed: vec![failure(asset, 2, 1, true)],
        outdated: vec![(reader, set([3]))],
        ..progress(run, asset, 0, 4)
    };
    commit(
        &store,
        &[
            claimed(run, asset, 0, 4, set([0, 1, 2, 3])),
            Record::ChunkProgress(progress),
        ],
    )
    .await;
    commit(&store, &[moved(ended, RunState::Cancelled)]).await;
    let before = everything(&store, run, &[asset, reader]).await;

    let store = reopen(store).await.expect("it opens again");

    assert_eq!(everything(&store, run, &[asset, reader]).await, before);
    assert_eq!(
        refused(&store, claimed(run, asset, 0, 4, set([3]))).await,
        ErrorKind::Fenced
    );
    assert_eq!(
        refused(&store, moved(ended, RunState::Running)).await,
        ErrorKind::Conflict
    );
    let last = before.events.last().expect("something happened").sequence;
    commit(&store, &[moved(run, RunState::Cancelling)]).await;
    let news = store.events(last, 10).await.expect("events");
    assert_eq!(news.len(), 1, "events go on behind those that were there");
    drop((store, kept));
}

/// All that a store can be asked about one run and some assets.
#[derive(Debug, PartialEq)]
struct Everything {
    assets: Vec<AssetRow>,
    runs: Vec<RunRow>,
    chunks: Vec<ChunkRow>,
    failures: Vec<StepFailure>,
    events: Vec<Event>,
    by_asset: Vec<(AssetStatus, Vec<Materialization>, Vec<LineageInput>)>,
}

async fn everything(store: &impl Store, run: RunId, assets: &[AssetId]) -> Everything {
    let mut by_asset = Vec::new();
    for asset in assets {
        let status = store.status(*asset).await.expect("a status");
        let heads = store.heads(*asset, &status.materialized()).await.expect("heads");
        by_asset.push((status, heads, store.uses_of(*asset, 0, None).await.expect("uses")));
    }
    Everything {
        assets: store.assets().await.expect("assets"),
        runs: store.runs(RunFilter::All, 100).await.expect("runs"),
        chunks: store.chunks(run).await.expect("chunks"),
        failures: store.failures(run).await.expect("failures"),
        events: store.events(0, 1000).await.expect("events"),
        by_asset,
    }
}
