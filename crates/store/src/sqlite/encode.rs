//! Turns what was staged into rows for the statements.

mod fan_out;

use flowstone_core::io::Address;
use flowstone_core::partition::PartitionSet;
use flowstone_core::store::{ChunkState, StepFailure};
use flowstone_core::{AssetId, Error, ErrorKind, Result};
use jiff::Timestamp;
use serde::Serialize;

use super::batch::{Heap, Rows};
use super::cache::{Cache, ChunkKey, Marks};
use super::span::class_of;
use super::stage::{Staged, What};
use super::statements::{TARGET_COUNT, Target};
use super::word;

/// The rows of a commit, ready to be bound.
#[derive(Debug)]
pub(super) struct Encoded {
    /// The targets that have rows, as bits.
    pub(super) targets: u32,
    pub(super) heap: Vec<u8>,
    /// One text for each target.
    pub(super) rows: [Option<String>; TARGET_COUNT],
}

/// Gives the rows that bring the ledger from what `cache` says to what is staged.
pub(super) fn encode(cache: &Cache, staged: &Staged<'_>) -> Result<Encoded> {
    let mut encoder = Encoder {
        heap: Heap::new(),
        rows: Default::default(),
    };
    encoder.codes(staged);
    encoder.runs(staged)?;
    encoder.chunks(cache, staged);
    encoder.made(staged);
    encoder.marks(cache, staged);
    encoder.inputs(staged);
    encoder.failures(staged)?;
    encoder.fan_outs(staged)?;
    encoder.events(staged)?;

    let used = Target::ALL
        .into_iter()
        .filter(|target| !encoder.rows[*target as usize].is_empty());
    let targets = used.fold(0, |bits, target| bits | target.bit());
    Ok(Encoded {
        targets,
        heap: encoder.heap.into_bytes(),
        rows: encoder.rows.map(Rows::into_json),
    })
}

struct Encoder {
    heap: Heap,
    rows: [Rows; TARGET_COUNT],
}

impl Encoder {
    /// Starts a row for `target`, and lends the heap that its bytes go to.
    fn row(&mut self, target: Target) -> (&mut Rows, &mut Heap) {
        (self.rows[target as usize].row(), &mut self.heap)
    }

    fn codes(&mut self, staged: &Staged<'_>) {
        for (version, code) in &staged.codes {
            let (row, heap) = self.row(Target::Code);
            row.int(*code).fixed(heap, &version.0.to_be_bytes());
        }
    }

    fn runs(&mut self, staged: &Staged<'_>) -> Result<()> {
        for (number, run) in &staged.created {
            let counts = json(&run.counts)?;
            let error = run.error.as_ref().map(json).transpose()?;
            let (row, heap) = self.row(Target::RunCreated);
            row.int(*number)
                .fixed(heap, run.run.0.as_bytes())
                .int(word::of_run_state(run.state));
            row.int(nanos(run.created_at))
                .int(nanos(run.moved_at))
                .int(run.incarnation.0.into())
                .bytes(heap, run.pipeline.as_bytes());
            row.bytes_or_null(heap, run.idempotency_key.as_deref().map(str::as_bytes))
                .bytes(heap, &run.request);
            row.bytes(heap, &counts).bytes_or_null(heap, error.as_deref());
        }
        for (number, plan) in &staged.plans {
            let (row, heap) = self.row(Target::RunPlan);
            row.int(*number).bytes(heap, plan);
        }
        for (number, incarnation) in &staged.taken {
            let (row, _) = self.row(Target::RunTaken);
            row.int(*number).int(incarnation.0.into());
        }
        for (number, step) in &staged.moves {
            let counts = json(&step.counts)?;
            let error = step.error.map(json).transpose()?;
            let (row, heap) = self.row(Target::RunMoved);
            row.int(*number).int(word::of_run_state(step.to)).int(nanos(step.at));
            row.bytes(heap, &counts).bytes_or_null(heap, error.as_deref());
        }
        Ok(())
    }

    fn chunks(&mut self, cache: &Cache, staged: &Staged<'_>) {
        let mut in_order: Vec<(i64, ChunkKey, _)> = staged
            .chunks
            .iter()
            .map(|((run, key), chunk)| {
                let known = staged.runs.get(run).map(|known| known.number);
                let number = known.unwrap_or_else(|| cache.runs[run].known.number);
                (number, *key, chunk)
            })
            .collect();
        in_order.sort_unstable_by_key(|(run, key, _)| (*run, *key));
        for (number, (asset, no), chunk) in in_order {
            let (row, heap) = self.row(Target::Chunk);
            row.int(number).int(asset.0.into()).uint(no.0).uint(chunk.claim.fence.0);
            row.int(match chunk.state {
                ChunkState::Running => word::CHUNK_RUNNING,
                ChunkState::Ended => word::CHUNK_ENDED,
            });
            row.int(chunk.claim.crashes.into()).int(nanos(chunk.claim.at));
            for set in [&chunk.claim.steps, &chunk.succeeded, &chunk.unchanged, &chunk.skipped] {
                row.bytes_or_null(heap, set_bytes(set).as_deref());
            }
        }
    }

