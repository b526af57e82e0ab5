//! Fan-outs: who may write about them, and how they move.

mod again;
mod items;

use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use flowstone_core::fan_out::{BarrierCounts, BarrierState, FailurePolicy, FanOutOptions, ItemOrder, RateLimit};
use flowstone_core::partition::PartitionSet;
use flowstone_core::reader::Cursor;
use flowstone_core::run::RunState;
use flowstone_core::store::{
    ChunkProgress, ChunkState, EventKind, FanOutFilter, FanOutOpened, FanOutProgress, FanOutReopened, FanOutRow,
    ItemClaim, ItemFailure, Lead, PageRow, Record, Segment, Store,
};
use flowstone_core::{AssetId, ChunkNo, ErrorKind, FanOutId, Fence, Incarnation, RunId};
use uuid::Uuid;

use super::StoreUnderTest;
use super::fixture::{
    assets, at, claimed, commit, error, moved, progress, refused, run_id, running, set, taken, verdicts,
};

pub use again::{
    a_fan_out_that_goes_on_is_not_reopened, a_run_that_is_pruned_takes_its_fan_outs_along, fan_outs_survive_reopening,
    reopening_begins_an_epoch_in_another_run,
};
pub use items::{
    a_claim_is_open_until_it_is_closed, a_large_page_comes_back, a_page_and_its_cursor_are_one_change,
    any_item_key_comes_back, only_an_open_claim_has_results, pages_follow_each_other, progress_of_items_is_seen_whole,
    segments_come_back_by_page_in_order, the_last_failure_of_an_item_stays,
};

fn fan_out_id(number: u128) -> FanOutId {
    FanOutId(Uuid::from_u128((number << 80) | 0x7000_8000_0000_0000_0000))
}

/// A run of a step that is claimed under the first fence.
async fn lead(store: &impl Store, number: u64, asset: AssetId) -> Lead {
    let run = running(store, number).await;
    commit(store, &[claimed(run, asset, 0, 1, set([2]))]).await;
    Lead {
        run,
        asset,
        chunk: ChunkNo(0),
        fence: Fence(1),
    }
}

fn opening(lead: Lead, number: u128) -> FanOutOpened {
    FanOutOpened {
        lead,
        fan_out: fan_out_id(number),
        partition: 2,
        parent: None,
        options: FanOutOptions::default(),
        shared: None,
        at: at(10),
    }
}

fn opened(lead: Lead, number: u128) -> Record {
    Record::FanOutOpened(Box::new(opening(lead, number)))
}

/// Opens the first fan-out of a store, in its first run.
async fn open(store: &impl Store) -> FanOutProgress {
    let [asset] = assets(store).await;
    let lead = lead(store, 1, asset).await;
    commit(store, &[opened(lead, 1)]).await;
    nothing(lead, 1)
}

/// Progress with nothing in it.
fn nothing(lead: Lead, number: u128) -> FanOutProgress {
    FanOutProgress::empty(lead, fan_out_id(number), at(11))
}

fn went(progress: FanOutProgress) -> Record {
    Record::FanOutProgress(Box::new(progress))
}

fn reopened(lead: Lead, number: u128, is_sealed: bool) -> Record {
    Record::FanOutReopened(Box::new(FanOutReopened {
        lead,
        fan_out: fan_out_id(number),
        is_sealed,
        counts: BarrierCounts::default(),
        at: at(20),
    }))
}

fn page(first: u64, len: u64) -> PageRow {
    PageRow {
        first,
        len,
        batch_starts: PartitionSet::new(),
        body: Bytes::from(format!("items from {first} on")),
    }
}

fn cursor(position: &[u8]) -> Cursor {
    Cursor {
        version: 3,
        position: position.to_vec(),
    }
}

fn claim_of(chunk: u64, items: impl IntoIterator<Item = u64>) -> ItemClaim {
    ItemClaim {
        chunk,
        items: set(items),
        crashes: 0,
        is_held: true,
    }
}

