//! Pages, claims, results and failures of items.

use flowstone_core::store::ItemEnds;

use super::super::text::TEXTS;
use super::*;

/// What items say comes back with its page only, and the rest without it; a gap is refused, and so is what comes after the
/// last page.
pub async fn pages_follow_each_other<S: Store>(store: StoreUnderTest<S>) {
    let base = open(&*store).await;
    let fan_out = base.fan_out;
    let with = |page| {
        went(FanOutProgress {
            page: Some(page),
            ..base.clone()
        })
    };
    let second = PageRow {
        batch_starts: set([1_000, 1_200]),
        ..page(1_000, 500)
    };
    commit(
        &*store,
        &[with(page(0, 1_000)), with(second.clone()), with(page(1_500, 0))],
    )
    .await;

    for gap in [page(0, 10), page(1_499, 1), page(1_501, 1)] {
        assert_eq!(refused(&*store, with(gap)).await, ErrorKind::Conflict);
    }
    let too_long = page(1_500, u64::MAX);
    assert!(matches!(
        refused(&*store, with(too_long)).await,
        ErrorKind::Conflict | ErrorKind::OutOfRange
    ));
    commit(&*store, &[with(page(1_500, 1))]).await;
    let sealed = FanOutProgress {
        page: Some(page(1_501, 1)),
        state: BarrierState::Sealed,
        ..base.clone()
    };
    commit(&*store, &[went(sealed.clone())]).await;
    let after = FanOutProgress {
        page: Some(page(1_502, 1)),
        ..sealed
    };
    assert_eq!(refused(&*store, went(after)).await, ErrorKind::Conflict);

    let pages = store.item_pages(fan_out).await.expect("pages");
    let without_body = |page: PageRow| PageRow {
        body: Bytes::new(),
        ..page
    };
    let expected = [page(0, 1_000), second.clone(), page(1_500, 1), page(1_501, 1)].map(without_body);
    assert_eq!(pages, expected);
    let found = store.item_page(fan_out, 1_000).await.expect("an answer");
    assert_eq!(found, Some(second));
    for nowhere in [1, 1_502, u64::MAX] {
        assert_eq!(store.item_page(fan_out, nowhere).await.expect("an answer"), None);
    }
    assert_eq!(store.item_page(fan_out_id(9), 0).await.expect("an answer"), None);
}

/// A page that is refused leaves the cursor where it was; one that is taken moves it, whatever bytes it has, and the last
/// takes it away.
pub async fn a_page_and_its_cursor_are_one_change<S: Store>(store: StoreUnderTest<S>) {
    let base = open(&*store).await;
    let with = |first, position: &[u8]| {
        went(FanOutProgress {
            page: Some(page(first, 10)),
            cursor: Some(cursor(position)),
            ..base.clone()
        })
    };

    commit(&*store, &[with(0, b"\0first\xff")]).await;
    refused(&*store, with(5, b"elsewhere")).await;
    assert_eq!(row(&*store, 1).await.cursor, Some(cursor(b"\0first\xff")));
    commit(&*store, &[with(10, b""), went(base.clone())]).await;
    assert_eq!(row(&*store, 1).await.cursor, Some(cursor(b"")));
    let skips = FanOutProgress {
        cursor: Some(cursor(b"further")),
        ..base.clone()
    };
    commit(&*store, &[went(skips)]).await;
    assert_eq!(row(&*store, 1).await.cursor, Some(cursor(b"further")));
    let last = FanOutProgress {
        page: Some(page(20, 10)),
        state: BarrierState::Failed,
        ..base.clone()
    };
    commit(&*store, &[went(last)]).await;

    let after = row(&*store, 1).await;
    assert_eq!((after.cursor, after.is_sealed), (None, true), "the source has ended");
    assert_eq!(store.item_pages(base.fan_out).await.expect("pages").len(), 3);
}

