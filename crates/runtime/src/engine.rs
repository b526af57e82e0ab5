//! The engine: a pipeline on a store, ready to run.

mod fan_outs;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use flowstone_core::asset::PartitionSets as _;
use flowstone_core::clock::{Clock, SystemClock};
use flowstone_core::graph::{AssetGraph, NodeIx};
use flowstone_core::io::{IoEnv, IoFactory, IoManager};
use flowstone_core::memory::MemoryIoFactory;
use flowstone_core::partition::PartitionKey;
use flowstone_core::pipeline::Pipeline;
use flowstone_core::plan::{Redrive, RunPlan, RunRequest, SavedPlan};
use flowstone_core::pool;
use flowstone_core::retention::Retention;
use flowstone_core::run::RunMachine;
use flowstone_core::store::{AssetRow, Store};
use flowstone_core::{AssetId, AssetKey, AssetValue, Error, ErrorKind, Result, ResultExt, RunId, TypeInfo};
use ractor::rpc::CallResult;
use ractor::{Actor, ActorRef};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::dispatcher::DispatcherHandle;
use crate::fan_out::LiveFanOuts;
use crate::handle::{FailedStep, RunHandle, RunReport};
use crate::ledger::LedgerHandle;
use crate::planning::plan_with;
use crate::pools::PoolTable;
use crate::recorded::recorded;
use crate::sets::{EngineSets, attach};
use crate::spaces::carry_out;
use crate::supervisor::{Supervisor, SupervisorArguments, SupervisorMessage};
use crate::upkeep::{Garbage, Upkeep, check_retention};

/// How an engine runs.
#[derive(Clone)]
pub struct EngineOptions {
    /// How many steps run at once; at least 1.
    pub workers: usize,
    /// How long a step that is asked to end may take to do so.
    pub cancel_grace: Duration,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// What IO managers are opened with.
    pub io: IoEnv,
    /// The IO manager for assets that name none in a pipeline that names none.
    pub default_io: Arc<dyn IoFactory>,
    /// What stands between the engine and every IO manager that it opens, such as the faults of a test.
    pub around_io: Option<AroundIo>,
    /// The slots of pools, where they are to be others than the pipeline says.
    pub pools: BTreeMap<String, u32>,
    /// How long what is over is kept. What outlived that goes bit by bit, when no run is going on.
    pub retention: Retention,
    /// Whether values may be orphaned whose partitions the pipeline no longer defines; see [`redefined`](crate::redefined).
    pub accepts_orphans: bool,
}

/// Puts something in front of an IO manager.
pub type AroundIo = Arc<dyn Fn(Arc<dyn IoManager>) -> Arc<dyn IoManager> + Send + Sync>;

impl Default for EngineOptions {
    /// As many workers as the machine has cores, five seconds of grace, all data in memory, thirty days of history, nothing
    /// orphaned.
    fn default() -> Self {
        Self {
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            cancel_grace: Duration::from_secs(5),
            clock: Arc::new(SystemClock),
            io: IoEnv::default(),
            default_io: Arc::new(MemoryIoFactory),
            around_io: None,
            pools: BTreeMap::new(),
            retention: Retention::default(),
            accepts_orphans: false,
        }
    }
}

/// What the actors of an engine share.
pub(crate) struct Shared {
    pub(crate) pipeline: Pipeline,
    pub(crate) ids: Vec<AssetId>,
    /// The numbers under which the assets were known before their partitions were defined anew.
    pub(crate) former: Vec<(AssetId, NodeIx)>,
    /// The IO manager of each node.
    pub(crate) io: Vec<Arc<dyn IoManager>>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) cancel_grace: Duration,
    pub(crate) retention: Retention,
    pub(crate) pools: PoolTable,
    pub(crate) sets: Arc<EngineSets>,
    pub(crate) ledger: LedgerHandle,
    pub(crate) dispatcher: DispatcherHandle,
    pub(crate) fan_outs: LiveFanOuts,
}

impl Shared {
    pub(crate) async fn plan(&self, request: &RunRequest) -> Result<RunPlan> {
        let now = self.clock.now();
        plan_with(&self.pipeline, &*self.store, &self.ids, &[], request, now, None).await
    }

