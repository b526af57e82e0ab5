//! Dynamic sets: keys that are added, retired, taken back, and keep their index.

use flowstone_core::ErrorKind;
use flowstone_core::partition::{DynamicKey, DynamicSpace, KEYS_PER_CALL_MAX, PartitionKey, PartitionSpace};
use flowstone_core::store::Store;

use super::StoreUnderTest;
use super::fixture::{at, key};
use super::text::TEXTS;

fn keys(names: &[&str]) -> Vec<PartitionKey> {
    names.iter().map(|name| PartitionKey::from(*name)).collect()
}

fn row(index: u64, name: &str, added: i64, retired: Option<i64>) -> DynamicKey {
    DynamicKey {
        index,
        key: PartitionKey::from(name),
        added_at: at(added),
        retired_at: retired.map(at),
    }
}

fn rows(set: &DynamicSpace) -> Vec<DynamicKey> {
    (0..set.len()).map_while(|index| set.entry(index)).collect()
}

async fn rows_of(store: &impl Store, set: &str) -> Vec<DynamicKey> {
    rows(&store.dynamic_set(set).await.expect("a set"))
}

/// Keys get the next index in the order given; one that is there keeps its own, and a set knows nothing of another.
pub async fn dynamic_keys_keep_their_index<S: Store>(store: StoreUnderTest<S>) {
    assert!(rows_of(&*store, "a").await.is_empty());
    let add = async |set, names: &[&str], time| store.add_dynamic_keys(set, &keys(names), at(time)).await;

    assert_eq!(add("a", &["x", "y", "x"], 1).await.expect("added"), [0, 1, 0]);
    assert_eq!(add("'b'", &["y"], 2).await.expect("added"), [0]);
    assert_eq!(add("a", &["z", "y"], 3).await.expect("added"), [2, 1]);
    assert!(add("a", &[], 9).await.expect("nothing").is_empty());

    let all = [row(0, "x", 1, None), row(1, "y", 1, None), row(2, "z", 3, None)];
    assert_eq!(rows_of(&*store, "a").await, all);
    assert_eq!(rows_of(&*store, "'b'").await, [row(0, "y", 2, None)]);
}

/// Any key comes back as it was, and those that look alike are kept apart; one that breaks a limit is refused, and nothing
/// of its call is kept.
pub async fn dynamic_keys_may_be_any<S: Store>(store: StoreUnderTest<S>) {
    let texts = TEXTS.iter().map(|text| PartitionKey::from(*text));
    let alike = [PartitionKey::Int(1), "1".into(), PartitionKey::Unit, "()".into()];
    let nested = PartitionKey::tuple(["a".into(), PartitionKey::Int(-1)]).expect("a key");
    let mut any: Vec<_> = texts.chain(alike).chain([nested]).collect();
    any.sort();
    any.dedup();

    let added = store.add_dynamic_keys("any", &any, at(1)).await.expect("added");

    assert_eq!(added, (0..any.len() as u64).collect::<Vec<_>>());
    let found: Vec<_> = rows_of(&*store, "any").await.into_iter().map(|row| row.key).collect();
    assert_eq!(found, any);
    let long = [PartitionKey::from("new"), PartitionKey::Text("x".repeat(2000))];
    let many = vec![PartitionKey::from("new"); KEYS_PER_CALL_MAX + 1];
    for refused in [&long[..], &many] {
        let refused = store
            .add_dynamic_keys("any", refused, at(2))
            .await
            .expect_err("a limit");
        assert_eq!(refused.kind(), ErrorKind::LimitExceeded);
    }
    let set = store.dynamic_set("any").await.expect("a set");
    assert_eq!(set.find(&"new".into()), None);
    let refused = store.add_dynamic_keys("", &any, at(2)).await.expect_err("no name");
    assert_eq!(refused.kind(), ErrorKind::Invalid);
}

/// A retired key stays and says since when; adding takes it back; an unknown one is refused and none is retired.
pub async fn dynamic_keys_are_retired_and_taken_back<S: Store>(store: StoreUnderTest<S>) {
    let retire = async |set, names: &[&str], time| store.retire_dynamic_keys(set, &keys(names), at(time)).await;
    store
        .add_dynamic_keys("a", &keys(&["x", "y", "z"]), at(1))
        .await
        .expect("added");

    assert_eq!(retire("a", &["z", "x"], 2).await.expect("retired"), [2, 0]);
    assert_eq!(retire("a", &["x", "x"], 3).await.expect("retired"), [0, 0]);
    for (set, names) in [("a", &["y", "w"][..]), ("b", &["y"])] {
        let refused = retire(set, names, 3).await.expect_err("no such key");
        assert_eq!(
            (refused.kind(), refused.stable_code()),
            (ErrorKind::NotFound, "partition_unknown")
        );
    }

    let taken_back = store.add_dynamic_keys("a", &keys(&["z", "w"]), at(4)).await;
    assert_eq!(taken_back.expect("added"), [2, 3]);
    let all = [
        row(0, "x", 1, Some(2)),
        row(1, "y", 1, None),
        row(2, "z", 1, None),
        row(3, "w", 4, None),
    ];
    assert_eq!(rows_of(&*store, "a").await, all);
}

/// Who holds a set sees what the store adds and retires later, and so do the spaces of assets.
pub async fn dynamic_sets_are_shared<S: Store>(store: StoreUnderTest<S>) {
    let space = || PartitionSpace::Dynamic(DynamicSpace::new("a").expect("a set"));
    let declared = [(key("one"), space()), (key("two"), space())];
    store.declare_assets(&declared).await.expect("ids");
    let held = store.dynamic_set("a").await.expect("a set");
    let assets = store.assets().await.expect("assets");

    store
        .add_dynamic_keys("a", &keys(&["x", "y"]), at(1))
        .await
        .expect("added");
    store
        .retire_dynamic_keys("a", &keys(&["x"]), at(2))
        .await
        .expect("retired");

    assert_eq!(rows(&held), [row(0, "x", 1, Some(2)), row(1, "y", 1, None)]);
    for asset in assets {
        assert_eq!(asset.space.parse("y").expect("a key"), 1);
        assert_eq!(asset.space.existing_at(at(3)).expect("few").len(), 1);
    }
}

/// Keys and retirements are there when the store is opened again, more of them than any page holds.
pub async fn dynamic_sets_survive<S: Store>(under_test: StoreUnderTest<S>) {
    let StoreUnderTest { store, reopen, kept } = under_test;
    let many: Vec<PartitionKey> = (0..10_000)
        .map(|number| PartitionKey::from(format!("k{number}")))
        .collect();
    for (time, some) in (1..).zip(many.chunks(3_000)) {
        store.add_dynamic_keys("a", some, at(time)).await.expect("added");
    }
    store
        .retire_dynamic_keys("a", &many[3..4], at(9))
        .await
        .expect("retired");
    let before = rows_of(&store, "a").await;

    let store = match reopen {
        Some(reopen) => reopen(store).await.expect("it opens again"),
        None => store,
    };

    let after = rows_of(&store, "a").await;
    assert_eq!((after.len(), after[3].retired_at), (10_000, Some(at(9))));
    assert!(after == before, "the keys are others than before");
    let more = store.add_dynamic_keys("a", &keys(&["k9999", "new"]), at(10)).await;
    assert_eq!(more.expect("added"), [9_999, 10_000]);
    drop((store, kept));
}
