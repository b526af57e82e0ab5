//! Assets: dense numbers for names, once and for ever.

use flowstone_core::AssetId;
use flowstone_core::partition::PartitionSpace;
use flowstone_core::store::{AssetRow, Store};

use super::StoreUnderTest;
use super::fixture::{key, letters};

/// Numbers count up from 0 in the order of declaration, and stay with their names.
pub async fn asset_ids_are_dense_and_never_change<S: Store>(store: StoreUnderTest<S>) {
    assert!(store.assets().await.expect("assets").is_empty());
    assert!(store.declare_assets(&[]).await.expect("ids").is_empty());
    let declare = async |names: &[&str]| -> Vec<AssetId> {
        let rows: Vec<_> = names.iter().map(|name| (key(name), PartitionSpace::Unit)).collect();
        store.declare_assets(&rows).await.expect("assets are declared")
    };

    assert_eq!(declare(&["c", "a"]).await, [AssetId(0), AssetId(1)]);
    assert_eq!(
        declare(&["b", "a", "d", "c"]).await,
        [AssetId(2), AssetId(1), AssetId(3), AssetId(0)]
    );
    assert_eq!(declare(&["a"]).await, [AssetId(1)]);

    let rows = store.assets().await.expect("assets");
    let listed: Vec<_> = rows.iter().map(|row| (row.id.0, row.key.as_str())).collect();
    assert_eq!(listed, [(0, "c"), (1, "a"), (2, "b"), (3, "d")]);
}

/// The space of the last declaration counts; the number stays.
pub async fn declaring_again_replaces_the_space<S: Store>(store: StoreUnderTest<S>) {
    let first = store
        .declare_assets(&[(key("a"), PartitionSpace::Unit)])
        .await
        .expect("ids");

    let again = store.declare_assets(&[(key("a"), letters())]).await.expect("ids");

    assert_eq!(again, first);
    let rows = store.assets().await.expect("assets");
    assert_eq!(
        rows,
        [AssetRow {
            id: first[0],
            key: key("a"),
            space: letters()
        }]
    );
}