    /// The same, with open-ended and dynamic partitions as `plan` saw them.
    pub(crate) async fn plan_as(&self, request: &RunRequest, plan: &RunPlan) -> Result<RunPlan> {
        let (time, sets) = (plan.planned_at, Some(&plan.sets[..]));
        plan_with(&self.pipeline, &*self.store, &self.ids, &[], request, time, sets).await
    }

    /// How a run ended, from the store.
    pub(crate) async fn report(&self, run: RunId) -> Result<RunReport> {
        let row = self.store.run(run).await?;
        let row = row.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no run {run}")))?;
        let failures = self
            .store
            .failures(run)
            .await?
            .into_iter()
            .filter(|failure| failure.is_final);
        let failures = failures.map(|failure| {
            let node = self.ids.iter().position(|id| *id == failure.asset);
            let node = node
                .and_then(|index| self.pipeline.graph().nodes().nth(index))
                .map(|(_, node)| node);
            FailedStep {
                asset: node.map_or_else(unknown_asset, |node| node.key().clone()),
                partition: failure.partition,
                label: node.map_or_else(String::new, |node| node.space().label(failure.partition)),
                attempt: failure.attempt,
                error: failure.error,
            }
        });
        let failures = failures.collect();
        let elapsed = row.moved_at.duration_since(row.created_at).unsigned_abs();
        Ok(RunReport {
            run,
            state: row.state,
            counts: row.counts,
            error: row.error,
            failures,
            elapsed,
        })
    }
}

fn unknown_asset() -> AssetKey {
    AssetKey::new("(an asset that the pipeline no longer has)").expect("the text is a valid name")
}

/// A pipeline on a store, ready to run. Dropping it stops everything at once; open runs go on with the next engine on
/// the same store.
///
/// ```
/// # use std::sync::Arc;
/// use flowstone_core::asset::Asset;
/// use flowstone_core::memory::MemoryStore;
/// use flowstone_core::pipeline::Pipeline;
/// use flowstone_core::plan::RunRequest;
/// use flowstone_runtime::{Engine, EngineOptions};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> flowstone_core::Result<()> {
/// let pipeline = Pipeline::builder("demo").asset(Asset::new("answer").run(|| async { 42_i64 })).build()?;
/// let engine = Engine::start(pipeline, Arc::new(MemoryStore::default()), EngineOptions::default()).await?;
///
/// let request = RunRequest { assets: vec!["answer".parse()?], ..RunRequest::default() };
/// let report = engine.run(request).await?;
///
/// assert_eq!(report.counts.succeeded, 1);
/// assert_eq!(engine.load::<i64>("answer", "").await?, 42);
/// # engine.shutdown().await
/// # }
/// ```
pub struct Engine {
    shared: Arc<Shared>,
    supervisor: ActorRef<SupervisorMessage>,
    /// The supervisor's task; it ends when everything below it has.
    task: Option<JoinHandle<()>>,
    recovered: Vec<RunHandle>,
}

impl Engine {
    /// Opens the IO managers, declares the assets, and goes on with the runs that an earlier process left open.
    ///
    /// Partitions that the pipeline defines otherwise than before keep their values wherever they stand now.
    ///
    /// # Errors
    /// What the store and the IO managers say; `Conflict` with code `partitions_orphaned` when there are values of partitions
    /// that the pipeline does not define any more, unless [`accepts_orphans`](EngineOptions::accepts_orphans) is set, or with
    /// code `partitions_in_use` when a run is open that knows the partitions as they were; `NotFound` when the retention names an asset, or the options
    /// a pool, that there is not; `Invalid` for a pool without slots or with fewer than a step takes.
    pub async fn start(pipeline: Pipeline, store: Arc<dyn Store>, options: EngineOptions) -> Result<Self> {
        check_retention(&pipeline, &options.retention)?;
        let limits = pool::limits(&pipeline, &options.pools)?;
        let pipeline = attach(&pipeline, &*store).await.during("read dynamic partitions")?;
        let io = open_io(&pipeline, &options)?;
        let nodes = pipeline.graph().nodes();
        let declared: Vec<_> = nodes
            .map(|(_, node)| (node.key().clone(), node.space().clone()))
            .collect();
        let graph = pipeline.graph();
        let known = carry_out(graph, &*store, options.accepts_orphans, options.clock.now()).await?;
        let former = former(graph, &known);
        let ids = store.declare_assets(&declared).await.during("declare the assets")?;
        let (started, ready) = oneshot::channel();
        let arguments = SupervisorArguments {
            pipeline,
            ids,
            former,
            io,
            store,
            options,
            limits,
            started,
        };
        let (supervisor, task) = Actor::spawn(None, Supervisor, arguments).await.map_err(not_started)?;
        let shared = ready.await.map_err(not_started)?;
        let mut engine = Self {
            shared,
            supervisor,
            task: Some(task),
            recovered: Vec::new(),
        };
        engine.recovered = engine.call(|answer| SupervisorMessage::Recover { answer }).await?;
        Ok(engine)
    }

