//! The conformance suite of [`Store`]: one test for each promise, adopted with [`store_conformance!`].
//!
//! [`store_conformance!`]: crate::store_conformance

mod assets;
mod chunks;
mod commit;
mod durable;
mod events;
mod fan_out;
mod fixture;
mod lineage;
mod prune;
mod redefine;
mod runs;
mod sets;
mod size;
mod status;
mod text;
mod versions;

use std::any::Any;
use std::fmt;
use std::ops::Deref;

use flowstone_core::store::Store;
use flowstone_core::{BoxFuture, Result};

pub use assets::{
    a_space_that_is_another_is_not_declared, asset_ids_are_dense_and_never_change, declaring_a_longer_space_replaces_it,
};
pub use chunks::{
    a_claim_must_raise_the_fence, a_late_holder_moves_nothing, an_earlier_incarnation_moves_nothing,
    an_ended_chunk_takes_no_progress, chunks_are_listed_by_asset_and_number, progress_adds_up, progress_needs_a_claim,
};
pub use commit::{
    a_group_is_seen_whole, a_refused_record_leaves_the_others, an_empty_group_is_nothing, many_may_commit_at_once,
    records_take_effect_in_order, what_follows_a_refused_record_of_a_run_is_refused,
    what_names_an_unknown_asset_or_run_is_refused,
};
pub use durable::what_was_committed_survives_reopening;
pub use events::{a_refused_record_leaves_no_event, events_tell_what_was_committed_in_order};
pub use fan_out::{
    a_claim_is_open_until_it_is_closed, a_fan_out_comes_back_as_it_was_opened, a_fan_out_is_opened_once,
    a_fan_out_that_goes_on_is_not_reopened, a_large_page_comes_back, a_late_lead_moves_no_fan_out,
    a_page_and_its_cursor_are_one_change, a_run_that_is_pruned_takes_its_fan_outs_along, any_item_key_comes_back,
    events_tell_how_fan_outs_move, fan_outs_survive_reopening, only_an_open_claim_has_results, pages_follow_each_other,
    progress_of_items_is_seen_whole, reopening_begins_an_epoch_in_another_run, segments_come_back_by_page_in_order,
    the_last_failure_of_an_item_stays, where_a_fan_out_stands_is_what_was_told_last,
};
pub use lineage::{inputs_are_found_by_what_was_made, old_versions_keep_their_inputs, uses_are_found_by_what_was_read};
pub use prune::{
    a_dry_run_removes_nothing, bounded_passes_come_to_the_end, ended_runs_go_and_open_ones_stay,
    inputs_stay_while_they_stand_for_something, old_events_go_and_sequences_go_on, old_versions_go_and_heads_stay,
    the_history_tells_all_versions, what_something_kept_was_made_from_stays, young_versions_stay,
};
pub use redefine::{
    a_redefinition_that_does_not_fit_changes_nothing, changing_a_definition_back_brings_all_back,
    what_comes_back_behind_the_end_keeps_the_number, what_moves_takes_along_all_that_is_known_of_it,
    what_rests_on_what_is_orphaned_goes_stale,
};
pub use runs::{
    a_key_names_one_run, a_run_comes_back_as_it_was, a_run_is_taken_by_one_after_the_other, a_terminal_run_is_final,
    an_unknown_run_is_not_moved, failed_attempts_are_kept_in_order, runs_are_listed_in_order,
};
pub use sets::{
    dynamic_keys_are_retired_and_taken_back, dynamic_keys_keep_their_index, dynamic_keys_may_be_any,
    dynamic_sets_are_shared, dynamic_sets_survive,
};
pub use size::{a_full_chunk_is_committed_at_once, large_sets_are_kept, the_last_partition_is_like_any_other};
pub use status::{
    a_final_failure_marks_until_a_value_is_made, heads_stand_in_one_set_each,
    nothing_is_known_of_an_asset_without_work, only_what_was_made_goes_stale, what_is_made_or_unchanged_is_not_stale,
};
pub use text::any_text_comes_back;
pub use versions::{
    a_materialization_comes_back_as_it_was, heads_are_found_by_partition, old_versions_can_be_asked_for,
    versions_only_grow,
};

type Reopen<S> = Box<dyn Fn(S) -> BoxFuture<'static, Result<S>> + Send>;

/// An empty store, and what can be done with it besides.
pub struct StoreUnderTest<S> {
    store: S,
    reopen: Option<Reopen<S>>,
    /// Dropped last.
    kept: Vec<Box<dyn Any + Send>>,
}

impl<S: Store> StoreUnderTest<S> {
    /// Tests `store`, which must be empty.
    pub fn new(store: S) -> Self {
        Self {
            store,
            reopen: None,
            kept: Vec::new(),
        }
    }

