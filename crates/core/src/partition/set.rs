//! A set of partitions of one space, as a compressed bitmap over dense indices.
//!
//! What is asked, ready, running and done are such sets. Their cost follows the number of runs, not of members, so ten
//! million neighbors are as cheap as one. Knows nothing of the space: whoever combines two sets sees to that.

use std::ops::{Bound, RangeBounds};

use roaring::treemap::BitmapIter;
use roaring::{RoaringTreemap, bitmap};

use crate::{Error, ErrorKind, Result};

/// The most partitions that a selection, a stored set or a bound mapping may hold: about 17 thousand million.
///
/// Memory follows the number of runs, but every 65,536 neighbors cost some bytes, so hostile input needs a bound.
pub const PARTITIONS_MAX: u64 = 1 << 34;

/// A run of fewer members is added faster one by one.
const SHORT_RUN: u64 = 8;

/// A set of partition indices.
///
/// Adding a range costs a few bytes for every 65,536 indices in it; hold ranges from outside below [`PARTITIONS_MAX`].
///
/// ```
/// use flowstone_core::partition::PartitionSet;
///
/// let asked = PartitionSet::from_range(0..31);
/// let done: PartitionSet = [0, 1, 2].into_iter().collect();
/// assert_eq!(asked.difference(&done).to_string(), "3-30");
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PartitionSet {
    members: RoaringTreemap,
}

// Members are whole numbers, so equality is total; roaring only promises the partial kind.
impl Eq for PartitionSet {}

impl PartitionSet {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// All partitions of a space of length `len`.
    pub fn full(len: u64) -> Self {
        Self::from_range(0..len)
    }

    /// All indices of `range`; empty if the range is.
    pub fn from_range(range: impl RangeBounds<u64>) -> Self {
        let mut set = Self::new();
        set.insert_range(range);
        set
    }

    /// Exactly one partition.
    pub fn single(partition: u64) -> Self {
        Self::from_range(partition..=partition)
    }

    /// Adds one partition; true if it was not there.
    pub fn insert(&mut self, partition: u64) -> bool {
        self.members.insert(partition)
    }

    /// Adds all indices of `range`; nothing if the range is empty.
    pub fn insert_range(&mut self, range: impl RangeBounds<u64>) {
        if let Some((lo, hi)) = inclusive(&range) {
            self.members.insert_range(lo..=hi);
        }
    }

    /// Takes one partition out; true if it was there.
    pub fn remove(&mut self, partition: u64) -> bool {
        self.members.remove(partition)
    }

    /// Takes all indices of `range` out.
    pub fn remove_range(&mut self, range: impl RangeBounds<u64>) {
        if let Some((lo, hi)) = inclusive(&range) {
            self.members.remove_range(lo..=hi);
        }
    }

    /// True if `partition` is a member.
    pub fn contains(&self, partition: u64) -> bool {
        self.members.contains(partition)
    }

    /// True if every index of `range` is a member, which an empty range always is.
    pub fn contains_range(&self, range: impl RangeBounds<u64>) -> bool {
        inclusive(&range).is_none_or(|(lo, hi)| self.members.contains_range(lo..=hi))
    }

    /// How many members there are.
    pub fn len(&self) -> u64 {
        self.members.len()
    }

    /// True if there is no member.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The smallest member.
    pub fn min(&self) -> Option<u64> {
        self.members.min()
    }

    /// The largest member.
    pub fn max(&self) -> Option<u64> {
        self.members.max()
    }

    /// How many members are less than `partition`.
    pub fn rank(&self, partition: u64) -> u64 {
        partition.checked_sub(1).map_or(0, |last| self.members.rank(last))
    }

    /// The member that has `n` smaller ones.
    pub fn nth(&self, n: u64) -> Option<u64> {
        self.members.select(n)
    }

    /// How many members lie in `range`.
    pub fn count_in(&self, range: impl RangeBounds<u64>) -> u64 {
        inclusive(&range).map_or(0, |(lo, hi)| self.members.range_cardinality(lo..=hi))
    }

