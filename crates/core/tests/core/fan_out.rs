//! The machine of a fan-out, told what happens item by item: what is refused, when it ends, and how much runs at once.

mod deaths;
mod ends;
mod late;
mod limits;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use flowstone_core::asset::Retry;
use flowstone_core::fan_out::{
    BarrierState, FailurePolicy, FanOutEffect, FanOutEvent, FanOutMachine, FanOutOptions, ItemChunk, ItemEnd,
    ItemEnded, ItemPage, SessionId,
};
use flowstone_core::reader::{Cursor, Item};
use flowstone_core::store::{FanOutProgress, Lead};
use flowstone_core::{AssetId, ChunkNo, Error, FanOutId, Fence, Result, RunId};
use jiff::Timestamp;
use uuid::Uuid;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_704_067_200 + second).expect("a moment of this century")
}

fn many(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).expect("not zero")
}

fn lead(fence: u64) -> Lead {
    Lead {
        run: RunId(Uuid::from_u128(1)),
        asset: AssetId(0),
        chunk: ChunkNo(0),
        fence: Fence(fence),
    }
}

/// Options that try each item `attempts` times, a second apart at most, and let any number fail.
fn lenient(attempts: u32) -> FanOutOptions {
    FanOutOptions {
        failure: FailurePolicy::tolerate_count(u64::MAX),
        retry: Retry::exponential(attempts).between(Duration::from_secs(1), Duration::from_secs(1)),
        ..FanOutOptions::default()
    }
}

fn machine(options: FanOutOptions) -> FanOutMachine {
    let coordinator = Arc::new(options.failure);
    FanOutMachine::new(FanOutId(Uuid::from_u128(7)), lead(1), options, coordinator)
}

/// One with so many items, all of which are known.
fn sealed(options: FanOutOptions, len: u64) -> FanOutMachine {
    let mut machine = machine(options);
    read(&mut machine, len, true).expect("a page is taken");
    machine
}

fn read(machine: &mut FanOutMachine, len: u64, is_last: bool) -> Result<Vec<FanOutEffect>> {
    let first = machine.counts().total;
    let items = (first..first + len).map(|item| Item::new(format!("item {item}"), &item).expect("short"));
    let page = ItemPage::new(first, items.collect());
    let next = (!is_last).then(|| Cursor {
        version: 1,
        position: Vec::new(),
    });
    machine.apply(FanOutEvent::PageRead { page, next }, at(0))
}

/// A session that asks for at most so many items while it has `running` calls.
fn ask(
    machine: &mut FanOutMachine,
    session: u64,
    (items_max, running): (u64, u64),
    now: Timestamp,
) -> Result<Option<ItemChunk>> {
    let free = FanOutEvent::WorkerFree {
        session: SessionId(session),
        workers: 2,
        items_max,
        running,
    };
    let effects = machine.apply(free, now)?;
    Ok(effects.into_iter().find_map(|effect| match effect {
        FanOutEffect::Start(chunk) => Some(chunk),
        _ => None,
    }))
}

/// One item, claimed by a session.
fn claim_one(machine: &mut FanOutMachine, session: u64, now: Timestamp) -> ItemChunk {
    let claim = ask(machine, session, (1, 0), now).expect("it is not over");
    claim.expect("an item is ready")
}

fn report(machine: &mut FanOutMachine, chunk: &ItemChunk, ends: &[(u64, ItemEnd)]) -> Result<Vec<FanOutEffect>> {
    report_at(machine, chunk, ends, at(0))
}

fn report_at(
    machine: &mut FanOutMachine,
    chunk: &ItemChunk,
    ends: &[(u64, ItemEnd)],
    now: Timestamp,
) -> Result<Vec<FanOutEffect>> {
    let ended = ends.iter().map(|(index, end)| ItemEnded {
        index: *index,
        attempt: chunk.attempt(*index),
        end: end.clone(),
        key: format!("item {index}"),
    });
    let event = FanOutEvent::ItemsEnded {
        chunk: chunk.chunk,
        fence: chunk.fence,
        ended: ended.collect(),
    };
    machine.apply(event, now)
}

fn value() -> ItemEnd {
    ItemEnd::Succeeded(b"1".as_slice().into())
}

fn for_now() -> ItemEnd {
    ItemEnd::Failed(Error::transient("the line is busy").to_record())
}

fn for_good() -> ItemEnd {
    ItemEnd::Failed(Error::permanent("there is no such route").to_record())
}

/// Claims the next item and reports how it ended.
fn end_next(machine: &mut FanOutMachine, end: ItemEnd) -> Vec<FanOutEffect> {
    let claim = claim_one(machine, 1, at(0));
    let item = claim.items.min().expect("a claim has items");
    report(machine, &claim, &[(item, end)]).expect("it is held")
}

/// How often it was said to be over, and with what.
fn overs(effects: &[FanOutEffect]) -> Vec<BarrierState> {
    let over = effects.iter().filter_map(|effect| match effect {
        FanOutEffect::Over(state) => Some(*state),
        _ => None,
    });
    over.collect()
}

fn committed(effects: &[FanOutEffect]) -> &FanOutProgress {
    let committed = effects.iter().find_map(|effect| match effect {
        FanOutEffect::Commit(progress) => Some(&**progress),
        _ => None,
    });
    committed.expect("something is committed")
}
