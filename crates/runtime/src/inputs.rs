//! Finds and loads the pinned inputs of steps.

use std::collections::HashMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flowstone_core::asset::InputLoader;
use flowstone_core::io::{RowParts, Stored};
use flowstone_core::partition::{EdgeShape, PartitionSet};
use flowstone_core::{BoxFuture, Error, ErrorKind, Result, Value, Version};

use crate::lanes::Lanes;

/// How many addresses of one input are asked for at once.
const PAGE_LEN_MAX: u64 = 2048;

/// Loads inputs of the steps of one chunk.
///
/// Addresses that only the store knows are read a page at a time: what the first step needs, and what those after it
/// are going to need.
pub(crate) struct ChunkInputs {
    lanes: Arc<Lanes>,
    lane: usize,
    steps: PartitionSet,
    /// The last page of each input of which one was read.
    pages: Mutex<HashMap<usize, Page>>,
}

/// Versions and addresses by upstream partition.
type Page = HashMap<u64, (Version, Stored)>;

impl ChunkInputs {
    /// The inputs of `steps` of a lane.
    pub(crate) fn new(lanes: Arc<Lanes>, lane: usize, steps: PartitionSet) -> Self {
        Self {
            lanes,
            lane,
            steps,
            pages: Mutex::default(),
        }
    }
}

impl InputLoader for ChunkInputs {
    fn partitions(&self, input: usize, partition: u64) -> Result<PartitionSet> {
        let input = self.lanes.input(self.lane, input);
        let needed = input.mapping.upstream_of_one(partition);
        Ok(self.lanes.available(input, &needed))
    }

    fn only(&self, input: usize, partition: u64) -> Option<u64> {
        let mapping = &self.lanes.input(self.lane, input).mapping;
        match mapping.kind() {
            EdgeShape::OneToOne { .. } => mapping.upstream_interval(partition).map(|(only, _)| only),
            EdgeShape::Broadcast | EdgeShape::Many => None,
        }
    }

    fn load(&self, input: usize, upstream: u64) -> BoxFuture<'_, Result<Option<Value>>> {
        Box::pin(self.load_pinned(input, upstream))
    }

    fn load_rows(&self, input: usize, upstream: u64) -> BoxFuture<'_, Result<Option<RowParts>>> {
        Box::pin(async move {
            let Some(stored) = self.pinned(input, upstream).await? else {
                return Ok(None);
            };
            let input = self.lanes.input(self.lane, input);
            let ty = self.lanes.node(input.upstream).output();
            self.lanes.io(input.upstream).load_rows(&stored, ty).await.map(Some)
        })
    }
}

impl ChunkInputs {
    fn pages(&self) -> MutexGuard<'_, HashMap<usize, Page>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn load_pinned(&self, number: usize, upstream: u64) -> Result<Option<Value>> {
        let Some(stored) = self.pinned(number, upstream).await? else {
            return Ok(None);
        };
        let input = self.lanes.input(self.lane, number);
        let ty = self.lanes.node(input.upstream).output();
        self.lanes.io(input.upstream).load(&stored, ty).await.map(Some)
    }

    /// Where an input lies; `None` when it was never materialized.
    async fn pinned(&self, number: usize, upstream: u64) -> Result<Option<Stored>> {
        match self.lanes.find(self.lanes.input(self.lane, number), upstream) {
            (_, Version::NONE) => Ok(None),
            (Some(stored), _) => Ok(Some(stored)),
            (None, version) => self.look_up(number, upstream, version).await.map(Some),
        }
    }

    async fn look_up(&self, number: usize, upstream: u64, version: Version) -> Result<Stored> {
        let find = |page: &Page| {
            let found = page.get(&upstream).filter(|(known, _)| *known == version);
            found.map(|(_, stored)| stored.clone())
        };
        if let Some(stored) = self.pages().get(&number).and_then(find) {
            return Ok(stored);
        }
        let input = self.lanes.input(self.lane, number);
        let mut ahead = input.mapping.upstream_of(&self.steps);
        if ahead.len() > PAGE_LEN_MAX {
            ahead.remove_range((Bound::Unbounded, Bound::Excluded(upstream)));
            ahead = ahead.split_off_first(PAGE_LEN_MAX);
        }
        let versions = self.lanes.versions_in_store(input, &ahead);
        let asset = self.lanes.id(input.upstream);
        let made = self.lanes.store().materializations(asset, &versions).await?;
        let page = made
            .into_iter()
            .map(|made| (made.partition, (made.version, made.stored)));
        let page = page.collect();
        let found = find(&page);
        self.pages().insert(number, page);
        found.ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                format!("version {version} of a pinned input is not in the ledger"),
            )
            .code("input_missing")
            .fix("materialize the upstream again")
        })
    }
}
