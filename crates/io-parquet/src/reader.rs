//! Reads a Parquet object back, row group by row group.
//!
//! Opening reads and verifies the footer only; each row group is then read, verified and decoded by itself, so a table
//! of any size is read in the memory of a row group.

use std::sync::Arc;

use arrow::datatypes::{Metadata, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use bytes::{Buf, Bytes};
use flowstone_core::Result;
use flowstone_core::io::Stored;
use flowstone_io_object::{ObjectArea, ObjectPath};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaDataReader;
use parquet::file::reader::{ChunkReader, Length};
use tokio::task::spawn_blocking;

use crate::Table;
use crate::blocks::BLOCK_ROWS;
use crate::error::{corrupt, stopped};
use crate::seal::{FOOTER_KEY, Seal, from_address, from_footer};

/// Row groups that are being read and decoded at a time.
const IN_FLIGHT: usize = 2;

/// Reads a stored table of any size in bounded memory. Clones share the footer.
///
/// ```
/// use flowstone_core::io::Slot;
/// use flowstone_core::{AssetId, RunId};
/// use flowstone_io_object::ObjectArea;
/// use flowstone_io_parquet::{Parquet, Table, TableReader, TableWriter};
/// use futures::TryStreamExt;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Reading {
///     at_s: u64,
///     celsius: f32,
/// }
///
/// # let run = "018f4e5c-8c4e-7cc0-9c4b-3c7a5a6d2f10".parse::<RunId>()?;
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// let area = ObjectArea::in_memory();
/// let slot = Slot { asset: AssetId(1), partition: 0, run, fence: 1, attempt: 1 };
/// let schema = Table::from_rows::<Reading>(&[])?.schema().clone();
///
/// let mut writer = TableWriter::begin(&area, slot, &schema, &Parquet::default()).await?;
/// for hour in 0..3 {
///     let readings: Vec<_> = (0..100).map(|at| Reading { at_s: hour * 3600 + at, celsius: 20.0 }).collect();
///     for batch in Table::from_rows(&readings)?.into_batches() {
///         writer.write(batch).await?;
///     }
/// }
/// let stored = writer.finish().await?;
///
/// let reader = TableReader::open(&area, &stored).await?;
/// assert_eq!(reader.num_rows(), 300);
/// let mut tables = Box::pin(reader.into_stream());
/// while let Some(table) = tables.try_next().await? {
///     assert!(table.to_rows::<Reading>()?.iter().all(|reading| reading.celsius == 20.0));
/// }
/// # Ok::<(), flowstone_core::Error>(())
/// # })?;
/// # Ok::<(), flowstone_core::Error>(())
/// ```
#[derive(Clone)]
pub struct TableReader {
    area: ObjectArea,
    file: Arc<File>,
}

struct File {
    path: ObjectPath,
    subject: String,
    footer: ArrowReaderMetadata,
    schema: SchemaRef,
    groups: Vec<Seal>,
}

impl TableReader {
    /// Opens the table that was stored as `stored`.
    ///
    /// # Errors
    /// `NotFound` when it is gone, `Corrupt` when it is not what was stored, those of the medium.
    pub async fn open(area: &ObjectArea, stored: &Stored) -> Result<Self> {
        let (path, seal) = from_address(&stored.address)?;
        let subject = area.locate(&path);
        if seal.range.end != stored.bytes {
            return Err(corrupt("its address and its size disagree").about(subject));
        }
        let footer = area.get_range(&path, seal.range.clone()).await?;
        let rows = stored.rows;
        let opened = spawn_blocking(move || File::open(path, subject, &seal, footer, rows));
        Ok(Self {
            area: area.clone(),
            file: Arc::new(opened.await.map_err(stopped)??),
        })
    }

    /// The columns' names and types.
    pub fn schema(&self) -> &SchemaRef {
        &self.file.schema
    }

    /// The number of rows.
    pub fn num_rows(&self) -> u64 {
        let rows = self.file.footer.metadata().file_metadata().num_rows();
        u64::try_from(rows).unwrap_or(0)
    }

    /// The number of row groups.
    pub fn num_row_groups(&self) -> usize {
        self.file.groups.len()
    }

    /// Reads the row group `index`, from 0.
    ///
    /// # Errors
    /// `Corrupt` when it is not what was stored, those of the medium.
    ///
    /// # Panics
    /// When there is no such row group.
    pub async fn read_row_group(&self, index: usize) -> Result<Table> {
        let seal = &self.file.groups[index];
        let bytes = self.area.get_range(&self.file.path, seal.range.clone()).await?;
        let file = Arc::clone(&self.file);
        spawn_blocking(move || file.decode(index, bytes))
            .await
            .map_err(stopped)?
    }

    /// The row groups in order. The next one is read ahead while one is worked on.
    pub fn into_stream(self) -> impl Stream<Item = Result<Table>> + Send {
        let groups = stream::iter(0..self.num_row_groups());
        groups
            .map(move |index| {
                let reader = self.clone();
                async move { reader.read_row_group(index).await }
            })
            .buffered(IN_FLIGHT)
    }

    /// The whole table.
    ///
    /// # Errors
    /// As [`read_row_group`](Self::read_row_group).
    pub async fn read_all(&self) -> Result<Table> {
        let groups: Vec<Table> = self.clone().into_stream().try_collect().await?;
        let batches = groups.into_iter().flat_map(Table::into_batches).collect();
        Table::new(SchemaRef::clone(&self.file.schema), batches)
    }

    pub(crate) fn subject(&self) -> &str {
        &self.file.subject
    }
}

impl File {
    fn open(path: ObjectPath, subject: String, seal: &Seal, footer: Bytes, rows: Option<u64>) -> Result<Self> {
        seal.check(&footer, &subject)?;
        let unreadable = |error: &dyn std::fmt::Display| corrupt(error.to_string()).about(&subject);
        let window = Window {
            start: seal.range.start,
            bytes: footer,
        };
        let metadata = ParquetMetaDataReader::new()
            .parse_and_finish(&window)
            .map_err(|error| unreadable(&error))?;
        let found = metadata.file_metadata().num_rows();
        if rows.is_some_and(|rows| u64::try_from(found).ok() != Some(rows)) {
            return Err(unreadable(&"it has another number of rows than was stored"));
        }
        let groups = from_footer(metadata.file_metadata().key_value_metadata())?;
        if groups.len() != metadata.num_row_groups() {
            return Err(unreadable(&"it has another number of row groups than were sealed"));
        }
        let footer = ArrowReaderMetadata::try_new(Arc::new(metadata), ArrowReaderOptions::new())
            .map_err(|error| unreadable(&error))?;
        let schema = without_seals(footer.schema());
        Ok(Self {
            path,
            subject,
            footer,
            schema,
            groups,
        })
    }

    fn decode(&self, index: usize, bytes: Bytes) -> Result<Table> {
        let seal = &self.groups[index];
        seal.check(&bytes, &self.subject)?;
        let window = Window {
            start: seal.range.start,
            bytes,
        };
        let decoded = ParquetRecordBatchReaderBuilder::new_with_metadata(window, self.footer.clone())
            .with_row_groups(vec![index])
            .with_batch_size(BLOCK_ROWS)
            .build()
            .map_err(|error| corrupt(error.to_string()).about(&self.subject))?;
        let batches = decoded.map(|batch| self.fit(&batch?)).collect::<Result<Vec<_>, _>>();
        let batches = batches.map_err(|error| corrupt(error.to_string()).about(&self.subject))?;
        Table::new(SchemaRef::clone(&self.schema), batches)
    }

    fn fit(&self, batch: &RecordBatch) -> Result<RecordBatch, arrow::error::ArrowError> {
        let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(SchemaRef::clone(&self.schema), batch.columns().to_vec(), &rows)
    }
}

/// The schema as it was given to the writer: the footer's own entries are read as if they belonged to it.
fn without_seals(schema: &SchemaRef) -> SchemaRef {
    let kept = schema.metadata().iter().filter(|(key, _)| key.as_str() != FOOTER_KEY);
    let metadata: Metadata = kept.map(|(key, value)| (key.clone(), value.clone())).collect();
    Arc::new(Schema::new_with_metadata(schema.fields().clone(), metadata))
}

/// A part of a file that answers as if it were the whole one.
#[derive(Clone)]
struct Window {
    start: u64,
    bytes: Bytes,
}

impl Window {
    fn from(&self, start: u64) -> Result<Bytes, ParquetError> {
        let at = start.checked_sub(self.start).and_then(|at| usize::try_from(at).ok());
        match at.filter(|at| *at <= self.bytes.len()) {
            Some(at) => Ok(self.bytes.slice(at..)),
            None => Err(ParquetError::EOF(format!(
                "byte {start} lies outside the part that was read"
            ))),
        }
    }
}

impl Length for Window {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for Window {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        self.from(start).map(Buf::reader)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let bytes = self.from(start)?;
        if length > bytes.len() {
            return Err(ParquetError::EOF(format!(
                "{length} bytes from {start} end outside the part that was read"
            )));
        }
        Ok(bytes.slice(..length))
    }
}
