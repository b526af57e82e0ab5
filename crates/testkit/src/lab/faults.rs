//! What goes wrong around an engine, drawn from a seed: crashes, commits that fail, slow and failing values.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use flowstone_core::io::{IoManager, RowParts, Rows, Slot, Stored};
use flowstone_core::plan::RunRequest;
use flowstone_core::store::{Record, Store};
use flowstone_core::{AssetId, Error, ErrorKind, Result, TypeInfo, Value};
use flowstone_runtime::{Engine, EngineOptions, RunReport};
use tokio::sync::Notify;

use super::{Lab, never_ends};
use crate::Draw;
use crate::around::{AroundCommit, AroundIo, IoAround, StoreAround};

/// How often a process dies or its run is put back, at most: a step that is in flight at three deaths is taken for their
/// cause.
const DEATHS_MAX: usize = 2;
/// The process dies at one of so many commits.
const COMMITS_TO_CRASH: usize = 24;
/// Commits that fail in a row, at most; the ledger tries five times.
const COMMITS_FAIL_MAX: u32 = 3;
/// The engine is started so often, at most.
const STARTS_MAX: u32 = 8;

/// How a run went under faults.
#[derive(Debug, Clone)]
pub struct Disturbed {
    /// How it ended.
    pub report: RunReport,
    /// How often its process died.
    pub crashes: u32,
    /// Commits that failed and were tried again.
    pub commits_failed: u32,
    /// Commits that were stored and whose answer was lost.
    pub answers_lost: u32,
    /// Values that could not be stored and were made again.
    pub stores_failed: u32,
}

impl Lab {
    /// Makes everything that is not current while things go wrong; see [`run_under_faults`](Self::run_under_faults).
    ///
    /// # Errors
    /// As [`run_under_faults`](Self::run_under_faults).
    pub fn run_all_under_faults(&mut self, seed: u64) -> Result<Disturbed> {
        let request = self.everything();
        self.run_under_faults(request, seed)
    }

    /// Carries out one request while its process is killed, commits fail, hang and lose their answer, and values are slow and cannot be
    /// stored at first, as the seed wants. Values fail only for assets that try more than once. Everything must come to
    /// the same as without.
    ///
    /// # Errors
    /// As [`run`](Self::run); `Internal` with code `never_ends` when the run does not come to its end.
    pub fn run_under_faults(&mut self, mut request: RunRequest, seed: u64) -> Result<Disturbed> {
        request
            .idempotency_key
            .get_or_insert_with(|| format!("under faults {seed}"));
        let mut draw = Draw::seeded(seed);
        let may_fail = self.runtime.block_on(self.assets_that_retry())?;
        let sky = Arc::new(Sky {
            may_fail,
            state: Mutex::new(State {
                draw: Draw::seeded(draw.number()),
                failing: 0,
                failed: HashSet::new(),
                answers_to_lose: 0,
                answers_lost: 0,
                commits_failed: 0,
                stores_failed: 0,
            }),
        });
        let mut crashes_left = draw.below(DEATHS_MAX + 1);
        sky.state().answers_to_lose = DEATHS_MAX - crashes_left;
        for crashes in 0..STARTS_MAX {
            let crash_at = (crashes_left > 0).then(|| 1 + draw.below(COMMITS_TO_CRASH));
            crashes_left = crashes_left.saturating_sub(1);
            let process = Arc::new(Process::new(Arc::clone(&sky), crash_at));
            if let Some(report) = self.start_once(&request, &process)? {
                let state = sky.state();
                return Ok(Disturbed {
                    report,
                    crashes,
                    commits_failed: state.commits_failed,
                    answers_lost: state.answers_lost,
                    stores_failed: state.stores_failed,
                });
            }
        }
        Err(never_ends(STARTS_MAX))
    }

    /// One life of a process: the report if the run ended in it, nothing if it died.
    fn start_once(&mut self, request: &RunRequest, process: &Arc<Process>) -> Result<Option<RunReport>> {
        let around = Arc::clone(process);
        let options = EngineOptions {
            around_io: Some(Arc::new(move |io| Arc::new(IoAround::new(io, Arc::clone(&around))))),
            ..self.options()
        };
        let store = Arc::new(StoreAround::new(
            Arc::clone(&self.store) as _,
            Dying(Arc::clone(process)),
        ));
        let pipeline = self.pipeline.clone();
        self.runtime.block_on(async {
            let living = async {
                let engine = Engine::start(pipeline, store, options).await?;
                let report = engine.submit(request.clone()).await?.wait().await?;
                engine.shutdown().await?;
                Ok(report)
            };
            tokio::select! {
                biased;
                () = process.died() => Ok(None),
                report = living => report.map(Some),
            }
        })
    }

    async fn assets_that_retry(&self) -> Result<HashSet<AssetId>> {
        let nodes: Vec<_> = self.pipeline.graph().nodes().map(|(_, node)| node).collect();
        let rows: Vec<_> = nodes
            .iter()
            .map(|node| (node.key().clone(), node.space().clone()))
            .collect();
        let ids = self.store.declare_assets(&rows).await?;
        let retrying = ids
            .into_iter()
            .zip(nodes)
            .filter(|(_, node)| node.retry().attempts_max() > 1);
        Ok(retrying.map(|(id, _)| id).collect())
    }
}

