//! Asks again for what a run did not bring to a good end.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::RunRequest;
use crate::partition::PartitionSet;
use crate::run::RunMachine;
use crate::{AssetKey, Error, ErrorKind, Result, RunId};

/// What is left of another run. Its steps are frozen; on which versions of their inputs they run is planned anew, since
/// what they need may have been made since.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Redrive {
    /// The run.
    pub of: RunId,
    /// Its steps that failed, or were stopped by a failure, quarantined or cancelled, and those that these need and that
    /// found nothing to make.
    pub steps: BTreeMap<AssetKey, PartitionSet>,
}

impl Redrive {
    /// The request for what `ended`, rebuilt from the store, did not bring to a good end; `request` is what it was asked
    /// for.
    ///
    /// # Errors
    /// `Conflict` when there is nothing left of it.
    pub fn request(request: &RunRequest, ended: &RunMachine) -> Result<RunRequest> {
        let mut steps = BTreeMap::new();
        for ((planned, _), left) in ended.assets().zip(ended.left()) {
            if !left.is_empty() {
                steps.insert(planned.key.clone(), left);
            }
        }
        if steps.is_empty() {
            return Err(
                Error::new(ErrorKind::Conflict, "every step of it succeeded, or was skipped")
                    .code("nothing_to_redrive"),
            );
        }
        Ok(RunRequest {
            idempotency_key: None,
            redrive: Some(Self { of: ended.run(), steps }),
            ..request.clone()
        })
    }
}
