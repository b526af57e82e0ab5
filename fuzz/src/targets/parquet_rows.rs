//! Parquet files that are not what was stored.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flowstone_core::io::{Address, IoEnv, IoFactory, IoManager, Slot, Stored};
use flowstone_core::{AssetId, RunId, TypeInfo, Value};
use flowstone_io_parquet::{Parquet, Table};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use uuid::Uuid;

use super::Target;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Row {
    number: i64,
    text: String,
    share: Option<f64>,
}

/// One stored file, which is overwritten with each input.
struct Files {
    manager: Arc<dyn IoManager>,
    stored: Stored,
    path: PathBuf,
    runtime: Runtime,
    _folder: TempDir,
}

impl Files {
    fn new() -> Self {
        let folder = TempDir::new_in(super::memory()).expect("a folder is made");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime starts");
        let env = IoEnv {
            data_dir: Some(folder.path().to_owned()),
        };
        let manager = Parquet::default().open(&env).expect("the folder can be used");
        let rows: Vec<Row> = (0..40)
            .map(|number| Row {
                number,
                text: format!("row {number}"),
                share: (number % 3 != 0).then_some(number as f64 / 7.0),
            })
            .collect();
        let slot = Slot {
            asset: AssetId(7),
            partition: 0,
            run: RunId(Uuid::from_u128(1)),
            fence: 1,
            attempt: 1,
        };
        let stored = runtime
            .block_on(manager.store(slot, &Value::new(rows)))
            .expect("it is stored");
        let Address::Location(location) = &stored.address else {
            panic!("a table lies in a file")
        };
        let path = find(folder.path(), location);
        Self {
            manager,
            path,
            stored,
            runtime,
            _folder: folder,
        }
    }
}

/// The file of a location, below its folder.
fn find(folder: &Path, location: &str) -> PathBuf {
    let within = location.split('#').next().unwrap_or_default();
    folder.join(within)
}

thread_local! {
    static FILES: RefCell<Option<Files>> = const { RefCell::new(None) };
}

fn with_files<T>(act: impl FnOnce(&Files) -> T) -> T {
    FILES.with(|files| act(files.borrow_mut().get_or_insert_with(Files::new)))
}

pub(super) const PARQUET: Target = Target {
    name: "parquet",
    corpus: || {
        let fresh = Files::new();
        vec![std::fs::read(&fresh.path).expect("it was stored")]
    },
    run: |input| {
        with_files(|files| {
            std::fs::write(&files.path, input).expect("it is written");
            let stored = Stored {
                bytes: input.len() as u64,
                ..files.stored.clone()
            };
            let load = |ty| files.runtime.block_on(files.manager.load(&stored, ty)).is_ok();
            [load(TypeInfo::of::<Vec<Row>>()), load(TypeInfo::of::<Table>())].contains(&true)
        })
    },
};
