//! A mapping between two given spaces at given lengths: sets of one side become sets of the other.
//!
//! Works on runs, not on keys, wherever the mapping is arithmetic. Bound to lengths, because a space may grow: a run
//! binds once, when it is planned, and so sees the same partitions until it ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::bind::{Lengths, bind};
use super::mapping::Mapping;
use super::projection::Axis;
use super::set::{PartitionSet, check_len};
use super::space::PartitionSpace;
use super::window::WindowSpace;
use crate::{Error, Result};

/// How many partitions of each side [`BoundMapping::at_capacity`] looks at; some spaces may become far longer. Of named
/// partitions it looks at all, since they are all there.
pub const CHECKED_LEN_MAX: u64 = 1 << 16;

/// A checked [`Mapping`] between two spaces. Cheap to clone.
///
/// Indices at or beyond the lengths do not exist here: they are neither read nor found to read anything.
#[derive(Debug, Clone)]
pub struct BoundMapping {
    pub(super) plan: Plan,
    pub(super) down_len: u64,
    pub(super) up_len: u64,
}

/// How many partitions an edge joins, so that an engine can count without making sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EdgeShape {
    /// Partition `p` reads `p + shift`, if the upstream has it.
    OneToOne {
        /// What to add to a downstream index.
        shift: i64,
    },
    /// Every downstream partition reads the same set.
    Broadcast,
    /// Anything else.
    Many,
}

#[derive(Debug, Clone)]
pub(super) enum Plan {
    Shift(i64),
    /// `p` reads the `count` partitions that end with `p + shift`.
    Trailing {
        shift: i64,
        count: u32,
    },
    Overlap {
        down: Box<WindowSpace>,
        up: Box<WindowSpace>,
    },
    Broadcast(PartitionSet),
    Pairs(Arc<Pairs>),
    /// The downstream is a product, of which one digit reads.
    DownDigit {
        axis: Axis,
        inner: Box<BoundMapping>,
    },
    /// The upstream is a product, of which one digit is read.
    UpDigit {
        axis: Axis,
        inner: Box<BoundMapping>,
        /// What is not read, since it is retired.
        retired: PartitionSet,
    },
}

/// Who reads whom, both ways.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    pub(super) down_to_up: BTreeMap<u64, PartitionSet>,
    pub(super) up_to_down: BTreeMap<u64, PartitionSet>,
}

impl Pairs {
    pub(super) fn insert(&mut self, reader: u64, read: u64) {
        self.down_to_up.entry(reader).or_default().insert(read);
        self.up_to_down.entry(read).or_default().insert(reader);
    }
}

impl BoundMapping {
    /// Binds `mapping` to two spaces as long as they are at `now`; refuses one that the spaces do not allow.
    pub fn new(mapping: &Mapping, down: &PartitionSpace, up: &PartitionSpace, now: Timestamp) -> Result<Self> {
        // Assets without partitions are bound by the thousand, several times a run.
        if let (Mapping::Identity, PartitionSpace::Unit, PartitionSpace::Unit) = (mapping, down, up) {
            return Ok(Self {
                plan: Plan::Shift(0),
                down_len: 1,
                up_len: 1,
            });
        }
        let at = |space: &PartitionSpace| space.len_at(now);
        let fit = check_len(at(down).into()).and_then(|()| check_len(at(up).into()));
        fit.and_then(|()| bind(mapping, down, up, Lengths::At(now)))
            .map_err(|error| about(error, mapping, down, up))
    }

    /// Binds `mapping` to two spaces as long as their definitions let them become, to check a definition before any
    /// time is known. At most [`CHECKED_LEN_MAX`] partitions of each side are looked at.
    pub fn at_capacity(mapping: &Mapping, down: &PartitionSpace, up: &PartitionSpace) -> Result<Self> {
        bind(mapping, down, up, Lengths::Capacity).map_err(|error| about(error, mapping, down, up))
    }

    /// How many downstream partitions there are.
    pub fn down_len(&self) -> u64 {
        self.down_len
    }

    /// How many upstream partitions there are.
    pub fn up_len(&self) -> u64 {
        self.up_len
    }

    /// How many partitions the edge joins.
    pub fn kind(&self) -> EdgeShape {
        match &self.plan {
            Plan::Shift(shift) => EdgeShape::OneToOne { shift: *shift },
            Plan::Broadcast(_) => EdgeShape::Broadcast,
            Plan::Trailing { .. }
            | Plan::Overlap { .. }
            | Plan::Pairs(_)
            | Plan::DownDigit { .. }
            | Plan::UpDigit { .. } => EdgeShape::Many,
        }
    }

    /// All upstream partitions that the members of `down` read.
    pub fn upstream_of(&self, down: &PartitionSet) -> PartitionSet {
        match &self.plan {
            Plan::Shift(shift) => shifted(down, self.down_len, (*shift).into(), (*shift).into(), self.up_len),
            Plan::Trailing { shift, count } => {
                let last = i128::from(*shift);
                shifted(down, self.down_len, last - i128::from(*count) + 1, last, self.up_len)
            }
            Plan::Overlap { down: from, up: to } => overlapped(down, from, self.down_len, to, self.up_len),
            Plan::Broadcast(read) if down.min().is_some_and(|first| first < self.down_len) => read.clone(),
            Plan::Broadcast(_) => PartitionSet::new(),
            Plan::Pairs(pairs) => looked_up(down, &pairs.down_to_up),
            Plan::DownDigit { axis, inner } => inner.upstream_of(&axis.project(&down.below(self.down_len))),
            Plan::UpDigit { axis, inner, retired } => {
                let read = axis.spread(&inner.upstream_of(down), self.up_len);
                if retired.is_empty() {
                    read
                } else {
                    read.difference(retired)
                }
            }
        }
    }

