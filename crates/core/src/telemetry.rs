//! The names of spans and fields, in one place.

/// The span of a run; carries [`RUN_ID`].
pub const SPAN_RUN: &str = "run";
/// The span of a step below its run; carries [`ASSET`] and [`PARTITION`].
pub const SPAN_STEP: &str = "step";
/// The span of an attempt below its step; carries [`ATTEMPT`].
pub const SPAN_ATTEMPT: &str = "attempt";

/// The run's id.
pub const RUN_ID: &str = "run_id";
/// The asset's name.
pub const ASSET: &str = "asset";
/// The partition's label.
pub const PARTITION: &str = "partition";
/// The attempt, from 1.
pub const ATTEMPT: &str = "attempt";
