//! What a pipeline names when it wants its tables kept as Parquet.
//!
//! Options and registration only; the storing is the manager's.

use std::borrow::Cow;
use std::sync::Arc;

use flowstone_core::io::{IoEnv, IoFactory, IoManager};
use flowstone_core::registry::{CONTRACT_VERSION, Plugin, Registry};
use flowstone_core::{Error, ErrorKind, Result, TypeInfo};
use flowstone_io_object::ObjectArea;
use parquet::basic::{Compression as ParquetCompression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::blocks::BLOCK_ROWS;
use crate::manager::{ParquetManager, check};

const ROW_GROUP_ROWS: usize = 8 * BLOCK_ROWS;

/// How columns are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// Fast, and less dense than zstd.
    Snappy,
    /// Zstandard at a level from 1 to 22; level 1 is the default.
    Zstd(i32),
}

/// Keeps tables as Parquet files: a [`Table`](crate::Table), or a `Vec` of any serde struct.
///
/// As a plugin it registers itself under the name `parquet`.
///
/// ```
/// use flowstone_core::TypeInfo;
/// use flowstone_core::io::IoFactory;
/// use flowstone_io_parquet::{Compression, Parquet, Table};
///
/// let parquet = Parquet::default().compression(Compression::Snappy);
/// assert!(parquet.accepts(TypeInfo::of::<Table>()).is_ok());
/// assert!(parquet.accepts(TypeInfo::of::<String>()).is_err());
/// ```
///
/// # Rows
/// The columns follow from the row's type alone. What each field becomes:
///
/// | in Rust | column |
/// |---|---|
/// | `bool`, integers to 64 bits, `f32`, `f64` | the same |
/// | `String` and everything that serde writes as text | text |
/// | an instant (`jiff::Timestamp`, `chrono::DateTime<Utc>`) | timestamp in UTC, nanoseconds; 1677 to 2262 |
/// | a civil date, time, date and time | date; time; timestamp without zone, nanoseconds |
/// | an enum without data | text, the variant's name |
/// | `char` | number of 32 bits |
/// | bytes through `serialize_bytes` | bytes |
/// | `Option` | nulls allowed |
/// | a struct, tuple, array; a `Vec`; a map | struct; list; map |
///
/// Refused when the pipeline is built, naming the field: enums with data, an option in an option, `flatten` and
/// untagged types, JSON values, aliases and fields that are written under another name than they are read, 128-bit
/// integers, structs without fields, types that contain themselves.
///
/// # Data versions
/// The data version is a fingerprint of the schema and the values, not of the file: other compression, row groups or
/// versions of the Parquet writer do not change it. The file's bytes, too, are the same for the same table and options.
#[derive(Debug, Clone)]
pub struct Parquet {
    name: Cow<'static, str>,
    compression: Compression,
    row_group_rows: usize,
    area: Option<ObjectArea>,
}

impl Parquet {
    /// The name under which assets ask for it; `parquet` unless given.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Cow::Owned(name.into());
        self
    }

    /// How columns are compressed; zstd at level 1 unless given.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// The most rows of a row group, rounded up to a multiple of 16,384; 131,072 unless given. A group of large rows ends earlier:
    /// before the block of 16,384 rows, or fewer, that would take it beyond 32 MiB. Writing and reading hold a few row groups in memory, so fewer
    /// rows need less of it and more rows compress better.
    #[must_use]
    pub fn row_group_rows(mut self, rows: usize) -> Self {
        self.row_group_rows = rows.max(1).next_multiple_of(BLOCK_ROWS);
        self
    }

    /// Keeps files in `area` instead of the state folder.
    #[must_use]
    pub fn in_area(mut self, area: ObjectArea) -> Self {
        self.area = Some(area);
        self
    }

    pub(crate) fn rows_per_group(&self) -> usize {
        self.row_group_rows
    }

    /// The settings for the Parquet writer.
    ///
    /// # Errors
    /// `OutOfRange` for a level that zstd does not have.
    pub(crate) fn properties(&self) -> Result<WriterProperties> {
        let compression = match self.compression {
            Compression::None => ParquetCompression::UNCOMPRESSED,
            Compression::Snappy => ParquetCompression::SNAPPY,
            Compression::Zstd(level) => ParquetCompression::ZSTD(ZstdLevel::try_new(level).map_err(|_| {
                Error::new(ErrorKind::OutOfRange, format!("zstd has no level {level}"))
                    .during("open the IO manager")
                    .about(&self.name)
                    .fix("choose a level from 1 to 22")
            })?),
        };
        Ok(WriterProperties::builder()
            .set_compression(compression)
            .set_max_row_group_row_count(Some(self.row_group_rows))
            .build())
    }
}

impl Default for Parquet {
    fn default() -> Self {
        Self {
            name: Cow::Borrowed("parquet"),
            compression: Compression::Zstd(1),
            row_group_rows: ROW_GROUP_ROWS,
            area: None,
        }
    }
}

impl IoFactory for Parquet {
    fn accepts(&self, ty: TypeInfo) -> Result<()> {
        self.properties()?;
        check(ty)
    }

    fn open(&self, env: &IoEnv) -> Result<Arc<dyn IoManager>> {
        self.properties()?;
        let area = match &self.area {
            Some(area) => area.clone(),
            None => ObjectArea::open(env)?,
        };
        Ok(Arc::new(ParquetManager::new(area, self.clone())))
    }
}

impl Plugin for Parquet {
    fn name(&self) -> &str {
        "parquet"
    }

    fn contract(&self) -> u32 {
        CONTRACT_VERSION
    }

    fn register(self: Box<Self>, registry: &mut Registry) -> Result<()> {
        registry.io(self.name.clone(), Arc::new(*self))
    }
}
