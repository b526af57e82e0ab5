//! What becomes of partitions when an asset's space is defined anew.
//!
//! A partition is the same in both spaces if it has the same key and the same meaning: windows of one length, cut at the
//! same places in one zone; named partitions of one
//! name, be they listed or of a set; in a product, the same in each dimension of the same name, in
//! whatever order. Everything is reckoned by runs: windows by arithmetic, names by dictionary, products by their digits.

use std::borrow::Cow;

use jiff::Timestamp;

use super::dynamic::DYNAMIC_LEN_MAX;
use super::key::PartitionKey;
use super::moves::{PartitionMoves, PartitionRun};
use super::product::ProductSpace;
use super::set::PartitionSet;
use super::space::PartitionSpace;

/// What becomes of some partitions of a space under a later definition of it.
///
/// ```
/// use flowstone_core::partition::{Daily, PartitionSet, Partitions, SpaceChange};
///
/// let was = Partitions::from(Daily::from("2013-01-01").until("2013-02-01")).build()?;
/// let is = Partitions::from(Daily::from("2012-12-01").until("2013-01-31")).build()?;
///
/// let change = SpaceChange::between(&was, &is, &PartitionSet::full(31), jiff::Timestamp::UNIX_EPOCH);
///
/// assert_eq!((change.kept().len(), change.moved().len(), change.added), (0, 30, 31));
/// assert_eq!(was.label(change.orphaned.min().unwrap()), "2013-01-31");
/// # Ok::<(), flowstone_core::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpaceChange {
    /// Where those go that the new definition has, at their old places or at others.
    pub homes: PartitionMoves,
    /// Those that the new definition does not have, by their old index.
    pub orphaned: PartitionSet,
    /// How many partitions the new definition has that the old one had not.
    pub added: u64,
}

impl SpaceChange {
    /// What becomes of `partitions`, which are some of `old`, in `new`. At `now` the spaces are as long as they are.
    pub fn between(old: &PartitionSpace, new: &PartitionSpace, partitions: &PartitionSet, now: Timestamp) -> Self {
        let Some(digits) = digits(old, new) else {
            return Self {
                homes: PartitionMoves::default(),
                orphaned: partitions.clone(),
                added: new.len_at(now),
            };
        };
        // What lies behind the end of the old definition was never a partition of it.
        let known = partitions.below(old.capacity());
        let (homes, mut orphaned) = homes(&digits, &known);
        orphaned.union_with(&partitions.difference(&known));
        let shared = digits.iter().map(|digit| digit.shared_at(now)).product::<u64>();
        Self {
            homes,
            orphaned,
            added: new.len_at(now).saturating_sub(shared),
        }
    }

    /// Those that stand where they stood.
    pub fn kept(&self) -> PartitionSet {
        let mut kept = PartitionSet::new();
        for run in self.homes.runs().iter().filter(|run| run.first == run.to) {
            kept.insert_run(run.first, run.last);
        }
        kept
    }

    /// Those that stand elsewhere, by their old index.
    pub fn moved(&self) -> PartitionSet {
        self.homes.sources().difference(&self.kept())
    }

    /// The runs of those that stand elsewhere.
    pub fn moved_runs(&self) -> impl Iterator<Item = &PartitionRun> {
        self.homes.runs().iter().filter(|run| run.first != run.to)
    }
}

impl PartitionSpace {
    /// True if every index means the same in `later`, which at most has more behind it.
    pub fn is_start_of(&self, later: &Self) -> bool {
        digits(self, later).is_some_and(|digits| digits.iter().all(Digit::stays))
    }
}

/// Names, of whichever kind of space they are.
impl PartitionSpace {
    fn known_len(&self) -> u64 {
        match self {
            Self::Static(space) => space.len(),
            Self::Dynamic(space) => space.len(),
            Self::Unit | Self::Window(_) | Self::Product(_) => 0,
        }
    }

    fn name_of(&self, index: u64) -> Option<Cow<'_, PartitionKey>> {
        match self {
            Self::Static(space) => space.keys().get(usize::try_from(index).ok()?).map(Cow::Borrowed),
            Self::Dynamic(space) => space.key_of(index).map(Cow::Owned),
            Self::Unit | Self::Window(_) | Self::Product(_) => None,
        }
    }

    fn named(&self, key: &PartitionKey) -> Option<u64> {
        match self {
            Self::Static(space) => space.get(key),
            Self::Dynamic(space) => space.find(key),
            Self::Unit | Self::Window(_) | Self::Product(_) => None,
        }
    }
}

/// How one dimension is counted in two spaces. A space that is no product has one.
struct Digit<'a> {
    old: &'a PartitionSpace,
    new: &'a PartitionSpace,
    /// What becomes of the values of the digit.
    moves: PartitionMoves,
    stride: u64,
    radix: u64,
    new_stride: u64,
}

