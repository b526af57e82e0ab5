//! An engine on a folder, with what its functions note.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use flowstone::fan_out::BarrierState;
use flowstone::io::IoEnv;
use flowstone::io_object::{Object, ObjectFormats};
use flowstone::partition::PartitionSet;
use flowstone::prelude::*;
use flowstone::sqlite::SqliteStore;
use flowstone::store::{FanOutFilter, FanOutRow, Materialization, Store};
use flowstone::{AssetValue, EngineOptions};
use tempfile::TempDir;

/// An engine with two workers on a folder of its own.
pub(crate) struct World {
    pub(crate) engine: Engine,
    store: Arc<SqliteStore>,
    folder: TempDir,
}

impl World {
    pub(crate) async fn new(assets: impl IntoIterator<Item = Asset>) -> Result<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        Self::open(folder, assets).await
    }

    async fn open(folder: TempDir, assets: impl IntoIterator<Item = Asset>) -> Result<Self> {
        let pipeline = Pipeline::builder("scattered")
            .plugin(ObjectFormats)
            .plugin(Parquet::default())
            .assets(assets)
            .build()?;
        let store = Arc::new(SqliteStore::open(folder.path()).await?);
        let options = engine_options(folder.path());
        let engine = Engine::start(pipeline, Arc::clone(&store) as Arc<dyn Store>, options).await?;
        Ok(Self { engine, store, folder })
    }

    /// Stops the engine and starts another one, with other assets, on the same folder.
    pub(crate) async fn reopened(self, assets: impl IntoIterator<Item = Asset>) -> Result<Self> {
        let Self { engine, store, folder } = self;
        engine.shutdown().await?;
        let store = Arc::into_inner(store).expect("nobody else has the store");
        store.close().await?;
        Self::open(folder, assets).await
    }

    /// Asks for everything that is not current.
    pub(crate) fn everything(&self) -> RunRequest {
        let nodes = self.engine.pipeline().graph().nodes();
        RunRequest {
            assets: nodes.map(|(_, node)| node.key().clone()).collect(),
            ..RunRequest::default()
        }
    }

    /// Makes everything that is not current.
    pub(crate) async fn run(&self) -> Result<RunReport> {
        self.engine.run(self.everything()).await
    }

    /// Makes everything, which must succeed, and gives the value of an asset without partitions.
    pub(crate) async fn make<T: AssetValue>(&self, asset: &str) -> Result<T> {
        let report = self.run().await?;
        assert!(report.failures.is_empty(), "{report:?}");
        self.engine.load(asset, "").await
    }

    /// The current materialization of an asset without partitions.
    pub(crate) async fn head(&self, asset: &str) -> Result<Materialization> {
        let rows = self.store.assets().await?;
        let row = rows.iter().find(|row| row.key.as_str() == asset);
        let id = row.expect("the asset is known").id;
        let mut heads = self.store.heads(id, &PartitionSet::single(0)).await?;
        Ok(heads.pop().expect("it was made"))
    }

    /// The folder of its values.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The outermost fan-outs of a run.
    pub(crate) async fn fan_outs(&self, report: &RunReport) -> Result<Vec<FanOutRow>> {
        let rows = self.store.fan_outs(FanOutFilter::OfRun(report.run)).await?;
        assert!(rows.iter().all(|row| row.counts.adds_up()), "{rows:?}");
        Ok(rows.into_iter().filter(|row| row.parent.is_none()).collect())
    }

    /// How the only fan-out of a run ended.
    pub(crate) async fn state(&self, report: &RunReport) -> Result<BarrierState> {
        let rows = self.fan_outs(report).await?;
        assert_eq!(rows.len(), 1, "{rows:?}");
        Ok(rows[0].state)
    }
}

fn engine_options(folder: &Path) -> EngineOptions {
    EngineOptions {
        workers: 2,
        io: IoEnv {
            data_dir: Some(folder.join("data")),
        },
        default_io: Arc::new(Object::embedded()),
        ..EngineOptions::default()
    }
}

/// What functions noted, for whoever looks.
#[derive(Clone, Default)]
pub(crate) struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    pub(crate) fn add(&self, note: &impl ToString) {
        self.0.lock().unwrap().push(note.to_string());
    }

    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// An asset called `numbers` with so many of them.
pub(crate) fn numbers(count: u64) -> Asset {
    Asset::new("numbers").run(move || async move { (0..count).collect::<Vec<u64>>() })
}

pub(crate) async fn all(In(numbers): In<Vec<u64>>) -> Vec<u64> {
    numbers
}