    fn made(&mut self, staged: &Staged<'_>) {
        for made in &staged.made {
            let made_row = made.row;
            let started_ms = made_row.started_at.as_millisecond();
            let (row, heap) = self.row(Target::Materialization);
            row.int(made_row.asset.0.into())
                .uint(made_row.version.0)
                .uint(made_row.partition);
            row.int(made.run).int(made.code).int(made_row.attempt.into());
            row.int(started_ms).int(made_row.ended_at.as_millisecond() - started_ms);
            row.uint(made_row.stored.bytes).uint_or_null(made_row.stored.rows);
            row.fixed(heap, &made_row.stored.data_version.0.to_be_bytes());
            match &made_row.stored.address {
                Address::Inline(bytes) => row.int(0).bytes(heap, bytes),
                Address::Location(location) => row.int(1).bytes(heap, location.as_bytes()),
            };
            // The last of the row, and hardly ever there: what is missing reads as NULL.
            if let Some(manifest) = &made_row.stored.manifest {
                row.bytes(heap, manifest.as_str().as_bytes());
            }
        }
    }

    fn marks(&mut self, cache: &Cache, staged: &Staged<'_>) {
        let none = Marks::default();
        let code_of = |version| {
            let staged_code = || {
                staged
                    .codes
                    .iter()
                    .find(|(staged, _)| *staged == version)
                    .map(|(_, code)| *code)
            };
            cache
                .codes
                .get(&version)
                .copied()
                .or_else(staged_code)
                .expect("each head's code has a number")
        };
        for ((asset, piece), after) in &staged.marks {
            let before = cache.marks(*asset, *piece).unwrap_or(&none);
            for (version, code) in before.heads.keys().filter(|head| !after.heads.contains_key(head)) {
                let (row, _) = self.row(Target::HeadSetGone);
                row.int(asset.0.into()).uint(*piece).uint(version.0).int(code_of(*code));
            }
            for ((version, code), set) in &after.heads {
                if before.heads.get(&(*version, *code)) != Some(set) {
                    let (row, heap) = self.row(Target::HeadSet);
                    row.int(asset.0.into()).uint(*piece).uint(version.0).int(code_of(*code));
                    row.bytes(heap, &set.to_bytes());
                }
            }
            self.status(*asset, *piece, word::STATUS_FAILED, (&before.failed, &after.failed));
            self.status(*asset, *piece, word::STATUS_STALE, (&before.stale, &after.stale));
        }
    }

    fn status(&mut self, asset: AssetId, piece: u64, kind: i64, (before, after): (&PartitionSet, &PartitionSet)) {
        if before != after {
            let (row, heap) = self.row(Target::StatusSet);
            row.int(asset.0.into())
                .int(kind)
                .uint(piece)
                .bytes_or_null(heap, set_bytes(after).as_deref());
        }
    }

    fn inputs(&mut self, staged: &Staged<'_>) {
        for input in &staged.inputs {
            let (row, _) = self.row(Target::Lineage);
            row.int(input.asset.0.into())
                .int(class_of(input.version, input.partitions));
            row.uint(input.partitions.0)
                .uint(input.partitions.1 - input.partitions.0);
            row.int(input.upstream.0.into())
                .int(class_of(input.upstream_version, input.from));
            row.uint(input.from.0)
                .uint(input.from.1 - input.from.0)
                .int(input.one_to_one.into());
        }
    }

    fn failures(&mut self, staged: &Staged<'_>) -> Result<()> {
        for (run, failure) in &staged.failures {
            let error = json(&failure.error)?;
            let (row, heap) = self.row(Target::Failure);
            row.int(*run)
                .int(failure.asset.0.into())
                .uint(failure.partition)
                .int(failure.attempt.into());
            row.int(failure.is_final.into())
                .int(nanos(failure.at))
                .bytes(heap, &error);
        }
        Ok(())
    }

    fn events(&mut self, staged: &Staged<'_>) -> Result<()> {
        for event in &staged.events {
            let (kind, asset, detail) = match &event.what {
                What::Created => (word::EVENT_RUN_CREATED, None, None),
                What::Moved(to) => (word::EVENT_RUN_MOVED, None, Some(json(to)?)),
                What::Materialized(asset, set) => (word::EVENT_MATERIALIZED, Some(*asset), Some(set.to_bytes())),
                What::Failed(failure) => {
                    let StepFailure {
                        asset,
                        partition,
                        attempt,
                        is_final,
                        ..
                    } = **failure;
                    let detail = json(&(partition, attempt, is_final, &failure.error.code))?;
                    (word::EVENT_STEP_FAILED, Some(asset), Some(detail))
                }
                What::FanOutOpened(opened) => {
                    let detail = json(&(opened.partition, opened.fan_out))?;
                    (word::EVENT_FAN_OUT_OPENED, Some(opened.lead.asset), Some(detail))
                }
                What::FanOutMoved(fan_out, to) => {
                    let detail = json(&(fan_out, to))?;
                    (word::EVENT_FAN_OUT_MOVED, None, Some(detail))
                }
            };
            let (row, heap) = self.row(Target::Event);
            row.int(nanos(event.at)).int(event.run).int(kind);
            row.uint_or_null(asset.map(|asset| asset.0.into()))
                .bytes_or_null(heap, detail.as_deref());
        }
        Ok(())
    }
}

/// An empty set takes no room.
fn set_bytes(set: &PartitionSet) -> Option<Vec<u8>> {
    (!set.is_empty()).then(|| set.to_bytes())
}

fn nanos(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond()).expect("staging has checked that times fit")
}

fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value)
        .map_err(|error| Error::new(ErrorKind::Internal, "a record cannot be written as JSON").caused_by(error))
}
