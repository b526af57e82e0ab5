//! How an engine runs, and the IO managers that it opens.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use flowstone_core::clock::{Clock, SystemClock};
use flowstone_core::io::{IoEnv, IoFactory, IoManager};
use flowstone_core::memory::MemoryIoFactory;
use flowstone_core::pipeline::Pipeline;
use flowstone_core::retention::Retention;
use flowstone_core::{Error, ErrorKind, Result, ResultExt};

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
