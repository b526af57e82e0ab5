//! Where partitions go that keep their key and change their index, as runs.
//!
//! A window that starts earlier is one run however many partitions it has. Knows nothing of keys or spaces.

use super::set::PartitionSet;

/// Neighbors that stay neighbors: `first` to `last` (inclusive) stand from `to` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionRun {
    /// The first of them.
    pub first: u64,
    /// The last of them.
    pub last: u64,
    /// Where the first of them goes.
    pub to: u64,
}

impl PartitionRun {
    /// Where the last of them goes.
    pub fn to_last(&self) -> u64 {
        self.to + (self.last - self.first)
    }
}

/// A stretch of partitions with one fate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// The first of them.
    pub first: u64,
    /// The last of them.
    pub last: u64,
    /// Where the first of them goes, and the others behind it; `None` when they go nowhere.
    pub to: Option<u64>,
}

/// Where some partitions go. No two go to one place.
///
/// ```
/// use flowstone_core::partition::{PartitionMoves, PartitionSet};
///
/// let mut moves = PartitionMoves::default();
/// moves.push(0, 9, 31);
/// assert_eq!(moves.image(&PartitionSet::from_range(5..20)).to_string(), "36-40");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartitionMoves {
    /// Ascending, and as long as can be.
    runs: Vec<PartitionRun>,
}

impl PartitionMoves {
    /// Adds a run behind the others: `first` is greater than what was added before.
    pub fn push(&mut self, first: u64, last: u64, to: u64) {
        debug_assert!(first <= last, "a run is not empty");
        if let Some(before) = self.runs.last_mut() {
            debug_assert!(before.last < first, "runs ascend");
            if before.last + 1 == first && before.to_last() + 1 == to {
                before.last = last;
                return;
            }
        }
        self.runs.push(PartitionRun { first, last, to });
    }

    /// The runs, ascending by where they come from.
    pub fn runs(&self) -> &[PartitionRun] {
        &self.runs
    }

    /// True when nothing goes anywhere.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// How many partitions have a place to go to.
    pub fn len(&self) -> u64 {
        self.runs.iter().map(|run| run.last - run.first + 1).sum()
    }

    /// Where `partition` goes.
    pub fn find(&self, partition: u64) -> Option<u64> {
        self.piece_at(partition).to
    }

    /// What becomes of `partition` and those behind it, as far as they have the same fate.
    pub fn piece_at(&self, partition: u64) -> Piece {
        let next = self.runs.partition_point(|run| run.last < partition);
        let (last, to) = match self.runs.get(next) {
            Some(run) if run.first <= partition => (run.last, Some(run.to + (partition - run.first))),
            Some(run) => (run.first - 1, None),
            None => (u64::MAX, None),
        };
        Piece {
            first: partition,
            last,
            to,
        }
    }

    /// What becomes of the partitions from `first` to `last`.
    pub fn pieces(&self, first: u64, last: u64) -> impl Iterator<Item = Piece> {
        let mut next = Some(first);
        std::iter::from_fn(move || {
            let mut piece = self.piece_at(next.filter(|next| *next <= last)?);
            piece.last = piece.last.min(last);
            next = piece.last.checked_add(1);
            Some(piece)
        })
    }

    /// Where those of `partitions` go that go anywhere.
    #[must_use]
    pub fn image(&self, partitions: &PartitionSet) -> PartitionSet {
        let mut image = PartitionSet::new();
        for (first, last) in partitions.intervals() {
            for piece in self.pieces(first, last) {
                if let Some(to) = piece.to {
                    image.insert_run(to, to + (piece.last - piece.first));
                }
            }
        }
        image
    }

    /// All that go somewhere.
    pub fn sources(&self) -> PartitionSet {
        let mut sources = PartitionSet::new();
        for run in &self.runs {
            sources.insert_run(run.first, run.last);
        }
        sources
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moves() -> PartitionMoves {
        let mut moves = PartitionMoves::default();
        moves.push(2, 3, 12);
        moves.push(4, 5, 14);
        moves.push(8, 9, 0);
        moves
    }

    #[test]
    fn runs_that_continue_each_other_are_one() {
        let runs = moves();

        assert_eq!(runs.runs().len(), 2);
        assert_eq!(runs.len(), 6);
    }

    #[test]
    fn an_interval_is_cut_where_fates_differ() {
        let pieces: Vec<_> = moves().pieces(1, 10).collect();

        let expected = [
            (1, 1, None),
            (2, 5, Some(12)),
            (6, 7, None),
            (8, 9, Some(0)),
            (10, 10, None),
        ];
        assert_eq!(pieces, expected.map(|(first, last, to)| Piece { first, last, to }));
    }

    #[test]
    fn a_set_goes_where_its_members_go() {
        let moves = moves();
        let set = PartitionSet::from_range(3..9);

        assert_eq!(moves.image(&set), [13, 14, 15, 0].into_iter().collect());
        assert_eq!(set.difference(&moves.sources()), [6, 7].into_iter().collect());
        assert_eq!((moves.find(9), moves.find(u64::MAX)), (Some(1), None));
    }
}
