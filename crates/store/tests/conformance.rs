//! The SQLite ledger keeps the promises of a store.

use flowstone_store::SqliteStore;
use flowstone_testkit::store::StoreUnderTest;

/// An empty ledger in a folder of its own.
async fn empty() -> StoreUnderTest<SqliteStore> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_owned();
    let reopen = move |store: SqliteStore| {
        let path = path.clone();
        async move {
            store.close().await?;
            SqliteStore::open(&path).await
        }
    };
    let store = SqliteStore::open(folder.path()).await.expect("an empty ledger");
    StoreUnderTest::new(store).reopened_by(reopen).keeping(folder)
}

flowstone_testkit::store_conformance!(empty().await);
