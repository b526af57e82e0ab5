//! Assets: dense numbers for names, once and for ever.

use flowstone_core::partition::{PartitionSpace, StaticSpace};
use flowstone_core::store::{AssetRow, Store};
use flowstone_core::{AssetId, ErrorKind};

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

/// A space that has more behind its end is the one that counts; the number stays.
pub async fn declaring_a_longer_space_replaces_it<S: Store>(store: StoreUnderTest<S>) {
    let short = PartitionSpace::Static(StaticSpace::new(["a", "b"]).expect("a space"));
    let first = store.declare_assets(&[(key("a"), short)]).await.expect("ids");

    let again = store.declare_assets(&[(key("a"), letters())]).await.expect("ids");

    assert_eq!(again, first);
    let rows = store.assets().await.expect("assets");
    assert_eq!(
        rows,
        [AssetRow {
            id: first[0],
            key: key("a"),
            space: letters(),
            is_former: false,
        }]
    );
}

/// A space in which an index would mean another partition is no matter of declaring.
pub async fn a_space_that_is_another_is_not_declared<S: Store>(store: StoreUnderTest<S>) {
    store.declare_assets(&[(key("a"), letters())]).await.expect("ids");
    let before = store.assets().await.expect("assets");

    for other in [["b", "a", "c"].as_slice(), &["a", "b"]] {
        let other = PartitionSpace::Static(StaticSpace::new(other.iter().copied()).expect("a space"));
        let declared = [(key("new"), letters()), (key("a"), other)];
        let refused = store.declare_assets(&declared).await.expect_err("it is refused");

        assert_eq!(
            (refused.kind(), refused.stable_code()),
            (ErrorKind::Conflict, "partitions_redefined")
        );
        assert_eq!(store.assets().await.expect("assets"), before, "nothing is declared");
    }
}
