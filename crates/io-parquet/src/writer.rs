//! Writes a table into one Parquet object, row group by row group.
//!
//! Rows gather until they fill a row group, which is encoded and fingerprinted beside the executor while the next one
//! fills; at most [`IN_FLIGHT`] are on their way, so memory does not grow with the table. The object appears whole when
//! [`TableWriter::finish`] returns, or not at all.

use std::collections::VecDeque;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use flowstone_core::io::{Slot, Stored};
use flowstone_core::{Error, ErrorKind, Result, ResultExt};
use flowstone_io_object::{ObjectArea, StagedObject};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::errors::ParquetError;
use parquet::file::writer::SerializedFileWriter;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::Parquet;
use crate::blocks::Blocks;
use crate::content::{Content, hash_block};
use crate::error::{stopped, unwritable};
use crate::schema::describe;
use crate::seal::{Seal, footer_entry, to_address};

/// Row groups that are being encoded at a time.
const IN_FLIGHT: usize = 2;
/// The bytes that the rows of a row group have at most, unless it is one block; so a block with a single row of gigabytes is a
/// group of its own, since readers count the texts of a group's column by 31 bits.
const GROUP_LEN: u64 = 32 << 20;
const EXTENSION: &str = "parquet";
const DURING: &str = "write a table";

/// Writes a table of any size in bounded memory. See [`TableReader`](crate::TableReader) for an example.
pub struct TableWriter {
    staged: StagedObject,
    assembly: Option<Assembly>,
    groups: ArrowRowGroupWriterFactory,
    groups_begun: usize,
    rows_per_group: usize,
    blocks: Blocks,
    /// The blocks of the row group that fills.
    group: Vec<RecordBatch>,
    group_rows: usize,
    group_len: u64,
    encoding: VecDeque<JoinHandle<Result<Group>>>,
    content: Content,
    rows: u64,
}

/// One encoded row group.
struct Group {
    chunks: Vec<ArrowColumnChunk>,
    hashes: Vec<blake3::Hash>,
}

/// The file as it grows: takes encoded row groups in order, gives their bytes.
struct Assembly {
    file: SerializedFileWriter<Vec<u8>>,
    seals: Vec<Seal>,
    len: u64,
}

impl TableWriter {
    /// Begins the table of the attempt in `slot`, with the columns of `schema`.
    ///
    /// # Errors
    /// `Invalid` with the column when Parquet cannot keep one, `OutOfRange` for a wrong option, `StorageFull`,
    /// `PermissionDenied`, `Unavailable` for the medium.
    pub async fn begin(area: &ObjectArea, slot: Slot, schema: &SchemaRef, options: &Parquet) -> Result<Self> {
        if schema.fields().is_empty() {
            return Err(unwritable("a table without columns has no place for its rows"));
        }
        let content = Content::new(&describe(schema)?);
        let writer = ArrowWriter::try_new(Vec::new(), SchemaRef::clone(schema), Some(options.properties()?));
        let (file, groups) = writer
            .and_then(ArrowWriter::into_serialized_writer)
            .map_err(unwritable)?;
        Ok(Self {
            staged: area.stage(slot, EXTENSION).await?,
            assembly: Some(Assembly {
                file,
                seals: Vec::new(),
                len: 0,
            }),
            groups,
            groups_begun: 0,
            rows_per_group: options.rows_per_group(),
            blocks: Blocks::new(SchemaRef::clone(schema)),
            group: Vec::new(),
            group_rows: 0,
            group_len: 0,
            encoding: VecDeque::new(),
            content,
            rows: 0,
        })
    }