    /// The members in ascending order. For arithmetic take [`PartitionSet::intervals`], which is shorter.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = u64> + '_ {
        self.members.iter()
    }

    /// The longest runs of neighbors as (first, last), ascending, both ends members.
    pub fn intervals(&self) -> Intervals<'_> {
        Intervals {
            bitmaps: self.members.bitmaps(),
            current: None,
            pending: None,
        }
    }

    /// The runs within `0..len`, the last one cut off at the end.
    pub(super) fn intervals_below(&self, len: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.intervals()
            .take_while(move |&(lo, _)| lo < len)
            .map(move |(lo, hi)| (lo, hi.min(len - 1)))
    }

    /// First and last member if all between them are members too.
    pub fn as_interval(&self) -> Option<(u64, u64)> {
        let mut intervals = self.intervals();
        let only = intervals.next()?;
        intervals.next().is_none().then_some(only)
    }

    /// The members of either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self {
            members: &self.members | &other.members,
        }
    }

    /// The members of both.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        Self {
            members: &self.members & &other.members,
        }
    }

    /// The members that `other` does not have.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        Self {
            members: &self.members - &other.members,
        }
    }

    /// The members less than `len`.
    #[must_use]
    pub fn below(&self, len: u64) -> Self {
        let mut set = self.clone();
        if self.max().is_some_and(|max| max >= len) {
            set.remove_range(len..);
        }
        set
    }

    /// Adds the members of `other`.
    pub fn union_with(&mut self, other: &Self) {
        self.members |= &other.members;
    }

    /// Keeps only what `other` has too.
    pub fn intersect_with(&mut self, other: &Self) {
        self.members &= &other.members;
    }

    /// Takes out what `other` has.
    pub fn subtract(&mut self, other: &Self) {
        self.members -= &other.members;
    }

    /// True if no member is shared.
    pub fn is_disjoint(&self, other: &Self) -> bool {
        self.members.is_disjoint(&other.members)
    }

    /// True if `other` has every member of this set.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.members.is_subset(&other.members)
    }

    /// How many members both share, without building their set.
    pub fn intersect_len(&self, other: &Self) -> u64 {
        self.members.intersection_len(&other.members)
    }

    /// Takes the `n` smallest members out and gives them; all of them if there are fewer.
    ///
    /// Costs what is taken, not what stays: chunks are cut off a large set one after another.
    #[must_use = "the members are gone from this set"]
    pub fn split_off_first(&mut self, n: u64) -> Self {
        let mut first = Self::new();
        let mut wanted = n;
        for (lo, hi) in self.intervals() {
            let Some(room) = wanted.checked_sub(1) else {
                break;
            };
            let last = lo.saturating_add(room).min(hi);
            first.insert_run(lo, last);
            wanted = room - (last - lo);
        }
        if let Some(last) = first.max() {
            self.members.remove_range(..=last);
        }
        first
    }

    /// As [`PartitionSet::insert_range`], faster for short runs.
    pub(super) fn insert_run(&mut self, lo: u64, hi: u64) {
        if hi - lo < SHORT_RUN {
            (lo..=hi).for_each(|partition| {
                self.members.insert(partition);
            });
        } else {
            self.members.insert_range(lo..=hi);
        }
    }

    pub(super) fn members(&self) -> &RoaringTreemap {
        &self.members
    }
}

impl From<RoaringTreemap> for PartitionSet {
    fn from(members: RoaringTreemap) -> Self {
        Self { members }
    }
}

impl From<PartitionSet> for RoaringTreemap {
    fn from(set: PartitionSet) -> Self {
        set.members
    }
}

impl FromIterator<u64> for PartitionSet {
    fn from_iter<I: IntoIterator<Item = u64>>(partitions: I) -> Self {
        Self {
            members: partitions.into_iter().collect(),
        }
    }
}

impl Extend<u64> for PartitionSet {
    fn extend<I: IntoIterator<Item = u64>>(&mut self, partitions: I) {
        self.members.extend(partitions);
    }
}

/// The runs of a [`PartitionSet`]; see [`PartitionSet::intervals`].
pub struct Intervals<'a> {
    bitmaps: BitmapIter<'a>,
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
            let (high, members) = self.bitmaps.next()?;
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

/// Refuses more partitions than a set may hold.
pub(super) fn check_len(len: u128) -> Result<()> {
    if len <= u128::from(PARTITIONS_MAX) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::LimitExceeded,
        format!("{len} partitions are more than the limit of {PARTITIONS_MAX}"),
    )
    .code("partition_set_too_large")
    .fix("choose fewer partitions, or make them coarser"))
}

fn inclusive(range: &impl RangeBounds<u64>) -> Option<(u64, u64)> {
    let lo = match range.start_bound() {
        Bound::Included(&lo) => lo,
        Bound::Excluded(&before) => before.checked_add(1)?,
        Bound::Unbounded => 0,
    };
    let hi = match range.end_bound() {
        Bound::Included(&hi) => hi,
        Bound::Excluded(&after) => after.checked_sub(1)?,
        Bound::Unbounded => u64::MAX,
    };
    (lo <= hi).then_some((lo, hi))
}
