//! Measures what a million small items cost the ledger, on the disk that holds the temporary folder (`TMPDIR` moves it).
//!
//! Run it with `cargo run --release -p flowstone-store --example fan_out_cost`. Each page, claim and segment holds a thousand
//! items; groups of about fifty records are committed with fsync, as a busy engine does.

#![expect(clippy::print_stdout, reason = "the figures are what this program is for")]

use std::fs;
use std::time::Instant;

use flowstone_core::fan_out::{BarrierCounts, FanOutOptions, ItemPage, SegmentBody};
use flowstone_core::partition::{PartitionSet, PartitionSpace};
use flowstone_core::reader::{Cursor, Item};
use flowstone_core::run::{RunCounts, RunState};
use flowstone_core::store::{
    ChunkClaim, FanOutOpened, FanOutProgress, ItemClaim, Lead, Record, RunRow, Segment, Store,
};
use flowstone_core::{AssetKey, ChunkNo, FanOutId, Fence, Incarnation, Result, RunId};
use flowstone_store::{LEDGER_FILE, SqliteStore};
use jiff::Timestamp;
use uuid::Uuid;

const PAGES: u64 = 1_000;
const PAGE_LEN: u64 = 1_000;
/// Records in one commit.
const GROUP_LEN: usize = 50;

#[tokio::main]
async fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let store = SqliteStore::open(folder.path()).await?;
    let base = begin(&store).await?;
    let records = records(&base)?;
    let (started, cpu) = (Instant::now(), cpu_seconds());
    for group in records.chunks(GROUP_LEN) {
        store.commit(group).await?.into_iter().collect::<Result<Vec<()>>>()?;
    }
    let (seconds, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let items = (PAGES * PAGE_LEN) as f64;
    println!("{items} items in {} records, {GROUP_LEN} a commit", records.len());
    println!("time                 {seconds:9.2} s");
    println!("processor time       {cpu:9.2} s");

    let started = Instant::now();
    let ends = store.item_ends(base.fan_out).await?;
    println!("ends of all          {:9.2} ms", started.elapsed().as_secs_f64() * 1e3);
    assert_eq!(ends.succeeded.len(), PAGES * PAGE_LEN);
    let started = Instant::now();
    let pages = store.item_pages(base.fan_out).await?;
    println!("pages without items  {:9.2} ms", started.elapsed().as_secs_f64() * 1e3);
    let started = Instant::now();
    for page in &pages {
        let segments = store.segments(base.fan_out, page.first).await?;
        assert_eq!(
            SegmentBody::read(&segments[0].succeeded, &segments[0].skipped, &segments[0].body)?.len() as u64,
            page.len
        );
    }
    println!("all results          {:9.2} ms", started.elapsed().as_secs_f64() * 1e3);
    for (table, (rows, bytes)) in store
        .stats()
        .await?
        .tables
        .into_iter()
        .filter(|(_, (rows, _))| *rows > 0)
    {
        println!("  {table:18} {rows:8} rows {:9} bytes", bytes.unwrap_or_default());
    }
    store.close().await?;
    let bytes = fs::metadata(folder.path().join(LEDGER_FILE))?.len();
    println!("bytes an item        {:9.1}", bytes as f64 / items);
    Ok(())
}

/// A fan-out in a run of its own, and progress of it with nothing in it.
async fn begin(store: &SqliteStore) -> Result<FanOutProgress> {
    let asset = store
        .declare_assets(&[(AssetKey::new("items")?, PartitionSpace::Unit)])
        .await?[0];
    let (run, fan_out, at) = (
        RunId(Uuid::from_u128(1)),
        FanOutId(Uuid::from_u128(2)),
        Timestamp::now(),
    );
    let row = RunRow {
        run,
        pipeline: "measured".into(),
        idempotency_key: None,
        request: Vec::new().into(),
        plan: None,
        incarnation: Incarnation::NONE,
        state: RunState::Running,
        created_at: at,
        moved_at: at,
        counts: RunCounts::default(),
        error: None,
    };
    let lead = Lead {
        run,
        asset,
        chunk: ChunkNo(0),
        fence: Fence(1),
    };
    let claim = ChunkClaim {
        run,
        asset,
        chunk: lead.chunk,
        fence: lead.fence,
        steps: PartitionSet::single(0),
        crashes: 0,
        at,
    };
    let opened = FanOutOpened {
        lead,
        fan_out,
        partition: 0,
        parent: None,
        options: FanOutOptions::default(),
        shared: None,
        at,
    };
    let group = [
        Record::RunCreated(row),
        Record::ChunkClaimed(claim),
        Record::FanOutOpened(Box::new(opened)),
    ];
    store.commit(&group).await?.into_iter().collect::<Result<Vec<()>>>()?;
    Ok(FanOutProgress::empty(lead, fan_out, at))
}

/// A page, its claim, and what its items gave, a thousand times.
fn records(base: &FanOutProgress) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    for page_no in 0..PAGES {
        let items = page_no * PAGE_LEN..(page_no + 1) * PAGE_LEN;
        let all = PartitionSet::from_range(items.clone());
        let counts = |pending, leased| BarrierCounts {
            total: items.end,
            pending,
            leased,
            succeeded: items.end - pending - leased,
            ..BarrierCounts::default()
        };
        let of_page = items
            .clone()
            .map(|number| Item::new(number.to_string(), &serde_json::json!({ "n": number })));
        let page = ItemPage::new(items.start, of_page.collect::<Result<_>>()?);
        let mut body = SegmentBody::default();
        items
            .clone()
            .for_each(|number| body.push(number.to_string().as_bytes()));
        let read = FanOutProgress {
            page: Some(flowstone_core::store::PageRow {
                first: page.first,
                len: PAGE_LEN,
                batch_starts: PartitionSet::new(),
                body: page.encode(),
            }),
            cursor: Some(Cursor {
                version: 1,
                position: items.end.to_le_bytes().to_vec(),
            }),
            counts: counts(PAGE_LEN, 0),
            ..base.clone()
        };
        let claimed = FanOutProgress {
            claimed: vec![ItemClaim {
                chunk: page_no,
                items: all.clone(),
                crashes: 0,
                is_held: true,
            }],
            counts: counts(0, PAGE_LEN),
            ..base.clone()
        };
        let ended = FanOutProgress {
            segments: vec![Segment {
                page: items.start,
                chunk: page_no,
                seq: 0,
                succeeded: all,
                skipped: PartitionSet::new(),
                body: body.finish(),
            }],
            closed: vec![page_no],
            counts: counts(0, 0),
            ..base.clone()
        };
        records.extend([read, claimed, ended].map(|progress| Record::FanOutProgress(Box::new(progress))));
    }
    Ok(records)
}

/// The processor time of this process so far, where the system tells; its clock ticks a hundred times a second.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in parentheses may hold spaces; the times are the 12th and 13th fields behind it.
    let behind = stat.rsplit(')').next().unwrap_or_default();
    let ticks = behind.split_whitespace().skip(11).take(2);
    ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}
