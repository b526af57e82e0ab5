//! Reads values out of rows. What does not fit its type is damage, and says so.

use bytes::Bytes;
use flowstone_core::io::{Address, Manifest, Stored};
use flowstone_core::partition::PartitionSet;
use flowstone_core::store::{
    ChunkClaim, ChunkRow, ChunkState, Event, EventKind, LineageInput, Materialization, RunRow, StepFailure,
};
use flowstone_core::{AssetId, ChunkNo, CodeVersion, DataVersion, Fence, Incarnation, Result, RunId, Version};
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, TypeInfo, ValueRef};
use uuid::Uuid;

use super::span::version_of;
use super::word;
use crate::error::{corrupt, sort};

/// A number that is never negative.
pub(super) fn number(what: &str, stored: i64) -> Result<u64> {
    u64::try_from(stored).map_err(|error| corrupt(what, error))
}

pub(super) fn asset_id(stored: i64) -> Result<AssetId> {
    u32::try_from(stored)
        .map(AssetId)
        .map_err(|error| corrupt("asset id", error))
}

pub(super) fn small(what: &str, stored: i64) -> Result<u32> {
    u32::try_from(stored).map_err(|error| corrupt(what, error))
}

/// A column of 16 bytes.
pub(super) fn array(what: &str, row: &SqliteRow, column: usize) -> Result<[u8; 16]> {
    let bytes: &[u8] = row.try_get(column).map_err(sort)?;
    bytes.try_into().map_err(|error| corrupt(what, error))
}

pub(super) fn set(row: &SqliteRow, column: usize) -> Result<PartitionSet> {
    PartitionSet::from_bytes(row.try_get(column).map_err(sort)?)
}

/// A set that is NULL when it is empty.
pub(super) fn set_or_empty(row: &SqliteRow, column: usize) -> Result<PartitionSet> {
    let bytes: Option<&[u8]> = row.try_get(column).map_err(sort)?;
    bytes.map_or_else(|| Ok(PartitionSet::new()), PartitionSet::from_bytes)
}

pub(super) fn nanos(stored: i64) -> Result<Timestamp> {
    Timestamp::from_nanosecond(stored.into()).map_err(|error| corrupt("time", error))
}

fn run_id(row: &SqliteRow, column: usize) -> Result<RunId> {
    Ok(RunId(Uuid::from_bytes(array("run id", row, column)?)))
}

pub(super) fn json<T: DeserializeOwned>(what: &str, text: &[u8]) -> Result<T> {
    serde_json::from_slice(text).map_err(|error| corrupt(what, error))
}

/// A row of `SELECT * FROM chunk`.
pub(super) fn chunk_row(run: RunId, row: &SqliteRow) -> Result<ChunkRow> {
    let claim = ChunkClaim {
        run,
        asset: asset_id(row.try_get("asset").map_err(sort)?)?,
        chunk: ChunkNo(number("chunk number", row.try_get("chunk").map_err(sort)?)?),
        fence: Fence(number("fence", row.try_get("fence").map_err(sort)?)?),
        steps: set_or_empty(row, 7)?,
        crashes: small("number of crashes", row.try_get("crashes").map_err(sort)?)?,
        at: nanos(row.try_get("at_ns").map_err(sort)?)?,
    };
    let state = match row.try_get("state").map_err(sort)? {
        word::CHUNK_RUNNING => ChunkState::Running,
        word::CHUNK_ENDED => ChunkState::Ended,
        other => return Err(corrupt("chunk state", format!("{other} stands for none"))),
    };
    Ok(ChunkRow {
        claim,
        state,
        succeeded: set_or_empty(row, 8)?,
        unchanged: set_or_empty(row, 9)?,
        skipped: set_or_empty(row, 10)?,
    })
}

/// The columns that [`run_row`] reads, of `run` joined with `run_plan`.
pub(super) const RUN_COLUMNS: &str = "run.run, pipeline, idempotency_key, request, plan, state, created_at_ns, \
                                      moved_at_ns, counts, error, incarnation";

pub(super) fn run_row(row: &SqliteRow) -> Result<RunRow> {
    let counts: &str = row.try_get(8).map_err(sort)?;
    let error: Option<&str> = row.try_get(9).map_err(sort)?;
    let plan: Option<Vec<u8>> = row.try_get(4).map_err(sort)?;
    Ok(RunRow {
        run: run_id(row, 0)?,
        pipeline: row.try_get(1).map_err(sort)?,
        idempotency_key: row.try_get(2).map_err(sort)?,
        request: Bytes::from(row.try_get::<Vec<u8>, _>(3).map_err(sort)?),
        plan: plan.map(Bytes::from),
        incarnation: Incarnation(small("incarnation", row.try_get(10).map_err(sort)?)?),
        state: word::run_state(row.try_get(5).map_err(sort)?)?,
        created_at: nanos(row.try_get(6).map_err(sort)?)?,
        moved_at: nanos(row.try_get(7).map_err(sort)?)?,
        counts: json("step counts", counts.as_bytes())?,
        error: error.map(|error| json("error", error.as_bytes())).transpose()?,
    })
}

/// The columns that [`materialization`] reads, of `materialization AS made` joined with `run` and `code`.
pub(super) const MADE_COLUMNS: &str = "made.partition, made.version, run.run, code.version, attempt, started_ms, \
                                       took_ms, data_version, bytes, rows, address, manifest";

