//! A promise that did not hold, and how a simulation stops at it.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// What the engine promises, as far as a simulation can see it. `docs/semantics.md` says it in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Promise {
    /// An acknowledged change survives a crash.
    P1,
    /// A materialization is readable exactly if its data is stored and its row, lineage, head and step were committed
    /// together.
    P2,
    /// Versions of a partition only grow.
    P3,
    /// A step reads the versions that were pinned for it, and lineage says the same.
    P5,
    /// An attempt never sees another attempt's leftovers.
    P6,
    /// An outcome is recorded exactly once.
    P8,
    /// Who lost the fence publishes nothing and moves nothing.
    P9,
    /// After a crash only what was in flight runs again.
    P10,
    /// Nothing crashes for ever.
    P11,
    /// Errors are tried again by their class.
    P12,
    /// A cancelled run starts and publishes nothing more.
    P13,
    /// A barrier never fires early.
    P15,
    /// A barrier never fires twice.
    P16,
    /// A barrier fires in the end.
    P17,
    /// Counts are exact.
    P18,
    /// Failures are tolerated exactly, in whatever order they come.
    P19,
    /// A redrive runs what did not come to a good end, and nothing else.
    P20,
    /// Slots in use never exceed the limit, and never outlive their holder.
    P24,
    /// The items of a source are neither lost nor doubled.
    Items,
    /// No more calls run at once, and none start more often, than may.
    Limits,
    /// A paused run starts nothing.
    Pause,
    /// What rests on something that has changed is known to be stale.
    Stale,
    /// When nothing goes wrong any more, everything comes to rest.
    Rest,
    /// No decision fails, and the store takes what was decided.
    Sound,
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Items => f.write_str("items are exact"),
            Self::Limits => f.write_str("limits hold"),
            Self::Pause => f.write_str("a pause holds"),
            Self::Stale => f.write_str("stale is known"),
            Self::Rest => f.write_str("comes to rest"),
            Self::Sound => f.write_str("is sound"),
            numbered => write!(f, "{numbered:?}"),
        }
    }
}

/// A promise that did not hold. It travels by unwinding past the panic hook: looking for planted bugs is quiet.
#[derive(Debug, Clone)]
pub struct Broken {
    /// The promise.
    pub promise: Promise,
    /// What was seen.
    pub what: String,
}

/// Stops the simulation of this seed.
pub(super) fn broken(promise: Promise, what: String) -> ! {
    resume_unwind(Box::new(Broken { promise, what }))
}

/// Plays something; what does not hold in it, and a panic, are told.
pub(super) fn caught<T>(play: impl FnOnce() -> T) -> Result<T, Broken> {
    catch_unwind(AssertUnwindSafe(play)).map_err(|panic| match panic.downcast::<Broken>() {
        Ok(broken) => *broken,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or(panic.downcast_ref::<&str>().copied());
            Broken {
                promise: Promise::Sound,
                what: format!("a panic: {}", text.unwrap_or("without text")),
            }
        }
    })
}

/// What `result` gives; an error stops the simulation.
pub(super) fn must<T>(result: flowstone_core::Result<T>, what: &str) -> T {
    result.unwrap_or_else(|error| broken(Promise::Sound, format!("{what}: {error}")))
}

/// Stops the simulation unless the condition holds.
macro_rules! hold {
    ($promise:ident, $is_so:expr, $($what:tt)+) => {
        if !$is_so {
            $crate::simulation::broken::broken($crate::simulation::Promise::$promise, format!($($what)+));
        }
    };
}

/// Stops the simulation unless both are equal.
macro_rules! hold_eq {
    ($promise:ident, $is:expr, $want:expr, $($what:tt)+) => {
        match (&$is, &$want) {
            (is, want) => {
                if *is != *want {
                    let what = format!($($what)+);
                    $crate::simulation::broken::broken(
                        $crate::simulation::Promise::$promise,
                        format!("{what}: is {is:?}, should be {want:?}"),
                    );
                }
            }
        }
    };
}

pub(super) use {hold, hold_eq};
