//! `plan_10m_ms`, `status_10m_ms`, `sets_10m_rss_mb`: what ten million partitions cost to look at.
//!
//! Two assets of 10,000,000 minutes each, the second made from the first. Of the first, 100,000 partitions that lie
//! scattered are made, so that no set is a plain range; the ledger is SQLite on disk. Each round is a new process, this
//! program again: it runs the verbs `plan * --all` and `status` of the command line on that state, from the arguments to
//! the written answer, and tells how long each took and the most memory that it ever held.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use flowstone::prelude::*;
use flowstone_core::asset::In;
use flowstone_core::io::{Address, Stored};
use flowstone_core::partition::{EveryMinutes, PartitionSet};
use flowstone_core::run::{RunCounts, RunState};
use flowstone_core::store::{ChunkClaim, ChunkProgress, ChunkState, Materialization, Record, RunRow, Store};
use flowstone_core::{ChunkNo, DataVersion, Fence, Incarnation, Version};
use flowstone_store::SqliteStore;

use super::{Figure, Measured, Setup};
use crate::{child, engine, rounds};

const LEN: u64 = 10_000_000;
const MADE: u64 = 100_000;
const MADE_PER_CHUNK: u64 = 10_000;
const ROUNDS: usize = 5;

/// Makes this program be the process that is measured.
pub(crate) const CHILD_ARGUMENT: &str = "__sets";

pub(crate) const PLAN: Figure = Figure {
    name: "plan_10m_ms",
    unit: "ms",
    what: "`plan` over 10,000,000 partitions, from its arguments to its answer",
    measure: |setup| measure(setup, |seen| seen.plan_ms),
};

pub(crate) const STATUS: Figure = Figure {
    name: "status_10m_ms",
    unit: "ms",
    what: "`status` over 10,000,000 partitions, from its arguments to its answer",
    measure: |setup| measure(setup, |seen| seen.status_ms),
};

pub(crate) const MEMORY: Figure = Figure {
    name: "sets_10m_rss_mb",
    unit: "MB",
    what: "most memory of the process that does both",
    measure: |setup| measure(setup, |seen| seen.rss_mb),
};

/// What one process told.
struct Seen {
    plan_ms: f64,
    status_ms: f64,
    rss_mb: f64,
}

fn minutes() -> EveryMinutes {
    EveryMinutes::from(1, "2000-01-01T00").until("2019-01-05T10:40")
}

fn pipeline() -> Result<Pipeline> {
    let source = Asset::new("minutes").partitions(minutes()).run(|| async { 1_u64 });
    let derived = Asset::new("derived")
        .partitions(minutes())
        .upstream("minutes")
        .run(|In(value): In<u64>| async move { value + 1 });
    Pipeline::builder("sets").assets([source, derived]).build()
}

fn measure(setup: &Setup, value: fn(&Seen) -> f64) -> Result<Measured> {
    let folder = setup.new_folder()?;
    engine::block_on(prepare(folder.path()))?;
    let mut values = Vec::new();
    for _ in 0..ROUNDS {
        values.push(value(&look(folder.path())?));
    }
    Ok(Measured {
        value: Some(rounds::median(values)),
        rounds: ROUNDS,
        doubt: None,
        note: format!("two assets, {MADE} scattered partitions of one made; SQLite, a new process each time"),
    })
}

/// Makes the scattered partitions, as a run would record them.
async fn prepare(folder: &Path) -> Result<()> {
    let pipeline = pipeline()?;
    let nodes = pipeline.graph().nodes();
    let declared: Vec<_> = nodes
        .map(|(_, node)| (node.key().clone(), node.space().clone()))
        .collect();
    let store = SqliteStore::open(folder).await?;
    let asset = store.declare_assets(&declared).await?[0];
    let code_version = pipeline.graph().node(pipeline.graph().find("minutes")?).code_version();
    let at = "2024-01-01T00:00:00Z".parse()?;
    let run = "0192f000-0000-7000-8000-000000000001".parse()?;
    let mut records = vec![Record::RunCreated(RunRow {
        run,
        pipeline: pipeline.name().to_owned(),
        idempotency_key: None,
        request: Default::default(),
        plan: None,
        incarnation: Incarnation::NONE,
        state: RunState::Running,
        created_at: at,
        moved_at: at,
        counts: RunCounts::default(),
        error: None,
    })];
    for chunk in 0..MADE / MADE_PER_CHUNK {
        let steps: Vec<u64> = (0..MADE_PER_CHUNK)
            .map(|step| scattered(chunk * MADE_PER_CHUNK + step))
            .collect();
        let made = |partition: &u64| Materialization {
            asset,
            partition: *partition,
            version: Version(1),
            run,
            stored: Stored {
                address: Address::Inline(vec![1].into()),
                data_version: DataVersion::of(b"1"),
                bytes: 1,
                rows: None,
                manifest: None,
            },
            code_version,
            attempt: 1,
            started_at: at,
            ended_at: at,
        };
        records.push(Record::ChunkClaimed(ChunkClaim {
            run,
            asset,
            chunk: ChunkNo(chunk),
            fence: Fence(1),
            steps: steps.iter().copied().collect(),
            crashes: 0,
            at,
        }));
        records.push(Record::ChunkProgress(ChunkProgress {
            run,
            asset,
            chunk: ChunkNo(chunk),
            fence: Fence(1),
            materialized: steps.iter().map(made).collect(),
            inputs: Vec::new(),
            unchanged: PartitionSet::new(),
            skipped: PartitionSet::new(),
            failed: Vec::new(),
            outdated: Vec::new(),
            state: ChunkState::Ended,
            at,
        }));
        for verdict in store.commit(&std::mem::take(&mut records)).await? {
            verdict?;
        }
    }
    store.close().await
}

/// The n-th of the scattered partitions.
fn scattered(n: u64) -> u64 {
    n * (LEN / MADE) + n * n % (LEN / MADE)
}

fn look(state: &Path) -> Result<Seen> {
    let [plan_ms, status_ms, rss_mb] = child::ask([CHILD_ARGUMENT.as_ref(), state.as_os_str()])?;
    Ok(Seen {
        plan_ms,
        status_ms,
        rss_mb,
    })
}

/// The process that is measured.
pub(crate) fn child() -> ExitCode {
    let Some(state) = std::env::args().nth(2) else {
        return ExitCode::FAILURE;
    };
    let timed = |line: &str| {
        let words = line.split(' ').map(String::from);
        let started = Instant::now();
        let ended = flowstone::cli::main_with(pipeline, words.chain([state.clone()]));
        (ended, started.elapsed().as_secs_f64() * 1e3)
    };
    let (planned, plan_ms) = timed("sets plan * --all --state-dir");
    let (looked, status_ms) = timed("sets status --state-dir");
    let is_right = planned == ExitCode::from(2) && looked == ExitCode::SUCCESS;
    let Some(rss_mb) = crate::machine::memory_most_mb().filter(|_| is_right) else {
        return ExitCode::FAILURE;
    };
    child::tell(&[plan_ms, status_ms, rss_mb])
}
