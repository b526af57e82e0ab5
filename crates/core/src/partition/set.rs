//! A set of partitions of one space, as a compressed bitmap over dense indices.
//!
//! What is asked, ready, running and done are such sets. Their cost follows the number of runs, not of members, so ten
//! million neighbors are as cheap as one, and neither needs an allocation. Knows nothing of the space: whoever combines two sets sees to that.

mod algebra;
mod intervals;

use std::ops::{Bound, RangeBounds};

use roaring::RoaringTreemap;

pub use intervals::Intervals;

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
#[derive(Debug, Clone)]
pub struct PartitionSet(Form);

/// Most sets of an engine are empty or one run, and those cost no allocation.
#[derive(Debug, Clone)]
enum Form {
    Empty,
    /// First and last member of a single run.
    Run(u64, u64),
    /// Anything else. Single insertions may have made it a run after all.
    Many(RoaringTreemap),
}

impl Default for PartitionSet {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for PartitionSet {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Form::Many(members), Form::Many(others)) => members == others,
            _ => self.len() == other.len() && self.min() == other.min() && self.max() == other.max(),
        }
    }
}

impl Eq for PartitionSet {}

impl PartitionSet {
    /// The empty set.
    pub const fn new() -> Self {
        Self(Form::Empty)
    }

    /// All partitions of a space of length `len`.
    pub fn full(len: u64) -> Self {
        Self::from_range(0..len)
    }

    /// All indices of `range`; empty if the range is.
    pub fn from_range(range: impl RangeBounds<u64>) -> Self {
        Self(inclusive(&range).map_or(Form::Empty, |(lo, hi)| Form::Run(lo, hi)))
    }

    /// Exactly one partition.
    pub const fn single(partition: u64) -> Self {
        Self(Form::Run(partition, partition))
    }

    /// Adds one partition; true if it was not there.
    pub fn insert(&mut self, partition: u64) -> bool {
        if let Form::Many(members) = &mut self.0 {
            return members.insert(partition);
        }
        let is_new = !self.contains(partition);
        self.add_run(partition, partition);
        is_new
    }

    /// Adds all indices of `range`; nothing if the range is empty.
    pub fn insert_range(&mut self, range: impl RangeBounds<u64>) {
        if let Some((lo, hi)) = inclusive(&range) {
            self.add_run(lo, hi);
        }
    }

    /// Takes one partition out; true if it was there.
    pub fn remove(&mut self, partition: u64) -> bool {
        if let Form::Many(members) = &mut self.0 {
            return members.remove(partition);
        }
        let was_there = self.contains(partition);
        self.remove_run(partition, partition);
        was_there
    }

    /// Takes all indices of `range` out.
    pub fn remove_range(&mut self, range: impl RangeBounds<u64>) {
        if let Some((lo, hi)) = inclusive(&range) {
            self.remove_run(lo, hi);
        }
    }

    /// True if `partition` is a member.
    pub fn contains(&self, partition: u64) -> bool {
        match &self.0 {
            Form::Empty => false,
            Form::Run(lo, hi) => (*lo..=*hi).contains(&partition),
            Form::Many(members) => members.contains(partition),
        }
    }

    /// True if every index of `range` is a member, which an empty range always is.
    pub fn contains_range(&self, range: impl RangeBounds<u64>) -> bool {
        inclusive(&range).is_none_or(|(lo, hi)| match &self.0 {
            Form::Empty => false,
            Form::Run(first, last) => *first <= lo && hi <= *last,
            Form::Many(members) => members.contains_range(lo..=hi),
        })
    }

    /// How many members there are.
    pub fn len(&self) -> u64 {
        match &self.0 {
            Form::Empty => 0,
            Form::Run(lo, hi) => (hi - lo).saturating_add(1),
            Form::Many(members) => members.len(),
        }
    }

    /// True if there is no member.
    pub fn is_empty(&self) -> bool {
        match &self.0 {
            Form::Empty => true,
            Form::Run(..) => false,
            Form::Many(members) => members.is_empty(),
        }
    }

    /// The smallest member.
    pub fn min(&self) -> Option<u64> {
        match &self.0 {
            Form::Empty => None,
            Form::Run(lo, _) => Some(*lo),
            Form::Many(members) => members.min(),
        }
    }

    /// The largest member.
    pub fn max(&self) -> Option<u64> {
        match &self.0 {
            Form::Empty => None,
            Form::Run(_, hi) => Some(*hi),
            Form::Many(members) => members.max(),
        }
    }

    /// How many members are less than `partition`.
    pub fn rank(&self, partition: u64) -> u64 {
        partition.checked_sub(1).map_or(0, |last| self.count_in(..=last))
    }

    /// The member that has `n` smaller ones.
    pub fn nth(&self, n: u64) -> Option<u64> {
        match &self.0 {
            Form::Empty => None,
            Form::Run(lo, hi) => lo.checked_add(n).filter(|member| member <= hi),
            Form::Many(members) => members.select(n),
        }
    }

