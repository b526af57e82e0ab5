//! The statements of a commit: at most one for each table, all in one text that sqlx runs in one go.
//!
//! Parameter 1 is the heap of bytes, the others are the rows of each table; see `batch`. A commit names only the
//! tables that it touches, so there is one prepared text for each set of tables that occurs together.

use std::collections::HashMap;
use std::sync::Arc;

/// The tables and ways in which a commit may write, in the order in which it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Code,
    RunCreated,
    RunPlan,
    RunMoved,
    Chunk,
    Materialization,
    HeadSetGone,
    HeadSet,
    StatusSet,
    Lineage,
    Failure,
    Event,
    RunTaken,
    FanOut,
    FanOutShared,
    ItemPage,
    ItemClaimGone,
    ItemClaim,
    Segment,
    FailedItem,
}

/// How many targets there are.
pub(super) const TARGET_COUNT: usize = Target::ALL.len();

impl Target {
    pub(super) const ALL: [Self; 20] = [
        Self::Code,
        Self::RunCreated,
        Self::RunPlan,
        Self::RunMoved,
        Self::Chunk,
        Self::Materialization,
        Self::HeadSetGone,
        Self::HeadSet,
        Self::StatusSet,
        Self::Lineage,
        Self::Failure,
        Self::Event,
        Self::RunTaken,
        Self::FanOut,
        Self::FanOutShared,
        Self::ItemPage,
        Self::ItemClaimGone,
        Self::ItemClaim,
        Self::Segment,
        Self::FailedItem,
    ];

