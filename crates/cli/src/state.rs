//! What is read of the state without holding it: other processes may be running meanwhile.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use flowstone_core::graph::AssetGraph;
use flowstone_core::pipeline::Pipeline;
use flowstone_core::plan::RunPlan;
use flowstone_core::run::{Decision, RunMachine};
use flowstone_core::store::{AssetRow, RunFilter, RunRow, Store};
use flowstone_core::{AssetId, AssetKey, Error, ErrorKind, Result, RunId};
use flowstone_runtime::attach;
use flowstone_store::{LEDGER_FILE, SqliteStore};
use jiff::Timestamp;

use crate::entry::Context;

/// How many of the newest runs an id's first characters are looked for in.
const RUNS_SEARCHED_MAX: usize = 10_000;

/// What everyone is told where nothing has run yet.
pub(crate) const NOTHING_YET: &str = "nothing was run here yet";

/// Opens the ledger in `dir` for reading; none when there is none yet.
pub(crate) async fn read(dir: &Path) -> Result<Option<Arc<dyn Store>>> {
    match dir.join(LEDGER_FILE).try_exists() {
        Ok(false) => Ok(None),
        // Whatever else is wrong with the folder, the store says it best.
        Ok(true) | Err(_) => Ok(Some(Arc::new(SqliteStore::open_read_only(dir).await?))),
    }
}

/// The pipeline, with its dynamic partitions as the ledger in the state folder has them.
pub(crate) async fn pipeline(context: &Context) -> Result<Pipeline> {
    let pipeline = context.pipeline()?;
    if pipeline.graph().dynamic_sets().is_empty() {
        return Ok(pipeline);
    }
    match read(context.state_dir()).await? {
        Some(store) => attach(&pipeline, &*store).await,
        None => Ok(pipeline),
    }
}

/// The same, where a verb has nothing to say without one.
pub(crate) async fn read_existing(dir: &Path) -> Result<Arc<dyn Store>> {
    read(dir).await?.ok_or_else(|| {
        Error::new(ErrorKind::NotFound, NOTHING_YET)
            .code("no_state")
            .about(format!("state folder {}", dir.display()))
            .fix("run something first, or name the folder with `--state-dir`")
    })
}

/// The assets that the ledger knows, by their numbers.
pub(crate) struct KnownAssets(HashMap<AssetId, AssetRow>);

impl KnownAssets {
    pub(crate) async fn read(store: &dyn Store) -> Result<Self> {
        Ok(Self(
            store.assets().await?.into_iter().map(|row| (row.id, row)).collect(),
        ))
    }

    /// The name of an asset and the text of a partition of it.
    pub(crate) fn name(&self, asset: AssetId, partition: u64) -> (String, String) {
        match self.0.get(&asset) {
            Some(row) => (row.key.to_string(), row.space.label(partition)),
            None => (format!("#{asset}"), format!("#{partition}")),
        }
    }

    /// True when some asset had this name.
    pub(crate) fn has(&self, asset: &str) -> bool {
        self.0.values().any(|row| row.key.as_str() == asset)
    }

    /// True unless the ledger has other partitions of some asset of `graph`.
    pub(crate) fn fit(&self, graph: &AssetGraph) -> bool {
        self.0.values().filter(|row| !row.is_former).all(|row| {
            let node = graph.find(row.key.as_str()).ok().map(|ix| graph.node(ix));
            node.is_none_or(|node| row.space.is_start_of(node.space()))
        })
    }

    /// The numbers of the assets of `graph`, by node; what the ledger does not know, or only with other partitions, gets a
    /// number that nothing has.
    pub(crate) fn ids(&self, graph: &AssetGraph) -> Vec<AssetId> {
        let current = self.0.values().filter(|row| !row.is_former);
        let current = current.filter(|row| {
            let node = graph.find(row.key.as_str()).map(|ix| graph.node(ix));
            node.is_ok_and(|node| row.space.is_start_of(node.space()))
        });
        let by_key: HashMap<&AssetKey, AssetId> = current.map(|row| (&row.key, row.id)).collect();
        let mut next = self.0.keys().map(|id| id.0 + 1).max().unwrap_or(0);
        let ids = graph.nodes().map(|(_, node)| {
            by_key.get(node.key()).copied().unwrap_or_else(|| {
                next += 1;
                AssetId(next - 1)
            })
        });
        ids.collect()
    }
}

/// The run that `text` means: its id, or the first characters of it.
pub(crate) async fn find_run(store: &dyn Store, text: &str) -> Result<RunRow> {
    let unknown = || {
        Error::new(ErrorKind::NotFound, format!("no run has the id {text:?}"))
            .code("run_unknown")
            .fix("see `runs` for the ids")
    };
    if let Ok(id) = text.parse::<RunId>() {
        return store.run(id).await?.ok_or_else(unknown);
    }
    let start = text.to_ascii_lowercase();
    let runs = store.runs(RunFilter::All, RUNS_SEARCHED_MAX).await?;
    let mut found = runs.into_iter().filter(|row| row.run.to_string().starts_with(&start));
    match (found.next(), found.next()) {
        (None, _) => Err(unknown()),
        (Some(only), None) => Ok(only),
        (Some(_), Some(_)) => Err(Error::new(
            ErrorKind::Conflict,
            format!("several runs have ids that start with {text:?}"),
        )
        .code("run_ambiguous")
        .fix("give more of the id; see `runs`")),
    }
}

/// Rebuilds where a run is, as the engine does when it takes it up; nothing is started or written.
///
/// # Errors
/// `Conflict` with code `code_changed` when the pipeline is not the one that the run was planned for.
pub(crate) async fn rebuild(
    pipeline: &Pipeline,
    store: &dyn Store,
    known: &KnownAssets,
    row: &RunRow,
    plan: &RunPlan,
    now: Timestamp,
) -> Result<(RunMachine, Decision)> {
    let pipeline = attach(pipeline, store).await?;
    let recorded = flowstone_runtime::recorded(store, row, plan).await?;
    RunMachine::recover(
        row.run,
        plan,
        pipeline.graph(),
        &known.ids(pipeline.graph()),
        &recorded,
        now,
    )
}