    /// The pipeline.
    pub fn pipeline(&self) -> &Pipeline {
        &self.shared.pipeline
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.shared.store
    }

    /// The numbers of the assets in the store, by node.
    pub fn asset_ids(&self) -> &[AssetId] {
        &self.shared.ids
    }

    /// Adds partitions to a dynamic set, or takes retired ones back; returns when that is on disk, with the index of each.
    /// Runs that are planned already do not see them.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use flowstone_core::memory::MemoryStore;
    /// use flowstone_core::asset::{Asset, AssetContext};
    /// use flowstone_core::partition::Partitions;
    /// use flowstone_core::pipeline::Pipeline;
    /// # use flowstone_core::plan::RunRequest;
    /// # use flowstone_runtime::{Engine, EngineOptions};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> flowstone_core::Result<()> {
    /// let orders = Asset::new("orders")
    ///     .partitions(Partitions::dynamic("customers"))
    ///     .run(|context: AssetContext| async move { format!("what {} ordered", context.partition_label()) });
    /// let pipeline = Pipeline::builder("shop").asset(orders).build()?;
    /// # let store = Arc::new(MemoryStore::default());
    /// let engine = Engine::start(pipeline, store, EngineOptions::default()).await?;
    ///
    /// engine.add_partitions("customers", ["ann", "jo"]).await?;
    /// engine.retire_partitions("customers", ["jo"]).await?;
    /// let request = RunRequest { assets: vec!["orders".parse()?], ..RunRequest::default() };
    /// let report = engine.run(request).await?;
    ///
    /// assert_eq!(report.counts.succeeded, 1);
    /// # engine.shutdown().await
    /// # }
    /// ```
    ///
    /// # Errors
    /// `NotFound` when no asset is partitioned by the set; what the store says.
    pub async fn add_partitions<K: Into<PartitionKey>>(
        &self,
        set: &str,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<u64>> {
        self.shared
            .sets
            .add(set, keys.into_iter().map(Into::into).collect())
            .await
    }

    /// Retires partitions of a dynamic set: they are not planned any more, and keep their heads and lineage.
    ///
    /// # Errors
    /// `NotFound` when no asset is partitioned by the set, or it has no such partition; what the store says.
    pub async fn retire_partitions<K: Into<PartitionKey>>(
        &self,
        set: &str,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<u64>> {
        self.shared
            .sets
            .retire(set, keys.into_iter().map(Into::into).collect())
            .await
    }

    /// The runs that an earlier process left open and that go on now.
    pub fn recovered(&self) -> &[RunHandle] {
        &self.recovered
    }

    /// What `request` would do now; nothing is written.
    ///
    /// # Errors
    /// As [`Planner::plan`](flowstone_core::plan::Planner::plan), and what the store says.
    pub async fn plan(&self, request: &RunRequest) -> Result<RunPlan> {
        self.shared.plan(request).await
    }

    /// Starts a run; returns when it is on disk. A run that would touch what another one is making waits for that one,
    /// and is planned when its turn comes. Two requests with one idempotency key are one run.
    ///
    /// # Errors
    /// What planning says, before anything is written; what the store says.
    pub async fn submit(&self, request: RunRequest) -> Result<RunHandle> {
        self.call(|answer| SupervisorMessage::Submit {
            request: Box::new(request),
            answer,
        })
        .await
    }

    /// Starts a run that carries out a saved plan as it stands; returns when it is on disk.
    ///
    /// # Errors
    /// `Conflict` when the plan was made for another pipeline, code or partitions, when what it was made on has moved since,
    /// or when a run that goes on would move it; the message names what moved. Nothing is written then.
    pub async fn apply(&self, saved: SavedPlan) -> Result<RunHandle> {
        self.call(|answer| SupervisorMessage::Apply {
            saved: Box::new(saved),
            answer,
        })
        .await
    }

    /// Starts a run and waits for its end.
    ///
    /// # Errors
    /// As [`submit`](Self::submit) and [`RunHandle::wait`]. A run with failed steps is not an error: the report says so.
    pub async fn run(&self, request: RunRequest) -> Result<RunReport> {
        self.submit(request).await?.wait().await
    }

    /// Starts a run of what `run` did not bring to a good end: its steps that failed, were stopped by a failure,
    /// quarantined or cancelled. What ended stays as it is; the new run makes what is not current by now, on the versions
    /// that its inputs have now.
    ///
    /// # Errors
    /// `NotFound` for a run that is not kept; `Conflict` for one that goes on, that left nothing, or (with code
    /// `code_changed`) that other code planned; as [`submit`](Self::submit).
    pub async fn redrive(&self, run: RunId) -> Result<RunHandle> {
        let request = self.redrive_request(run).await?;
        self.submit(request).await
    }

    /// What [`redrive`](Self::redrive) asks for.
    ///
    /// # Errors
    /// As [`redrive`](Self::redrive).
    pub async fn redrive_request(&self, run: RunId) -> Result<RunRequest> {
        let request = self.left_of(run).await;
        request.map_err(|error| error.during("redrive run").about(run))
    }

    async fn left_of(&self, run: RunId) -> Result<RunRequest> {
        let store = &*self.shared.store;
        let row = store.run(run).await?;
        let row = row
            .ok_or_else(|| Error::new(ErrorKind::NotFound, "it never was, or is no longer kept").code("run_unknown"))?;
        if !row.state.is_terminal() {
            return Err(Error::new(ErrorKind::Conflict, format!("it is {}", row.state))
                .code("run_open")
                .fix("wait until it has ended, or cancel it first"));
        }
        let request = RunRequest::decode(&row.request)?;
        let Some(plan) = &row.plan else {
            // It ended before its turn came. What it was to redrive is told by the run that left it.
            if let Some(redrive) = &request.redrive {
                return Box::pin(self.left_of(redrive.of)).await;
            }
            return Ok(RunRequest {
                idempotency_key: None,
                ..request
            });
        };
        let plan = RunPlan::decode(plan)?;
        let recorded = recorded(store, &row, &plan).await?;
        let (graph, ids) = (self.pipeline().graph(), &self.shared.ids[..]);
        let now = self.shared.clock.now();
        let ended = RunMachine::ended(run, &plan, (graph, ids), (recorded, row.counts), now)?;
        Redrive::request(&request, &ended)
    }

    /// The handles of all runs that have not ended, in no order.
    ///
    /// # Errors
    /// `Cancelled` when the engine has stopped.
    pub async fn open_runs(&self) -> Result<Vec<RunHandle>> {
        self.call(|answer| SupervisorMessage::OpenRuns { answer }).await
    }

    /// The handle of a run that has not ended.
    ///
    /// # Errors
    /// `NotFound` when there is no such run, or it has ended.
    pub async fn active(&self, run: RunId) -> Result<RunHandle> {
        self.call(|answer| SupervisorMessage::Find { run, answer }).await
    }

    /// The current value of a partition, by the text of the partition; empty text for an asset without partitions.
    ///
    /// # Errors
    /// `NotFound` when there is no such asset or partition or it was never materialized, `TypeMismatch` when it is of
    /// another type, and what the IO manager says.
    pub async fn load<T: AssetValue>(&self, asset: &str, partition: &str) -> Result<T> {
        let graph = self.pipeline().graph();
        let ix = graph.find(asset)?;
        let node = graph.node(ix);
        let index = if node.space().is_unit() && partition.is_empty() {
            0
        } else {
            node.space().parse(partition)?
        };
        let about = || format!("{asset} {partition}").trim_end().to_owned();
        if !node.output().is::<T>() {
            let (made, wanted) = (node.output().name(), TypeInfo::of::<T>().name());
            return Err(
                Error::new(ErrorKind::TypeMismatch, format!("it is a `{made}`, not a `{wanted}`"))
                    .code("value_type")
                    .during("load")
                    .about(about()),
            );
        }
        let id = self.shared.ids[ix.index()];
        let head = self.shared.store.materialization(id, index, None).await?;
        let head = head.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "it was never materialized")
                .code("never_materialized")
                .during("load")
                .about(about())
                .fix(format!("run {asset} first"))
        })?;
        let value = self.shared.io[ix.index()].load(&head.stored, node.output()).await;
        value.map_err(|error| error.during("load").about(about()))?.take()
    }

    /// Removes everything that nobody needs any more, or with `is_dry_run` says what that is: rows and versions that
    /// outlived their time, and what attempts left that never became a value. Runs go on meanwhile.
    ///
    /// # Errors
    /// What the store and the IO managers say.
    pub async fn collect_garbage(&self, is_dry_run: bool) -> Result<Garbage> {
        Upkeep::of(&self.shared).all(is_dry_run).await
    }

    /// Stops: nothing more is started, steps in flight get the grace to end, runs that are open stay open. Returns when
    /// everything that ended is on disk and nothing of this engine holds the store any more, but for the handles of runs
    /// that the caller has kept, and for user code that hangs.
    ///
    /// # Errors
    /// What the store says.
    pub async fn shutdown(mut self) -> Result<()> {
        let drained = self.call(|answer| SupervisorMessage::Drain { answer }).await;
        self.supervisor.stop(None);
        if let Some(task) = self.task.take() {
            // However it ended: what it held is gone with it.
            drop(task.await);
        }
        drained
    }

    async fn call<T: Send + 'static>(
        &self,
        message: impl FnOnce(ractor::RpcReplyPort<Result<T>>) -> SupervisorMessage,
    ) -> Result<T> {
        match self.supervisor.call(message, None).await {
            Ok(CallResult::Success(answer)) => answer,
            _ => Err(self.shared.ledger.closed()),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.supervisor.stop(None);
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("pipeline", self.pipeline())
            .finish_non_exhaustive()
    }
}

