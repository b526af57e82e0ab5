//! Measures what a commit costs on the disk that holds the temporary folder (`TMPDIR` moves it).
//!
//! Run it with `cargo run --release -p flowstone-store --example commit_cost`. The durable figures go up and down with
//! the disk's fsync, which is therefore printed beside them, taken in turns with what it is compared to.

#![expect(clippy::print_stdout, reason = "the figures are what this program is for")]

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use flowstone_core::io::{Address, Stored};
use flowstone_core::partition::{EveryMinutes, PartitionMoves, PartitionSet, PartitionSpace, Partitions};
use flowstone_core::run::{RunCounts, RunState};
use flowstone_core::store::{
    ChunkClaim, ChunkProgress, ChunkState, LineageInput, Materialization, Record, Redefinition, RunRow, Store,
};
use flowstone_core::{
    AssetId, AssetKey, ChunkNo, CodeVersion, DataVersion, Fence, Incarnation, Result, RunId, Version,
};
use flowstone_store::{LEDGER_FILE, SqliteStore};
use jiff::Timestamp;
use uuid::Uuid;

const CHAIN_LEN: u64 = 1_000;
const BACKFILL_LEN: u64 = 100_000;
const CHUNK_LEN: u64 = 500;
const BARE_LEN: usize = 4_096;
const REDEFINED_LEN: u64 = 1_000_000;

#[tokio::main]
async fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    chain(folder.path()).await?;
    backfill(folder.path()).await?;
    point_reads(folder.path()).await?;
    redefinition(folder.path()).await
}

/// Each commit ends one step and claims the next, as a chain does that waits for the disk.
async fn chain(folder: &Path) -> Result<()> {
    let store = SqliteStore::open(&folder.join("chain")).await?;
    let keys: Vec<_> = (0..CHAIN_LEN + 1)
        .map(|no| Ok((AssetKey::new(format!("asset-{no}"))?, PartitionSpace::Unit)))
        .collect::<Result<_>>()?;
    let assets = store.declare_assets(&keys).await?;
    let run = begin(&store, 1).await?;
    let mut bare = File::create(folder.join("bare"))?;
    let page = vec![7_u8; BARE_LEN];
    let (mut commits, mut appends) = (Vec::new(), Vec::new());
    store
        .commit(&[claim(run, assets[0], 0, PartitionSet::single(0))])
        .await?;
    for version in [1, 2] {
        for no in 0..CHAIN_LEN as usize {
            let input = LineageInput {
                asset: assets[no],
                partitions: (0, 0),
                version: Version(version),
                upstream: assets[no + 1],
                from: (0, 0),
                one_to_one: true,
                upstream_version: Version(version),
            };
            let next = if no + 1 < CHAIN_LEN as usize {
                (assets[no + 1], version - 1)
            } else {
                (assets[0], version)
            };
            let group = [
                progress(run, assets[no], version - 1, (0, 0), version, vec![input]),
                claim(run, next.0, next.1, PartitionSet::single(0)),
            ];
            let started = Instant::now();
            let verdicts = store.commit(&group).await?;
            commits.push(started.elapsed().as_secs_f64() * 1e6);
            verdicts.into_iter().collect::<Result<Vec<()>>>()?;

            let started = Instant::now();
            bare.write_all(&page)?;
            bare.sync_data()?;
            appends.push(started.elapsed().as_secs_f64() * 1e6);
        }
    }
    let (commit, append) = (spread(&mut commits), spread(&mut appends));
    println!(
        "one-step commit      median {:7.1} µs  mean {:7.1} µs",
        commit.0, commit.1
    );
    println!(
        "bare append + fsync  median {:7.1} µs  mean {:7.1} µs",
        append.0, append.1
    );
    println!(
        "ratio                median {:7.2}     mean {:7.2}",
        commit.0 / append.0,
        commit.1 / append.1
    );
    store.close().await
}

