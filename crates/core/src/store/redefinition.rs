//! What a store is told when the partitions of an asset are defined anew, and the rules that every store shares for it.
//!
//! Numbers mean the same for ever: a number of an asset stands for one space, in which indices keep their meaning. A space
//! that only grows behind its end keeps its number; any other gets a new one, and what is the same in both moves over.

use std::collections::BTreeSet;

use super::{AssetRow, LineageInput};
use crate::partition::{PartitionMoves, PartitionSet, PartitionSpace};
use crate::{AssetId, AssetKey, Error, ErrorKind, Result};

/// The partitions of an asset, defined anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redefinition {
    /// The asset.
    pub key: AssetKey,
    /// Its number so far; refused when it has another one by now.
    pub of: AssetId,
    /// The new definition.
    pub space: PartitionSpace,
    /// What moves into the new definition, from which of the asset's numbers. What is not named stays under its number,
    /// orphaned.
    pub moves: Vec<(AssetId, PartitionMoves)>,
    /// Partitions, of any asset and as they are numbered afterwards, whose value rests on something that is orphaned or
    /// comes back by this. The store keeps as stale those of them that have a materialization.
    pub outdated: Vec<(AssetKey, PartitionSet)>,
}

impl Redefinition {
    /// True when the asset keeps its number, since `space`, the definition so far, only grows.
    pub fn is_growth(&self, space: &PartitionSpace) -> bool {
        space.is_start_of(&self.space)
    }

    /// Checks that no asset is defined anew twice.
    ///
    /// # Errors
    /// `Conflict` when one is.
    pub fn check_apart(changes: &[Self]) -> Result<()> {
        let mut keys = BTreeSet::new();
        match changes.iter().find(|change| !keys.insert(&change.key)) {
            Some(twice) => Err(Error::new(ErrorKind::Conflict, "they are defined anew twice")
                .during("define the partitions of")
                .about(&twice.key)),
            None => Ok(()),
        }
    }

    /// Checks that this may be carried out where `rows` are the assets and `marked` says of which partitions of an asset
    /// anything is known.
    ///
    /// # Errors
    /// `Conflict` when the asset has another number by now, or two partitions would stand at one place; `Invalid` when
    /// something of another asset would move, or to a place that the new definition does not have; `NotFound` when an asset
    /// would be outdated that there is not.
    pub fn check(&self, rows: &[AssetRow], marked: impl Fn(AssetId) -> PartitionSet) -> Result<()> {
        self.check_moves(rows, marked)
            .map_err(|error| error.during("define the partitions of").about(&self.key))
    }

    fn check_moves(&self, rows: &[AssetRow], marked: impl Fn(AssetId) -> PartitionSet) -> Result<()> {
        let current = rows.iter().find(|row| row.key == self.key && !row.is_former);
        let Some(current) = current.filter(|row| row.id == self.of) else {
            return Err(
                Error::new(ErrorKind::Conflict, "they were defined anew meanwhile").code("partitions_redefined")
            );
        };
        if let Some((key, _)) = self
            .outdated
            .iter()
            .find(|(key, _)| !rows.iter().any(|row| row.key == *key))
        {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("there is no asset {key} that could be outdated"),
            ));
        }
        let mut taken = PartitionSet::new();
        if self.is_growth(&current.space) {
            taken = marked(self.of);
        }
        let mut sources = BTreeSet::new();
        for (source, moves) in &self.moves {
            let is_own = rows.iter().any(|row| row.id == *source && row.key == self.key);
            let stays = *source == self.of && self.is_growth(&current.space);
            if !is_own || stays || !sources.insert(*source) {
                return Err(Error::new(
                    ErrorKind::Invalid,
                    format!("nothing can move here from asset {source}"),
                ));
            }
            let known = marked(*source);
            let image = moves.image(&known);
            if image.max().is_some_and(|max| max >= self.space.capacity()) {
                return Err(Error::new(
                    ErrorKind::Invalid,
                    "a partition would move behind the end of the new definition",
                ));
            }
            if image.len() != known.intersect_len(&moves.sources()) || !image.is_disjoint(&taken) {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    "two partitions would stand at one place",
                ));
            }
            taken.union_with(&image);
        }
        Ok(())
    }
}

