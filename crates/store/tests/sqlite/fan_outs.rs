//! Fan-outs: random records against core's in-memory store, and what the triggers hold by themselves.

use flowstone_core::fan_out::{BarrierCounts, BarrierState, FanOutOptions};
use flowstone_core::memory::MemoryStore;
use flowstone_core::partition::PartitionSet;
use flowstone_core::reader::Cursor;
use flowstone_core::retention::Keep;
use flowstone_core::run::RunState;
use flowstone_core::store::{
    FanOutFilter, FanOutOpened, FanOutProgress, FanOutReopened, ItemClaim, ItemFailure, Lead, PageRow, Prune, Record,
    Segment, Store,
};
use flowstone_core::{AssetId, ChunkNo, Error, ErrorKind, FanOutId, Fence, RunId};
use flowstone_store::{LEDGER_FILE, SqliteStore};
use proptest::prelude::*;
use sqlx::{Connection, Executor, SqliteConnection};
use uuid::Uuid;

use super::samples::*;

const FAN_OUTS: u128 = 4;
const RUNS: u128 = 3;

fn fan_out(number: u128) -> FanOutId {
    FanOutId(Uuid::from_u128(number))
}

fn lead(run: RunId, fence: u64) -> Lead {
    Lead {
        run,
        asset: AssetId(0),
        chunk: ChunkNo(0),
        fence: Fence(fence),
    }
}

fn opened(lead: Lead, number: u128, parent: Option<(FanOutId, u64)>) -> FanOutOpened {
    FanOutOpened {
        lead,
        fan_out: fan_out(number),
        partition: 0,
        parent,
        options: FanOutOptions::default(),
        shared: number.is_multiple_of(2).then(|| vec![number as u8].into()),
        at: at(number as i64),
    }
}

fn nothing(lead: Lead, number: u128) -> FanOutProgress {
    FanOutProgress::empty(lead, fan_out(number), at(50))
}

fn page(first: u64) -> PageRow {
    PageRow {
        first,
        len: 3,
        batch_starts: set([first]),
        body: format!("page {first} {}", "x".repeat(first as usize * 40))
            .into_bytes()
            .into(),
    }
}

fn claim_of(chunk: u64, crashes: u32) -> ItemClaim {
    ItemClaim {
        chunk,
        items: set([chunk, chunk + 7]),
        crashes,
        is_held: crashes == 0,
    }
}

fn segment(chunk: u64, seq: u32) -> Segment {
    Segment {
        page: 3 * (chunk % 2),
        chunk,
        seq,
        succeeded: set([chunk * 10 + u64::from(seq)]),
        skipped: if seq == 0 {
            PartitionSet::new()
        } else {
            set([1_000 + chunk])
        },
        body: vec![chunk as u8; seq as usize * 100].into(),
    }
}

fn item_failure(item: u64, attempt: u32) -> ItemFailure {
    ItemFailure {
        item,
        key: format!("key {item}"),
        epoch: 1,
        attempt,
        is_final: attempt == 3,
        error: Error::permanent("it broke").to_record(),
        at: at(51),
    }
}

/// A writer that holds the chunk as a rule.
fn a_lead() -> impl Strategy<Value = Lead> {
    (1..=RUNS, prop_oneof![9 => Just(1_u64), 1 => 2..4_u64]).prop_map(|(run, fence)| lead(run_id(run), fence))
}

fn a_progress() -> impl Strategy<Value = Record> {
    let states = prop_oneof![6 => Just(BarrierState::Filling), 4 => prop::sample::select(BarrierState::ALL.to_vec())];
    let items = (
        prop::option::of(0..4_u64),
        prop::option::of(any::<u8>()),
        prop::collection::vec((0..6_u64, 0..2_u32), 0..3),
        prop::collection::vec(0..6_u64, 0..2),
    );
    let ends = (
        prop::collection::vec((0..6_u64, 0..3_u32), 0..2),
        prop::collection::vec((0..4_u64, 1..4_u32), 0..3),
        0..9_u64,
    );
    (a_lead(), 1..=FAN_OUTS, states, items, ends).prop_map(|(lead, number, state, items, ends)| {
        let (first, position, claimed, closed) = items;
        let (segments, failed, pending) = ends;
        Record::FanOutProgress(Box::new(FanOutProgress {
            page: first.map(|page_no| page(3 * page_no)),
            cursor: position.map(|byte| Cursor {
                version: byte,
                position: vec![byte],
            }),
            claimed: claimed
                .into_iter()
                .map(|(chunk, crashes)| claim_of(chunk, crashes))
                .collect(),
            closed,
            segments: segments.into_iter().map(|(chunk, seq)| segment(chunk, seq)).collect(),
            failed: failed
                .into_iter()
                .map(|(item, attempt)| item_failure(item, attempt))
                .collect(),
            state,
            counts: BarrierCounts {
                total: pending,
                pending,
                ..BarrierCounts::default()
            },
            error: state.is_terminal().then(|| Error::permanent("too many").to_record()),
            on_schedule_at: position.map(|byte| at(byte.into())),
            ..nothing(lead, number)
        }))
    })
}