/// Claims have numbers of their own, may be told anew while they are open, and go once they are over, also within one group.
pub async fn a_claim_is_open_until_it_is_closed<S: Store>(store: StoreUnderTest<S>) {
    let base = open(&*store).await;
    let with = |claimed: Vec<ItemClaim>, closed: Vec<u64>| {
        went(FanOutProgress {
            claimed,
            closed,
            ..base.clone()
        })
    };
    let wide = ItemClaim {
        crashes: 2,
        ..claim_of(3, (0..500).map(|item| item * 977))
    };
    commit(&*store, &[with(vec![claim_of(0, 0..9), claim_of(1, [9])], Vec::new())]).await;
    commit(
        &*store,
        &[with(vec![wide.clone()], vec![0]), with(vec![claim_of(4, [5])], vec![4])],
    )
    .await;

    let open = store.item_claims(base.fan_out).await.expect("claims");
    assert_eq!(open, [claim_of(1, [9]), wide.clone()]);
    for old in [0, 2, 4] {
        let again = with(vec![claim_of(old, [0])], Vec::new());
        assert_eq!(refused(&*store, again).await, ErrorKind::Conflict, "claim {old} again");
    }
    for over in [0, 2, 4, 99] {
        let again = with(Vec::new(), vec![over]);
        assert_eq!(
            refused(&*store, again).await,
            ErrorKind::Conflict,
            "claim {over} is not open"
        );
    }
    let remembered = ItemClaim {
        crashes: 1,
        is_held: false,
        ..claim_of(1, [9])
    };
    commit(&*store, &[with(vec![remembered.clone()], Vec::new())]).await;
    assert_eq!(
        store.item_claims(base.fan_out).await.expect("claims"),
        [remembered, wide]
    );
    let (again, gone) = (with(vec![claim_of(3, [7])], Vec::new()), with(Vec::new(), vec![3]));
    commit(&*store, &[again, gone]).await;
    assert_eq!(store.item_claims(base.fan_out).await.expect("claims").len(), 1);
    assert_eq!(store.item_ends(base.fan_out).await.expect("ends").next_chunk, 5);
    commit(&*store, &[with(Vec::new(), vec![1])]).await;
    assert_eq!(store.item_claims(base.fan_out).await.expect("claims"), []);
    assert_eq!(store.item_ends(base.fan_out).await.expect("ends").next_chunk, 5);
}

/// What a claim gave is recorded while it is open, once each.
pub async fn only_an_open_claim_has_results<S: Store>(store: StoreUnderTest<S>) {
    let base = open(&*store).await;
    let with = |claimed: Vec<ItemClaim>, segments: Vec<Segment>, closed: Vec<u64>| {
        went(FanOutProgress {
            claimed,
            segments,
            closed,
            ..base.clone()
        })
    };
    let first = segment((0, 0, 0), [1]);
    commit(
        &*store,
        &[with(vec![claim_of(0, 0..9)], vec![first.clone()], Vec::new())],
    )
    .await;

    let changed = segment((0, 0, 0), [2]);
    assert_eq!(
        refused(&*store, with(Vec::new(), vec![changed.clone()], Vec::new())).await,
        ErrorKind::Conflict,
        "it is there"
    );
    let twice = vec![segment((0, 0, 1), [2]), segment((0, 0, 1), [3])];
    assert_eq!(
        refused(&*store, with(Vec::new(), twice, vec![0])).await,
        ErrorKind::Conflict
    );
    let stranger = vec![segment((0, 1, 0), [2])];
    assert_eq!(
        refused(&*store, with(Vec::new(), stranger, Vec::new())).await,
        ErrorKind::Conflict
    );
    commit(&*store, &[with(Vec::new(), vec![segment((0, 0, 1), [2])], vec![0])]).await;
    let late = vec![segment((0, 0, 2), [3])];
    assert_eq!(
        refused(&*store, with(Vec::new(), late, Vec::new())).await,
        ErrorKind::Conflict
    );

    let kept = store.segments(base.fan_out, 0).await.expect("segments");
    assert_eq!(kept, [first, segment((0, 0, 1), [2])]);
}

/// Results come back as they were, and how items ended is what all of them say.
pub async fn segments_come_back_by_page_in_order<S: Store>(store: StoreUnderTest<S>) {
    let base = open(&*store).await;
    let scattered: Vec<u64> = (0..300).map(|item| item * 3).collect();
    let skipping = Segment {
        skipped: set([1, 4]),
        succeeded: PartitionSet::new(),
        body: Bytes::new(),
        ..segment((0, 2, 0), [])
    };
    let mixed = Segment {
        skipped: set([1_001]),
        ..segment((1_000, 1, 0), [1_000, 1_002])
    };
    let group = FanOutProgress {
        claimed: (0..4).map(|chunk| claim_of(chunk, 0..1)).collect(),
        segments: vec![
            segment((0, 3, 0), scattered.clone()),
            segment((0, 0, 0), 5_000..6_000),
            mixed.clone(),
            skipping.clone(),
            segment((0, 3, 5), [2]),
        ],
        ..base.clone()
    };
    commit(&*store, &[went(group)]).await;

    let of_first = store.segments(base.fan_out, 0).await.expect("segments");
    assert_eq!(
        of_first,
        [
            segment((0, 0, 0), 5_000..6_000),
            skipping,
            segment((0, 3, 0), scattered.clone()),
            segment((0, 3, 5), [2])
        ]
    );
    assert_eq!(store.segments(base.fan_out, 1_000).await.expect("segments"), [mixed]);
    assert_eq!(store.segments(base.fan_out, 500).await.expect("segments"), []);
    assert_eq!(store.segments(base.fan_out, u64::MAX).await.expect("segments"), []);
    let expected = ItemEnds {
        succeeded: set(scattered.into_iter().chain(5_000..6_000).chain([2, 1_000, 1_002])),
        skipped: set([1, 4, 1_001]),
        next_chunk: 4,
    };
    assert_eq!(store.item_ends(base.fan_out).await.expect("ends"), expected);
    let of_nobody = store.item_ends(fan_out_id(9)).await.expect("ends");
    assert_eq!(of_nobody, ItemEnds::default());
}