    /// How many members lie in `range`.
    pub fn count_in(&self, range: impl RangeBounds<u64>) -> u64 {
        inclusive(&range).map_or(0, |(lo, hi)| match &self.0 {
            Form::Empty => 0,
            Form::Run(first, last) => {
                common((lo, hi), (*first, *last)).map_or(0, |(lo, hi)| (hi - lo).saturating_add(1))
            }
            Form::Many(members) => members.range_cardinality(lo..=hi),
        })
    }

    /// The members in ascending order. For arithmetic take [`PartitionSet::intervals`], which is shorter.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = u64> + '_ {
        let (run, members) = match &self.0 {
            Form::Empty => (None, None),
            Form::Run(lo, hi) => (Some(*lo..=*hi), None),
            Form::Many(members) => (None, Some(members.iter())),
        };
        run.into_iter().flatten().chain(members.into_iter().flatten())
    }

    /// True for a set that is kept as one run.
    pub(super) fn is_one_run(&self) -> bool {
        matches!(self.0, Form::Run(..))
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
            self.remove_range(..=last);
        }
        first
    }

    /// As [`PartitionSet::insert_range`], faster for short runs.
    pub(super) fn insert_run(&mut self, lo: u64, hi: u64) {
        match &mut self.0 {
            Form::Many(members) if hi - lo < SHORT_RUN => (lo..=hi).for_each(|partition| {
                members.insert(partition);
            }),
            _ => self.add_run(lo, hi),
        }
    }

    fn add_run(&mut self, lo: u64, hi: u64) {
        match &mut self.0 {
            Form::Empty => self.0 = Form::Run(lo, hi),
            Form::Run(first, last) if touch((*first, *last), (lo, hi)) => {
                *first = lo.min(*first);
                *last = hi.max(*last);
            }
            Form::Run(first, last) => {
                let mut members = treemap(*first, *last);
                members.insert_range(lo..=hi);
                self.0 = Form::Many(members);
            }
            Form::Many(members) => {
                members.insert_range(lo..=hi);
                self.tidy();
            }
        }
    }

    fn remove_run(&mut self, lo: u64, hi: u64) {
        match &mut self.0 {
            Form::Empty => {}
            Form::Run(first, last) => {
                let before = (*first < lo).then(|| (*first, (*last).min(lo - 1)));
                let after = (*last > hi).then(|| ((*first).max(hi + 1), *last));
                self.0 = match (before, after) {
                    (None, None) => Form::Empty,
                    (Some((lo, hi)), None) | (None, Some((lo, hi))) => Form::Run(lo, hi),
                    (Some((first, last)), Some((lo, hi))) => {
                        let mut members = treemap(first, last);
                        members.insert_range(lo..=hi);
                        Form::Many(members)
                    }
                };
            }
            Form::Many(members) => {
                members.remove_range(lo..=hi);
                self.tidy();
            }
        }
    }

    /// Gives up the bitmap where a run says the same.
    fn tidy(&mut self) {
        let Form::Many(members) = &self.0 else { return };
        match members.min().zip(members.max()) {
            None => self.0 = Form::Empty,
            Some((lo, hi)) if hi - lo == members.len() - 1 => self.0 = Form::Run(lo, hi),
            Some(_) => {}
        }
    }

    /// The members as a bitmap.
    pub(super) fn to_treemap(&self) -> RoaringTreemap {
        match &self.0 {
            Form::Empty => RoaringTreemap::new(),
            Form::Run(lo, hi) => treemap(*lo, *hi),
            Form::Many(members) => members.clone(),
        }
    }
}

/// What two runs share.
fn common(one: (u64, u64), other: (u64, u64)) -> Option<(u64, u64)> {
    let (lo, hi) = (one.0.max(other.0), one.1.min(other.1));
    (lo <= hi).then_some((lo, hi))
}

fn treemap(lo: u64, hi: u64) -> RoaringTreemap {
    let mut members = RoaringTreemap::new();
    members.insert_range(lo..=hi);
    members
}

/// True if two runs share a member or are neighbors.
fn touch(one: (u64, u64), other: (u64, u64)) -> bool {
    one.0 <= other.1.saturating_add(1) && other.0 <= one.1.saturating_add(1)
}

impl From<RoaringTreemap> for PartitionSet {
    fn from(members: RoaringTreemap) -> Self {
        let mut set = Self(Form::Many(members));
        set.tidy();
        set
    }
}

impl From<PartitionSet> for RoaringTreemap {
    fn from(set: PartitionSet) -> Self {
        match set.0 {
            Form::Many(members) => members,
            _ => set.to_treemap(),
        }
    }
}

impl FromIterator<u64> for PartitionSet {
    fn from_iter<I: IntoIterator<Item = u64>>(partitions: I) -> Self {
        let mut set = Self::new();
        set.extend(partitions);
        set
    }
}

impl Extend<u64> for PartitionSet {
    fn extend<I: IntoIterator<Item = u64>>(&mut self, partitions: I) {
        for partition in partitions {
            self.insert(partition);
        }
        self.tidy();
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