    /// Adds the rows of `batch`, which has the columns that the table was begun with.
    ///
    /// # Errors
    /// `Invalid` when it has others or a value cannot be written; those of the medium. After an error the table cannot
    /// be finished.
    pub async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        if batch.schema_ref().fields() != self.blocks.schema().fields() {
            return Err(unwritable(
                "a batch does not have the columns that the table was begun with",
            ));
        }
        self.rows += batch.num_rows() as u64;
        self.blocks.push(batch);
        while self.blocks.has_whole() {
            self.fill_group().await?;
        }
        Ok(())
    }

    /// Writes what is left and the footer, makes the object durable and verifies it.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn finish(mut self) -> Result<Stored> {
        self.fill_group().await?;
        if !self.group.is_empty() {
            self.begin_group().await?;
        }
        while let Some(group) = self.encoding.pop_front() {
            self.append(group).await?;
        }
        let assembly = self.assembly.take().ok_or_else(broken)?;
        let (footer, seal) = spawn_blocking(|| assembly.finish()).await.map_err(stopped)??;
        self.staged.write(footer).await.during(DURING)?;
        let path = self.staged.publish().await.during(DURING)?;
        Ok(Stored {
            address: to_address(&path, &seal),
            data_version: self.content.finish(),
            bytes: seal.range.end,
            rows: Some(self.rows),
            manifest: None,
        })
    }

    /// Adds the next block to the row group, and begins to encode that when it is large enough.
    async fn fill_group(&mut self) -> Result<()> {
        let Some((block, len)) = self.blocks.cut()? else {
            return Ok(());
        };
        if !self.group.is_empty() && self.group_len + len > GROUP_LEN {
            self.begin_group().await?;
        }
        self.group_rows += block.num_rows();
        self.group_len += len;
        self.group.push(block);
        if self.group_rows >= self.rows_per_group {
            self.begin_group().await?;
        }
        Ok(())
    }

    async fn begin_group(&mut self) -> Result<()> {
        if self.encoding.len() >= IN_FLIGHT
            && let Some(first) = self.encoding.pop_front()
        {
            self.append(first).await?;
        }
        let columns = self
            .groups
            .create_column_writers(self.groups_begun)
            .map_err(unwritable)?;
        self.groups_begun += 1;
        let blocks = std::mem::take(&mut self.group);
        (self.group_rows, self.group_len) = (0, 0);
        self.encoding
            .push_back(spawn_blocking(move || encode(columns, &blocks)));
        Ok(())
    }

    async fn append(&mut self, group: JoinHandle<Result<Group>>) -> Result<()> {
        let group = group.await.map_err(stopped)??;
        for hash in &group.hashes {
            self.content.add(hash);
        }
        let mut assembly = self.assembly.take().ok_or_else(broken)?;
        let append = move || assembly.append(group.chunks).map(|bytes| (assembly, bytes));
        let (assembly, bytes) = spawn_blocking(append).await.map_err(stopped)?.map_err(unwritable)?;
        self.assembly = Some(assembly);
        self.staged.write(bytes).await.during(DURING)
    }
}

impl Assembly {
    /// Adds a row group; gives the bytes that the file grew by.
    fn append(&mut self, chunks: Vec<ArrowColumnChunk>) -> Result<Bytes, ParquetError> {
        let mut group = self.file.next_row_group()?;
        for chunk in chunks {
            chunk.append_to_row_group(&mut group)?;
        }
        group.close()?;
        self.file.flush()?;
        let bytes = std::mem::take(self.file.inner_mut());
        self.seals.push(Seal::of(self.len, &bytes));
        self.len += bytes.len() as u64;
        Ok(bytes.into())
    }

    /// The rest of the file, and its seal.
    fn finish(mut self) -> Result<(Bytes, Seal)> {
        self.file.append_key_value_metadata(footer_entry(&self.seals));
        let footer = self.file.into_inner().map_err(unwritable)?;
        let seal = Seal::of(self.len, &footer);
        Ok((footer.into(), seal))
    }
}

fn encode(mut columns: Vec<ArrowColumnWriter>, blocks: &[RecordBatch]) -> Result<Group> {
    let mut hashes = Vec::with_capacity(blocks.len());
    for block in blocks {
        hashes.push(hash_block(block)?);
        let mut writers = columns.iter_mut();
        for (field, array) in block.schema_ref().fields().iter().zip(block.columns()) {
            let leaves = compute_leaves(field, array).map_err(|error| of_column(error, field.name()))?;
            for leaf in leaves {
                let writer = writers.next().expect("there is a writer for each leaf");
                writer.write(&leaf).map_err(|error| of_column(error, field.name()))?;
            }
        }
    }
    let chunks: Result<_, _> = columns.into_iter().map(ArrowColumnWriter::close).collect();
    Ok(Group {
        chunks: chunks.map_err(unwritable)?,
        hashes,
    })
}

fn of_column(error: ParquetError, name: &str) -> Error {
    unwritable(error).about(format_args!("column {name:?}"))
}

fn broken() -> Error {
    Error::new(ErrorKind::Invalid, "an earlier write of the table failed").during(DURING)
}
