//! Where committed lineage goes besides the store.

use async_trait::async_trait;

use crate::Result;
use crate::store::{LineageInput, Materialization};

/// What one commit made, and from what.
#[derive(Debug, Clone, PartialEq)]
pub struct LineageCommit {
    /// What was made.
    pub materialized: Vec<Materialization>,
    /// What it was made from.
    pub inputs: Vec<LineageInput>,
}

/// Receives lineage after it was committed, in the order of the commits.
///
/// Implementors promise that receiving a commit twice does no harm: after a crash the last ones may come again. A sink
/// that fails holds nothing up; what it missed stays in the store.
#[async_trait]
pub trait LineageSink: Send + Sync + 'static {
    /// Takes in one commit.
    ///
    /// # Errors
    /// `Unavailable` for passing faults; anything else for good.
    async fn receive(&self, commit: &LineageCommit) -> Result<()>;
}
