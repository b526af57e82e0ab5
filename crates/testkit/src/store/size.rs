//! What is large: chunks, sets, indices.

use flowstone_core::partition::{PARTITIONS_MAX, PartitionSet};
use flowstone_core::run::CHUNK_LEN_MAX;
use flowstone_core::store::{ChunkProgress, ChunkState, Record, Store};

use super::StoreUnderTest;
use super::fixture::{assets, claimed, commit, made, make, many, one_to_one, progress, running, set};

/// As many materializations as one chunk may have, each with its lineage, in one record.
pub async fn a_full_chunk_is_committed_at_once<S: Store>(store: StoreUnderTest<S>) {
    let [asset, upstream] = assets(&*store).await;
    let run = running(&*store, 1).await;
    let partitions = PartitionSet::from_range(0..CHUNK_LEN_MAX);
    let progress = ChunkProgress {
        materialized: partitions
            .iter()
            .map(|partition| made(run, asset, partition, 1))
            .collect(),
        inputs: partitions
            .iter()
            .map(|step| many((asset, (step, step), 1), (upstream, (step, step + 6), 1)))
            .collect(),
        outdated: vec![(upstream, partitions.clone())],
        state: ChunkState::Ended,
        ..progress(run, asset, 0, 1)
    };

    commit(
        &*store,
        &[
            claimed(run, asset, 0, 1, partitions.clone()),
            Record::ChunkProgress(progress),
        ],
    )
    .await;

    assert_eq!(store.status(asset).await.expect("a status").materialized(), partitions);
    assert_eq!(
        store.heads(asset, &partitions).await.expect("heads").len() as u64,
        CHUNK_LEN_MAX
    );
    assert_eq!(store.uses_of(upstream, 100, None).await.expect("uses").len(), 7);
    assert_eq!(store.chunks(run).await.expect("chunks")[0].succeeded, partitions);
}

/// Sets with millions of members, in ranges and scattered.
pub async fn large_sets_are_kept<S: Store>(store: StoreUnderTest<S>) {
    let [asset, reader] = assets(&*store).await;
    let run = running(&*store, 1).await;
    let scattered: PartitionSet = (0..200_000).map(|number| number * 47).collect();
    let wide = PartitionSet::from_range(0..10_000_000);
    make(&*store, (run, 0), reader, (0..300).map(|number| number * 70_000), 1).await;
    let progress = ChunkProgress {
        skipped: scattered.clone(),
        outdated: vec![(reader, wide.clone())],
        ..progress(run, asset, 0, 1)
    };

    commit(
        &*store,
        &[claimed(run, asset, 0, 1, wide.clone()), Record::ChunkProgress(progress)],
    )
    .await;

    let chunks = store.chunks(run).await.expect("chunks");
    assert_eq!((&chunks[0].claim.steps, &chunks[0].skipped), (&wide, &scattered));
    let stale = store.status(reader).await.expect("a status").stale;
    assert_eq!(stale, set((0..300).map(|number| number * 70_000)).intersect(&wide));
}

/// Indices up to the last one that a space may have.
pub async fn the_last_partition_is_like_any_other<S: Store>(store: StoreUnderTest<S>) {
    const LAST: u64 = PARTITIONS_MAX - 1;
    let [asset, upstream] = assets(&*store).await;
    let run = running(&*store, 1).await;
    let edges = [0, 65_535, 65_536, u64::from(u32::MAX), u64::from(u32::MAX) + 1, LAST];
    let row = one_to_one((asset, (LAST - 1, LAST), 1), (upstream, LAST - 1, 1));
    let progress = ChunkProgress {
        materialized: edges.iter().map(|partition| made(run, asset, *partition, 1)).collect(),
        inputs: vec![row],
        ..progress(run, asset, 0, 1)
    };

    commit(
        &*store,
        &[claimed(run, asset, 0, 1, set(edges)), Record::ChunkProgress(progress)],
    )
    .await;

    assert_eq!(store.status(asset).await.expect("a status").materialized(), set(edges));
    let heads = store.heads(asset, &set(edges)).await.expect("heads");
    assert_eq!(heads.iter().map(|head| head.partition).collect::<Vec<_>>(), edges);
    assert_eq!(store.uses_of(upstream, LAST, None).await.expect("uses"), [row]);
    assert_eq!(
        store
            .inputs_of(asset, LAST, flowstone_core::Version(1))
            .await
            .expect("inputs"),
        [row]
    );
}