    /// Says how the store is closed and opened again; a durable store must.
    #[must_use]
    pub fn reopened_by<F>(mut self, reopen: impl Fn(S) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<S>> + Send + 'static,
    {
        self.reopen = Some(Box::new(move |store| Box::pin(reopen(store))));
        self
    }

    /// Keeps something for as long as the store, such as its temporary folder.
    #[must_use]
    pub fn keeping(mut self, guard: impl Any + Send) -> Self {
        self.kept.push(Box::new(guard));
        self
    }
}

impl<S> Deref for StoreUnderTest<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.store
    }
}

impl<S> fmt::Debug for StoreUnderTest<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreUnderTest")
            .field("can_reopen", &self.reopen.is_some())
            .finish_non_exhaustive()
    }
}

/// Writes one test for each promise of [`Store`](flowstone_core::store::Store).
///
/// Takes an expression that makes a [`StoreUnderTest`](crate::store::StoreUnderTest) over an empty store; it may await,
/// and is evaluated for each test.
///
/// ```
/// use flowstone_core::memory::MemoryStore;
/// use flowstone_testkit::store::StoreUnderTest;
///
/// flowstone_testkit::store_conformance!(StoreUnderTest::new(MemoryStore::default()));
/// ```
#[macro_export]
macro_rules! store_conformance {
    ($make:expr) => {
        $crate::store_conformance! { @tests $make;
            a_claim_is_open_until_it_is_closed
            a_claim_must_raise_the_fence
            a_dry_run_removes_nothing
            a_fan_out_comes_back_as_it_was_opened
            a_fan_out_is_opened_once
            a_fan_out_that_goes_on_is_not_reopened
            a_final_failure_marks_until_a_value_is_made
            a_full_chunk_is_committed_at_once
            a_group_is_seen_whole
            a_key_names_one_run
            a_large_page_comes_back
            a_late_holder_moves_nothing
            a_late_lead_moves_no_fan_out
            a_materialization_comes_back_as_it_was
            a_page_and_its_cursor_are_one_change
            a_redefinition_that_does_not_fit_changes_nothing
            a_refused_record_leaves_no_event
            a_refused_record_leaves_the_others
            a_run_comes_back_as_it_was
            a_run_is_taken_by_one_after_the_other
            a_run_that_is_pruned_takes_its_fan_outs_along
            a_space_that_is_another_is_not_declared
            a_terminal_run_is_final
            an_earlier_incarnation_moves_nothing
            an_empty_group_is_nothing
            an_ended_chunk_takes_no_progress
            an_unknown_run_is_not_moved
            any_item_key_comes_back
            any_text_comes_back
            asset_ids_are_dense_and_never_change
            bounded_passes_come_to_the_end
            changing_a_definition_back_brings_all_back
            chunks_are_listed_by_asset_and_number
            declaring_a_longer_space_replaces_it
            dynamic_keys_are_retired_and_taken_back
            dynamic_keys_keep_their_index
            dynamic_keys_may_be_any
            dynamic_sets_are_shared
            dynamic_sets_survive
            ended_runs_go_and_open_ones_stay
            events_tell_how_fan_outs_move
            events_tell_what_was_committed_in_order
            failed_attempts_are_kept_in_order
            fan_outs_survive_reopening
            heads_are_found_by_partition
            heads_stand_in_one_set_each
            inputs_are_found_by_what_was_made
            inputs_stay_while_they_stand_for_something
            large_sets_are_kept
            many_may_commit_at_once
            nothing_is_known_of_an_asset_without_work
            old_events_go_and_sequences_go_on
            old_versions_can_be_asked_for
            old_versions_go_and_heads_stay
            old_versions_keep_their_inputs
            only_an_open_claim_has_results
            only_what_was_made_goes_stale
            pages_follow_each_other
            progress_adds_up
            progress_needs_a_claim
            progress_of_items_is_seen_whole
            records_take_effect_in_order
            reopening_begins_an_epoch_in_another_run
            runs_are_listed_in_order
            segments_come_back_by_page_in_order
            the_history_tells_all_versions
            the_last_failure_of_an_item_stays
            the_last_partition_is_like_any_other
            uses_are_found_by_what_was_read
            versions_only_grow
            what_comes_back_behind_the_end_keeps_the_number
            what_follows_a_refused_record_of_a_run_is_refused
            what_is_made_or_unchanged_is_not_stale
            what_moves_takes_along_all_that_is_known_of_it
            what_names_an_unknown_asset_or_run_is_refused
            what_rests_on_what_is_orphaned_goes_stale
            what_something_kept_was_made_from_stays
            what_was_committed_survives_reopening
            where_a_fan_out_stands_is_what_was_told_last
            young_versions_stay
        }
    };
    (@tests $make:expr; $($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                $crate::run(async { $crate::store::$name($make).await });
            }
        )*
    };
}