/// Commits of 500 steps each over one partitioned asset.
async fn backfill(folder: &Path) -> Result<()> {
    let dir = folder.join("backfill");
    let store = SqliteStore::open(&dir).await?;
    let keys = [
        (AssetKey::new("up")?, PartitionSpace::Unit),
        (AssetKey::new("down")?, PartitionSpace::Unit),
    ];
    let assets = store.declare_assets(&keys).await?;
    let run = begin(&store, 2).await?;
    let started = Instant::now();
    for chunk in 0..BACKFILL_LEN / CHUNK_LEN {
        let (first, last) = (chunk * CHUNK_LEN, (chunk + 1) * CHUNK_LEN - 1);
        let input = one_to_one(&assets, (first, last));
        let group = [
            claim(run, assets[1], chunk, PartitionSet::from_range(first..=last)),
            progress(run, assets[1], chunk, (first, last), 1, vec![input]),
        ];
        store.commit(&group).await?.into_iter().collect::<Result<Vec<()>>>()?;
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("backfill             {:9.0} steps/s", BACKFILL_LEN as f64 / seconds);
    for (table, (rows, bytes)) in store.stats().await?.tables {
        println!("  {table:18} {rows:8} rows {:9} bytes", bytes.unwrap_or_default());
    }
    store.close().await?;
    let bytes = std::fs::metadata(dir.join(LEDGER_FILE))?.len();
    println!("bytes a step         {:9.1}", bytes as f64 / BACKFILL_LEN as f64);
    Ok(())
}

async fn point_reads(folder: &Path) -> Result<()> {
    const READS: u64 = 2_000;
    let store = SqliteStore::open_read_only(&folder.join("backfill")).await?;
    let asset = AssetId(1);
    let mut timed = Vec::new();
    for read in 0..READS {
        let partition = read * 37 % BACKFILL_LEN;
        let started = Instant::now();
        let found = store.inputs_of(asset, partition, Version(1)).await?;
        timed.push(started.elapsed().as_secs_f64() * 1e6);
        assert_eq!(found.len(), 1);
    }
    println!("inputs of one        median {:7.1} µs", spread(&mut timed).0);
    let started = Instant::now();
    let heads = store.heads(asset, &PartitionSet::from_range(0..BACKFILL_LEN)).await?;
    println!(
        "heads of {}      {:9.1} ms",
        heads.len(),
        started.elapsed().as_secs_f64() * 1e3
    );
    let started = Instant::now();
    store.status(asset).await?;
    println!("status               {:9.3} ms", started.elapsed().as_secs_f64() * 1e3);
    store.close().await
}

/// Partitions that are defined anew under values: all moved by one step, then each apart from its neighbors.
async fn redefinition(folder: &Path) -> Result<()> {
    let store = SqliteStore::open(&folder.join("redefinition")).await?;
    let windows = |year: u32| Partitions::from(EveryMinutes::from(5, format!("{year}-01-01T00:00"))).build();
    let (up, down) = (AssetKey::new("up")?, AssetKey::new("down")?);
    let declared = [(up.clone(), windows(2013)?), (down, windows(2013)?)];
    let assets = store.declare_assets(&declared).await?;
    let run = begin(&store, 3).await?;
    for chunk in 0..REDEFINED_LEN / CHUNK_LEN {
        let (first, last) = (chunk * CHUNK_LEN, (chunk + 1) * CHUNK_LEN - 1);
        let input = one_to_one(&assets, (first, last));
        let steps = || PartitionSet::from_range(first..=last);
        let group = [
            claim(run, assets[0], chunk, steps()),
            progress(run, assets[0], chunk, (first, last), 1, Vec::new()),
            claim(run, assets[1], chunk, steps()),
            progress(run, assets[1], chunk, (first, last), 1, vec![input]),
        ];
        store.commit(&group).await?.into_iter().collect::<Result<Vec<()>>>()?;
    }
    let mut shift = PartitionMoves::default();
    shift.push(0, REDEFINED_LEN - 1, 1);
    let mut apart = PartitionMoves::default();
    (1..=REDEFINED_LEN).for_each(|index| apart.push(index, index, REDEFINED_LEN - index));
    let mut of = assets[0];
    for (what, year, moves) in [("shifted", 2012, shift), ("scattered", 2011, apart)] {
        let change = Redefinition {
            key: up.clone(),
            of,
            space: windows(year)?,
            moves: vec![(of, moves)],
            outdated: Vec::new(),
        };
        let started = Instant::now();
        of = store.redefine(&[change]).await?[0];
        let seconds = started.elapsed().as_secs_f64();
        println!("{REDEFINED_LEN} {what:9} {seconds:9.2} s");
    }
    store.close().await
}

async fn begin(store: &SqliteStore, no: u128) -> Result<RunId> {
    let run = RunId(Uuid::from_u128(no));
    let row = RunRow {
        run,
        pipeline: "measured".into(),
        idempotency_key: None,
        request: Vec::new().into(),
        plan: None,
        incarnation: Incarnation::NONE,
        state: RunState::Running,
        created_at: Timestamp::now(),
        moved_at: Timestamp::now(),
        counts: RunCounts::default(),
        error: None,
    };
    store.commit(&[Record::RunCreated(row)]).await?;
    Ok(run)
}

fn claim(run: RunId, asset: AssetId, chunk: u64, steps: PartitionSet) -> Record {
    let (chunk, fence, at) = (ChunkNo(chunk), Fence(1), Timestamp::now());
    Record::ChunkClaimed(ChunkClaim {
        run,
        asset,
        chunk,
        fence,
        steps,
        crashes: 0,
        at,
    })
}

/// That the first versions of some partitions of the second asset were made from the same ones of the first asset.
fn one_to_one(assets: &[AssetId], partitions: (u64, u64)) -> LineageInput {
    LineageInput {
        asset: assets[1],
        partitions,
        version: Version(1),
        upstream: assets[0],
        from: partitions,
        one_to_one: true,
        upstream_version: Version(1),
    }
}

fn progress(
    run: RunId,
    asset: AssetId,
    chunk: u64,
    (first, last): (u64, u64),
    version: u64,
    inputs: Vec<LineageInput>,
) -> Record {
    let now = Timestamp::now();
    let made = |partition: u64| Materialization {
        asset,
        partition,
        version: Version(version),
        run,
        stored: Stored {
            address: Address::Inline(partition.to_le_bytes().to_vec().into()),
            data_version: DataVersion::of(&partition.to_le_bytes()),
            bytes: 8,
            rows: None,
            manifest: None,
        },
        code_version: CodeVersion(7),
        attempt: 1,
        started_at: now,
        ended_at: now,
    };
    Record::ChunkProgress(ChunkProgress {
        run,
        asset,
        chunk: ChunkNo(chunk),
        fence: Fence(1),
        materialized: (first..=last).map(made).collect(),
        inputs,
        unchanged: PartitionSet::new(),
        skipped: PartitionSet::new(),
        failed: Vec::new(),
        outdated: Vec::new(),
        state: ChunkState::Ended,
        at: now,
    })
}

/// Median and mean.
fn spread(values: &mut [f64]) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    (
        values[values.len() / 2],
        values.iter().sum::<f64>() / values.len() as f64,
    )
}