pub(super) fn materialization(asset: AssetId, row: &SqliteRow) -> Result<Materialization> {
    let started_at = Timestamp::from_millisecond(row.try_get(5).map_err(sort)?).map_err(|e| corrupt("time", e))?;
    let took = SignedDuration::from_millis(row.try_get(6).map_err(sort)?);
    let rows: Option<i64> = row.try_get(9).map_err(sort)?;
    let manifest: Option<&str> = row.try_get(11).map_err(sort)?;
    Ok(Materialization {
        asset,
        partition: number("partition", row.try_get(0).map_err(sort)?)?,
        version: Version(number("version", row.try_get(1).map_err(sort)?)?),
        run: run_id(row, 2)?,
        code_version: CodeVersion(u128::from_be_bytes(array("code version", row, 3)?)),
        attempt: small("attempt", row.try_get(4).map_err(sort)?)?,
        started_at,
        ended_at: started_at.checked_add(took).map_err(|error| corrupt("time", error))?,
        stored: Stored {
            address: address(row, 10)?,
            data_version: DataVersion(u128::from_be_bytes(array("data version", row, 7)?)),
            bytes: number("size", row.try_get(8).map_err(sort)?)?,
            rows: rows.map(|rows| number("number of rows", rows)).transpose()?,
            manifest: manifest.map(Manifest::of_json).transpose()?,
        },
    })
}

pub(super) fn address(row: &SqliteRow, column: usize) -> Result<Address> {
    let value = row.try_get_raw(column).map_err(sort)?;
    if value.type_info().name() == "TEXT" {
        let location: &str = row.try_get_unchecked(column).map_err(sort)?;
        Ok(Address::Location(location.into()))
    } else {
        Ok(Address::Inline(Bytes::from(
            row.try_get_unchecked::<Vec<u8>, _>(column).map_err(sort)?,
        )))
    }
}

/// The columns that [`lineage_input`] reads.
pub(super) const INPUT_COLUMNS: &str =
    "asset, class, first, span, upstream, upstream_class, upstream_first, upstream_span, one_to_one";

pub(super) fn lineage_input(row: &SqliteRow) -> Result<LineageInput> {
    let int = |column: usize| row.try_get::<i64, _>(column).map_err(sort);
    let interval = |first: i64, span: i64| -> Result<(u64, u64)> {
        let first = number("partition", first)?;
        let last = first.checked_add(number("interval", span)?);
        Ok((
            first,
            last.ok_or_else(|| corrupt("interval", "it ends beyond all numbers"))?,
        ))
    };
    Ok(LineageInput {
        asset: asset_id(int(0)?)?,
        version: version_of(int(1)?),
        partitions: interval(int(2)?, int(3)?)?,
        upstream: asset_id(int(4)?)?,
        upstream_version: version_of(int(5)?),
        from: interval(int(6)?, int(7)?)?,
        one_to_one: int(8)? != 0,
    })
}

/// A row of `SELECT asset, partition, attempt, is_final, at_ns, error FROM step_failure`.
pub(super) fn step_failure(row: &SqliteRow) -> Result<StepFailure> {
    let error: &str = row.try_get(5).map_err(sort)?;
    Ok(StepFailure {
        asset: asset_id(row.try_get(0).map_err(sort)?)?,
        partition: number("partition", row.try_get(1).map_err(sort)?)?,
        attempt: small("attempt", row.try_get(2).map_err(sort)?)?,
        is_final: row.try_get(3).map_err(sort)?,
        at: nanos(row.try_get(4).map_err(sort)?)?,
        error: json("error", error.as_bytes())?,
    })
}

/// A row of `SELECT sequence, at_ns, run.run, kind, asset, detail FROM event` joined with `run`.
pub(super) fn event(row: &SqliteRow) -> Result<Event> {
    let asset = || asset_id(row.try_get(4).map_err(sort)?);
    let detail = || row.try_get::<Vec<u8>, _>(5).map_err(sort);
    let kind = match row.try_get(3).map_err(sort)? {
        word::EVENT_RUN_CREATED => EventKind::RunCreated,
        word::EVENT_RUN_MOVED => EventKind::RunMoved {
            to: json("event", &detail()?)?,
        },
        word::EVENT_MATERIALIZED => EventKind::Materialized {
            asset: asset()?,
            partitions: PartitionSet::from_bytes(&detail()?)?,
        },
        word::EVENT_STEP_FAILED => {
            let (partition, attempt, is_final, code) = json("event", &detail()?)?;
            EventKind::StepFailed {
                asset: asset()?,
                partition,
                attempt,
                is_final,
                code,
            }
        }
        word::EVENT_FAN_OUT_OPENED => {
            let (partition, fan_out) = json("event", &detail()?)?;
            EventKind::FanOutOpened {
                asset: asset()?,
                partition,
                fan_out,
            }
        }
        word::EVENT_FAN_OUT_MOVED => {
            let (fan_out, to) = json("event", &detail()?)?;
            EventKind::FanOutMoved { fan_out, to }
        }
        other => return Err(corrupt("event", format!("{other} stands for no kind"))),
    };
    Ok(Event {
        sequence: number("sequence", row.try_get(0).map_err(sort)?)?,
        at: nanos(row.try_get(1).map_err(sort)?)?,
        run: run_id(row, 2)?,
        kind,
    })
}