fn segment((page, chunk, seq): (u64, u64, u32), succeeded: impl IntoIterator<Item = u64>) -> Segment {
    Segment {
        page,
        chunk,
        seq,
        succeeded: set(succeeded),
        skipped: PartitionSet::new(),
        body: Bytes::from(format!("values of {page}, {chunk}, {seq}")),
    }
}

fn item_failure(item: u64, epoch: u32, attempt: u32) -> ItemFailure {
    ItemFailure {
        item,
        key: format!("item {item}"),
        epoch,
        attempt,
        is_final: attempt == 3,
        error: error(&format!("attempt {attempt} failed")),
        at: at(12),
    }
}

async fn row(store: &impl Store, number: u128) -> FanOutRow {
    let mut rows = store
        .fan_outs(FanOutFilter::One(fan_out_id(number)))
        .await
        .expect("an answer");
    assert_eq!(rows.len(), 1, "there is one fan-out of an id");
    rows.remove(0)
}

async fn ids(store: &impl Store, filter: FanOutFilter) -> Vec<FanOutId> {
    let rows = store.fan_outs(filter).await.expect("fan-outs");
    rows.iter().map(|row| row.fan_out).collect()
}

/// Options, what is shared and where it stands come back, and fan-outs are found by run and by what they stand within.
pub async fn a_fan_out_comes_back_as_it_was_opened<S: Store>(store: StoreUnderTest<S>) {
    let [asset] = assets(&*store).await;
    let lead = lead(&*store, 1, asset).await;
    let many = |count| NonZeroU32::new(count).expect("not zero");
    let options = FanOutOptions {
        max_concurrent: many(7),
        rate_limit: Some(RateLimit::per_second(9).expect("a limit").burst(many(5))),
        failure: FailurePolicy::tolerate_share(0.1 + 0.2).expect("a share"),
        item_timeout: Some(Duration::from_millis(1_500)),
        order: ItemOrder::Depth,
        priority: -3,
        items_max: Some(1 << 40),
        page_len: many(100),
        ..FanOutOptions::default()
    };
    let outer = FanOutOpened {
        options: options.clone(),
        shared: Some(Bytes::from_static(b"\0shared\xff")),
        ..opening(lead, 1)
    };
    let within = |number, item| FanOutOpened {
        parent: Some((fan_out_id(1), item)),
        at: at(30),
        ..opening(lead, number)
    };
    let group = [outer, within(5, 9), within(4, 1 << 40), within(3, 0)];
    let group = group.map(|opened| Record::FanOutOpened(Box::new(opened)));

    commit(&*store, &group).await;

    let expected = FanOutRow {
        fan_out: fan_out_id(1),
        run: lead.run,
        asset,
        partition: 2,
        parent: None,
        epoch: 1,
        state: BarrierState::Filling,
        is_sealed: false,
        options,
        shared: Some(Bytes::from_static(b"\0shared\xff")),
        cursor: None,
        counts: BarrierCounts::default(),
        redriven: 0,
        on_schedule_at: None,
        error: None,
        opened_at: at(10),
        moved_at: at(10),
    };
    assert_eq!(row(&*store, 1).await, expected);
    assert_eq!(row(&*store, 4).await.parent, Some((fan_out_id(1), 1 << 40)));
    let inner = ids(&*store, FanOutFilter::Within(fan_out_id(1))).await;
    assert_eq!(inner, [3, 5, 4].map(fan_out_id), "by item");
    let of_run = ids(&*store, FanOutFilter::OfRun(lead.run)).await;
    assert_eq!(of_run, [1, 5, 4, 3].map(fan_out_id), "as they were opened");
    let of_step = ids(&*store, FanOutFilter::OfStep(asset, 2)).await;
    assert_eq!(of_step[0], fan_out_id(1), "as they were opened");
    assert!(!of_step.contains(&fan_out_id(4)), "it stands within another");
    for nobody in [
        FanOutFilter::OfStep(asset, 99),
        FanOutFilter::OfStep(AssetId(99), 2),
        FanOutFilter::One(fan_out_id(99)),
        FanOutFilter::OfRun(run_id(99)),
        FanOutFilter::Within(fan_out_id(3)),
    ] {
        assert_eq!(ids(&*store, nobody).await, []);
    }
}

