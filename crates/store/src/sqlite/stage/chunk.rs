//! The rules of chunks: a claim raises the fence, progress must match it, versions only grow.

use std::collections::{HashMap, HashSet};

use flowstone_core::partition::PartitionSet;
use flowstone_core::store::{
    ChunkClaim, ChunkProgress, ChunkRow, ChunkState, LineageInput, Materialization, StepFailure,
};
use flowstone_core::{AssetId, ChunkNo, CodeVersion, Error, ErrorKind, Result, RunId, Version};

use super::super::cache::{ChunkKey, KnownRun, Marks, piece_of};
use super::super::load::Attempt;
use super::super::span::VERSION_MAX;
use super::{Made, Stage, What, fit, fit_time};

impl<'r> Stage<'_, 'r> {
    pub(super) fn claim(&mut self, claim: &ChunkClaim) -> Result<()> {
        fit("the chunk or its fence", [claim.chunk.0, claim.fence.0])?;
        fit_time(claim.at)?;
        let run = self.run(claim.run)?;
        self.known(claim.asset)?;
        if claim.fence.incarnation() < run.incarnation {
            return Err(fenced(claim.chunk));
        }
        let key = (claim.asset, claim.chunk);
        let row = match self.chunk(claim.run, key) {
            Some(held) if claim.fence <= held.claim.fence => return Err(fenced(claim.chunk)),
            Some(held) => ChunkRow {
                claim: claim.clone(),
                state: ChunkState::Running,
                ..held.clone()
            },
            None => ChunkRow {
                claim: claim.clone(),
                state: ChunkState::Running,
                succeeded: PartitionSet::new(),
                unchanged: PartitionSet::new(),
                skipped: PartitionSet::new(),
            },
        };
        self.staged.chunks.insert((claim.run, key), row);
        Ok(())
    }

    pub(super) fn progress(&mut self, progress: &'r ChunkProgress) -> Result<()> {
        let key = (progress.asset, progress.chunk);
        let mut row = match self.chunk(progress.run, key) {
            Some(row) if row.claim.fence == progress.fence && row.state == ChunkState::Running => row.clone(),
            _ => return Err(fenced(progress.chunk)),
        };
        let KnownRun {
            number: run,
            incarnation,
            ..
        } = self.run(progress.run)?;
        if progress.fence.incarnation() < incarnation {
            return Err(fenced(progress.chunk));
        }
        self.check(progress)?;

        let made: PartitionSet = progress.materialized.iter().map(|made| made.partition).collect();
        row.state = progress.state;
        row.succeeded.union_with(&made);
        row.unchanged.union_with(&progress.unchanged);
        row.skipped.union_with(&progress.skipped);
        self.staged.chunks.insert((progress.run, key), row);

        for row in &progress.materialized {
            let code = self.code(row.code_version);
            self.staged.made.push(Made { run, code, row });
            self.marks_mut(row.asset, piece_of(row.partition))
                .make(row.partition, row.version, row.code_version);
        }
        self.staged.inputs.extend(&progress.inputs);
        self.mark(progress);
        if !made.is_empty() {
            self.happened(run, progress.at, What::Materialized(progress.asset, made));
        }
        for failure in &progress.failed {
            self.staged.failures.push((run, failure));
            self.staged.failed.insert(attempt_of(progress.run, failure));
            self.happened(run, failure.at, What::Failed(failure));
        }
        Ok(())
    }

    /// Refuses what must not be stored, before anything of it is.
    fn check(&self, progress: &ChunkProgress) -> Result<()> {
        fit_time(progress.at)?;
        let mut made_here = HashMap::new();
        for made in &progress.materialized {
            self.check_made(made)?;
            let place = (made.asset, made.partition);
            let head = made_here
                .get(&place)
                .copied()
                .unwrap_or_else(|| self.head_version(made.asset, made.partition));
            if made.version <= head {
                let (partition, version) = (made.partition, made.version);
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!("partition {partition} has version {head}, so {version} is not new"),
                )
                .code("version_taken")
                .during("publish")
                .about(format!("asset {}", made.asset)));
            }
            // A partition that comes once needs no place in the map: the next one sees the head.
            if progress.materialized.len() > 1 {
                made_here.insert(place, made.version);
            }
        }
        for input in &progress.inputs {
            self.check_input(input)?;
        }
        let mut failed_here = HashSet::new();
        for failure in &progress.failed {
            fit("the partition", [failure.partition])?;
            fit_time(failure.at)?;
            self.known(failure.asset)?;
            let attempt = attempt_of(progress.run, failure);
            let is_known = self.kept.failed.contains(&attempt) || self.staged.failed.contains(&attempt);
            if is_known || !failed_here.insert(attempt) {
                let (_, asset, partition, attempt) = attempt;
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!("attempt {attempt} at partition {partition} has failed already"),
                )
                .code("attempt_failed_already")
                .during("record a failure")
                .about(format!("asset {asset}")));
            }
        }
        progress.outdated.iter().try_for_each(|(asset, _)| self.known(*asset))
    }

    fn check_made(&self, made: &Materialization) -> Result<()> {
        self.known(made.asset)?;
        fit(
            "the partition, size or number of rows",
            [made.partition, made.stored.bytes, made.stored.rows.unwrap_or_default()],
        )?;
        fit_version(made.version)
    }

    fn check_input(&self, input: &LineageInput) -> Result<()> {
        self.known(input.asset)?;
        self.known(input.upstream)?;
        if input.partitions.0 > input.partitions.1 || input.from.0 > input.from.1 {
            return Err(Error::new(
                ErrorKind::Invalid,
                "an interval of a lineage input runs backwards",
            ));
        }
        fit("a partition of a lineage input", [input.partitions.1, input.from.1])?;
        fit_version(input.version)?;
        fit_version(input.upstream_version)
    }

    /// Keeps the sets of failed and stale partitions in step.
    fn mark(&mut self, progress: &ChunkProgress) {
        for piece in self.pieces(progress.asset, &progress.unchanged) {
            self.marks_mut(progress.asset, piece)
                .stale
                .subtract(&progress.unchanged);
        }
        for failure in progress.failed.iter().filter(|failure| failure.is_final) {
            self.marks_mut(failure.asset, piece_of(failure.partition))
                .failed
                .insert(failure.partition);
        }
        for (asset, partitions) in &progress.outdated {
            for piece in self.pieces(*asset, partitions) {
                self.marks_mut(*asset, piece).outdate(partitions);
            }
        }
    }

    /// Those pieces of an asset that have marks and may share a member with `partitions`.
    fn pieces(&self, asset: AssetId, partitions: &PartitionSet) -> Vec<u64> {
        let (Some(min), Some(max)) = (partitions.min(), partitions.max()) else {
            return Vec::new();
        };
        let span = piece_of(min)..=piece_of(max);
        let kept = self
            .cache
            .marks
            .get(&asset)
            .into_iter()
            .flat_map(|pieces| pieces.range(span.clone()));
        let staged = self.staged.marks.range((asset, *span.start())..=(asset, *span.end()));
        let mut pieces: Vec<u64> = kept
            .map(|(piece, _)| *piece)
            .chain(staged.map(|((_, piece), _)| *piece))
            .collect();
        pieces.sort_unstable();
        pieces.dedup();
        pieces
    }

    fn marks_mut(&mut self, asset: AssetId, piece: u64) -> &mut Marks {
        let cache = self.cache;
        self.staged
            .marks
            .entry((asset, piece))
            .or_insert_with(|| cache.marks(asset, piece).cloned().unwrap_or_default())
    }

    fn head_version(&self, asset: AssetId, partition: u64) -> Version {
        let piece = piece_of(partition);
        let marks = self
            .staged
            .marks
            .get(&(asset, piece))
            .or_else(|| self.cache.marks(asset, piece));
        marks.map_or(Version::NONE, |marks| marks.version_of(partition))
    }

    pub(super) fn chunk(&self, run: RunId, key: ChunkKey) -> Option<&ChunkRow> {
        let staged = self.staged.chunks.get(&(run, key));
        staged.or_else(|| self.cache.runs.get(&run)?.chunks.get(&key))
    }

    fn code(&mut self, version: CodeVersion) -> i64 {
        if let Some(code) = self.cache.codes.get(&version) {
            return *code;
        }
        if let Some((_, code)) = self.staged.codes.iter().find(|(staged, _)| *staged == version) {
            return *code;
        }
        let code = (self.cache.codes.len() + self.staged.codes.len()) as i64;
        self.staged.codes.push((version, code));
        code
    }

    fn known(&self, asset: AssetId) -> Result<()> {
        if asset.0 < self.cache.asset_count {
            return Ok(());
        }
        Err(Error::new(ErrorKind::NotFound, "it was never declared").about(format!("asset {asset}")))
    }
}

fn attempt_of(run: RunId, failure: &StepFailure) -> Attempt {
    (run, failure.asset, failure.partition, failure.attempt)
}

pub(super) fn fenced(chunk: ChunkNo) -> Error {
    Error::new(ErrorKind::Fenced, "it is claimed by somebody else, or over").about(format!("chunk {chunk}"))
}

fn fit_version(version: Version) -> Result<()> {
    if version <= VERSION_MAX {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::OutOfRange,
        format!("version {version} is greater than {VERSION_MAX}"),
    ))
}
