//! Partitions that are defined otherwise than before, as people and programs read it.

use flowstone_runtime::Redefined;
use serde::Serialize;

use crate::labels::Ranges;
use crate::output::{aligned, counted};

/// What becomes of the partitions of one asset.
#[derive(Serialize)]
pub(crate) struct Change {
    asset: String,
    was: String,
    is: String,
    /// Values whose partitions stand where they stood.
    kept: u64,
    /// Values whose partitions stand elsewhere.
    moved: u64,
    /// Partitions that there were not before.
    new: u64,
    /// Values that were orphaned before, and come back.
    returning: u64,
    /// Values whose partitions are not defined any more.
    orphaned: Ranges,
    /// True when values have to move, or to be orphaned, or come back.
    pub(crate) is_pending: bool,
}

/// Those that are about values.
pub(crate) fn describe(redefined: &[Redefined]) -> Vec<Change> {
    let with_values = redefined.iter().filter(|found| found.has_values());
    let each = with_values.map(|found| Change {
        asset: found.asset.to_string(),
        was: found.was.describe(),
        is: found.is.describe(),
        kept: found.change.kept().len(),
        moved: found.change.moved().len(),
        new: found.change.added,
        returning: found.returned.len(),
        orphaned: Ranges::new(&found.was, &found.change.orphaned),
        is_pending: found.is_pending(),
    });
    each.collect()
}

/// A table, and what to do; no text where nothing is defined otherwise.
pub(crate) fn show(changes: &[Change]) -> Option<String> {
    if changes.is_empty() {
        return None;
    }
    let rows = changes.iter().map(|change| {
        let count = |count: u64| count.to_string();
        [
            change.asset.clone(),
            count(change.kept),
            count(change.moved),
            count(change.new),
            count(change.returning),
            count(change.orphaned.count),
            change.orphaned.to_text(),
        ]
    });
    let header = ["partitions of", "kept", "moved", "new", "back", "orphaned", ""];
    let mut text = aligned(header, &[1, 2, 3, 4, 5], rows);
    let orphaned: u64 = changes.iter().map(|change| change.orphaned.count).sum();
    if orphaned > 0 {
        let (values, is) = (counted(orphaned, "value"), if orphaned == 1 { "is" } else { "are" });
        text.push_str(&format!(
            "\nthe definition of partitions has changed, and {values} {is} not of any partition by now: `run --accept` orphans what \
             is left over, which is kept and comes back with the definition"
        ));
    } else if changes.iter().any(|change| change.is_pending) {
        text.push_str(
            "\nthe definition of partitions has changed: the next run moves what stands elsewhere, nothing is lost",
        );
    }
    Some(text)
}
