//! Whatever was stored comes back as it was.

use bytes::Bytes;
use flowstone_core::io::{Address, Stored};
use flowstone_core::partition::{Daily, PartitionSpace, Partitions};
use flowstone_core::run::RunState;
use flowstone_core::store::{AssetStatus, ChunkProgress, ChunkState, HeadSet, Record, RunRow, Store};
use flowstone_core::{AssetKey, DataVersion, Error, ErrorKind, ErrorRecord, Version};
use flowstone_store::SqliteStore;

use super::samples::*;

#[tokio::test]
async fn what_was_committed_is_there_after_a_restart() {
    let (state, store) = fresh().await;
    let assets = declare(&store, 2).await;
    let inputs = vec![input(assets[1], (0, 2), assets[0], (0, 0))];
    let ended = ChunkProgress {
        inputs: inputs.clone(),
        skipped: set([3]),
        unchanged: set([4]),
        failed: vec![failure(assets[1], 5, true)],
        state: ChunkState::Ended,
        ..making(assets[1], (0, 1), &set(0..3), 1)
    };
    let plan = Bytes::from_static(b"plan");
    take(
        &store,
        &[
            created(RUN),
            Record::RunPlanned {
                run: RUN,
                plan: plan.clone(),
            },
        ],
    )
    .await;
    take(
        &store,
        &[claim(assets[1], 0, 1, set(0..6)), Record::ChunkProgress(ended.clone())],
    )
    .await;
    take(&store, &[moved(RUN, RunState::Running)]).await;
    let before = (store.run(RUN).await.unwrap(), store.chunks(RUN).await.unwrap());

    drop(store);
    let store = SqliteStore::open(state.path()).await.unwrap();

    let run = store.run(RUN).await.unwrap().unwrap();
    assert_eq!(
        (run.plan.clone(), run.state, run.counts.total),
        (Some(plan), RunState::Running, 3)
    );
    let chunks = store.chunks(RUN).await.unwrap();
    assert_eq!((chunks[0].state, &chunks[0].succeeded), (ChunkState::Ended, &set(0..3)));
    assert_eq!((&chunks[0].skipped, &chunks[0].unchanged), (&set([3]), &set([4])));
    assert_eq!(before, (Some(run), chunks));
    assert_eq!(store.heads(assets[1], &set(0..10)).await.unwrap(), ended.materialized);
    assert_eq!(store.inputs_of(assets[1], 1, Version(1)).await.unwrap(), inputs);
    assert_eq!(store.failures(RUN).await.unwrap(), ended.failed);
    let status = AssetStatus {
        heads: vec![HeadSet {
            version: Version(1),
            code_version: OLD_CODE,
            partitions: set(0..3),
        }],
        failed: set([5]),
        stale: set([]),
    };
    assert_eq!(store.status(assets[1]).await.unwrap(), status);
}

#[tokio::test]
async fn any_text_comes_back_as_it_was() {
    let (_state, store) = fresh().await;
    take(&store, &[created(RUN)]).await;
    let texts = [
        "",
        "'; DROP TABLE run; --",
        "\0nul\0",
        "\"quoted\"",
        "ünï \u{202e}\u{1f600}",
        "?1 $1 :a @b",
        "a\r\n\tb",
    ];
    for (no, text) in texts.into_iter().enumerate() {
        let run = run_id(no as u128 + 100);
        let error = ErrorRecord {
            message: text.into(),
            fix: Some(text.into()),
            ..Error::permanent("").to_record()
        };
        let row = RunRow {
            pipeline: text.into(),
            idempotency_key: Some(text.into()),
            request: text.as_bytes().to_vec().into(),
            plan: Some(text.as_bytes().to_vec().into()),
            error: Some(error),
            ..run_row(run)
        };
        let name = AssetKey::new(format!("{run}{text}")).unwrap();
        let asset = store
            .declare_assets(&[(name.clone(), PartitionSpace::Unit)])
            .await
            .unwrap()[0];
        let mut made = made(asset, 0, 1);
        made.stored.address = Address::Location(text.into());
        let progress = ChunkProgress {
            materialized: vec![made.clone()],
            ..progress(asset, 0, 1)
        };

        take(&store, &[Record::RunCreated(row.clone()), claim(asset, 0, 1, set([0]))]).await;
        take(&store, &[Record::ChunkProgress(progress)]).await;

        assert_eq!(store.run_by_key(text).await.unwrap(), Some(row), "{text:?}");
        assert_eq!(store.heads(asset, &set([0])).await.unwrap(), [made], "{text:?}");
        assert_eq!(store.assets().await.unwrap()[asset.0 as usize].key, name, "{text:?}");
    }
}

