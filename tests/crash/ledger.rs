//! What is on disk, and what must be true of it.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use flowstone::io::{Address, Stored};
use flowstone::io_object::ObjectPath;
use flowstone::partition::PartitionSet;
use flowstone::sqlite::SqliteStore;
use flowstone::store::{EventKind, RunFilter, Store};
use flowstone::{AssetKey, RunId, Version};
use flowstone_core::AssetId;

/// What is on disk.
pub(crate) struct Ledger {
    pub(crate) store: SqliteStore,
    data: PathBuf,
    runtime: tokio::runtime::Runtime,
}

impl Ledger {
    /// Nothing when there is none yet, or not even its tables.
    pub(crate) fn open(state: &Path) -> Option<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let store = runtime.block_on(SqliteStore::open_read_only(state)).ok()?;
        Some(Self {
            store,
            data: state.join("data"),
            runtime,
        })
    }

    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// How many partitions have a value.
    pub(crate) fn made(&self) -> u64 {
        let assets = self.wait(self.store.assets()).unwrap();
        assets
            .iter()
            .map(|asset| self.wait(self.store.status(asset.id)).unwrap().materialized().len())
            .sum()
    }

    /// The name of every asset.
    pub(crate) fn asset_names(&self) -> Vec<(AssetId, AssetKey)> {
        let assets = self.wait(self.store.assets()).unwrap();
        assets.into_iter().map(|row| (row.id, row.key)).collect()
    }

    /// The current version of every partition that has one.
    pub(crate) fn versions(&self) -> BTreeMap<(AssetKey, u64), u64> {
        let mut versions = BTreeMap::new();
        for (id, key) in self.asset_names() {
            for set in self.wait(self.store.status(id)).unwrap().heads {
                let partitions = set.partitions.iter();
                versions.extend(partitions.map(|partition| ((key.clone(), partition), set.version.0)));
            }
        }
        versions
    }

    /// Values that a reader can see and that are not there, or not what was stored.
    pub(crate) fn not_whole(&self) -> Vec<String> {
        let mut broken = Vec::new();
        for (id, key) in self.asset_names() {
            let all = self.wait(self.store.status(id)).unwrap().materialized();
            for head in self.wait(self.store.heads(id, &all)).unwrap() {
                let bytes = self.bytes_of(&head.stored);
                let is_whole = bytes.is_some_and(|bytes| {
                    // A tag and a version, and then JSON.
                    let value = bytes.get(2..).map(serde_json::from_slice::<Vec<u64>>);
                    bytes.len() as u64 == head.stored.bytes && value.is_some_and(|value| value.is_ok())
                });
                if !is_whole {
                    broken.push(format!("{key} {}: {:?}", head.partition, head.stored.address));
                }
            }
        }
        broken
    }

    fn bytes_of(&self, stored: &Stored) -> Option<Vec<u8>> {
        match &stored.address {
            Address::Inline(bytes) => Some(bytes.to_vec()),
            address @ Address::Location(_) => {
                let path = ObjectPath::of_address(address).ok()?;
                std::fs::read(self.data.join(path.to_string())).ok()
            }
        }
    }

    /// The stored bytes of every value that a reader can see.
    pub(crate) fn contents(&self) -> BTreeMap<(AssetKey, u64), Vec<u8>> {
        let mut contents = BTreeMap::new();
        for asset in self.wait(self.store.assets()).unwrap() {
            let all = self.wait(self.store.status(asset.id)).unwrap().materialized();
            for head in self.wait(self.store.heads(asset.id, &all)).unwrap() {
                let bytes = self.bytes_of(&head.stored).expect("a value that can be seen is there");
                assert_eq!(bytes.len() as u64, head.stored.bytes, "a value is not whole");
                contents.insert((asset.key.clone(), head.partition), bytes);
            }
        }
        contents
    }

    pub(crate) fn assert_nothing_was_done_twice(&self, steps: u64) {
        assert!(
            self.wait(self.store.runs(RunFilter::Open, 100)).unwrap().is_empty(),
            "a run is open"
        );
        for asset in self.wait(self.store.assets()).unwrap() {
            let heads = self.wait(self.store.status(asset.id)).unwrap().heads;
            assert!(
                heads.iter().all(|set| set.version == Version(1)),
                "{} has later versions",
                asset.key
            );
        }
        assert_eq!(self.made(), steps);
        let mut succeeded: HashMap<_, PartitionSet> = HashMap::new();
        for run in self.wait(self.store.runs(RunFilter::All, 100)).unwrap() {
            assert!(run.counts.adds_up(), "{:?}", run.counts);
            self.assert_what_succeeded_was_never_claimed_again(run.run);
            for chunk in self.wait(self.store.chunks(run.run)).unwrap() {
                let before = succeeded.entry(chunk.claim.asset).or_default();
                assert!(before.is_disjoint(&chunk.succeeded), "a step succeeded twice");
                before.union_with(&chunk.succeeded);
            }
        }
        assert_eq!(succeeded.values().map(PartitionSet::len).sum::<u64>(), steps);
        let events = self.wait(self.store.events(0, 100_000)).unwrap();
        let told: u64 = events
            .iter()
            .map(|event| match &event.kind {
                EventKind::Materialized { partitions, .. } => partitions.len(),
                _ => 0,
            })
            .sum();
        assert_eq!(told, steps, "each was told once");
    }

    fn assert_what_succeeded_was_never_claimed_again(&self, run: RunId) {
        let chunks = self.wait(self.store.chunks(run)).unwrap();
        for done in &chunks {
            for other in chunks.iter().filter(|other| other.claim.asset == done.claim.asset) {
                let is_later = other.claim.chunk > done.claim.chunk;
                assert!(
                    !is_later || other.claim.steps.is_disjoint(&done.succeeded),
                    "{done:?} and then {other:?}"
                );
            }
        }
    }
}
