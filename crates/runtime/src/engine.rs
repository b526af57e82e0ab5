//! The engine: a pipeline on a store, ready to run.

mod fan_outs;
mod options;
mod runs;
mod shared;

use std::sync::Arc;

use flowstone_core::asset::PartitionSets as _;
use flowstone_core::graph::{AssetGraph, NodeIx};
use flowstone_core::partition::PartitionKey;
use flowstone_core::pipeline::Pipeline;
use flowstone_core::pool;
use flowstone_core::store::{AssetRow, Store};
use flowstone_core::{AssetId, AssetValue, Error, ErrorKind, Result, ResultExt, TypeInfo};
use ractor::rpc::CallResult;
use ractor::{Actor, ActorRef};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::handle::RunHandle;
use crate::sets::attach;
use crate::spaces::carry_out;
use crate::supervisor::{Supervisor, SupervisorArguments, SupervisorMessage};
use crate::upkeep::{Garbage, Upkeep, check_retention};

pub(crate) use options::open_io;
pub use options::{AroundIo, EngineOptions};
pub(crate) use shared::Shared;

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