fn a_record() -> impl Strategy<Value = Record> {
    let open =
        (a_lead(), 1..=FAN_OUTS, prop::option::of((1..=FAN_OUTS, 0..3_u64))).prop_map(|(lead, number, parent)| {
            let parent = parent.map(|(parent, item)| (fan_out(parent), item));
            Record::FanOutOpened(Box::new(opened(lead, number, parent)))
        });
    let reopen = (a_lead(), 1..=FAN_OUTS, any::<bool>()).prop_map(|(lead, number, is_sealed)| {
        Record::FanOutReopened(Box::new(FanOutReopened {
            lead,
            fan_out: fan_out(number),
            is_sealed,
            counts: BarrierCounts::default(),
            at: at(60),
        }))
    });
    let end = (1..=RUNS).prop_map(|run| moved(run_id(run), RunState::Failed));
    prop_oneof![6 => open, 3 => reopen, 1 => end, 14 => a_progress()]
}

/// What happens between two groups.
#[derive(Debug, Clone, Copy)]
enum Between {
    Nothing,
    OpenedAnew,
    Pruned,
}

fn a_group() -> impl Strategy<Value = (Vec<Record>, Between)> {
    let between = prop_oneof![16 => Just(Between::Nothing), 3 => Just(Between::OpenedAnew), 1 => Just(Between::Pruned)];
    (prop::collection::vec(a_record(), 1..5), between)
}

async fn compare(store: &SqliteStore, model: &MemoryStore) -> Result<(), TestCaseError> {
    for run in (1..=RUNS).map(run_id) {
        let filter = FanOutFilter::OfRun(run);
        prop_assert_eq!(
            store.fan_outs(filter).await.unwrap(),
            model.fan_outs(filter).await.unwrap()
        );
    }
    for number in 1..=FAN_OUTS {
        let id = fan_out(number);
        for filter in [FanOutFilter::One(id), FanOutFilter::Within(id)] {
            prop_assert_eq!(
                store.fan_outs(filter).await.unwrap(),
                model.fan_outs(filter).await.unwrap()
            );
        }
        let pages = model.item_pages(id).await.unwrap();
        for PageRow { first, .. } in &pages {
            let expected = model.item_page(id, *first).await.unwrap();
            prop_assert_eq!(store.item_page(id, *first).await.unwrap(), expected);
        }
        prop_assert_eq!(store.item_pages(id).await.unwrap(), pages);
        prop_assert_eq!(
            store.item_claims(id).await.unwrap(),
            model.item_claims(id).await.unwrap()
        );
        prop_assert_eq!(store.item_ends(id).await.unwrap(), model.item_ends(id).await.unwrap());
        for first in [0, 3] {
            let expected = model.segments(id, first).await.unwrap();
            prop_assert_eq!(store.segments(id, first).await.unwrap(), expected);
        }
        let expected = model.item_failures(id, 1, 2).await.unwrap();
        prop_assert_eq!(store.item_failures(id, 1, 2).await.unwrap(), expected);
    }
    let events = model.events(0, 10_000).await.unwrap();
    prop_assert_eq!(store.events(0, 10_000).await.unwrap(), events);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn fan_outs_are_kept_as_in_memory(groups in prop::collection::vec(a_group(), 1..14)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let state = tempfile::tempdir().unwrap();
            let mut store = SqliteStore::open(state.path()).await.unwrap();
            let model = MemoryStore::default();
            for each in [&store as &dyn Store, &model] {
                declare(each, 1).await;
                for run in (1..=RUNS).map(run_id) {
                    let mut claimed = claim(AssetId(0), 0, 1, set([0]));
                    if let Record::ChunkClaimed(claim) = &mut claimed {
                        claim.run = run;
                    }
                    take(each, &[created(run), claimed]).await;
                }
            }
            for (group, between) in &groups {
                match between {
                    Between::Nothing => {}
                    Between::OpenedAnew => {
                        drop(store);
                        store = SqliteStore::open(state.path()).await.unwrap();
                    }
                    Between::Pruned => {
                        let asked = forget_all();
                        let (mut pruned, mut expected) = (store.prune(&asked).await.unwrap(), model.prune(&asked).await.unwrap());
                        for pruned in [&mut pruned, &mut expected] {
                            // How the ledger divides a fan-out is its own affair.
                            pruned.rows.remove("fan_out_shared");
                        }
                        prop_assert_eq!(pruned, expected);
                    }
                }
                let verdicts = kinds(&store.commit(group).await.unwrap());
                let expected = kinds(&model.commit(group).await.unwrap());
                prop_assert_eq!(verdicts, expected);
            }
            compare(&store, &model).await
        })?;
    }
}

