//! The parts of a selection, as parsed.

use super::pattern::Pattern;

/// What a selection says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expression {
    /// Assets by what they are called.
    Term(Term),
    /// What something selects, and what is up to so many steps around that. At least one of the two reaches is not
    /// `Steps(0)`.
    Around {
        upstream: Reach,
        of: Box<Expression>,
        downstream: Reach,
    },
    /// All that something does not select.
    Not(Box<Expression>),
    /// What all of two or more select.
    And(Vec<Expression>),
    /// What any of two or more selects.
    Or(Vec<Expression>),
}

/// Assets by what they are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Term {
    /// By name.
    Name(Pattern),
    /// By group.
    Group(Pattern),
    /// By tag.
    Tag(Pattern),
}

/// How far `+` goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// So many steps.
    Steps(u32),
    /// To the end.
    All,
}

impl Expression {
    /// Widens `of`; nothing is wrapped when there is nothing to widen.
    pub(super) fn around(upstream: Reach, of: Self, downstream: Reach) -> Self {
        if upstream == Reach::Steps(0) && downstream == Reach::Steps(0) {
            return of;
        }
        Self::Around {
            upstream,
            of: Box::new(of),
            downstream,
        }
    }

    /// Combines one or more with `combine`; a single one stays what it is.
    pub(super) fn of_many(mut members: Vec<Self>, combine: impl FnOnce(Vec<Self>) -> Self) -> Self {
        match members.len() {
            1 => members.swap_remove(0),
            _ => combine(members),
        }
    }
}
