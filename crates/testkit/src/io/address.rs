//! Addresses: one for each call, nobody in the way of another.

use std::collections::HashSet;
use std::task::Poll;

use flowstone_core::io::{Address, Slot};
use flowstone_core::{AssetId, ErrorKind, RunId};
use futures::future::join_all;
use uuid::Uuid;

use super::{IoUnderTest, slot};

/// Large enough that no manager keeps it in the ledger.
const LARGE: u64 = 5000;

/// Also for one attempt that stores twice: the first value stays as it was.
pub async fn every_store_has_an_address_of_its_own(under_test: IoUnderTest) {
    let io = &under_test.io;
    for sample in under_test.accepted() {
        let first = io.store(slot(0), &sample.value(LARGE)).await.expect("it is stored");
        let mut others = Vec::new();
        for place in [
            slot(0),
            Slot { attempt: 2, ..slot(0) },
            Slot { fence: 2, ..slot(0) },
            slot(1),
        ] {
            others.push(io.store(place, &sample.value(LARGE + 1)).await.expect("it is stored"));
        }

        let all: HashSet<&Address> = others.iter().chain([&first]).map(|stored| &stored.address).collect();
        if !matches!(first.address, Address::Inline(_)) {
            assert_eq!(all.len(), 5, "two values lie at one address");
        }
        sample.check(&io.load(&first, sample.ty()).await.expect("it is loaded"), LARGE);
        for other in others {
            sample.check(&io.load(&other, sample.ty()).await.expect("it is loaded"), LARGE + 1);
        }
    }
}

/// Attempts at many partitions, and many at one, at the same time.
pub async fn many_may_store_at_once(under_test: IoUnderTest) {
    let io = &under_test.io;
    for sample in under_test.accepted() {
        let values: Vec<_> = (0..32).map(|number| (number, sample.value(number * 40))).collect();
        let stores = values.iter().map(|(number, value)| io.store(slot(number / 2), value));

        let all = join_all(stores).await;

        for ((number, _), stored) in values.iter().zip(all) {
            let loaded = io
                .load(&stored.expect("it is stored"), sample.ty())
                .await
                .expect("it is loaded");
            sample.check(&loaded, number * 40);
        }
    }
}

/// Deleting is final, and deleting what is gone succeeds.
pub async fn a_deleted_value_is_gone_and_may_be_deleted_again(under_test: IoUnderTest) {
    let io = &under_test.io;
    for sample in under_test.accepted() {
        let stored = io.store(slot(0), &sample.value(LARGE)).await.expect("it is stored");

        io.delete(&stored.address).await.expect("it is deleted");
        io.delete(&stored.address).await.expect("it may be deleted again");

        if !matches!(stored.address, Address::Inline(_)) {
            let error = io.load(&stored, sample.ty()).await.expect_err("it is gone");
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        }
    }
}

/// Also the equal value of another attempt at the same partition.
pub async fn deleting_one_leaves_the_others(under_test: IoUnderTest) {
    let io = &under_test.io;
    for sample in under_test.accepted() {
        let gone = io.store(slot(0), &sample.value(LARGE)).await.expect("it is stored");
        let kept = io
            .store(Slot { attempt: 2, ..slot(0) }, &sample.value(LARGE))
            .await
            .expect("it is stored");

        io.delete(&gone.address).await.expect("it is deleted");

        sample.check(&io.load(&kept, sample.ty()).await.expect("it is loaded"), LARGE);
    }
}

/// An attempt that is given up half-way does no harm to the next.
pub async fn a_dropped_store_leaves_nothing_in_the_way(under_test: IoUnderTest) {
    let io = &under_test.io;
    for sample in under_test.accepted() {
        for polls in 0..4 {
            let value = sample.value(LARGE);
            let mut storing = io.store(slot(0), &value);
            for _ in 0..polls {
                let is_done =
                    futures::future::poll_fn(|context| Poll::Ready(storing.as_mut().poll(context).is_ready()));
                if is_done.await {
                    break;
                }
                tokio::task::yield_now().await;
            }
            drop(storing);
        }

        let stored = io.store(slot(0), &sample.value(LARGE + 1)).await.expect("it is stored");
        sample.check(&io.load(&stored, sample.ty()).await.expect("it is loaded"), LARGE + 1);
    }
}

/// Ids up to the largest that there can be.
pub async fn the_largest_ids_are_like_any_other(under_test: IoUnderTest) {
    let io = &under_test.io;
    let last = Slot {
        asset: AssetId(u32::MAX),
        partition: u64::MAX,
        run: RunId(Uuid::from_u128(u128::MAX)),
        fence: u64::MAX,
        attempt: u32::MAX,
    };
    for sample in under_test.accepted() {
        for number in [1, LARGE] {
            let stored = io.store(last, &sample.value(number)).await.expect("it is stored");
            sample.check(&io.load(&stored, sample.ty()).await.expect("it is loaded"), number);
        }
    }
}
