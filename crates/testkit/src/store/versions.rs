//! Materializations: never changed, and their versions only grow.

use flowstone_core::io::{Address, Manifest, Stored};
use flowstone_core::store::{ChunkProgress, Materialization, Record, Store};
use flowstone_core::{CodeVersion, DataVersion, ErrorKind, Version};

use super::StoreUnderTest;
use super::fixture::{assets, at, claimed, commit, made, make, progress, refused, running, set, verdicts};

/// A version that is not greater than the head's is refused with everything that its record carries.
pub async fn versions_only_grow<S: Store>(store: StoreUnderTest<S>) {
    let [asset] = assets(&*store).await;
    let run = running(&*store, 1).await;
    make(&*store, (run, 0), asset, [0], 5).await;
    commit(&*store, &[claimed(run, asset, 1, 1, set([0, 1]))]).await;
    for version in [5, 4, 1] {
        let materialized = vec![made(run, asset, 1, 1), made(run, asset, 0, version)];
        let behind = ChunkProgress {
            materialized,
            skipped: set([7]),
            ..progress(run, asset, 1, 1)
        };

        assert_eq!(
            refused(&*store, Record::ChunkProgress(behind)).await,
            ErrorKind::Conflict
        );
    }
    assert_eq!(
        store.status(asset).await.expect("a status").materialized(),
        set([0]),
        "a part of a refused record"
    );
    let chunk = &store.chunks(run).await.expect("chunks")[1];
    assert!(chunk.succeeded.is_empty() && chunk.skipped.is_empty());
    let ahead = ChunkProgress {
        materialized: vec![made(run, asset, 0, 9)],
        ..progress(run, asset, 1, 1)
    };
    let behind = ChunkProgress {
        materialized: vec![made(run, asset, 0, 8)],
        ..progress(run, asset, 1, 1)
    };
    let verdicts = verdicts(&*store, &[Record::ChunkProgress(ahead), Record::ChunkProgress(behind)]).await;
    assert!(verdicts[0].is_ok());
    assert_eq!(
        verdicts[1]
            .as_ref()
            .expect_err("it is behind the head of its own group")
            .kind(),
        ErrorKind::Conflict
    );
    assert_eq!(head(&*store, asset, 0).await.expect("a head").version, Version(9));
}

/// Everything that a materialization says is kept.
pub async fn a_materialization_comes_back_as_it_was<S: Store>(store: StoreUnderTest<S>) {
    let [asset] = assets(&*store).await;
    let run = running(&*store, 1).await;
    let inline = Materialization {
        stored: Stored {
            address: Address::Inline(bytes::Bytes::from_static(&[0, 255, 39, 34, 0])),
            data_version: DataVersion(u128::MAX),
            bytes: 5,
            rows: Some(0),
            manifest: None,
        },
        code_version: CodeVersion(u128::MAX - 1),
        attempt: u32::MAX,
        started_at: at(-100_000),
        ended_at: at(100_000),
        ..made(run, asset, 0, 1)
    };
    let far = Materialization {
        stored: Stored {
            address: Address::Location("a place".into()),
            data_version: DataVersion(0),
            bytes: i64::MAX as u64,
            rows: Some(i64::MAX as u64),
            manifest: Some(Manifest::of(&"ü\0'").expect("it is short")),
        },
        ..made(run, asset, 1, 1_000_000)
    };
    let materialized = vec![inline.clone(), far.clone()];
    let progress = ChunkProgress {
        materialized,
        ..progress(run, asset, 0, 1)
    };

    commit(
        &*store,
        &[claimed(run, asset, 0, 1, set([0, 1])), Record::ChunkProgress(progress)],
    )
    .await;

    assert_eq!(head(&*store, asset, 0).await, Some(inline));
    assert_eq!(head(&*store, asset, 1).await, Some(far));
}

/// Heads come in order of partition, and only for those that have one.
pub async fn heads_are_found_by_partition<S: Store>(store: StoreUnderTest<S>) {
    let [asset, other] = assets(&*store).await;
    let run = running(&*store, 1).await;
    make(&*store, (run, 0), asset, [9, 2, 70_000], 1).await;
    make(&*store, (run, 1), asset, [2], 2).await;
    make(&*store, (run, 0), other, [3], 1).await;

    let heads = store
        .heads(asset, &set([0, 2, 3, 9, 70_000, 70_001]))
        .await
        .expect("heads");

    assert_eq!(
        heads,
        [
            made(run, asset, 2, 2),
            made(run, asset, 9, 1),
            made(run, asset, 70_000, 1)
        ]
    );
    assert_eq!(store.heads(asset, &set([])).await.expect("heads"), []);
}

/// What was replaced is still there.
pub async fn old_versions_can_be_asked_for<S: Store>(store: StoreUnderTest<S>) {
    let [asset] = assets(&*store).await;
    let run = running(&*store, 1).await;
    for (chunk, version) in [(0, 1), (1, 2), (2, 4)] {
        make(&*store, (run, chunk), asset, [0], version).await;
    }

    for version in 0..6 {
        let found = store
            .materialization(asset, 0, Some(Version(version)))
            .await
            .expect("an answer");
        let expected = [1, 2, 4].contains(&version).then(|| made(run, asset, 0, version));
        assert_eq!(found, expected);
    }
    assert_eq!(head(&*store, asset, 0).await, Some(made(run, asset, 0, 4)));
    assert_eq!(head(&*store, asset, 1).await, None);
}

async fn head(store: &impl Store, asset: flowstone_core::AssetId, partition: u64) -> Option<Materialization> {
    store.materialization(asset, partition, None).await.expect("an answer")
}