/// One row for each item that failed, with its last failure, and a few at a time.
pub async fn the_last_failure_of_an_item_stays<S: Store>(store: StoreUnderTest<S>) {
    let base = open(&*store).await;
    let with = |failed: Vec<ItemFailure>| went(FanOutProgress { failed, ..base.clone() });
    let failed = |item, attempt| item_failure(item, 1, attempt);
    commit(&*store, &[with(vec![failed(9, 1), failed(1 << 40, 1), failed(3, 1)])]).await;
    commit(
        &*store,
        &[
            with(vec![failed(9, 2)]),
            with(vec![failed(9, 3), failed(4, 1), failed(4, 2)]),
        ],
    )
    .await;

    let all = store.item_failures(base.fan_out, 0, 100).await.expect("failures");
    assert_eq!(all, [failed(3, 1), failed(4, 2), failed(9, 3), failed(1 << 40, 1)]);
    let some = store.item_failures(base.fan_out, 4, 2).await.expect("failures");
    assert_eq!(some, all[1..3]);
    assert_eq!(
        store.item_failures(base.fan_out, u64::MAX, 5).await.expect("failures"),
        []
    );
    assert_eq!(store.item_failures(fan_out_id(9), 0, 5).await.expect("failures"), []);
}

/// Keys of items are data.
pub async fn any_item_key_comes_back<S: Store>(store: StoreUnderTest<S>) {
    let base = open(&*store).await;
    let failed: Vec<ItemFailure> = [""]
        .iter()
        .chain(TEXTS)
        .enumerate()
        .map(|(item, text)| ItemFailure {
            key: (*text).to_owned(),
            error: error(&format!("about {text}")),
            ..item_failure(item as u64, 1, 1)
        })
        .collect();
    let group = FanOutProgress {
        failed: failed.clone(),
        ..base.clone()
    };
    commit(&*store, &[went(group)]).await;

    assert_eq!(
        store.item_failures(base.fan_out, 0, 100).await.expect("failures"),
        failed
    );
}

/// 16 MiB of items in one page, of the kind that can be compressed and of the kind that cannot.
pub async fn a_large_page_comes_back<S: Store>(store: StoreUnderTest<S>) {
    const LEN: usize = 16 << 20;
    let base = open(&*store).await;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut noise = Vec::with_capacity(LEN);
    while noise.len() < LEN {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend_from_slice(&state.to_le_bytes());
    }
    let pages = [
        PageRow {
            body: noise.into(),
            ..page(0, 1)
        },
        PageRow {
            body: vec![b'x'; LEN].into(),
            ..page(1, 1)
        },
    ];
    for page in &pages {
        let group = FanOutProgress {
            page: Some(page.clone()),
            ..base.clone()
        };
        commit(&*store, &[went(group)]).await;
    }

    for page in pages {
        let found = store.item_page(base.fan_out, page.first).await.expect("an answer");
        assert!(found == Some(page), "a large page is another now");
    }
}

/// A reader sees all records of a group or none.
pub async fn progress_of_items_is_seen_whole<S: Store>(store: StoreUnderTest<S>) {
    const GROUPS: u64 = 30;
    let base = open(&*store).await;
    let fan_out = base.fan_out;
    let writing = async {
        for group in 0..GROUPS {
            let part = |half: u64| {
                let number = 2 * group + half;
                went(FanOutProgress {
                    page: Some(page(10 * number, 10)),
                    claimed: vec![claim_of(number, 10 * number..10 * number + 10)],
                    segments: vec![segment((10 * number, number, 0), 10 * number..10 * number + 10)],
                    ..base.clone()
                })
            };
            commit(&*store, &[part(0), part(1)]).await;
            tokio::task::yield_now().await;
        }
    };
    let reading = async {
        loop {
            let pages = store.item_pages(fan_out).await.expect("pages").len() as u64;
            let claims = store.item_claims(fan_out).await.expect("claims").len() as u64;
            let ends = store.item_ends(fan_out).await.expect("ends");
            assert_eq!((pages % 2, claims % 2), (0, 0), "a part of a group is seen");
            assert_eq!(
                ends.succeeded,
                set(0..10 * ends.next_chunk),
                "two groups are seen at once"
            );
            assert_eq!(ends.next_chunk % 2, 0, "a part of a group is seen");
            if ends.next_chunk == 2 * GROUPS {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    futures::join!(writing, reading);
}
