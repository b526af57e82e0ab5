//! Declares assets, and defines their partitions anew.

use super::Kept;
use crate::memory::IdMap;
use crate::partition::{PartitionMoves, PartitionSet, PartitionSpace};
use crate::store::{AssetRow, AssetStatus, HeadSet, LineageInput, Redefinition};
use crate::{AssetId, AssetKey, Error, ErrorKind, Result};

impl Kept {
    pub(super) fn declare(&mut self, assets: &[(AssetKey, PartitionSpace)]) -> Result<Vec<AssetId>> {
        for (key, space) in assets {
            let known = self.current(key).map(|row| &self.assets[row].space);
            if known.is_some_and(|known| known != space && !known.is_start_of(space)) {
                return Err(Error::new(ErrorKind::Conflict, "its partitions are defined anew")
                    .code("partitions_redefined")
                    .about(format!("asset {key}")));
            }
        }
        let declared = assets.iter().map(|(key, space)| match self.current(key) {
            Some(row) => {
                self.assets[row].space = space.clone();
                Ok(self.assets[row].id)
            }
            None => self.add(key, space),
        });
        declared.collect()
    }

    fn current(&self, key: &AssetKey) -> Option<usize> {
        self.ids.get(key).map(|id| id.0 as usize)
    }

    fn add(&mut self, key: &AssetKey, space: &PartitionSpace) -> Result<AssetId> {
        let id = u32::try_from(self.assets.len())
            .map_err(|_| Error::new(ErrorKind::LimitExceeded, "there are 2³² assets already"))?;
        self.assets.push(AssetRow {
            id: AssetId(id),
            key: key.clone(),
            space: space.clone(),
            is_former: false,
        });
        self.ids.insert(key.clone(), AssetId(id));
        Ok(AssetId(id))
    }

    pub(super) fn redefine(&mut self, changes: &[Redefinition]) -> Result<Vec<AssetId>> {
        Redefinition::check_apart(changes)?;
        for change in changes {
            change.check(&self.assets, |asset| self.marked(asset))?;
        }
        let ids = changes.iter().map(|change| self.carry_out(change)).collect();
        for (key, partitions) in changes.iter().flat_map(|change| &change.outdated) {
            let row = self.current(key).expect("what is outdated was checked");
            let status = self.status.entry(self.assets[row].id).or_default();
            let stale = partitions.intersect(&status.materialized());
            status.stale.union_with(&stale);
        }
        ids
    }

    fn marked(&self, asset: AssetId) -> PartitionSet {
        let status = self.status.get(&asset);
        status.map_or_else(PartitionSet::new, |status| status.materialized().union(&status.failed))
    }

    fn carry_out(&mut self, change: &Redefinition) -> Result<AssetId> {
        let row = &mut self.assets[change.of.0 as usize];
        let into = if change.is_growth(&row.space) {
            row.space = change.space.clone();
            row.id
        } else {
            row.is_former = true;
            self.add(&change.key, &change.space)?
        };
        for (source, moves) in &change.moves {
            self.move_status(*source, moves, into);
            self.move_versions(*source, moves, into);
            self.move_inputs(*source, moves, into);
        }
        Ok(into)
    }

    fn move_status(&mut self, source: AssetId, moves: &PartitionMoves, into: AssetId) {
        let AssetStatus { heads, failed, stale } = self.status.remove(&source).unwrap_or_default();
        let sources = moves.sources();
        let (mut left, target) = (AssetStatus::default(), self.status.entry(into).or_default());
        for head in heads {
            let moved = HeadSet {
                partitions: moves.image(&head.partitions),
                ..head
            };
            let same = |other: &&mut HeadSet| (other.version, other.code_version) == (head.version, head.code_version);
            match target.heads.iter_mut().find(same) {
                Some(other) => other.partitions.union_with(&moved.partitions),
                None if moved.partitions.is_empty() => {}
                None => target.heads.push(moved),
            }
            let stays = head.partitions.difference(&sources);
            if !stays.is_empty() {
                left.heads.push(HeadSet {
                    partitions: stays,
                    ..head
                });
            }
        }
        target.failed.union_with(&moves.image(&failed));
        target.stale.union_with(&moves.image(&stale));
        left.failed = failed.difference(&sources);
        left.stale = stale.difference(&sources);
        self.status.insert(source, left);
    }

    fn move_versions(&mut self, source: AssetId, moves: &PartitionMoves, into: AssetId) {
        let (moved, left): (IdMap<_, _>, _) = std::mem::take(&mut self.materialized)
            .into_iter()
            .partition(|((asset, partition), _)| *asset == source && moves.find(*partition).is_some());
        self.materialized = left;
        for ((_, partition), mut versions) in moved {
            let to = moves.find(partition).expect("only what moves is taken out");
            for made in &mut versions {
                (made.asset, made.partition) = (into, to);
            }
            self.materialized.insert((into, to), versions);
        }
    }

    fn move_inputs(&mut self, source: AssetId, moves: &PartitionMoves, into: AssetId) {
        let mut inputs: IdMap<AssetId, Vec<LineageInput>> = IdMap::default();
        for input in std::mem::take(&mut self.inputs).into_values().flatten() {
            for moved in input.moved(source, moves, into) {
                inputs.entry(moved.asset).or_default().push(moved);
            }
        }
        self.inputs = inputs;
    }
}
