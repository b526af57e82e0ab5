//! What two sets of partitions have together, and what only one of them has.

use roaring::RoaringTreemap;

use super::{Form, PartitionSet, SHORT_RUN, common, treemap};

impl PartitionSet {
    /// The members of either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        match (&self.0, &other.0) {
            (Form::Many(members), Form::Many(others)) => Self::from(members | others),
            (Form::Many(_), _) => self.clone().merged(other),
            _ => other.clone().merged(self),
        }
    }

    /// The members of both.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        match (&self.0, &other.0) {
            (Form::Empty, _) | (_, Form::Empty) => Self::new(),
            (Form::Many(members), Form::Many(others)) => Self::from(members & others),
            (Form::Many(members), Form::Run(lo, hi)) | (Form::Run(lo, hi), Form::Many(members)) => {
                within(members, *lo, *hi)
            }
            (Form::Run(lo, hi), Form::Run(first, last)) => {
                Self(common((*lo, *hi), (*first, *last)).map_or(Form::Empty, |(lo, hi)| Form::Run(lo, hi)))
            }
        }
    }

    /// The members that `other` does not have.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        match (&self.0, &other.0) {
            (Form::Many(members), Form::Many(others)) => Self::from(members - others),
            (Form::Run(lo, hi), Form::Many(others)) => {
                let inside = within(others, *lo, *hi);
                match &inside.0 {
                    Form::Many(inside) => Self::from(&treemap(*lo, *hi) - inside),
                    _ => self.difference(&inside),
                }
            }
            _ => {
                let mut left = self.clone();
                left.subtract(other);
                left
            }
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
        match (&mut self.0, &other.0) {
            (_, Form::Empty) => {}
            (_, Form::Run(lo, hi)) => self.add_run(*lo, *hi),
            (Form::Many(members), Form::Many(others)) => {
                *members |= others;
                self.tidy();
            }
            (_, Form::Many(_)) => *self = other.clone().merged(self),
        }
    }

    /// Keeps only what `other` has too.
    pub fn intersect_with(&mut self, other: &Self) {
        if let (Form::Many(members), Form::Many(others)) = (&mut self.0, &other.0) {
            *members &= others;
            self.tidy();
        } else {
            *self = self.intersect(other);
        }
    }

    /// Takes out what `other` has.
    pub fn subtract(&mut self, other: &Self) {
        match (&mut self.0, &other.0) {
            (Form::Empty, _) | (_, Form::Empty) => {}
            (_, Form::Run(lo, hi)) => self.remove_run(*lo, *hi),
            (Form::Many(members), Form::Many(others)) => {
                *members -= others;
                self.tidy();
            }
            (Form::Run(..), Form::Many(_)) => *self = self.difference(other),
        }
    }

    /// True if no member is shared.
    pub fn is_disjoint(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Form::Empty, _) | (_, Form::Empty) => true,
            (Form::Many(members), Form::Many(others)) => members.is_disjoint(others),
            (_, Form::Run(lo, hi)) => self.count_in(*lo..=*hi) == 0,
            (Form::Run(lo, hi), _) => other.count_in(*lo..=*hi) == 0,
        }
    }

    /// True if `other` has every member of this set.
    pub fn is_subset(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Form::Empty, _) => true,
            (Form::Run(lo, hi), _) => other.contains_range(*lo..=*hi),
            (Form::Many(members), Form::Many(others)) => members.is_subset(others),
            (Form::Many(members), Form::Run(lo, hi)) => {
                members.min().is_none_or(|min| min >= *lo) && members.max().is_none_or(|max| max <= *hi)
            }
            (Form::Many(members), Form::Empty) => members.is_empty(),
        }
    }

    /// How many members both share, without building their set.
    pub fn intersect_len(&self, other: &Self) -> u64 {
        match (&self.0, &other.0) {
            (Form::Empty, _) | (_, Form::Empty) => 0,
            (Form::Many(members), Form::Many(others)) => members.intersection_len(others),
            (_, Form::Run(lo, hi)) => self.count_in(*lo..=*hi),
            (Form::Run(lo, hi), _) => other.count_in(*lo..=*hi),
        }
    }

    fn merged(mut self, other: &Self) -> Self {
        self.union_with(other);
        self
    }
}

/// The members from `lo` to `hi`.
fn within(members: &RoaringTreemap, lo: u64, hi: u64) -> PartitionSet {
    match members.range_cardinality(lo..=hi) {
        0 => PartitionSet::new(),
        count if count - 1 == hi - lo => PartitionSet(Form::Run(lo, hi)),
        count if count == members.len() => PartitionSet::from(members.clone()),
        _ if hi - lo < SHORT_RUN => (lo..=hi).filter(|partition| members.contains(*partition)).collect(),
        _ => PartitionSet::from(members & treemap(lo, hi)),
    }
}
