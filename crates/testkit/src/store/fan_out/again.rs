//! What comes after the end: reopening, another process, forgetting.

use std::collections::BTreeMap;

use flowstone_core::retention::Keep;
use flowstone_core::store::{ItemEnds, Prune};

use super::*;

/// A fan-out with a page, a claim that is open, results and failures, and one within it with another within that.
async fn filled(store: &impl Store) -> FanOutProgress {
    let base = open(store).await;
    let lead = base.lead;
    let within = |number, parent, item| FanOutOpened {
        parent: Some((fan_out_id(parent), item)),
        ..opening(lead, number)
    };
    let group = FanOutProgress {
        page: Some(page(0, 10)),
        cursor: Some(cursor(b"ten")),
        claimed: vec![claim_of(0, 0..5), claim_of(1, 5..10)],
        segments: vec![segment((0, 0, 0), [0, 1])],
        closed: vec![0],
        failed: vec![item_failure(2, 1, 3), item_failure(3, 1, 1)],
        ..base.clone()
    };
    let inner = FanOutProgress {
        claimed: vec![claim_of(0, [0])],
        ..nothing(lead, 3)
    };
    let group = [
        went(group),
        Record::FanOutOpened(Box::new(within(2, 1, 6))),
        Record::FanOutOpened(Box::new(within(3, 2, 0))),
        went(inner),
    ];
    commit(store, &group).await;
    base
}

fn to(base: &FanOutProgress, state: BarrierState) -> Record {
    went(FanOutProgress {
        state,
        error: Some(error("too many")),
        ..base.clone()
    })
}

/// Results and failures stay, claims go, numbers go on; what stands within comes along; the run before writes no more.
pub async fn reopening_begins_an_epoch_in_another_run<S: Store>(store: StoreUnderTest<S>) {
    let base = filled(&*store).await;
    let fan_out = base.fan_out;
    let failed = went(FanOutProgress {
        state: BarrierState::Failed,
        counts: BarrierCounts {
            total: 10,
            succeeded: 4,
            failed: 3,
            quarantined: 2,
            cancelled: 1,
            ..BarrierCounts::default()
        },
        error: Some(error("too many")),
        ..base.clone()
    });
    commit(&*store, &[to(&base, BarrierState::Sealed), failed]).await;
    fail(&*store, base.lead.run).await;
    let before = row(&*store, 1).await;
    let again = lead(&*store, 2, base.lead.asset).await;

    let left = BarrierCounts {
        total: 10,
        succeeded: 4,
        pending: 6,
        ..BarrierCounts::default()
    };
    let reopened = Record::FanOutReopened(Box::new(FanOutReopened {
        lead: again,
        fan_out,
        is_sealed: true,
        counts: left,
        at: at(20),
    }));
    commit(&*store, &[reopened]).await;

    let expected = FanOutRow {
        run: again.run,
        epoch: 2,
        redriven: 6,
        state: BarrierState::Sealed,
        counts: left,
        error: None,
        moved_at: at(20),
        ..before
    };
    assert_eq!(row(&*store, 1).await, expected);
    let all = [1, 2, 3].map(fan_out_id);
    assert_eq!(ids(&*store, FanOutFilter::OfRun(again.run)).await, all);
    assert_eq!(ids(&*store, FanOutFilter::OfRun(base.lead.run)).await, []);
    assert_eq!(
        row(&*store, 3).await.epoch,
        1,
        "what stands within comes along as it is"
    );
    let inner = store.item_claims(fan_out_id(3)).await.expect("claims");
    assert_eq!(inner, [claim_of(0, [0])]);
    assert_eq!(store.item_claims(fan_out).await.expect("claims"), []);
    assert_eq!(store.item_pages(fan_out).await.expect("pages").len(), 1);
    let failures = store.item_failures(fan_out, 0, 9).await.expect("failures");
    assert_eq!(failures, [item_failure(2, 1, 3), item_failure(3, 1, 1)]);
    for number in [1, 3] {
        let late = went(nothing(base.lead, number));
        assert_eq!(
            refused(&*store, late).await,
            ErrorKind::Fenced,
            "the run before writes no more"
        );
    }
    let goes_on = |claimed, segments| {
        went(FanOutProgress {
            lead: again,
            state: BarrierState::Sealed,
            claimed,
            segments,
            ..base.clone()
        })
    };
    let old = goes_on(Vec::new(), vec![segment((0, 1, 0), [5])]);
    assert_eq!(refused(&*store, old).await, ErrorKind::Conflict, "its claims are gone");
    let old = goes_on(vec![claim_of(1, [2])], Vec::new());
    assert_eq!(refused(&*store, old).await, ErrorKind::Conflict, "numbers go on");
    let inner = FanOutProgress {
        segments: vec![segment((0, 0, 0), [0])],
        ..nothing(again, 3)
    };
    commit(
        &*store,
        &[
            goes_on(vec![claim_of(2, [2])], vec![segment((0, 2, 0), [2])]),
            went(inner),
        ],
    )
    .await;
    let expected = ItemEnds {
        succeeded: set(0..3),
        skipped: set([]),
        next_chunk: 3,
    };
    assert_eq!(store.item_ends(fan_out).await.expect("ends"), expected);
}

