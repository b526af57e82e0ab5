//! Measures what the IO manager costs over the bare crate: 1,000,000 rows × 8 columns, written and read.
//!
//! Both use the same settings and the same batches. The manager also fingerprints the content, checks the file's bytes
//! and waits for the disk; the bare crate is measured without a sync, and once more with one for comparison.
//!
//! `cargo run --release -p flowstone-io-parquet --example bare_ratio`

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flowstone_core::io::{IoEnv, IoFactory, Slot};
use flowstone_core::{AssetId, Result, RunId, TypeInfo, Value};
use flowstone_io_parquet::arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, StringArray, TimestampMillisecondArray,
};
use flowstone_io_parquet::arrow::record_batch::RecordBatch;
use flowstone_io_parquet::{Compression, Parquet, Table};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression as BareCompression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use uuid::Uuid;

const ROWS: usize = 1_000_000;
const BATCH_ROWS: usize = 16_384;
const GROUP_ROWS: usize = 131_072;
const ROUNDS: usize = 11;

#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
#[tokio::main]
async fn main() -> Result<()> {
    let table = flights_like();
    let folder = tempfile::tempdir()?;
    println!("| compression | MB | bare write + read ms | with sync | manager | over bare | over bare with sync |");
    println!("|---|---|---|---|---|---|---|");
    for (name, ours, bare) in [
        ("none", Compression::None, BareCompression::UNCOMPRESSED),
        ("snappy", Compression::Snappy, BareCompression::SNAPPY),
        (
            "zstd 1",
            Compression::Zstd(1),
            BareCompression::ZSTD(ZstdLevel::try_new(1)?),
        ),
        (
            "zstd 3",
            Compression::Zstd(3),
            BareCompression::ZSTD(ZstdLevel::try_new(3)?),
        ),
    ] {
        let mut measured = Vec::new();
        let mut bytes = 0;
        for round in 0..ROUNDS {
            let plain = bare_round(&table, folder.path(), bare, false)?;
            let synced = bare_round(&table, folder.path(), bare, true)?;
            let (manager, len) = manager_round(&table, folder.path(), ours, round).await?;
            bytes = len;
            measured.push([plain, synced, manager]);
        }
        let [plain, synced, manager] = [0, 1, 2].map(|at| shown(&measured, at));
        let (write, read) = manager;
        println!(
            "| {name} | {:.1} | {:.0} + {:.0} | {:.0} + {:.0} | {write:.0} + {read:.0} | {:.2} | {:.2} |",
            bytes as f64 / 1e6,
            plain.0,
            plain.1,
            synced.0,
            synced.1,
            (write + read) / (plain.0 + plain.1),
            (write + read) / (synced.0 + synced.1),
        );
    }
    Ok(())
}

/// The fastest round, in milliseconds of writing and reading: what else the machine does only adds to the others.
fn shown(rounds: &[[(Duration, Duration); 3]], at: usize) -> (f64, f64) {
    let fastest = rounds
        .iter()
        .map(|round| round[at])
        .min_by_key(|(write, read)| *write + *read);
    let (write, read) = fastest.expect("there is a round");
    (write.as_secs_f64() * 1e3, read.as_secs_f64() * 1e3)
}

fn bare_round(table: &Table, folder: &Path, compression: BareCompression, sync: bool) -> Result<(Duration, Duration)> {
    let path = folder.join("bare.parquet");
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .build();

    let started = Instant::now();
    let mut writer = ArrowWriter::try_new(File::create(&path)?, Arc::clone(table.schema()), Some(properties))?;
    for batch in table.batches() {
        writer.write(batch)?;
    }
    let file = writer.into_inner()?;
    if sync {
        file.sync_all()?;
    }
    let written = started.elapsed();

    let started = Instant::now();
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&path)?)?
        .with_batch_size(BATCH_ROWS)
        .build()?;
    let rows: usize = reader
        .map(|batch| batch.map(|batch| batch.num_rows()))
        .sum::<Result<_, _>>()?;
    assert_eq!(rows, ROWS);
    Ok((written, started.elapsed()))
}

async fn manager_round(
    table: &Table,
    folder: &Path,
    compression: Compression,
    round: usize,
) -> Result<((Duration, Duration), u64)> {
    let parquet = Parquet::default().compression(compression).row_group_rows(GROUP_ROWS);
    let manager = parquet.open(&IoEnv {
        data_dir: Some(folder.join("data")),
    })?;
    let run = RunId(Uuid::from_u128(1));
    let slot = Slot {
        asset: AssetId(1),
        partition: round as u64,
        run,
        fence: 1,
        attempt: 1,
    };
    let value = Value::new(table.clone());

    let started = Instant::now();
    let stored = manager.store(slot, &value).await?;
    let written = started.elapsed();

    let started = Instant::now();
    let loaded = manager.load(&stored, TypeInfo::of::<Table>()).await?;
    let read = started.elapsed();

    assert_eq!(loaded.downcast_ref::<Table>().map(Table::num_rows), Some(ROWS));
    manager.delete(&stored.address).await?;
    Ok(((written, read), stored.bytes))
}

/// Columns as in a year of flights: few carriers and airports, delays around zero with some missing, times that grow.
fn flights_like() -> Table {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut batches = Vec::new();
    for start in (0..ROWS).step_by(BATCH_ROWS) {
        let rows = BATCH_ROWS.min(ROWS - start);
        let mut delay = || (random(50) > 0).then(|| random(60) as i32 - 15 + (random(20) / 19 * random(300)) as i32);
        let departures: Int32Array = (0..rows).map(|_| delay()).collect();
        let arrivals: Int32Array = departures.iter().map(|delay| delay.map(|delay| delay - 5)).collect();
        let columns: Vec<(&str, ArrayRef)> = vec![
            (
                "at",
                Arc::new(TimestampMillisecondArray::from_iter_values(
                    (0..rows).map(|at| (start + at) as i64 * 31_000),
                )),
            ),
            (
                "carrier",
                Arc::new(StringArray::from_iter_values(
                    (0..rows).map(|_| format!("C{}", random(16))),
                )),
            ),
            (
                "flight",
                Arc::new(Int64Array::from_iter_values((0..rows).map(|_| random(8_000) as i64))),
            ),
            (
                "tail",
                Arc::new(StringArray::from_iter_values(
                    (0..rows).map(|_| format!("N{:05}", random(4_000))),
                )),
            ),
            (
                "cancelled",
                Arc::new(BooleanArray::from_iter((0..rows).map(|_| Some(random(40) == 0)))),
            ),
            (
                "distance",
                Arc::new(Float64Array::from_iter_values(
                    (0..rows).map(|_| random(25_000) as f64 / 10.0),
                )),
            ),
            ("departure_delay", Arc::new(departures)),
            ("arrival_delay", Arc::new(arrivals)),
        ];
        batches.push(RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, array)| (name, array, true)),
        ));
    }
    let batches: Vec<_> = batches
        .into_iter()
        .collect::<Result<_, _>>()
        .expect("the columns have one length");
    Table::new(batches[0].schema(), batches).expect("the batches have one schema")
}