/// A second opening is refused, and so is one within a fan-out that nobody opened, or of another run.
pub async fn a_fan_out_is_opened_once<S: Store>(store: StoreUnderTest<S>) {
    let [asset] = assets(&*store).await;
    let first = lead(&*store, 1, asset).await;
    let second = lead(&*store, 2, asset).await;
    commit(&*store, &[opened(first, 1)]).await;
    let within = |lead, parent: u128| {
        let opened = FanOutOpened {
            parent: Some((fan_out_id(parent), 0)),
            ..opening(lead, 2)
        };
        Record::FanOutOpened(Box::new(opened))
    };

    assert_eq!(refused(&*store, opened(first, 1)).await, ErrorKind::Conflict);
    assert_eq!(refused(&*store, opened(second, 1)).await, ErrorKind::Conflict);
    assert_eq!(refused(&*store, within(first, 9)).await, ErrorKind::NotFound);
    assert_eq!(refused(&*store, within(second, 1)).await, ErrorKind::Fenced);
    let twice = verdicts(&*store, &[opened(first, 3), opened(first, 3)]).await;

    assert!(twice[0].is_ok());
    assert_eq!(twice[1].as_ref().unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(
        ids(&*store, FanOutFilter::OfRun(first.run)).await,
        [1, 3].map(fan_out_id)
    );
    assert_eq!(ids(&*store, FanOutFilter::OfRun(second.run)).await, []);
}

/// Who does not hold the step's chunk writes nothing, and neither does what follows of the run in the group.
pub async fn a_late_lead_moves_no_fan_out<S: Store>(store: StoreUnderTest<S>) {
    let base = open(&*store).await;
    let lead = base.lead;
    let group = [
        claimed(lead.run, lead.asset, 0, 4, set([2])),
        claimed(lead.run, lead.asset, 1, 5, set([0])),
    ];
    commit(&*store, &group).await;
    let ended = ChunkProgress {
        state: ChunkState::Ended,
        ..progress(lead.run, lead.asset, 1, 5)
    };
    commit(&*store, &[Record::ChunkProgress(ended)]).await;
    let before = row(&*store, 1).await;
    let events = store.events(0, 100).await.expect("events");
    let by = |chunk, fence| Lead {
        chunk: ChunkNo(chunk),
        fence: Fence(fence),
        ..lead
    };

    for late in [by(0, 1), by(0, 3), by(0, 5), by(1, 5), by(2, 4)] {
        let page_of_late = FanOutProgress {
            page: Some(page(0, 3)),
            ..nothing(late, 1)
        };
        assert_eq!(
            refused(&*store, went(page_of_late)).await,
            ErrorKind::Fenced,
            "{late:?}"
        );
        assert_eq!(refused(&*store, opened(late, 2)).await, ErrorKind::Fenced, "{late:?}");
        assert_eq!(
            refused(&*store, reopened(late, 1, true)).await,
            ErrorKind::Fenced,
            "{late:?}"
        );
    }
    let unknown = Lead { run: run_id(9), ..lead };
    assert_eq!(refused(&*store, went(nothing(unknown, 1))).await, ErrorKind::NotFound);
    let current = by(0, 4);
    assert_eq!(refused(&*store, went(nothing(current, 7))).await, ErrorKind::NotFound);
    assert_eq!(refused(&*store, reopened(current, 7, true)).await, ErrorKind::NotFound);
    let group = [
        went(nothing(by(0, 1), 1)),
        moved(lead.run, RunState::Cancelling),
        went(nothing(current, 1)),
    ];
    let kinds = verdicts(&*store, &group)
        .await
        .into_iter()
        .map(|verdict| verdict.unwrap_err().kind());
    assert_eq!(kinds.collect::<Vec<_>>(), [ErrorKind::Fenced; 3]);

    assert_eq!(row(&*store, 1).await, before);
    assert_eq!(store.item_pages(fan_out_id(1)).await.expect("pages"), []);
    assert_eq!(store.events(0, 100).await.expect("events"), events);
    commit(&*store, &[went(nothing(current, 1))]).await;
    commit(&*store, &[taken(lead.run, Incarnation(2))]).await;
    assert_eq!(
        refused(&*store, went(nothing(current, 1))).await,
        ErrorKind::Fenced,
        "another incarnation drives the run"
    );
}

/// Counts, options, schedule and error come back as they were told last; what is not told stays.
pub async fn where_a_fan_out_stands_is_what_was_told_last<S: Store>(store: StoreUnderTest<S>) {
    let base = open(&*store).await;
    let counts = BarrierCounts {
        total: 1 << 40,
        pending: (1 << 40) - 21,
        leased: 1,
        succeeded: 2,
        skipped: 3,
        failed: 4,
        quarantined: 5,
        cancelled: 6,
    };
    let options = FanOutOptions {
        priority: 8,
        ..FanOutOptions::default()
    };
    let told = FanOutProgress {
        options: Some(options.clone()),
        state: BarrierState::Sealed,
        counts,
        on_schedule_at: Some(at(77)),
        ..base.clone()
    };
    let later = FanOutProgress {
        state: BarrierState::Failed,
        error: Some(error("too many")),
        at: at(12),
        ..told.clone()
    };
    let wrong = FanOutProgress {
        counts: BarrierCounts { pending: 0, ..counts },
        ..told.clone()
    };
    let backward = FanOutProgress {
        state: BarrierState::Filling,
        ..told.clone()
    };

    assert_eq!(refused(&*store, went(wrong)).await, ErrorKind::Invalid);
    commit(&*store, &[went(told)]).await;
    let sealed = row(&*store, 1).await;
    assert_eq!(refused(&*store, went(backward)).await, ErrorKind::Conflict);
    let rest = FanOutProgress {
        options: None,
        on_schedule_at: None,
        ..later
    };
    commit(&*store, &[went(rest.clone())]).await;

    assert_eq!(
        (sealed.state, sealed.is_sealed, sealed.error),
        (BarrierState::Sealed, true, None)
    );
    let failed = row(&*store, 1).await;
    assert_eq!((failed.counts, failed.options), (counts, options));
    assert_eq!((failed.state, failed.is_sealed), (BarrierState::Failed, true));
    assert_eq!(
        (failed.on_schedule_at, failed.error),
        (Some(at(77)), Some(error("too many")))
    );
    assert_eq!((failed.opened_at, failed.moved_at), (at(10), at(12)));
    assert_eq!(refused(&*store, went(rest)).await, ErrorKind::Conflict, "it has ended");
}

/// Each opening and each other state is told once, in the order of the commits; progress is not.
pub async fn events_tell_how_fan_outs_move<S: Store>(store: StoreUnderTest<S>) {
    let base = open(&*store).await;
    let lead = base.lead;
    let to = |state| went(FanOutProgress { state, ..base.clone() });
    commit(&*store, &[to(BarrierState::Filling), to(BarrierState::Sealed)]).await;
    commit(&*store, &[to(BarrierState::Sealed), to(BarrierState::Partial)]).await;
    commit(&*store, &[reopened(lead, 1, true), to(BarrierState::Cancelled)]).await;

    let events = store.events(0, 100).await.expect("events");

    let of_fan_outs = events.into_iter().filter(|event| {
        matches!(
            event.kind,
            EventKind::FanOutOpened { .. } | EventKind::FanOutMoved { .. }
        ) && event.run == lead.run
    });
    let fan_out = fan_out_id(1);
    let moved = |to| EventKind::FanOutMoved { fan_out, to };
    let opened = EventKind::FanOutOpened {
        asset: lead.asset,
        partition: 2,
        fan_out,
    };
    assert_eq!(
        of_fan_outs.map(|event| event.kind).collect::<Vec<_>>(),
        [
            opened,
            moved(BarrierState::Sealed),
            moved(BarrierState::Partial),
            moved(BarrierState::Sealed),
            moved(BarrierState::Cancelled)
        ]
    );
}

/// Ends a run as failed.
async fn fail(store: &impl Store, run: RunId) {
    commit(store, &[moved(run, RunState::Failed)]).await;
}