/// While a fan-out and its run go on it cannot be reopened; once the run has ended it can, and may be filled on.
pub async fn a_fan_out_that_goes_on_is_not_reopened<S: Store>(store: StoreUnderTest<S>) {
    let base = filled(&*store).await;
    let again = lead(&*store, 2, base.lead.asset).await;
    for writer in [base.lead, again] {
        assert_eq!(refused(&*store, reopened(writer, 1, false)).await, ErrorKind::Conflict);
    }
    assert_eq!(row(&*store, 1).await.epoch, 1);

    fail(&*store, base.lead.run).await;
    let onward = FanOutProgress {
        lead: again,
        page: Some(page(10, 5)),
        cursor: Some(cursor(b"fifteen")),
        ..base.clone()
    };
    commit(&*store, &[reopened(again, 1, false), went(onward)]).await;

    let after = row(&*store, 1).await;
    assert_eq!(
        (after.run, after.epoch, after.state),
        (again.run, 2, BarrierState::Filling)
    );
    assert_eq!(after.cursor, Some(cursor(b"fifteen")));
    assert_eq!(store.item_pages(base.fan_out).await.expect("pages").len(), 2);
    assert_eq!(refused(&*store, reopened(again, 1, false)).await, ErrorKind::Conflict);
}

/// A store that was closed and opened again judges what comes next as before. Nothing to see for one that cannot be.
pub async fn fan_outs_survive_reopening<S: Store>(under_test: StoreUnderTest<S>) {
    let StoreUnderTest { store, reopen, kept } = under_test;
    let base = filled(&store).await;
    let before = everything(&store).await;
    let store = match reopen {
        Some(reopen) => reopen(store).await.expect("it opens again"),
        None => store,
    };

    assert_eq!(everything(&store).await, before);
    let with = |claimed: Vec<ItemClaim>, segments, page| {
        went(FanOutProgress {
            claimed,
            segments,
            page,
            ..base.clone()
        })
    };
    for wrong in [
        with(vec![claim_of(0, [9])], Vec::new(), None),
        with(Vec::new(), vec![segment((0, 0, 1), [2])], None),
        with(Vec::new(), Vec::new(), Some(page(0, 3))),
        opened(base.lead, 1),
        opened(base.lead, 3),
    ] {
        assert_eq!(refused(&store, wrong).await, ErrorKind::Conflict);
    }
    let right = with(vec![claim_of(2, [2])], vec![segment((0, 1, 0), [5])], Some(page(10, 3)));
    commit(&store, &[right, opened(base.lead, 4)]).await;
    assert_eq!(store.item_ends(base.fan_out).await.expect("ends").next_chunk, 3);
    assert_eq!(row(&store, 1).await.fan_out, base.fan_out);
    assert_eq!(row(&store, 4).await.fan_out, fan_out_id(4));
    drop((store, kept));
}

