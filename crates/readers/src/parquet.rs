//! Rows of Parquet files, each a JSON object.
//!
//! What rows look like as JSON is arrow's; reading on is by the number of the row. A file is fetched by row group, so memory
//! is that of the columns asked for in one of them.

mod object;
mod zone;

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use arrow::error::ArrowError;
use arrow::json::WriterBuilder;
use arrow::json::writer::LineDelimited;
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use async_trait::async_trait;
use bytes::Bytes;
use flowstone_core::reader::{Cursor, Item, ItemReader, ItemSource, Page};
use flowstone_core::{Error, ErrorKind, Result};
use futures::{FutureExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::ParquetRecordBatchStream;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::errors::ParquetError;

use self::object::Object;
use self::zone::in_utc;
use crate::cursor::CursorFormat;
use crate::error::{changed, corrupt, invalid, no_column, sort_io, sort_object, stopped};
use crate::key::key_of;
use crate::page::PageBuilder;
use crate::place::Place;

const FORMAT: CursorFormat = CursorFormat {
    reader: "rows of Parquet",
    tag: b'p',
    version: 1,
};

/// Rows are decoded so many at a time, and fewer when they are large.
const ROWS_MAX: u64 = 1_024;
const ROWS_BYTES: u64 = 1 << 20;

/// The rows of a Parquet file, as items.
///
/// A row is a JSON object of its columns, in the order of the file. Times are texts as ISO 8601 writes them, instants in
/// UTC whatever zone the file shows them in; binary values are hexadecimal texts, what is missing is null, and so is a float that is no number. The key is the number of the row, from
/// 1, unless [`key`](Self::key) says otherwise.
///
/// ```no_run
/// use flowstone_core::reader::ItemSource;
/// use flowstone_readers::Parquet;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> flowstone_core::Result<()> {
/// let routes = Parquet::file("flights.parquet").columns(["carrier", "origin", "dest"]).key("carrier");
/// let mut reader = routes.open().await?;
/// let page = reader.read(None, 1_000).await?;
/// # reader.close().await;
/// # Ok(())
/// # }
/// ```
///
/// # When the file changes
/// A cursor counts rows and says of how many, and of how many bytes of file. A file with another number of either is
/// refused with `source_changed`.
///
/// # Errors
/// Opening says `NotFound` when there is no file, or no such column, and `Corrupt` with code `parquet_corrupt` when it is no
/// Parquet file or was cut off. Reading says `TypeMismatch` for a row without its key.
#[derive(Debug, Clone)]
pub struct Parquet {
    place: Place,
    columns: Option<Vec<String>>,
    keys: Vec<String>,
}

impl Parquet {
    /// Reads a file on the local disk.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::at(Place::Disk(path.into()))
    }

    /// Reads an object of `store`.
    pub fn in_store(store: Arc<dyn ObjectStore>, path: impl Into<Path>) -> Self {
        Self::at(Place::Store(store, path.into()))
    }

    fn at(place: Place) -> Self {
        Self {
            place,
            columns: None,
            keys: Vec::new(),
        }
    }

    /// Reads these columns only; the others are not even fetched. Those of the key are read besides.
    #[must_use]
    pub fn columns<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.columns = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Takes the key of a row from this column. Called again, several columns make up the key.
    #[must_use]
    pub fn key(mut self, column: impl Into<String>) -> Self {
        self.keys.push(column.into());
        self
    }

    /// The store in which the file lies, and its path there.
    async fn located(&self) -> Result<(Arc<dyn ObjectStore>, Path)> {
        let path = match &self.place {
            Place::Store(store, path) => return Ok((Arc::clone(store), path.clone())),
            Place::Disk(path) => path.clone(),
        };
        let found = tokio::task::spawn_blocking(move || std::fs::canonicalize(path));
        let found = found
            .await
            .map_err(stopped)?
            .map_err(|error| sort_io(error, &self.place))?;
        if found.is_dir() {
            return Err(invalid(&self.place, "it is a folder").fix("name a file"));
        }
        let path = Path::from_absolute_path(&found).map_err(|error| {
            invalid(&self.place, "its path cannot be used")
                .fix("give it a path that is UTF-8")
                .caused_by(error)
        })?;
        Ok((Arc::new(LocalFileSystem::new()), path))
    }
}

#[async_trait]
impl ItemSource for Parquet {
    async fn open(&self) -> Result<Box<dyn ItemReader>> {
        let (store, path) = self.located().await?;
        let found = store
            .head(&path)
            .await
            .map_err(|error| sort_object(error).about(&self.place))?;
        let mut object = Object {
            store,
            path,
            bytes: found.size,
        };
        let footer = ArrowReaderMetadata::load_async(&mut object, ArrowReaderOptions::new());
        let footer = guarded(&self.place, footer).await?;
        let file = File::new(self, object, footer)?;
        Ok(Box::new(ParquetReader { file, state: None }))
    }
}