    /// The statement. `$1` is the heap, `$2` to `$21` are the rows of the targets in order. The names start with `$`
    /// because sqlx would take `?` numbers with gaps between them for unnamed ones.
    const fn statement(self) -> &'static str {
        match self {
            Self::Code => {
                "INSERT INTO code (id, version)
                 SELECT value->>0, substr($1, value->>1, 16) FROM jsonb_each($2);"
            }
            Self::RunCreated => {
                "INSERT INTO run (id, run, state, created_at_ns, moved_at_ns, incarnation, pipeline, idempotency_key,
                                  request, counts, error)
                 SELECT value->>0, substr($1, value->>1, 16), value->>2, value->>3, value->>4, value->>5,
                        CAST(substr($1, value->>6, value->>7) AS TEXT),
                        CAST(substr($1, value->>8, value->>9) AS TEXT),
                        substr($1, value->>10, value->>11),
                        CAST(substr($1, value->>12, value->>13) AS TEXT),
                        CAST(substr($1, value->>14, value->>15) AS TEXT)
                 FROM jsonb_each($3);"
            }
            Self::RunPlan => {
                "INSERT INTO run_plan (run, plan)
                 SELECT value->>0, substr($1, value->>1, value->>2) FROM jsonb_each($4) WHERE true
                 ON CONFLICT DO UPDATE SET plan = excluded.plan;"
            }
            Self::RunMoved => {
                "UPDATE run SET state = step.value->>1, moved_at_ns = step.value->>2,
                        counts = CAST(substr($1, step.value->>3, step.value->>4) AS TEXT),
                        error = CAST(substr($1, step.value->>5, step.value->>6) AS TEXT)
                 FROM jsonb_each($5) AS step WHERE run.id = step.value->>0;"
            }
            Self::Chunk => {
                "INSERT INTO chunk (run, asset, chunk, fence, state, crashes, at_ns, steps, succeeded, unchanged,
                                    skipped)
                 SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6,
                        substr($1, value->>7, value->>8), substr($1, value->>9, value->>10),
                        substr($1, value->>11, value->>12), substr($1, value->>13, value->>14)
                 FROM jsonb_each($6) WHERE true
                 ON CONFLICT DO UPDATE SET
                     fence = excluded.fence, state = excluded.state, crashes = excluded.crashes,
                     at_ns = excluded.at_ns, steps = excluded.steps, succeeded = excluded.succeeded,
                     unchanged = excluded.unchanged, skipped = excluded.skipped;"
            }
            Self::Materialization => {
                "INSERT INTO materialization (asset, version, partition, run, code, attempt, started_ms, took_ms,
                                              bytes, rows, data_version, address, manifest)
                 SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6, value->>7,
                        value->>8, value->>9, substr($1, value->>10, 16),
                        iif(value->>11, CAST(substr($1, value->>12, value->>13) AS TEXT),
                                        substr($1, value->>12, value->>13)),
                        CAST(substr($1, value->>14, value->>15) AS TEXT)
                 FROM jsonb_each($7);"
            }
            Self::HeadSetGone => {
                "DELETE FROM head_set WHERE (asset, hi, version, code) IN
                     (SELECT value->>0, value->>1, value->>2, value->>3 FROM jsonb_each($8));"
            }
            Self::HeadSet => {
                "INSERT INTO head_set (asset, hi, version, code, partitions)
                 SELECT value->>0, value->>1, value->>2, value->>3, substr($1, value->>4, value->>5)
                 FROM jsonb_each($9) WHERE true
                 ON CONFLICT DO UPDATE SET partitions = excluded.partitions;"
            }
            Self::StatusSet => {
                "INSERT INTO status_set (asset, kind, hi, partitions)
                 SELECT value->>0, value->>1, value->>2, substr($1, value->>3, value->>4)
                 FROM jsonb_each($10) WHERE true
                 ON CONFLICT DO UPDATE SET partitions = excluded.partitions;"
            }
            Self::Lineage => {
                "INSERT OR IGNORE INTO lineage_input (asset, class, first, span, upstream, upstream_class,
                                                      upstream_first, upstream_span, one_to_one)
                 SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6, value->>7,
                        value->>8
                 FROM jsonb_each($11);"
            }
            Self::Failure => {
                "INSERT INTO step_failure (run, asset, partition, attempt, is_final, at_ns, error)
                 SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5,
                        CAST(substr($1, value->>6, value->>7) AS TEXT)
                 FROM jsonb_each($12);"
            }
            Self::Event => {
                "INSERT INTO event (at_ns, run, kind, asset, detail)
                 SELECT value->>0, value->>1, value->>2, value->>3, substr($1, value->>4, value->>5)
                 FROM jsonb_each($13);"
            }
            Self::RunTaken => {
                "UPDATE run SET incarnation = taken.value->>1
                 FROM jsonb_each($14) AS taken WHERE run.id = taken.value->>0;"
            }
            Self::FanOut => {
                "INSERT INTO fan_out (id, fan_out, run, asset, partition, parent, item, epoch, state, is_sealed, items,
                                      next_chunk, opened_ns, moved_ns, on_schedule_ns, counts, options, error, cursor, redriven)
                 SELECT value->>0, substr($1, value->>1, 16), value->>2, value->>3, value->>4,
                        substr($1, value->>5, value->>6), value->>7, value->>8, value->>9, value->>10, value->>11,
                        value->>12, value->>13, value->>14, value->>15,
                        CAST(substr($1, value->>16, value->>17) AS TEXT),
                        CAST(substr($1, value->>18, value->>19) AS TEXT),
                        CAST(substr($1, value->>20, value->>21) AS TEXT), substr($1, value->>22, value->>23), value->>24
                 FROM jsonb_each($15) WHERE true
                 ON CONFLICT (id) DO UPDATE SET
                     run = excluded.run, epoch = excluded.epoch, state = excluded.state,
                     is_sealed = excluded.is_sealed, items = excluded.items, next_chunk = excluded.next_chunk,
                     moved_ns = excluded.moved_ns, on_schedule_ns = excluded.on_schedule_ns,
                     counts = excluded.counts, options = excluded.options, error = excluded.error,
                     cursor = excluded.cursor, redriven = excluded.redriven;"
            }
            Self::FanOutShared => {
                "INSERT INTO fan_out_shared (fan_out, shared)
                 SELECT value->>0, substr($1, value->>1, value->>2) FROM jsonb_each($16);"
            }
            Self::ItemPage => {
                "INSERT INTO item_page (fan_out, first, len, batch_starts, body)
                 SELECT value->>0, value->>1, value->>2, substr($1, value->>3, value->>4),
                        substr($1, value->>5, value->>6)
                 FROM jsonb_each($17);"
            }
            Self::ItemClaimGone => {
                "DELETE FROM item_claim WHERE (fan_out, chunk) IN
                     (SELECT value->>0, value->>1 FROM jsonb_each($18));"
            }
            Self::ItemClaim => {
                "INSERT INTO item_claim (fan_out, chunk, crashes, is_held, items)
                 SELECT value->>0, value->>1, value->>2, value->>3, substr($1, value->>4, value->>5)
                 FROM jsonb_each($19) WHERE true
                 ON CONFLICT DO UPDATE SET
                     crashes = excluded.crashes, is_held = excluded.is_held, items = excluded.items;"
            }
            Self::Segment => {
                "INSERT INTO segment (fan_out, page, chunk, seq, succeeded, skipped, body)
                 SELECT value->>0, value->>1, value->>2, value->>3, substr($1, value->>4, value->>5),
                        substr($1, value->>6, value->>7), substr($1, value->>8, value->>9)
                 FROM jsonb_each($20);"
            }
            Self::FailedItem => {
                "INSERT INTO failed_item (fan_out, item, epoch, attempt, is_final, at_ns, key, error)
                 SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5,
                        CAST(substr($1, value->>6, value->>7) AS TEXT),
                        CAST(substr($1, value->>8, value->>9) AS TEXT)
                 FROM jsonb_each($21) WHERE true
                 ON CONFLICT DO UPDATE SET
                     epoch = excluded.epoch, attempt = excluded.attempt, is_final = excluded.is_final,
                     at_ns = excluded.at_ns, key = excluded.key, error = excluded.error;"
            }
        }
    }
}

/// One text that writes to `targets`, within a transaction that is open.
pub(super) fn statements(targets: u32) -> String {
    let wanted = Target::ALL.into_iter().filter(|target| targets & target.bit() != 0);
    wanted.map(Target::statement).collect()
}

/// The texts that were needed so far, by the set of targets as bits.
#[derive(Debug, Default)]
pub(super) struct Texts {
    by_targets: HashMap<u32, Arc<str>>,
}

impl Texts {
    /// One text that writes to `targets` in one transaction.
    pub(super) fn writing(&mut self, targets: u32) -> Arc<str> {
        let text = self
            .by_targets
            .entry(targets)
            .or_insert_with(|| format!("BEGIN IMMEDIATE;{}COMMIT", statements(targets)).into());
        Arc::clone(text)
    }
}

impl Target {
    /// The bit that stands for this in a set of targets.
    pub(super) const fn bit(self) -> u32 {
        1 << self as u32
    }
}
