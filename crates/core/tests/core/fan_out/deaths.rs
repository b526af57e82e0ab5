//! Items whose worker or process dies while they run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use flowstone_core::asset::Retry;
use flowstone_core::fan_out::{
    BarrierCounts, BarrierState, FanOutEvent, FanOutMachine, FanOutOptions, RecordedFanOut, SessionId,
};
use flowstone_core::partition::PartitionSet;
use flowstone_core::store::{FanOutRow, ItemClaim, ItemEnds, ItemFailure, PageRow};
use flowstone_core::{Error, FanOutId};
use uuid::Uuid;

use super::{ask, at, committed, lead, lenient, report, sealed, value};

#[test]
fn an_item_that_kills_its_worker_three_times_is_quarantined_and_its_neighbours_succeed() {
    const KILLER: u64 = 5;
    let mut machine = sealed(lenient(1), 10);
    let mut deaths = 0;
    for session in 1..100 {
        if machine.is_over() {
            break;
        }
        while let Some(claim) = ask(&mut machine, session, (4, 0), at(0)).unwrap() {
            if claim.items.contains(KILLER) {
                deaths += 1;
                let suspicious = machine.suspicious_of(SessionId(session));
                let keys = suspicious.iter().flat_map(|(_, items)| items.iter());
                let died = FanOutEvent::SessionDied {
                    session: SessionId(session),
                    keys: keys.map(|item| (item, format!("item {item}"))).collect(),
                };
                let effects = machine.apply(died, at(0)).unwrap();
                let failed = &committed(&effects).failed;
                assert_eq!(failed.len(), usize::from(deaths == 3));
                assert!(failed.iter().all(|failure| failure.key == "item 5"), "{failed:?}");
                break;
            }
            let ends: Vec<_> = claim.items.iter().map(|item| (item, value())).collect();
            report(&mut machine, &claim, &ends).unwrap();
            if machine.is_over() {
                break;
            }
        }
    }

    assert_eq!((machine.state(), deaths), (BarrierState::Partial, 3));
    let counts = machine.counts();
    assert_eq!((counts.succeeded, counts.quarantined, counts.total), (9, 1, 10));
}

/// Two items of which the first was in flight at its third death; before, it had failed at second 10.
fn found(options: FanOutOptions) -> RecordedFanOut {
    let fan_out = FanOutId(Uuid::from_u128(7));
    let lead = lead(1);
    RecordedFanOut {
        row: FanOutRow {
            fan_out,
            run: lead.run,
            asset: lead.asset,
            partition: 0,
            parent: None,
            epoch: 1,
            state: BarrierState::Filling,
            is_sealed: false,
            options,
            shared: None,
            cursor: None,
            counts: BarrierCounts::default(),
            redriven: 0,
            on_schedule_at: None,
            error: None,
            opened_at: at(0),
            moved_at: at(0),
        },
        pages: vec![PageRow {
            first: 0,
            len: 2,
            batch_starts: PartitionSet::new(),
            body: bytes::Bytes::new(),
        }],
        claims: vec![ItemClaim {
            chunk: 3,
            items: PartitionSet::single(0),
            crashes: 2,
            is_held: true,
        }],
        ends: ItemEnds {
            next_chunk: 4,
            ..ItemEnds::default()
        },
        failures: vec![ItemFailure {
            item: 0,
            key: "zero".to_owned(),
            epoch: 1,
            attempt: 1,
            is_final: false,
            error: Error::transient("busy").to_record(),
            at: at(10),
        }],
        keys: BTreeMap::from([(0, "zero".to_owned())]),
    }
}

#[test]
fn an_item_that_is_quarantined_does_not_wait_for_its_next_attempt() {
    // Somebody made the waits longer since it was tried again: without the death it would wait still.
    let hours = Duration::from_secs(36_000);
    let options = FanOutOptions {
        retry: Retry::exponential(5).between(hours, hours),
        ..lenient(5)
    };
    let recorded = found(options);
    let coordinator = Arc::new(recorded.row.options.failure);

    let (machine, _) = FanOutMachine::recover(&recorded, lead(1 << 32), coordinator, at(20)).unwrap();

    assert_eq!((machine.counts().quarantined, machine.counts().pending), (1, 1));
    assert!(!machine.works_at(&(0..1)) && machine.works_at(&(1..2)));
    assert!(machine.to_read().is_some());
    assert_eq!(machine.wake_at(at(20)), None);
}
