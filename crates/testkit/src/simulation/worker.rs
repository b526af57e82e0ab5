//! A worker as the run sees it: it has a chunk, tries its steps one after the other, or all of them in one call, and
//! reports how they ended.

use std::time::Duration;

use flowstone_core::DataVersion;
use flowstone_core::io::{Address, Stored};
use flowstone_core::partition::PartitionSet;
use flowstone_core::run::{ChunkWork, StepEnd, StepEnded};
use flowstone_core::{Error, ErrorKind};
use jiff::Timestamp;

use super::case::Fate;

/// How long a step must wait that was told to come again later.
const RATE_LIMIT: Duration = Duration::from_secs(40);

/// A worker that has a chunk.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) work: ChunkWork,
    /// How many records must be on disk before the first step may start.
    pub(super) starts_after: u64,
    /// Steps that were not begun.
    pub(super) left: PartitionSet,
    /// Steps that the run has not heard of.
    pub(super) unreported: PartitionSet,
    /// What goes on: one step, or all those of a call.
    pub(super) current: Vec<Attempt>,
    /// Ended, not reported.
    pub(super) ended: Vec<StepEnded>,
}

/// An attempt that goes on.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    pub(super) partition: u64,
    pub(super) number: u32,
    pub(super) fate: Fate,
    pub(super) content: DataVersion,
    /// Where its value goes; of ids only, and of this attempt's own.
    pub(super) address: String,
    pub(super) is_same: bool,
    pub(super) started_at: Timestamp,
}

impl Worker {
    pub(super) fn new(work: ChunkWork, starts_after: u64) -> Self {
        let (left, unreported) = (work.steps.clone(), work.steps.clone());
        Self {
            work,
            starts_after,
            left,
            unreported,
            current: Vec::new(),
            ended: Vec::new(),
        }
    }

    /// What is to be reported: everything that ended, or the first few of it.
    pub(super) fn report(&mut self, count: usize) -> Vec<StepEnded> {
        let ended: Vec<StepEnded> = self.ended.drain(..count).collect();
        for step in ended.iter().filter(|step| step.end != StepEnd::Cancelled) {
            self.unreported.remove(step.partition);
        }
        ended
    }
}

impl Attempt {
    /// How it ends, if its worker lives to say so.
    pub(super) fn end(&self, now: Timestamp) -> StepEnded {
        let end = match self.fate {
            Fate::Make => StepEnd::Made {
                stored: Stored {
                    address: Address::Location(self.address.as_str().into()),
                    data_version: self.content,
                    bytes: 8,
                    rows: None,
                    manifest: None,
                },
                is_same: self.is_same,
            },
            Fate::Skip => StepEnd::Skipped,
            Fate::FailForNow | Fate::SpoilForNow if self.partition.is_multiple_of(2) => {
                StepEnd::Failed(Error::transient("not now").to_record())
            }
            Fate::FailForNow | Fate::SpoilForNow => {
                StepEnd::Failed(Error::rate_limited("not now", RATE_LIMIT).to_record())
            }
            Fate::FailForGood | Fate::SpoilForGood => StepEnd::Failed(Error::permanent("never").to_record()),
            Fate::Overdue => StepEnd::Failed(Error::new(ErrorKind::TimedOut, "too late").to_record()),
            Fate::Drained => StepEnd::Cancelled,
            Fate::Blurred => panic!("what a call came to is told of the call"),
            Fate::KillsWorker | Fate::KillsProcess => panic!("nobody is left to report"),
        };
        StepEnded {
            partition: self.partition,
            attempt: self.number,
            end,
            started_at: self.started_at,
            ended_at: now,
        }
    }
}
