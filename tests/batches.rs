//! Calls for many partitions, on the durable store and through the macro.

#![cfg(all(feature = "cli", feature = "macros"))]

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use flowstone::asset::BatchPartition;
use flowstone::io::IoEnv;
use flowstone::io_object::Object;
use flowstone::prelude::*;
use flowstone::sqlite::SqliteStore;
use flowstone::store::Store;
use flowstone::{EngineOptions, RunReport};
use flowstone_core::run::RunState;

/// What the functions are told by the test, and what they tell it.
#[derive(Default)]
struct World {
    calls: AtomicUsize,
    /// The partitions of each call, as text.
    called: Mutex<Vec<Vec<String>>>,
    /// True once the service that fails at first answers.
    is_up: AtomicUsize,
}

impl World {
    fn note(&self, partitions: impl Iterator<Item = BatchPartition>) {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let partitions = partitions.map(|partition| partition.label()).collect();
        self.called.lock().unwrap().push(partitions);
    }

    fn lens(&self) -> Vec<usize> {
        let mut lens: Vec<usize> = self.called.lock().unwrap().iter().map(Vec::len).collect();
        lens.sort_unstable_by(|one, other| other.cmp(one));
        lens
    }
}

fn days() -> Daily {
    Daily::from("2013-01-01").until("2014-01-01")
}

/// How much each line of the day's file is.
#[asset(partitions = days())]
async fn raw(ctx: AssetContext) -> Vec<u64> {
    let day: u64 = ctx.partition_label()[8..].parse().expect("a day");
    vec![day, 1]
}

/// The sums of many days in one call. On the sixth of a month the service says no at first, on the thirteenth always.
#[asset(partitions = days(), batch = 50, retry = Retry::exponential(3).between(Duration::ZERO, Duration::ZERO))]
async fn sums(ctx: BatchContext, world: Res<Arc<World>>, raw: Batch<Vec<u64>>) -> Result<BatchOutcome<u64>> {
    world.note(ctx.partitions());
    let mut outcome = BatchOutcome::new();
    for (day, lines) in raw {
        match day.label().get(8..) {
            Some("06") if ctx.attempt(&day) == Some(1) => outcome.fail(day, Error::transient("not yet")),
            Some("13") if world.is_up.load(Ordering::SeqCst) == 0 => outcome.fail(day, Error::permanent("no")),
            _ => outcome.value(day, lines.iter().sum()),
        }
    }
    Ok(outcome)
}

async fn run(folder: &Path, world: &Arc<World>, assets: &[&str]) -> Result<RunReport> {
    let pipeline = Pipeline::builder("batches")
        .assets(assets![raw, sums])
        .resource(Arc::clone(world))
        .build()?;
    let store = Arc::new(SqliteStore::open(folder).await?);
    let options = EngineOptions {
        workers: 2,
        io: IoEnv {
            data_dir: Some(folder.join("data")),
        },
        default_io: Arc::new(Object::embedded()),
        ..EngineOptions::default()
    };
    let engine = Engine::start(pipeline, Arc::clone(&store) as Arc<dyn Store>, options).await?;
    let request = RunRequest {
        assets: assets.iter().map(|name| name.parse()).collect::<Result<_>>()?,
        ..RunRequest::default()
    };
    let report = engine.run(request).await?;
    engine.shutdown().await?;
    Ok(report)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_year_in_a_few_calls_and_what_failed_in_one_more() -> Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let world = Arc::new(World::default());
    assert_eq!(run(folder.path(), &world, &["raw"]).await?.counts.succeeded, 365);

    let report = run(folder.path(), &world, &["sums"]).await?;

    let failed: Vec<&str> = report.failures.iter().map(|failure| failure.label.as_str()).collect();
    assert_eq!((report.state, failed.len()), (RunState::Failed, 12), "{report:?}");
    assert!(failed.iter().all(|day| day.ends_with("-13")), "{failed:?}");
    assert_eq!(report.counts.succeeded, 353);
    let lens = world.lens();
    assert_eq!(
        lens.iter().sum::<usize>(),
        365 + 12,
        "only those that failed in passing again: {lens:?}"
    );
    assert_eq!(lens[..7], [50; 7]);
    assert!(lens.len() <= 8 + 8, "{lens:?}");

    world.is_up.store(1, Ordering::SeqCst);
    world.called.lock().unwrap().clear();
    let again = run(folder.path(), &world, &["sums"]).await?;
    assert_eq!((again.state, again.counts.succeeded), (RunState::Succeeded, 12));
    assert_eq!(world.lens(), [12]);
    Ok(())
}