fn forget_all() -> Prune {
    Prune {
        now: at(1_000_000_000),
        events: Keep::ALL,
        runs: Keep::last(0),
        versions: std::collections::BTreeMap::new(),
        rows_max: u64::MAX,
        is_dry_run: false,
    }
}

#[tokio::test]
async fn the_ledger_itself_refuses_what_breaks_the_rules() {
    let (state, store) = fresh().await;
    declare(&store, 1).await;
    let ended = FanOutProgress {
        page: Some(page(0)),
        claimed: vec![claim_of(0, 0)],
        segments: vec![segment(0, 0)],
        state: BarrierState::Failed,
        ..nothing(lead(RUN, 1), 1)
    };
    let group = [
        created(RUN),
        claim(AssetId(0), 0, 1, set([0])),
        Record::FanOutOpened(Box::new(opened(lead(RUN, 1), 1, None))),
        Record::FanOutProgress(Box::new(ended)),
    ];
    take(&store, &group).await;
    store.close().await.unwrap();
    let path = format!("sqlite:{}", state.path().join(LEDGER_FILE).display());
    let mut connection = SqliteConnection::connect(&path).await.unwrap();

    for (statement, rule) in [
        ("UPDATE segment SET succeeded = NULL", "a segment never changes"),
        ("UPDATE item_page SET len = 4", "a page of items never changes"),
        (
            "INSERT INTO item_page (fan_out, first, len) VALUES (0, 4, 1)",
            "a page of items follows the last",
        ),
        (
            "UPDATE fan_out SET state = 1",
            "a fan-out that has ended moves in another epoch only",
        ),
        ("UPDATE fan_out SET epoch = 0, state = 1", "an epoch only grows"),
        ("UPDATE fan_out SET asset = 7", "a fan-out keeps its place"),
        (
            "UPDATE fan_out SET next_chunk = 0",
            "items and claims only grow in number",
        ),
    ] {
        let refused = connection.execute(statement).await.unwrap_err();
        assert!(refused.to_string().contains(rule), "{statement}: {refused}");
    }
    connection
        .execute("UPDATE fan_out SET epoch = 2, state = 1")
        .await
        .unwrap();
}

#[tokio::test]
async fn what_does_not_fit_the_ledger_is_refused_and_leaves_no_trace() {
    let (_state, store) = fresh().await;
    declare(&store, 1).await;
    let lead = lead(RUN, 1);
    let group = [
        created(RUN),
        claim(AssetId(0), 0, 1, set([0])),
        Record::FanOutOpened(Box::new(opened(lead, 1, None))),
    ];
    take(&store, &group).await;
    let huge = PageRow {
        body: vec![0; (256 << 20) + 1].into(),
        ..page(0)
    };
    let wrong = [
        (
            FanOutProgress {
                page: Some(huge),
                ..nothing(lead, 1)
            },
            ErrorKind::LimitExceeded,
        ),
        (
            FanOutProgress {
                failed: vec![item_failure(1 << 63, 1)],
                ..nothing(lead, 1)
            },
            ErrorKind::OutOfRange,
        ),
        (
            FanOutProgress {
                claimed: vec![ItemClaim {
                    chunk: u64::MAX - 1,
                    ..claim_of(0, 0)
                }],
                ..nothing(lead, 1)
            },
            ErrorKind::OutOfRange,
        ),
        (
            FanOutProgress {
                at: jiff::Timestamp::MAX,
                ..nothing(lead, 1)
            },
            ErrorKind::OutOfRange,
        ),
    ];
    let before = store.fan_outs(FanOutFilter::OfRun(RUN)).await.unwrap();

    for (progress, kind) in wrong {
        let verdicts = store
            .commit(&[Record::FanOutProgress(Box::new(progress))])
            .await
            .unwrap();
        assert_eq!(kinds(&verdicts), [Some(kind)]);
    }

    assert_eq!(store.fan_outs(FanOutFilter::OfRun(RUN)).await.unwrap(), before);
    assert_eq!(store.item_pages(fan_out(1)).await.unwrap(), []);
}