#[tokio::test]
async fn extreme_numbers_come_back_and_greater_ones_are_refused() {
    let (_state, store) = fresh().await;
    let assets = declare(&store, 1).await;
    let (last, version) = (i64::MAX as u64, (1 << 57) - 1);
    let stored = Stored {
        address: Address::Inline(Bytes::new()),
        data_version: DataVersion(u128::MAX),
        bytes: last,
        rows: Some(last),
        manifest: None,
    };
    let mut extreme = making(assets[0], (last, last), &set([last]), version);
    extreme.materialized[0].stored = stored;
    extreme.materialized[0].attempt = u32::MAX;
    take(&store, &[created(RUN), claim(assets[0], last, last, set([u64::MAX]))]).await;
    take(&store, &[Record::ChunkProgress(extreme.clone())]).await;

    let verdicts = store
        .commit(&[
            claim(assets[0], last + 1, 1, set([0])),
            claim(assets[0], 0, u64::MAX, set([0])),
            Record::ChunkProgress(making(assets[0], (last, last), &set([u64::MAX]), 1)),
            Record::ChunkProgress(making(assets[0], (last, last), &set([0]), version + 1)),
        ])
        .await
        .unwrap();

    let out = Some(ErrorKind::OutOfRange);
    assert_eq!(kinds(&verdicts), [out, out, out, out]);
    assert_eq!(
        store.heads(assets[0], &set([last])).await.unwrap(),
        extreme.materialized
    );
    assert_eq!(store.heads(assets[0], &set([u64::MAX])).await.unwrap(), []);
    assert_eq!(store.chunks(RUN).await.unwrap()[0].claim.steps, set([u64::MAX]));
}

#[tokio::test]
async fn assets_keep_their_ids_and_take_a_longer_space() {
    let (state, store) = fresh().await;
    let name = |name: &str| AssetKey::new(name).unwrap();
    let built = |days: Daily| Partitions::from(days).build().unwrap();
    let days = built(Daily::from("2013-01-01"));
    let one_year = built(Daily::from("2013-01-01").until("2014-01-01"));
    let first = store
        .declare_assets(&[(name("a"), PartitionSpace::Unit), (name("b"), one_year)])
        .await
        .unwrap();
    drop(store);
    let store = SqliteStore::open(state.path()).await.unwrap();

    let second = store
        .declare_assets(&[
            (name("c"), PartitionSpace::Unit),
            (name("b"), days.clone()),
            (name("c"), PartitionSpace::Unit),
        ])
        .await
        .unwrap();

    assert_eq!((first[0].0, first[1].0), (0, 1));
    assert_eq!((second[0].0, second[1], second[2].0), (2, first[1], 2));
    let spaces: Vec<_> = store.assets().await.unwrap().into_iter().map(|row| row.space).collect();
    assert_eq!(spaces, [PartitionSpace::Unit, days, PartitionSpace::Unit]);
}

#[tokio::test]
async fn the_size_is_told_by_table() {
    let (_state, store) = fresh().await;
    let assets = declare(&store, 1).await;
    take(&store, &[created(RUN), claim(assets[0], 0, 1, set(0..100))]).await;
    take(
        &store,
        &[Record::ChunkProgress(making(assets[0], (0, 1), &set(0..100), 1))],
    )
    .await;

    let stats = store.stats().await.unwrap();

    assert_eq!(stats.schema_version, 1);
    assert_eq!(stats.tables["materialization"].0, 100);
    assert!(
        stats
            .tables
            .values()
            .all(|(_, bytes)| bytes.is_some_and(|bytes| bytes > 0 && bytes < stats.bytes))
    );
}
