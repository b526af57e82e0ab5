//! Listing: everything that attempts left, and nothing else; or a clear refusal.

use std::collections::BTreeMap;

use flowstone_core::io::{Address, Listed, Slot, Stored};
use flowstone_core::{AssetId, ErrorKind};
use futures::TryStreamExt;

use super::{IoUnderTest, slot};

/// Large enough that no manager keeps it in the ledger.
const LARGE: u64 = 5000;

/// A manager that claims to list finds each value by its place and knows whose it is; also after another was deleted.
pub async fn what_is_there_is_listed(under_test: IoUnderTest) {
    let io = &under_test.io;
    if !io.lists() {
        return;
    }
    let mut expected: BTreeMap<String, Slot> = BTreeMap::new();
    let mut last: Option<Stored> = None;
    for sample in under_test.accepted() {
        let slots = [
            slot(0),
            Slot { attempt: 2, ..slot(0) },
            Slot {
                fence: 9,
                ..slot(70_000)
            },
        ];
        for slot in slots {
            let stored = io.store(slot, &sample.value(LARGE)).await.expect("it is stored");
            if let Some(place) = stored.address.place() {
                expected.insert(place.to_owned(), slot);
                last = Some(stored);
            }
        }
        let other = Slot {
            asset: AssetId(4),
            ..slot(0)
        };
        io.store(other, &sample.value(LARGE)).await.expect("it is stored");
    }

    assert_eq!(places(&listed(&under_test, AssetId(3)).await), expected);
    assert_eq!(listed(&under_test, AssetId(5)).await, []);
    let last = last.expect("a large value lies outside the ledger");
    let place = last.address.place().expect("it has a place");
    io.delete(&Address::Location(place.into()))
        .await
        .expect("what is listed can be deleted by its place");
    expected.remove(place);
    assert_eq!(places(&listed(&under_test, AssetId(3)).await), expected);
}

/// A manager that does not claim to list refuses.
pub async fn who_cannot_list_says_so(under_test: IoUnderTest) {
    if under_test.io.lists() {
        return;
    }
    let Err(refusal) = under_test.io.list(AssetId(3)) else {
        panic!("it does not claim to list, and lists");
    };
    assert_eq!(refusal.kind(), ErrorKind::Unsupported, "{refusal}");
}

async fn listed(under_test: &IoUnderTest, asset: AssetId) -> Vec<Listed> {
    let listing = under_test.io.list(asset).expect("it lists");
    listing.try_collect().await.expect("everything is listed")
}

fn places(listed: &[Listed]) -> BTreeMap<String, Slot> {
    assert!(listed.iter().all(|found| found.bytes > 0), "a value has a size");
    listed.iter().map(|found| (found.place.clone(), found.slot)).collect()
}
