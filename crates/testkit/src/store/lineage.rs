//! Lineage, as intervals, asked from both ends.

use flowstone_core::store::{ChunkProgress, LineageInput, Record, Store};
use flowstone_core::{AssetId, RunId, Version};

use super::StoreUnderTest;
use super::fixture::{assets, claimed, commit, made, many, one_to_one, progress, running, set};

/// Commits a chunk that made what `inputs` say, at `version`.
async fn commit_inputs(
    store: &impl Store,
    (run, chunk): (RunId, u64),
    asset: AssetId,
    version: u64,
    inputs: &[LineageInput],
) {
    let partitions = set(inputs.iter().flat_map(|input| input.partitions.0..=input.partitions.1));
    let materialized = partitions
        .iter()
        .map(|partition| made(run, asset, partition, version))
        .collect();
    let progress = ChunkProgress {
        materialized,
        inputs: inputs.to_vec(),
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

/// The rows that cover a materialization, of whatever upstream, and no others.
pub async fn inputs_are_found_by_what_was_made<S: Store>(store: StoreUnderTest<S>) {
    let [asset, other, left, right] = assets(&*store).await;
    let run = running(&*store, 1).await;
    let pairs = one_to_one((asset, (10, 19), 1), (left, 0, 3));
    let broad = many((asset, (10, 14), 1), (right, (0, 3649), 1));
    let same_place = many((other, (10, 19), 1), (left, (0, 0), 1));
    commit_inputs(&*store, (run, 0), asset, 1, &[pairs, broad]).await;
    commit_inputs(&*store, (run, 0), other, 1, &[same_place]).await;

    assert_eq!(inputs(&*store, asset, 10, 1).await, sorted([pairs, broad]));
    assert_eq!(inputs(&*store, asset, 14, 1).await, sorted([pairs, broad]));
    assert_eq!(inputs(&*store, asset, 15, 1).await, [pairs]);
    assert_eq!(inputs(&*store, asset, 19, 1).await, [pairs]);
    for (partition, version) in [(9, 1), (20, 1), (10, 2)] {
        assert!(inputs(&*store, asset, partition, version).await.is_empty());
    }
}

/// What was made before keeps what it was made from.
pub async fn old_versions_keep_their_inputs<S: Store>(store: StoreUnderTest<S>) {
    let [asset, upstream] = assets(&*store).await;
    let run = running(&*store, 1).await;
    let first = one_to_one((asset, (0, 9), 1), (upstream, 0, 1));
    let second = one_to_one((asset, (4, 5), 2), (upstream, 4, 2));
    commit_inputs(&*store, (run, 0), asset, 1, &[first]).await;
    commit_inputs(&*store, (run, 1), asset, 2, &[second]).await;

    assert_eq!(inputs(&*store, asset, 4, 1).await, [first]);
    assert_eq!(inputs(&*store, asset, 4, 2).await, [second]);
    assert_eq!(uses(&*store, upstream, 4, None).await, sorted([first, second]));
}

/// The rows that name a partition as their upstream, at one version or at any.
pub async fn uses_are_found_by_what_was_read<S: Store>(store: StoreUnderTest<S>) {
    let [first, second, upstream, other] = assets(&*store).await;
    let run = running(&*store, 1).await;
    let pairs = one_to_one((first, (100, 109), 1), (upstream, 5, 3));
    let broad = many((second, (0, 0), 1), (upstream, (0, 9), 2));
    let elsewhere = many((second, (0, 0), 1), (other, (0, 9), 3));
    commit_inputs(&*store, (run, 0), first, 1, &[pairs]).await;
    commit_inputs(&*store, (run, 0), second, 1, &[broad, elsewhere]).await;

    assert_eq!(uses(&*store, upstream, 4, None).await, [broad]);
    assert_eq!(uses(&*store, upstream, 5, None).await, sorted([pairs, broad]));
    assert_eq!(uses(&*store, upstream, 5, Some(3)).await, [pairs]);
    assert_eq!(uses(&*store, upstream, 9, Some(2)).await, [broad]);
    assert_eq!(uses(&*store, upstream, 14, None).await, [pairs]);
    for (partition, version) in [(15, None), (5, Some(1)), (14, Some(2))] {
        assert!(uses(&*store, upstream, partition, version).await.is_empty());
    }
}

async fn inputs(store: &impl Store, asset: AssetId, partition: u64, version: u64) -> Vec<LineageInput> {
    sorted(
        store
            .inputs_of(asset, partition, Version(version))
            .await
            .expect("inputs"),
    )
}

async fn uses(store: &impl Store, upstream: AssetId, partition: u64, version: Option<u64>) -> Vec<LineageInput> {
    sorted(
        store
            .uses_of(upstream, partition, version.map(Version))
            .await
            .expect("uses"),
    )
}

fn sorted(inputs: impl IntoIterator<Item = LineageInput>) -> Vec<LineageInput> {
    let mut inputs: Vec<LineageInput> = inputs.into_iter().collect();
    inputs.sort_by_key(|input| {
        (
            input.asset,
            input.upstream,
            input.partitions,
            input.version,
            input.upstream_version,
        )
    });
    inputs
}