    /// All downstream partitions that read a member of `up`.
    pub fn downstream_of(&self, up: &PartitionSet) -> PartitionSet {
        match &self.plan {
            Plan::Shift(shift) => {
                let back = -i128::from(*shift);
                shifted(up, self.up_len, back, back, self.down_len)
            }
            Plan::Trailing { shift, count } => {
                let first = -i128::from(*shift);
                shifted(up, self.up_len, first, first + i128::from(*count) - 1, self.down_len)
            }
            Plan::Overlap { down: to, up: from } => overlapped(up, from, self.up_len, to, self.down_len),
            Plan::Broadcast(read) if up.is_disjoint(read) => PartitionSet::new(),
            Plan::Broadcast(_) => PartitionSet::full(self.down_len),
            Plan::Pairs(pairs) => looked_up(up, &pairs.up_to_down),
            Plan::DownDigit { axis, inner } => axis.spread(&inner.downstream_of(up), self.down_len),
            Plan::UpDigit { axis, inner, retired } => {
                let read = up.below(self.up_len).difference(retired);
                inner.downstream_of(&axis.project(&read))
            }
        }
    }

    /// What one downstream partition reads.
    pub fn upstream_of_one(&self, partition: u64) -> PartitionSet {
        self.upstream_of(&PartitionSet::single(partition))
    }

    /// First and last of what one downstream partition reads; none if that is nothing, or not a single run.
    pub fn upstream_interval(&self, partition: u64) -> Option<(u64, u64)> {
        if partition >= self.down_len {
            return None;
        }
        match &self.plan {
            Plan::Shift(shift) => moved((partition, partition), (*shift).into(), (*shift).into(), self.up_len),
            Plan::Trailing { shift, count } => {
                let last = i128::from(*shift);
                moved((partition, partition), last - i128::from(*count) + 1, last, self.up_len)
            }
            Plan::Overlap { down, up } => overlap((partition, partition), down, up, self.up_len),
            Plan::Broadcast(read) => read.as_interval(),
            Plan::Pairs(_) | Plan::DownDigit { .. } | Plan::UpDigit { .. } => {
                self.upstream_of_one(partition).as_interval()
            }
        }
    }
}

fn about(error: Error, mapping: &Mapping, down: &PartitionSpace, up: &PartitionSpace) -> Error {
    let spaces = format!("{mapping} from ({}) to ({})", up.describe(), down.describe());
    error.during("bind partition mapping").about(spaces)
}

/// The runs of `set`, each widened by moving its first member by `first` and its last by `last`.
fn shifted(set: &PartitionSet, len: u64, first: i128, last: i128, target_len: u64) -> PartitionSet {
    if (first, last) == (0, 0) {
        return set.below(len.min(target_len));
    }
    let mut moved_set = PartitionSet::new();
    for run in set.intervals_below(len) {
        if let Some((lo, hi)) = moved(run, first, last, target_len) {
            moved_set.insert_run(lo, hi);
        }
    }
    moved_set
}

fn moved((lo, hi): (u64, u64), first: i128, last: i128, len: u64) -> Option<(u64, u64)> {
    let lo = (i128::from(lo) + first).max(0);
    let hi = (i128::from(hi) + last).min(i128::from(len) - 1);
    (lo <= hi).then_some((lo as u64, hi as u64))
}

fn overlapped(set: &PartitionSet, from: &WindowSpace, len: u64, to: &WindowSpace, to_len: u64) -> PartitionSet {
    let mut found = PartitionSet::new();
    // What the windows before this one read is found already.
    let mut settled = 0;
    for run in set.intervals_below(len) {
        if run.1 < settled {
            continue;
        }
        if let Some((lo, hi)) = overlap(run, from, to, to_len) {
            found.insert_run(lo, hi);
            let end = to.interval_of(hi).1;
            settled = from.indices_overlapping(end, end).start;
        }
    }
    found
}

/// Windows follow each other without a gap, so a run of them reads one run.
fn overlap((lo, hi): (u64, u64), from: &WindowSpace, to: &WindowSpace, to_len: u64) -> Option<(u64, u64)> {
    let reading = |window| {
        let (start, end) = from.interval_of(window);
        to.indices_overlapping(start, end)
    };
    let first = reading(lo);
    let last = if lo == hi { first.clone() } else { reading(hi) };
    let end = last.end.min(to_len);
    (first.start < end).then(|| (first.start, end - 1))
}

fn looked_up(set: &PartitionSet, table: &BTreeMap<u64, PartitionSet>) -> PartitionSet {
    let mut found = PartitionSet::new();
    if set.len() < table.len() as u64 {
        for others in set.iter().filter_map(|partition| table.get(&partition)) {
            found.union_with(others);
        }
    } else {
        for (_, others) in table.iter().filter(|(partition, _)| set.contains(**partition)) {
            found.union_with(others);
        }
    }
    found
}
