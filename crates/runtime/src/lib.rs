//! The actors that run pipelines.
//!
//! They receive, ask core, and perform what core decides; every choice about steps, chunks and runs is taken there.
//! This crate alone knows `ractor`. See `ARCHITECTURE.md` for the tree of actors.

mod alarm;
mod dispatcher;
mod engine;
mod fan_out;
mod handle;
mod inputs;
mod lanes;
mod ledger;
mod live_run;
mod planning;
mod pools;
mod recorded;
mod run_actor;
mod sets;
mod spaces;
mod supervisor;
mod upkeep;
mod watch;
mod worker;

pub use engine::{AroundIo, Engine, EngineOptions};
pub use fan_out::{ItemProgress, ResultRows};
pub use handle::{FailedStep, RunHandle, RunProgress, RunReport};
pub use planning::{plan, statuses};
pub use recorded::recorded;
pub use sets::{attach, dynamic_set};
pub use spaces::{Redefined, redefined};
pub use upkeep::{Garbage, check_retention, collect_garbage};