impl LineageInput {
    /// The same facts after partitions of `asset` have moved as `moves` says, and are those of `into` now.
    #[must_use]
    pub fn moved(&self, asset: AssetId, moves: &PartitionMoves, into: AssetId) -> Vec<Self> {
        let made = self.moved_made(asset, moves, into);
        made.iter()
            .flat_map(|input| input.moved_upstream(asset, moves, into))
            .collect()
    }

    /// The same where only what was made has moved.
    #[must_use]
    pub fn moved_made(&self, asset: AssetId, moves: &PartitionMoves, into: AssetId) -> Vec<Self> {
        if self.asset != asset {
            return vec![*self];
        }
        let ends = (self.partitions, self.from);
        let parts = parts(ends, self.one_to_one, (asset, into), moves);
        parts
            .map(|(asset, partitions, from)| Self {
                asset,
                partitions,
                from,
                ..*self
            })
            .collect()
    }

    /// The same where only what it was made from has moved.
    #[must_use]
    pub fn moved_upstream(&self, asset: AssetId, moves: &PartitionMoves, into: AssetId) -> Vec<Self> {
        if self.upstream != asset {
            return vec![*self];
        }
        let ends = (self.from, self.partitions);
        let parts = parts(ends, self.one_to_one, (asset, into), moves);
        parts
            .map(|(upstream, from, partitions)| Self {
                upstream,
                partitions,
                from,
                ..*self
            })
            .collect()
    }
}

type Interval = (u64, u64);

/// The parts of an input, of which `moved` is cut where `moves` tears it: whose partitions each is of now, where they are, and
/// what stands at the other end.
fn parts(
    (moved, other): (Interval, Interval),
    one_to_one: bool,
    (was, into): (AssetId, AssetId),
    moves: &PartitionMoves,
) -> impl Iterator<Item = (AssetId, Interval, Interval)> {
    moves.pieces(moved.0, moved.1).map(move |piece| {
        let len = piece.last - piece.first;
        let (to, asset) = piece.to.map_or((piece.first, was), |to| (to, into));
        let counterpart = other.0 + (piece.first - moved.0);
        let other = if one_to_one {
            (counterpart, counterpart + len)
        } else {
            other
        };
        (asset, (to, to + len), other)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::Version;

    const WAS: AssetId = AssetId(3);
    const IS: AssetId = AssetId(9);

    /// The single facts: what, from what.
    fn facts(inputs: &[LineageInput]) -> BTreeSet<(AssetId, u64, AssetId, u64)> {
        let each = inputs.iter().flat_map(|input| {
            (input.partitions.0..=input.partitions.1).flat_map(move |made| {
                let (first, last) = input.upstream_of(made).unwrap();
                (first..=last).map(move |from| (input.asset, made, input.upstream, from))
            })
        });
        each.collect()
    }

    fn any_moves() -> impl Strategy<Value = PartitionMoves> {
        let places = Just((0..20_u64).collect::<Vec<_>>()).prop_shuffle();
        (places, prop::collection::vec(any::<bool>(), 12)).prop_map(|(places, goes)| {
            let mut moves = PartitionMoves::default();
            for (index, to) in (0..).zip(places).take(12).filter(|(index, _)| goes[*index as usize]) {
                moves.push(index, index, to);
            }
            moves
        })
    }

    proptest! {
        #[test]
        fn moving_changes_no_fact(
            moves in any_moves(),
            (first, from, len) in (0..12_u64, 0..12_u64, 0..8_u64),
            many in 0..6_u64,
            one_to_one: bool,
            (of, upstream) in prop::sample::select(vec![(WAS, AssetId(1)), (AssetId(1), WAS), (WAS, WAS)]),
        ) {
            let from_len = if one_to_one { len } else { many };
            let input = LineageInput {
                asset: of,
                partitions: (first, first + len),
                version: Version(1),
                upstream,
                from: (from, from + from_len),
                one_to_one,
                upstream_version: Version(2),
            };

            let moved = input.moved(WAS, &moves, IS);

            let place = |asset: AssetId, index| match moves.find(index).filter(|_| asset == WAS) {
                Some(to) => (IS, to),
                None => (asset, index),
            };
            let expected: BTreeSet<_> = facts(&[input])
                .into_iter()
                .map(|(asset, made, upstream, from)| {
                    let ((asset, made), (upstream, from)) = (place(asset, made), place(upstream, from));
                    (asset, made, upstream, from)
                })
                .collect();
            prop_assert_eq!(facts(&moved), expected);
        }
    }
}
