//! The conformance suite of [`IoManager`]: one test for each promise, adopted with [`io_conformance!`].
//!
//! [`io_conformance!`]: crate::io_conformance

mod address;
mod listing;
mod sample;
mod value;

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use flowstone_core::io::{IoManager, Slot};
use flowstone_core::{AssetId, RunId};
use uuid::Uuid;

pub use address::{
    a_deleted_value_is_gone_and_may_be_deleted_again, a_dropped_store_leaves_nothing_in_the_way,
    deleting_one_leaves_the_others, every_store_has_an_address_of_its_own, many_may_store_at_once,
    the_largest_ids_are_like_any_other,
};
pub use listing::{what_is_there_is_listed, who_cannot_list_says_so};
pub use sample::Sample;
pub use value::{
    a_value_of_another_type_is_refused, equal_values_have_equal_data_versions,
    parts_of_what_is_gone_or_of_another_type_are_refused, rows_in_parts_are_stored_as_the_whole,
    rows_that_break_off_are_not_stored, what_is_loaded_in_parts_is_the_whole, what_is_not_accepted_is_not_stored,
    what_is_stored_is_loaded,
};

/// An IO manager, the values to try it with, and what must outlive it.
pub struct IoUnderTest {
    io: Arc<dyn IoManager>,
    samples: Vec<Sample>,
    kept: Vec<Box<dyn Any + Send + Sync>>,
}

impl IoUnderTest {
    /// Tests `io` with numbers, text and rows, as far as it accepts them.
    pub fn new(io: impl IoManager) -> Self {
        Self::shared(Arc::new(io))
    }

    /// The same for one that is shared already.
    pub fn shared(io: Arc<dyn IoManager>) -> Self {
        Self {
            io,
            samples: Sample::usual(),
            kept: Vec::new(),
        }
    }

    /// Tries another kind of values too.
    #[must_use]
    pub fn with(mut self, sample: Sample) -> Self {
        self.samples.push(sample);
        self
    }

    /// Keeps something for as long as the manager, such as its temporary folder.
    #[must_use]
    pub fn keeping(mut self, guard: impl Any + Send + Sync) -> Self {
        self.kept.push(Box::new(guard));
        self
    }

    /// The kinds of values that the manager accepts.
    fn accepted(&self) -> Vec<&Sample> {
        let accepted: Vec<&Sample> = self
            .samples
            .iter()
            .filter(|sample| self.io.accepts(sample.ty()).is_ok())
            .collect();
        assert!(
            !accepted.is_empty(),
            "the manager accepts none of the samples; add one with `IoUnderTest::with`"
        );
        accepted
    }
}

impl fmt::Debug for IoUnderTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IoUnderTest")
            .field("samples", &self.samples)
            .finish_non_exhaustive()
    }
}

/// The first attempt at a partition.
fn slot(partition: u64) -> Slot {
    Slot {
        asset: AssetId(3),
        partition,
        run: RunId(Uuid::from_u128(7)),
        fence: 1,
        attempt: 1,
    }
}

/// Writes one test for each promise of [`IoManager`](flowstone_core::io::IoManager).
///
/// Takes an expression that makes an [`IoUnderTest`](crate::io::IoUnderTest) over an empty place; it may await, and is
/// evaluated for each test.
///
/// ```
/// use flowstone_core::memory::MemoryIo;
/// use flowstone_testkit::io::IoUnderTest;
///
/// flowstone_testkit::io_conformance!(IoUnderTest::new(MemoryIo::default()));
/// ```
#[macro_export]
macro_rules! io_conformance {
    ($make:expr) => {
        $crate::io_conformance! { @tests $make;
            a_deleted_value_is_gone_and_may_be_deleted_again
            a_dropped_store_leaves_nothing_in_the_way
            a_value_of_another_type_is_refused
            deleting_one_leaves_the_others
            equal_values_have_equal_data_versions
            every_store_has_an_address_of_its_own
            many_may_store_at_once
            parts_of_what_is_gone_or_of_another_type_are_refused
            rows_in_parts_are_stored_as_the_whole
            rows_that_break_off_are_not_stored
            the_largest_ids_are_like_any_other
            what_is_loaded_in_parts_is_the_whole
            what_is_not_accepted_is_not_stored
            what_is_stored_is_loaded
            what_is_there_is_listed
            who_cannot_list_says_so
        }
    };
    (@tests $make:expr; $($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                $crate::run(async { $crate::io::$name($make).await });
            }
        )*
    };
}