/// A file and what is read of it.
struct File {
    place: Place,
    object: Object,
    footer: ArrowReaderMetadata,
    rows: u64,
    projection: ProjectionMask,
    keys: Vec<String>,
}

impl File {
    fn new(parquet: &Parquet, object: Object, footer: ArrowReaderMetadata) -> Result<Self> {
        let place = parquet.place.clone();
        let schema = footer.schema();
        let index_of = |name: &String| {
            let names = schema.fields().iter().map(|field| field.name().as_str());
            schema.index_of(name).map_err(|_| no_column(&place, name, names))
        };
        for key in &parquet.keys {
            check_key(schema, index_of(key)?).map_err(|error| error.about(&place))?;
        }
        let projection = match &parquet.columns {
            None => ProjectionMask::all(),
            Some(names) if names.is_empty() => {
                return Err(invalid(&place, "no column is asked for").fix("name one, or leave `.columns(…)` out"));
            }
            Some(names) => {
                let indices = names.iter().chain(&parquet.keys).map(index_of);
                let indices: Vec<usize> = indices.collect::<Result<_>>()?;
                ProjectionMask::roots(footer.parquet_schema(), indices)
            }
        };
        let rows = footer.metadata().file_metadata().num_rows();
        Ok(Self {
            rows: u64::try_from(rows).unwrap_or(0),
            keys: parquet.keys.clone(),
            place,
            object,
            footer,
            projection,
        })
    }

    /// Opens it at a row.
    fn state_at(&self, row: u64) -> Result<State> {
        let (mut before, mut first) = (0, 0);
        for group in self.footer.metadata().row_groups() {
            let rows = u64::try_from(group.num_rows()).unwrap_or(0);
            if before + rows > row {
                break;
            }
            before += rows;
            first += 1;
        }
        let groups: Vec<usize> = (first..self.footer.metadata().num_row_groups()).collect();
        let bytes: i64 = groups
            .iter()
            .map(|&group| self.footer.metadata().row_group(group).total_byte_size())
            .sum();
        let row_bytes = u64::try_from(bytes).unwrap_or(0) / (self.rows - before).max(1);
        let batch_rows = (ROWS_BYTES / row_bytes.max(1)).clamp(1, ROWS_MAX);
        let stream = ParquetRecordBatchStreamBuilder::new_with_metadata(self.object.clone(), self.footer.clone())
            .with_row_groups(groups)
            .with_offset(usize::try_from(row - before).unwrap_or(usize::MAX))
            .with_projection(self.projection.clone())
            .with_batch_size(usize::try_from(batch_rows).unwrap_or(1))
            .build();
        Ok(State {
            stream: stream.map_err(|error| sort(error, &self.place))?,
            decoded: Vec::new().into_iter(),
            row,
        })
    }

    /// The items of the rows of `batch`, of which the first is the one after `row`.
    fn items(&self, batch: RecordBatch, row: u64) -> Result<Vec<Item>> {
        let batch = in_utc(batch).map_err(|error| unwritable(error).about(&self.place))?;
        let lines = json_lines(&batch).map_err(|error| unwritable(error).about(&self.place))?;
        let options = FormatOptions::default();
        let columns = self.keys.iter().map(|key| {
            let column = batch.column_by_name(key).expect("the columns of the key are read");
            let texts = ArrayFormatter::try_new(column, &options).map_err(unwritable)?;
            Ok((key, column, texts))
        });
        let columns: Vec<_> = columns.collect::<Result<_>>()?;
        let lines = split(&lines).into_iter().enumerate();
        let items = lines.map(|(index, json)| {
            let number = row + index as u64 + 1;
            if columns.is_empty() {
                return Ok(Item {
                    key: number.to_string(),
                    json,
                });
            }
            let texts = columns.iter().map(|(name, column, texts)| {
                if column.is_null(index) {
                    return Err(no_key(name).about(format!("{}, row {number}", self.place)));
                }
                texts.value(index).try_to_string().map_err(unwritable)
            });
            Ok(Item {
                key: key_of(texts.collect::<Result<_>>()?),
                json,
            })
        });
        items.collect()
    }
}

struct ParquetReader {
    file: File,
    /// Taken while a page is read: one that is given up half-way starts again from its cursor.
    state: Option<State>,
}

