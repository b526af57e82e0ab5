//! Names are data: any text is kept as it is.

use flowstone_core::io::{Address, Manifest, Stored};
use flowstone_core::partition::{PartitionSpace, StaticSpace};
use flowstone_core::store::{ChunkProgress, Record, RunRow, Store};
use flowstone_core::{AssetKey, ErrorRecord};

use super::StoreUnderTest;
use super::fixture::{claimed, commit, error, failure, key, made, progress, run_id, run_row, set};

pub(super) const TEXTS: &[&str] = &[
    " ",
    "'; DROP TABLE run; --",
    "\"quoted\" and `ticked` and \\escaped\\",
    "a\0b",
    "\0",
    "line\nline\r\n\ttab",
    "%s %_ ? $1 :name @name",
    "ünïcödé — 数据 — 🌊 — e\u{301} — \u{202e}",
    "../../etc",
    "NULL",
    "1",
    "1.0",
    "Case",
    "case",
    "case ",
];

/// Names of assets, partitions, pipelines and keys, addresses and messages, with every odd character.
pub async fn any_text_comes_back<S: Store>(store: StoreUnderTest<S>) {
    let longest = "n".repeat(512);
    let names: Vec<&str> = TEXTS.iter().copied().chain([longest.as_str()]).collect();
    let space = PartitionSpace::Static(StaticSpace::new(TEXTS.iter().copied()).expect("keys"));
    let assets: Vec<(AssetKey, PartitionSpace)> = names.iter().map(|name| (key(name), space.clone())).collect();
    let ids = store.declare_assets(&assets).await.expect("assets are declared");
    assert_eq!(ids.len(), names.len());
    assert_eq!(store.declare_assets(&assets).await.expect("assets are declared"), ids);

    let rows = store.assets().await.expect("assets");
    assert_eq!(rows.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), names);
    assert!(rows.iter().all(|row| row.space == space));
    for (number, text) in (1..).zip(&names) {
        let run = run_id(number);
        let text = (*text).to_owned();
        let failed = ErrorRecord {
            code: text.clone(),
            fix: Some(text.clone()),
            ..error(&text)
        };
        let row = RunRow {
            pipeline: text.clone(),
            idempotency_key: Some(text.clone()),
            error: Some(failed.clone()),
            ..run_row(run)
        };
        let mut there = made(run, ids[0], number, 1);
        there.stored = Stored {
            address: Address::Location(text.as_str().into()),
            manifest: Some(Manifest::of(&text).expect("it is short")),
            ..there.stored
        };
        let mut attempt = failure(ids[0], 0, 1, false);
        attempt.error = failed;
        let progress = ChunkProgress {
            materialized: vec![there.clone()],
            failed: vec![attempt.clone()],
            ..progress(run, ids[0], 0, 1)
        };
        let chunk = claimed(run, ids[0], 0, 1, set([0, number]));
        commit(
            &*store,
            &[Record::RunCreated(row.clone()), chunk, Record::ChunkProgress(progress)],
        )
        .await;

        assert_eq!(store.run_by_key(&text).await.expect("an answer"), Some(row));
        assert_eq!(store.heads(ids[0], &set([number])).await.expect("heads"), [there]);
        assert_eq!(store.failures(run).await.expect("failures"), [attempt]);
    }
}
