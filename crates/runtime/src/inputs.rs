//! Loads the pinned inputs of steps.

use std::sync::Arc;

use flowstone_core::asset::InputLoader;
use flowstone_core::partition::PartitionSet;
use flowstone_core::{BoxFuture, Error, ErrorKind, Result, Value, Version};

use crate::lanes::{InputScope, LaneScope};

/// Loads inputs of the steps of one lane.
pub(crate) struct LaneInputs(pub(crate) Arc<LaneScope>);

impl InputLoader for LaneInputs {
    fn partitions(&self, input: usize, partition: u64) -> Result<PartitionSet> {
        let scope = &self.0.inputs[input];
        let needed = scope.mapping.upstream_of_one(partition);
        let mut available = scope.pinned.partitions().intersect(&needed);
        if let Some(planned) = &scope.planned {
            available.union_with(&planned.available(&needed));
        }
        Ok(available)
    }

    fn load(&self, input: usize, upstream: u64) -> BoxFuture<'_, Result<Option<Value>>> {
        Box::pin(self.load_pinned(&self.0.inputs[input], upstream))
    }
}

impl LaneInputs {
    async fn load_pinned(&self, input: &InputScope, upstream: u64) -> Result<Option<Value>> {
        let (stored, version) = match &input.planned {
            Some(planned) => planned.find(upstream),
            None => (None, Version::NONE),
        };
        let version = if version == Version::NONE {
            input.pinned.get(upstream)
        } else {
            version
        };
        if version == Version::NONE {
            return Ok(None);
        }
        let stored = match stored {
            Some(stored) => stored,
            None => self.look_up(input, upstream, version).await?,
        };
        input.io.load(&stored, input.ty).await.map(Some)
    }

    async fn look_up(&self, input: &InputScope, upstream: u64, version: Version) -> Result<flowstone_core::io::Stored> {
        let found = self
            .0
            .store
            .materialization(input.asset, upstream, Some(version))
            .await?;
        found.map(|made| made.stored).ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                format!("version {version} of a pinned input is not in the ledger"),
            )
            .code("input_missing")
            .fix("materialize the upstream again")
        })
    }
}