/// The file at a row.
struct State {
    stream: ParquetRecordBatchStream<Object>,
    /// What is decoded and not given yet.
    decoded: std::vec::IntoIter<Item>,
    /// Rows that were given.
    row: u64,
}

#[async_trait]
impl ItemReader for ParquetReader {
    fn has_distinct_keys(&self) -> bool {
        self.file.keys.is_empty()
    }

    async fn read(&mut self, cursor: Option<&Cursor>, items_max: usize) -> Result<Page> {
        let file = &self.file;
        let row = match cursor {
            None => 0,
            Some(cursor) => {
                let mut position = FORMAT.open(cursor)?;
                let (row, rows, bytes) = (position.u64()?, position.u64()?, position.u64()?);
                let damaged = position.damaged();
                position.end()?;
                if (rows, bytes) != (file.rows, file.object.bytes) {
                    let how = format!(
                        "it had {rows} rows in {bytes} bytes and has {} in {}",
                        file.rows, file.object.bytes
                    );
                    return Err(changed(&file.place, how));
                }
                if row > rows {
                    return Err(damaged);
                }
                row
            }
        };
        let mut state = match self.state.take() {
            Some(state) if state.row == row => state,
            _ => file.state_at(row)?,
        };
        let mut page = PageBuilder::new(items_max);
        while !page.is_full() && state.row < file.rows {
            if let Some(item) = state.decoded.next() {
                page.push(item)?;
                state.row += 1;
                continue;
            }
            let batch = guarded(&file.place, state.stream.try_next()).await?;
            let Some(batch) = batch else {
                return Err(
                    corrupt("parquet_corrupt", &file.place, "it has fewer rows than its footer says")
                        .fix("write the file again"),
                );
            };
            state.decoded = file.items(batch, state.row)?.into_iter();
        }
        let next = (state.row < file.rows).then(|| {
            FORMAT.cursor(|position| {
                for number in [state.row, file.rows, file.object.bytes] {
                    position.extend(number.to_le_bytes());
                }
            })
        });
        self.state = next.is_some().then_some(state);
        Ok(page.finish(next))
    }

    async fn close(&mut self) {
        self.state = None;
    }
}

/// One line of JSON for each row.
fn json_lines(batch: &RecordBatch) -> Result<Bytes, ArrowError> {
    let mut writer = WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, LineDelimited>(Vec::new());
    writer.write(batch)?;
    writer.finish()?;
    Ok(writer.into_inner().into())
}

/// The lines of a text in which line ends stand between documents only.
fn split(lines: &Bytes) -> Vec<Bytes> {
    let documents = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    documents.map(|line| lines.slice_ref(line)).collect()
}

fn check_key(schema: &Schema, index: usize) -> Result<()> {
    let field = schema.field(index);
    if !field.data_type().is_nested() && *field.data_type() != DataType::Null {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::TypeMismatch,
        format!(
            "its column {:?} is {}, which is no key",
            field.name(),
            field.data_type()
        ),
    )
    .code("item_key_invalid")
    .during("open")
    .fix("take the key from a column of texts, numbers or times; without a key the row's number is taken"))
}

fn no_key(name: &str) -> Error {
    Error::new(ErrorKind::TypeMismatch, format!("its key {name:?} is null"))
        .code("item_key_invalid")
        .during("read")
        .fix("take the key from a column that every row has; without a key the row's number is taken")
}

fn unwritable(error: ArrowError) -> Error {
    Error::new(ErrorKind::Unsupported, "a row cannot be written as JSON")
        .code("item_invalid")
        .during("read")
        .fix("leave out the column that cannot be written, by `.columns(…)`")
        .caused_by(error)
}

/// Decodes; a panic of the decoder, which some damaged files cause, is an error like any other.
async fn guarded<T>(place: &Place, decoding: impl Future<Output = Result<T, ParquetError>>) -> Result<T> {
    match AssertUnwindSafe(decoding).catch_unwind().await {
        Ok(decoded) => decoded.map_err(|error| sort(error, place)),
        Err(_) => Err(damaged(place)),
    }
}

fn damaged(place: &Place) -> Error {
    corrupt(
        "parquet_corrupt",
        place,
        "it is no Parquet file, or was cut off or damaged",
    )
    .fix("write or copy the file again")
}

fn sort(error: ParquetError, place: &Place) -> Error {
    match error {
        ParquetError::External(source) => match source.downcast::<object_store::Error>() {
            Ok(source) => sort_object(*source).about(place),
            Err(source) => Error::new(ErrorKind::Unavailable, "the storage does not answer")
                .during("read")
                .about(place)
                .caused_by(source),
        },
        error => damaged(place).caused_by(error),
    }
}
