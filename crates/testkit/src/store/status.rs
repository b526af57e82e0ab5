//! Status sets, which change in the commit that carries their cause.

use flowstone_core::store::{AssetStatus, ChunkProgress, Record, Store};
use flowstone_core::{AssetId, CodeVersion, RunId, Version};

use super::StoreUnderTest;
use super::fixture::{assets, claimed, commit, failure, made, make, progress, running, set};

/// An asset that was declared, or never heard of, has an empty status.
pub async fn nothing_is_known_of_an_asset_without_work<S: Store>(store: StoreUnderTest<S>) {
    let [asset] = assets(&*store).await;

    assert_eq!(store.status(asset).await.expect("a status"), AssetStatus::default());
    assert_eq!(
        store.status(AssetId(asset.0 + 1)).await.expect("a status"),
        AssetStatus::default()
    );
}

/// A partition stands under the version and the code of its head.
pub async fn heads_stand_in_one_set_each<S: Store>(store: StoreUnderTest<S>) {
    let [asset] = assets(&*store).await;
    let run = running(&*store, 1).await;
    make(&*store, (run, 0), asset, 0..10, 1).await;
    make(&*store, (run, 1), asset, [3, 4], 2).await;
    let mut other_code = made(run, asset, 5, 2);
    other_code.code_version = CodeVersion(2);
    let by_other = ChunkProgress {
        materialized: vec![other_code],
        ..progress(run, asset, 2, 1)
    };
    commit(
        &*store,
        &[claimed(run, asset, 2, 1, set([5])), Record::ChunkProgress(by_other)],
    )
    .await;

    let status = store.status(asset).await.expect("a status");

    let mut heads: Vec<_> = status
        .heads
        .iter()
        .map(|set| (set.version, set.code_version, set.partitions.clone()))
        .collect();
    heads.sort_by_key(|(version, code, _)| (*version, *code));
    let expected = [
        (Version(1), CodeVersion(1), set([0, 1, 2, 6, 7, 8, 9])),
        (Version(2), CodeVersion(1), set([3, 4])),
        (Version(2), CodeVersion(2), set([5])),
    ];
    assert_eq!(heads, expected);
}

/// An attempt that is followed by another marks nothing; the last one does, until a value is made.
pub async fn a_final_failure_marks_until_a_value_is_made<S: Store>(store: StoreUnderTest<S>) {
    let [asset] = assets(&*store).await;
    let run = running(&*store, 1).await;
    let failed = vec![
        failure(asset, 0, 1, false),
        failure(asset, 1, 1, true),
        failure(asset, 2, 1, true),
    ];
    let progress = ChunkProgress {
        failed,
        ..progress(run, asset, 0, 1)
    };
    commit(
        &*store,
        &[
            claimed(run, asset, 0, 1, set([0, 1, 2])),
            Record::ChunkProgress(progress),
        ],
    )
    .await;
    assert_eq!(store.status(asset).await.expect("a status").failed, set([1, 2]));

    make(&*store, (run, 1), asset, [1], 1).await;

    let status = store.status(asset).await.expect("a status");
    assert_eq!((status.failed.clone(), status.materialized()), (set([2]), set([1])));
}

/// Only what has a value can be outdated, in whatever asset.
pub async fn only_what_was_made_goes_stale<S: Store>(store: StoreUnderTest<S>) {
    let [upstream, reader, other] = assets(&*store).await;
    let run = running(&*store, 1).await;
    make(&*store, (run, 0), reader, [0, 1], 1).await;
    make(&*store, (run, 0), other, [5], 1).await;

    change(
        &*store,
        run,
        upstream,
        vec![(reader, set([1, 2])), (other, set([5, 6]))],
    )
    .await;

    let (reader_status, other_status) = (status(&*store, reader).await, status(&*store, other).await);
    assert_eq!((reader_status.stale, other_status.stale), (set([1]), set([5])));
    assert!(status(&*store, upstream).await.stale.is_empty());
    // What is made afterwards is not stale for what had changed before.
    make(&*store, (run, 1), reader, [2], 1).await;
    assert_eq!(status(&*store, reader).await.stale, set([1]));
}

/// A value that was made, or found to be current, is not stale any more; one that was skipped still is.
pub async fn what_is_made_or_unchanged_is_not_stale<S: Store>(store: StoreUnderTest<S>) {
    let [upstream, reader] = assets(&*store).await;
    let run = running(&*store, 1).await;
    make(&*store, (run, 0), reader, 0..5, 1).await;
    change(&*store, run, upstream, vec![(reader, set(0..5))]).await;
    let caught_up = ChunkProgress {
        materialized: vec![made(run, reader, 0, 2)],
        unchanged: set([1]),
        skipped: set([2]),
        failed: vec![failure(reader, 3, 1, true)],
        ..progress(run, reader, 1, 1)
    };

    commit(
        &*store,
        &[claimed(run, reader, 1, 1, set(0..5)), Record::ChunkProgress(caught_up)],
    )
    .await;

    assert_eq!(status(&*store, reader).await.stale, set([2, 3, 4]));
}

async fn status(store: &impl Store, asset: AssetId) -> AssetStatus {
    store.status(asset).await.expect("a status")
}

/// Makes partition 0 of `upstream`, and says what that outdates.
async fn change(
    store: &impl Store,
    run: RunId,
    upstream: AssetId,
    outdated: Vec<(AssetId, flowstone_core::partition::PartitionSet)>,
) {
    let materialized = vec![made(run, upstream, 0, 1)];
    let progress = ChunkProgress {
        materialized,
        outdated,
        ..progress(run, upstream, 0, 1)
    };
    commit(
        store,
        &[claimed(run, upstream, 0, 1, set([0])), Record::ChunkProgress(progress)],
    )
    .await;
}
