//! Reads the recorded links of a span: what it was made from, or what was made from it.
//!
//! The store answers for one partition at a time, and a record that begins in the middle of a span shows at neither of
//! its ends. So every partition is looked up, up to a bound; what comes out are spans again.

use std::collections::BTreeSet;

use flowstone_core::partition::PARTITIONS_MAX;
use flowstone_core::store::{LineageInput, Store};
use flowstone_core::{Error, ErrorKind, Result};
use futures::stream::{self, StreamExt, TryStreamExt};

use super::span::Span;
use crate::graph::Direction;

/// How many questions a store is asked at a time.
const LOOKUPS_AT_ONCE: usize = 16;

/// What the records say about a span.
pub(super) struct Links {
    /// The spans on the other side.
    pub(super) far: BTreeSet<Span>,
    /// How many partitions were looked up.
    pub(super) lookups: u64,
    /// How many were not.
    pub(super) unread: u64,
}

/// Reads the links of at most `lookups_max` partitions of `span`.
pub(super) async fn read(store: &dyn Store, direction: Direction, span: Span, lookups_max: u64) -> Result<Links> {
    let lookups = span.len().min(lookups_max);
    let mut far = BTreeSet::new();
    if lookups > 0 {
        let looked_up = span.head(lookups);
        let mut answers = stream::iter(looked_up.first..=looked_up.last)
            .map(|partition| rows_of(store, direction, span, partition))
            .buffered(LOOKUPS_AT_ONCE);
        while let Some(rows) = answers.try_next().await? {
            for row in &rows {
                far.extend(far_side(direction, check(row)?, looked_up));
            }
        }
    }
    Ok(Links {
        far,
        lookups,
        unread: span.len() - lookups,
    })
}

async fn rows_of(store: &dyn Store, direction: Direction, span: Span, partition: u64) -> Result<Vec<LineageInput>> {
    match direction {
        Direction::Upstream => store.inputs_of(span.asset, partition, span.version).await,
        Direction::Downstream => store.uses_of(span.asset, partition, Some(span.version)).await,
    }
}

/// Refuses a record that says nothing sensible, before its numbers are worked with.
fn check(row: &LineageInput) -> Result<&LineageInput> {
    let is_stretch = |(first, last): (u64, u64)| first <= last && last < PARTITIONS_MAX;
    let are_counterparts = |row: &LineageInput| row.partitions.1 - row.partitions.0 == row.from.1 - row.from.0;
    if is_stretch(row.partitions) && is_stretch(row.from) && (!row.one_to_one || are_counterparts(row)) {
        return Ok(row);
    }
    Err(Error::new(ErrorKind::Corrupt, format!("a record makes no sense: {row:?}")).during("read lineage"))
}

/// What `row` links `near` to; `None` when it is about other partitions.
fn far_side(direction: Direction, row: &LineageInput, near: Span) -> Option<Span> {
    let (near_end, far_end, asset, version) = match direction {
        Direction::Upstream => (row.partitions, row.from, row.upstream, row.upstream_version),
        Direction::Downstream => (row.from, row.partitions, row.asset, row.version),
    };
    let (first, last) = (near_end.0.max(near.first), near_end.1.min(near.last));
    if first > last {
        return None;
    }
    let (first, last) = match row.one_to_one {
        true => (far_end.0 + (first - near_end.0), far_end.0 + (last - near_end.0)),
        false => far_end,
    };
    Some(Span {
        asset,
        version,
        first,
        last,
    })
}

#[cfg(test)]
mod tests {
    use flowstone_core::{AssetId, Version};

    use super::*;

    fn row(one_to_one: bool) -> LineageInput {
        LineageInput {
            asset: AssetId(1),
            partitions: (10, 19),
            version: Version(3),
            upstream: AssetId(0),
            from: (100, 109),
            one_to_one,
            upstream_version: Version(7),
        }
    }

    fn made(first: u64, last: u64) -> Span {
        Span {
            asset: AssetId(1),
            version: Version(3),
            first,
            last,
        }
    }

    fn read(first: u64, last: u64) -> Span {
        Span {
            asset: AssetId(0),
            version: Version(7),
            first,
            last,
        }
    }

    #[test]
    fn counterparts_are_cut_to_the_span() {
        assert_eq!(
            far_side(Direction::Upstream, &row(true), made(15, 40)),
            Some(read(105, 109))
        );
        assert_eq!(
            far_side(Direction::Downstream, &row(true), read(0, 102)),
            Some(made(10, 12))
        );
    }

    #[test]
    fn what_all_were_made_from_is_whole() {
        assert_eq!(
            far_side(Direction::Upstream, &row(false), made(15, 40)),
            Some(read(100, 109))
        );
        assert_eq!(
            far_side(Direction::Downstream, &row(false), read(0, 102)),
            Some(made(10, 19))
        );
    }

    #[test]
    fn a_record_of_other_partitions_says_nothing() {
        assert_eq!(far_side(Direction::Upstream, &row(true), made(20, 40)), None);
    }

    #[test]
    fn a_record_that_makes_no_sense_is_refused() {
        let uneven = LineageInput {
            from: (100, 200),
            ..row(true)
        };
        let backwards = LineageInput {
            from: (9, 3),
            ..row(false)
        };
        let endless = LineageInput {
            from: (0, u64::MAX),
            ..row(false)
        };

        for bad in [uneven, backwards, endless] {
            assert_eq!(check(&bad).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }
}