/// What goes wrong outside of any process.
struct Sky {
    may_fail: HashSet<AssetId>,
    state: Mutex<State>,
}

struct State {
    draw: Draw,
    /// Commits that have failed in a row.
    failing: u32,
    /// Steps whose value could not be stored once; the next time it can.
    failed: HashSet<(AssetId, u64)>,
    answers_to_lose: usize,
    answers_lost: u32,
    commits_failed: u32,
    stores_failed: u32,
}

impl Sky {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn delay(&self) -> Duration {
        let draw = &mut self.state().draw;
        let millis = if draw.chance(150) { draw.below(3_000) } else { 0 };
        Duration::from_millis(millis as u64)
    }

    fn fails_commit(&self) -> bool {
        let state = &mut *self.state();
        let fails = state.failing < COMMITS_FAIL_MAX && state.draw.chance(120);
        state.failing = if fails { state.failing + 1 } else { 0 };
        state.commits_failed += u32::from(fails);
        fails
    }

    /// Whether the answer to a commit is lost.
    fn loses_answer(&self, records: &[Record]) -> bool {
        let state = &mut *self.state();
        let loses = state.answers_to_lose > 0 && !records.is_empty() && state.draw.chance(100);
        state.answers_to_lose -= usize::from(loses);
        state.answers_lost += u32::from(loses);
        loses
    }

    fn fails_store(&self, slot: Slot) -> bool {
        let state = &mut *self.state();
        let fails = self.may_fail.contains(&slot.asset)
            && state.draw.chance(60)
            && state.failed.insert((slot.asset, slot.partition));
        state.stores_failed += u32::from(fails);
        fails
    }
}

/// One life of a process. When it is dead nothing that it began comes to an end.
struct Process {
    sky: Arc<Sky>,
    /// How many commits it lives for.
    commits_left: Mutex<Option<usize>>,
    is_dead: AtomicBool,
    death: Notify,
}

impl Process {
    fn new(sky: Arc<Sky>, crash_at: Option<usize>) -> Self {
        Self {
            sky,
            commits_left: Mutex::new(crash_at),
            is_dead: AtomicBool::new(false),
            death: Notify::new(),
        }
    }

    async fn died(&self) {
        self.death.notified().await;
    }

    fn die(&self) {
        self.is_dead.store(true, Ordering::SeqCst);
        self.death.notify_one();
    }

    /// Waits for ever if the process is dead.
    async fn live(&self) {
        if self.is_dead.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }

    fn is_last_commit(&self) -> bool {
        let mut left = self.commits_left.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *left {
            Some(count) => {
                *count -= 1;
                *count == 0
            }
            None => false,
        }
    }
}

struct Dying(Arc<Process>);

#[async_trait]
impl AroundCommit for Dying {
    async fn commit(&self, store: &dyn Store, records: &[Record]) -> Result<Vec<Result<()>>> {
        let process = &self.0;
        process.live().await;
        tokio::time::sleep(process.sky.delay()).await;
        process.live().await;
        if process.sky.fails_commit() {
            return Err(Error::new(ErrorKind::Unavailable, "the store is away for a moment"));
        }
        if process.is_last_commit() {
            // The answer is lost with the process; whether the group is stored is not.
            if process.sky.state().draw.chance(500) {
                drop(store.commit(records).await);
            }
            process.die();
            process.live().await;
        }
        let verdicts = store.commit(records).await;
        if process.sky.loses_answer(records) {
            return Err(Error::new(ErrorKind::Unavailable, "the answer is lost"));
        }
        verdicts
    }
}

impl Process {
    async fn before_store(&self, slot: Slot) -> Result<()> {
        self.live().await;
        tokio::time::sleep(self.sky.delay()).await;
        self.live().await;
        if self.sky.fails_store(slot) {
            return Err(Error::new(ErrorKind::Unavailable, "the medium is away for a moment"));
        }
        Ok(())
    }
}

#[async_trait]
impl AroundIo for Process {
    async fn store(&self, io: &dyn IoManager, slot: Slot, value: &Value) -> Result<Stored> {
        self.before_store(slot).await?;
        io.store(slot, value).await
    }

    async fn store_rows(&self, io: &dyn IoManager, slot: Slot, rows: Rows) -> Result<Stored> {
        self.before_store(slot).await?;
        io.store_rows(slot, rows).await
    }

    async fn load(&self, io: &dyn IoManager, stored: &Stored, ty: TypeInfo) -> Result<Value> {
        self.live().await;
        tokio::time::sleep(self.sky.delay()).await;
        io.load(stored, ty).await
    }

    async fn load_rows(&self, io: &dyn IoManager, stored: &Stored, ty: TypeInfo) -> Result<RowParts> {
        self.live().await;
        tokio::time::sleep(self.sky.delay()).await;
        io.load_rows(stored, ty).await
    }
}
