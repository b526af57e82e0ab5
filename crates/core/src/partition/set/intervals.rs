//! The runs of neighbors that a set of partitions consists of.

use roaring::bitmap;
use roaring::treemap::BitmapIter;

use super::{Form, PartitionSet};

impl PartitionSet {
    /// The longest runs of neighbors as (first, last), ascending, both ends members.
    pub fn intervals(&self) -> Intervals<'_> {
        let (bitmaps, pending) = match &self.0 {
            Form::Empty => (None, None),
            Form::Run(lo, hi) => (None, Some((*lo, *hi))),
            Form::Many(members) => (Some(members.bitmaps()), None),
        };
        Intervals {
            bitmaps,
            current: None,
            pending,
        }
    }

    /// The runs within `0..len`, the last one cut off at the end.
    pub(in crate::partition) fn intervals_below(&self, len: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.intervals()
            .take_while(move |&(lo, _)| lo < len)
            .map(move |(lo, hi)| (lo, hi.min(len - 1)))
    }

    /// First and last member if all between them are members too.
    pub fn as_interval(&self) -> Option<(u64, u64)> {
        if let Form::Run(lo, hi) = self.0 {
            return Some((lo, hi));
        }
        let mut intervals = self.intervals();
        let only = intervals.next()?;
        intervals.next().is_none().then_some(only)
    }
}

/// The runs of a [`PartitionSet`]; see [`PartitionSet::intervals`].
pub struct Intervals<'a> {
    bitmaps: Option<BitmapIter<'a>>,
    current: Option<(u64, bitmap::Iter<'a>)>,
    pending: Option<(u64, u64)>,
}

impl Intervals<'_> {
    /// The next run within one bitmap of 2³² indices.
    fn next_piece(&mut self) -> Option<(u64, u64)> {
        loop {
            if let Some((base, runs)) = &mut self.current
                && let Some(run) = runs.next_range()
            {
                return Some((*base + u64::from(*run.start()), *base + u64::from(*run.end())));
            }
            let (high, members) = self.bitmaps.as_mut()?.next()?;
            self.current = Some((u64::from(high) << 32, members.iter()));
        }
    }
}

impl Iterator for Intervals<'_> {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<(u64, u64)> {
        let (lo, mut hi) = self.pending.take().or_else(|| self.next_piece())?;
        while let Some(piece) = self.next_piece() {
            if Some(piece.0) == hi.checked_add(1) {
                hi = piece.1;
            } else {
                self.pending = Some(piece);
                break;
            }
        }
        Some((lo, hi))
    }
}