fn not_started(error: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Internal, error.to_string()).during("start the engine")
}

/// The numbers of the assets of `graph` under which they were known before.
pub(crate) fn former(graph: &AssetGraph, rows: &[AssetRow]) -> Vec<(AssetId, NodeIx)> {
    let former = rows.iter().filter(|row| row.is_former);
    let former = former.filter_map(|row| Some((row.id, graph.find(row.key.as_str()).ok()?)));
    former.collect()
}

/// Opens each IO manager that the pipeline uses, once.
pub(crate) fn open_io(pipeline: &Pipeline, options: &EngineOptions) -> Result<Vec<Arc<dyn IoManager>>> {
    let mut opened: HashMap<Option<&str>, Arc<dyn IoManager>> = HashMap::new();
    let mut by_node = Vec::with_capacity(pipeline.graph().len());
    for (_, node) in pipeline.graph().nodes() {
        let name = node.io().or(pipeline.default_io());
        let factory = match name {
            None => &options.default_io,
            Some(name) => pipeline.registry().io_named(name).ok_or_else(|| {
                Error::new(
                    ErrorKind::Internal,
                    format!("IO manager {name:?} was checked and is not there"),
                )
            })?,
        };
        if name.is_none() {
            factory
                .accepts(node.output())
                .map_err(|error| error.about(format!("asset {}", node.key())))?;
        }
        let manager = match opened.get(&name) {
            Some(manager) => Arc::clone(manager),
            None => {
                let manager = factory
                    .open(&options.io)
                    .during("open IO manager")
                    .about(name.unwrap_or("default"))?;
                let manager = match &options.around_io {
                    Some(around) => around(manager),
                    None => manager,
                };
                opened.insert(name, Arc::clone(&manager));
                manager
            }
        };
        by_node.push(manager);
    }
    Ok(by_node)
}
