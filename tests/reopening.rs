//! One process may close its state and open it again, as often as it likes.

#![cfg(all(feature = "cli", feature = "macros"))]

use flowstone::prelude::*;
use flowstone::sqlite::SqliteStore;

#[asset]
async fn number() -> i64 {
    1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_engines_on_one_folder_one_after_the_other() -> Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    for round in 1..=10 {
        let pipeline = Pipeline::builder("reopened").assets(assets![number]).build()?;
        let store = std::sync::Arc::new(SqliteStore::open(folder.path()).await?);
        let engine = Engine::start(pipeline, store.clone(), flowstone::EngineOptions::default()).await?;
        let request = RunRequest {
            assets: vec!["number".parse()?],
            targets: vec!["number".parse()?],
            force: Force::All,
            ..RunRequest::default()
        };
        let report = engine.run(request).await?;
        assert_eq!(report.counts.succeeded, 1, "round {round}");

        engine.shutdown().await?;

        let alone = std::sync::Arc::into_inner(store).expect("nobody else has the store");
        alone.close().await?;
    }
    Ok(())
}