impl Digit<'_> {
    /// True if the digit says the same in both, and at the same place. A digit of one value is zero at every place.
    fn stays(&self) -> bool {
        let whole = match self.moves.runs() {
            [] => self.radix == 0,
            [only] => (only.first, only.to, only.last + 1) == (0, 0, self.radix),
            _ => false,
        };
        whole && (self.stride == self.new_stride || self.radix <= 1)
    }

    /// How many values both have at `now`.
    fn shared_at(&self, now: Timestamp) -> u64 {
        let (len, new_len) = (self.old.len_at(now), self.new.len_at(now));
        let shared = self.moves.runs().iter().map(|run| {
            let there = len.min(run.last + 1).saturating_sub(run.first);
            there.min(new_len.saturating_sub(run.to))
        });
        shared.sum()
    }
}

/// The digits from the least significant of `old` up; `None` where the two have no partition in common by their kind.
fn digits<'a>(old: &'a PartitionSpace, new: &'a PartitionSpace) -> Option<Vec<Digit<'a>>> {
    let (old, new) = match (old, new) {
        (PartitionSpace::Product(old), PartitionSpace::Product(new)) => (old, new),
        (PartitionSpace::Product(_), _) | (_, PartitionSpace::Product(_)) => return None,
        (old, new) => {
            let moves = moves_of(old, new)?;
            return Some(vec![Digit {
                moves,
                stride: 1,
                radix: old.capacity(),
                new_stride: 1,
                old,
                new,
            }]);
        }
    };
    if old.parts().len() != new.parts().len() {
        return None;
    }
    old.ascending().map(|position| digit(old, new, position)).collect()
}

fn digit<'a>(old: &'a ProductSpace, new: &'a ProductSpace, position: usize) -> Option<Digit<'a>> {
    let was = &old.parts()[position];
    let is = new.parts().iter().find(|dimension| dimension.name == was.name)?;
    Some(Digit {
        old: &was.space,
        new: &is.space,
        moves: moves_of(&was.space, &is.space)?,
        stride: was.stride,
        radix: was.radix,
        new_stride: is.stride,
    })
}

/// What becomes of all partitions of a space that is no product; `None` where the two are of different kinds.
fn moves_of(old: &PartitionSpace, new: &PartitionSpace) -> Option<PartitionMoves> {
    let mut moves = PartitionMoves::default();
    match (old, new) {
        (PartitionSpace::Unit, PartitionSpace::Unit) => moves.push(0, 0, 0),
        (PartitionSpace::Dynamic(old), PartitionSpace::Dynamic(new)) if old == new => {
            moves.push(0, DYNAMIC_LEN_MAX - 1, 0);
        }
        (
            PartitionSpace::Static(_) | PartitionSpace::Dynamic(_),
            PartitionSpace::Static(_) | PartitionSpace::Dynamic(_),
        ) => {
            let named = (0..old.known_len()).filter_map(|index| Some((index, old.name_of(index)?)));
            for (index, key) in named {
                if let Some(to) = new.named(&key) {
                    moves.push(index, index, to);
                }
            }
        }
        (PartitionSpace::Window(old), PartitionSpace::Window(new)) => {
            let shift = i128::from(old.shift_to(new)?);
            let first = (-shift).max(0);
            let last = (i128::from(old.capacity()) - 1).min(i128::from(new.capacity()) - 1 - shift);
            if first <= last {
                // Neither is negative, and none exceeds a capacity.
                moves.push(first as u64, last as u64, (first + shift) as u64);
            }
        }
        _ => return None,
    }
    Some(moves)
}

/// Where `partitions` go, and which go nowhere.
fn homes(digits: &[Digit<'_>], partitions: &PartitionSet) -> (PartitionMoves, PartitionSet) {
    // Below the first digit that changes, whole blocks go together.
    let Some(changing) = digits.iter().position(|digit| !digit.stays()) else {
        let mut homes = PartitionMoves::default();
        partitions
            .intervals()
            .for_each(|(first, last)| homes.push(first, last, first));
        return (homes, PartitionSet::new());
    };
    let (digit, higher) = (&digits[changing], &digits[changing + 1..]);
    let cycle = digit.stride.saturating_mul(digit.radix);
    let (mut homes, mut orphaned) = (PartitionMoves::default(), PartitionSet::new());
    for (first, last) in partitions.intervals() {
        let mut next = Some(first);
        while let Some(at) = next.filter(|at| *at <= last) {
            let begin = at - at % cycle;
            let value = at / digit.stride % digit.radix;
            let piece = digit.moves.piece_at(value);
            let base = higher.iter().try_fold(0, |base, digit| {
                Some(base + digit.moves.find(at / digit.stride % digit.radix)? * digit.new_stride)
            });
            let ends_after = match (base, piece.to) {
                (None, _) => digit.radix - 1,
                (Some(_), Some(_)) if digit.new_stride != digit.stride => value,
                (Some(_), _) => piece.last.min(digit.radix - 1),
            };
            let end = begin.saturating_add((ends_after + 1) * digit.stride - 1).min(last);
            match base.zip(piece.to) {
                Some((base, to)) => homes.push(at, end, base + to * digit.new_stride + at % digit.stride),
                None => orphaned.insert_run(at, end),
            }
            next = end.checked_add(1);
        }
    }
    (homes, orphaned)
}