type Everything = (
    Vec<FanOutRow>,
    Vec<PageRow>,
    Vec<ItemClaim>,
    ItemEnds,
    Vec<Segment>,
    Vec<ItemFailure>,
);

async fn everything(store: &impl Store) -> Everything {
    let fan_out = fan_out_id(1);
    (
        store.fan_outs(FanOutFilter::OfRun(run_id(1))).await.expect("fan-outs"),
        store.item_pages(fan_out).await.expect("pages"),
        store.item_claims(fan_out).await.expect("claims"),
        store.item_ends(fan_out).await.expect("ends"),
        store.segments(fan_out, 0).await.expect("segments"),
        store.item_failures(fan_out, 0, 100).await.expect("failures"),
    )
}

/// Fan-outs go with the run that they belong to, with all of them; those of other runs stay.
pub async fn a_run_that_is_pruned_takes_its_fan_outs_along<S: Store>(store: StoreUnderTest<S>) {
    const LATER: i64 = 365 * 24 * 60 * 60;
    let base = filled(&*store).await;
    let asset = base.lead.asset;
    let shared = FanOutOpened {
        shared: Some(Bytes::from_static(b"shared")),
        ..opening(base.lead, 4)
    };
    commit(&*store, &[Record::FanOutOpened(Box::new(shared))]).await;
    fail(&*store, base.lead.run).await;
    let second = lead(&*store, 2, asset).await;
    commit(&*store, &[reopened(second, 1, false), opened(second, 5)]).await;
    fail(&*store, second.run).await;
    let third = lead(&*store, 3, asset).await;
    let stays = FanOutProgress {
        page: Some(page(0, 1)),
        ..nothing(third, 6)
    };
    commit(&*store, &[opened(third, 6), went(stays)]).await;
    let mut asked = Prune {
        now: at(LATER),
        events: Keep::ALL,
        runs: Keep::last(0),
        versions: BTreeMap::new(),
        rows_max: 1,
        is_dry_run: true,
    };

    let would = store.prune(&asked).await.expect("it counts");
    assert_eq!(ids(&*store, FanOutFilter::OfRun(base.lead.run)).await, [fan_out_id(4)]);
    asked.is_dry_run = false;
    let first = store.prune(&asked).await.expect("it prunes");
    assert_eq!(ids(&*store, FanOutFilter::OfRun(base.lead.run)).await, []);
    let moved_on = [1, 2, 3, 5].map(fan_out_id);
    assert_eq!(
        ids(&*store, FanOutFilter::OfRun(second.run)).await,
        moved_on,
        "they belong to another run"
    );
    let rest = store.prune(&asked).await.expect("it prunes");

    assert_eq!(first.rows, would.rows);
    let rows = |table: &str| rest.rows.get(table).copied();
    assert_eq!(first.rows.get("fan_out"), Some(&1));
    assert_eq!(
        (rows("fan_out"), rows("item_page"), rows("item_claim")),
        (Some(4), Some(1), Some(1))
    );
    assert_eq!((rows("segment"), rows("failed_item")), (Some(1), Some(2)));
    assert_eq!(ids(&*store, FanOutFilter::OfRun(second.run)).await, []);
    assert_eq!(store.item_page(fan_out_id(1), 0).await.expect("an answer"), None);
    assert_eq!(store.segments(fan_out_id(1), 0).await.expect("segments"), []);
    assert_eq!(ids(&*store, FanOutFilter::OfRun(third.run)).await, [fan_out_id(6)]);
    assert_eq!(store.item_pages(fan_out_id(6)).await.expect("pages").len(), 1);
    let forgotten = reopened(third, 1, false);
    assert_eq!(refused(&*store, forgotten).await, ErrorKind::NotFound);
}
