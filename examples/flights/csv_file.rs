//! Reads gzipped CSV files whose every complaint names the file, the line, the column and the value.
//!
//! A file is decompressed once and kept as text. An index remembers which lines belong to which key, so that a step
//! parses its own rows and no others. What the columns mean is decided where a table implements [`FromRow`].

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Cursor, Read};
use std::ops::RangeBounds;
use std::path::{Path, PathBuf};

use csv::{ByteRecord, Position};
use flate2::Crc;
use flate2::read::MultiGzDecoder;
use flowstone::prelude::*;
use jiff::Timestamp;

/// The most text that one file may hold, in bytes.
const TEXT_LEN_MAX: u64 = 1 << 30;
/// The most characters of a refused value that are shown.
const SHOWN_LEN_MAX: usize = 80;
/// How the source writes that a value is missing.
const MISSING: &str = "NA";

/// A table's row, made from a line of its file.
pub(crate) trait FromRow: Sized {
    /// Parses one line. Columns are found fastest in the order in which the file has them.
    fn from_row(row: &Row<'_>) -> Result<Self>;
}

/// A CSV file with a header, decompressed.
pub(crate) struct CsvFile {
    path: PathBuf,
    text: Vec<u8>,
    columns: Vec<String>,
    rows: Lines,
}

/// Neighboring lines of a file: where the first starts, and the byte at which the last ends.
struct Lines {
    start: Position,
    end: u64,
}

type Reader<'a> = csv::Reader<Cursor<&'a [u8]>>;

impl CsvFile {
    /// Decompresses the file at `path` and reads its header.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let text = decompress(path).map_err(|error| {
            error
                .during("read")
                .about(path.display())
                .fix("give a gzipped CSV file that is complete and may be read")
        })?;
        let rows = Lines {
            start: Position::new(),
            end: text.len() as u64,
        };
        let mut file = Self {
            path: path.to_owned(),
            text,
            columns: Vec::new(),
            rows,
        };
        let mut reader = file.reader();
        let header = reader.byte_headers().map_err(|error| file.complaint(1, error))?;
        let columns = header
            .iter()
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect();
        let start = reader.position().clone();
        file.columns = columns;
        file.rows.start = start;
        Ok(file)
    }

    /// All rows, in the order of the file.
    pub(crate) fn rows<T: FromRow>(&self) -> Result<Vec<T>> {
        let mut rows = Vec::new();
        self.read_rows(&mut self.reader(), &self.rows, &mut rows)?;
        Ok(rows)
    }

    /// A number that changes when the text does.
    pub(crate) fn checksum(&self) -> u32 {
        let mut crc = Crc::new();
        crc.update(&self.text);
        crc.sum()
    }

    fn reader(&self) -> Reader<'_> {
        csv::ReaderBuilder::new()
            .flexible(true)
            .from_reader(Cursor::new(&self.text))
    }

    fn read_rows<T: FromRow>(&self, reader: &mut Reader<'_>, lines: &Lines, rows: &mut Vec<T>) -> Result<()> {
        self.for_each(reader, lines, |row, _| {
            let (found, wanted) = (row.fields.len(), self.columns.len());
            if found != wanted {
                return Err(self.complaint(row.line, format!("{found} fields, the header has {wanted}")));
            }
            rows.push(T::from_row(&row)?);
            Ok(())
        })
    }

    /// Visits the rows among `lines`, each with its place.
    fn for_each(
        &self,
        reader: &mut Reader<'_>,
        lines: &Lines,
        mut visit: impl FnMut(Row<'_>, Lines) -> Result<()>,
    ) -> Result<()> {
        let mut fields = ByteRecord::new();
        let unreadable = |error| self.complaint(lines.start.line(), error);
        reader.seek(lines.start.clone()).map_err(unreadable)?;
        while reader.position().byte() < lines.end {
            let start = reader.position().clone();
            if !reader.read_byte_record(&mut fields).map_err(unreadable)? {
                break;
            }
            let row = Row {
                file: self,
                line: start.line(),
                fields: &fields,
                next: Cell::new(0),
            };
            visit(
                row,
                Lines {
                    start,
                    end: reader.position().byte(),
                },
            )?;
        }
        Ok(())
    }

    fn complaint(&self, line: u64, what: impl std::fmt::Display) -> Error {
        Error::permanent(format!("line {line}: {what}"))
            .code("csv_row_malformed")
            .during("read")
            .about(self.path.display())
            .fix("mend that line of the file, or take it out")
    }
}

/// The text of a gzipped file.
fn decompress(path: &Path) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    MultiGzDecoder::new(File::open(path)?)
        .take(TEXT_LEN_MAX + 1)
        .read_to_end(&mut text)?;
    match text.len() as u64 {
        0..=TEXT_LEN_MAX => Ok(text),
        _ => Err(Error::permanent(format!("it holds more than {TEXT_LEN_MAX} bytes of text")).fix("split the file")),
    }
}

/// A file whose rows are found by a key.
pub(crate) struct CsvIndex<K> {
    file: CsvFile,
    lines: BTreeMap<K, Vec<Lines>>,
}

impl<K: Ord> CsvIndex<K> {
    /// Reads the key of every row. Rows of one key need not stand together.
    pub(crate) fn build(file: CsvFile, key: impl Fn(&Row<'_>) -> Result<K>) -> Result<Self> {
        let mut lines: BTreeMap<K, Vec<Lines>> = BTreeMap::new();
        file.for_each(&mut file.reader(), &file.rows, |row, line| {
            let runs = lines.entry(key(&row)?).or_default();
            match runs.last_mut() {
                Some(run) if run.end == line.start.byte() => run.end = line.end,
                _ => runs.push(line),
            }
            Ok(())
        })?;
        Ok(Self { file, lines })
    }

    /// The rows whose keys lie in `keys`: ordered by key, and for one key as in the file.
    pub(crate) fn rows<T: FromRow>(&self, keys: impl RangeBounds<K>) -> Result<Vec<T>> {
        let mut rows = Vec::new();
        let mut reader = self.file.reader();
        for lines in self.lines.range(keys).flat_map(|(_, runs)| runs) {
            self.file.read_rows(&mut reader, lines, &mut rows)?;
        }
        Ok(rows)
    }

    /// By key, a number that changes when its rows or the header do.
    pub(crate) fn checksums(&self) -> impl Iterator<Item = (K, u32)>
    where
        K: Copy,
    {
        let header = &self.file.text[..self.file.rows.start.byte() as usize];
        self.lines.iter().map(move |(key, runs)| {
            let mut crc = Crc::new();
            crc.update(header);
            for run in runs {
                crc.update(&self.file.text[run.start.byte() as usize..run.end as usize]);
            }
            (*key, crc.sum())
        })
    }

    /// The least and the greatest key; none if the file has no rows.
    pub(crate) fn ends(&self) -> Option<(&K, &K)> {
        Some((self.lines.first_key_value()?.0, self.lines.last_key_value()?.0))
    }

    /// The file behind the index.
    pub(crate) fn file(&self) -> &CsvFile {
        &self.file
    }
}

/// One line of a file.
pub(crate) struct Row<'a> {
    file: &'a CsvFile,
    line: u64,
    fields: &'a ByteRecord,
    /// Where the next column is looked for first.
    next: Cell<usize>,
}

impl Row<'_> {
    /// The value of a column that every row has.
    pub(crate) fn get<T: FromField>(&self, column: &str) -> Result<T> {
        self.parse(column, self.text(column)?)
    }

    /// The value of a column, `None` where the source says that it is missing.
    pub(crate) fn optional<T: FromField>(&self, column: &str) -> Result<Option<T>> {
        match self.text(column)? {
            MISSING => Ok(None),
            text => self.parse(column, text).map(Some),
        }
    }

    /// The error for a value of this row that is not what was wanted.
    pub(crate) fn refuse(&self, column: &str, value: &str, wanted: &str) -> Error {
        let shown: String = value.chars().take(SHOWN_LEN_MAX).collect();
        self.file
            .complaint(self.line, format!("column {column}: {shown:?} is not {wanted}"))
    }

    fn parse<T: FromField>(&self, column: &str, text: &str) -> Result<T> {
        T::from_field(text).ok_or_else(|| self.refuse(column, text, T::WANTED))
    }

    fn text(&self, column: &str) -> Result<&str> {
        let columns = &self.file.columns;
        let expected = self.next.get();
        let place = if columns.get(expected).is_some_and(|name| name == column) {
            Some(expected)
        } else {
            columns.iter().position(|name| name == column)
        };
        let place = place.ok_or_else(|| self.file.complaint(1, format!("the header has no column {column}")))?;
        let field = self.fields.get(place);
        let field = field.ok_or_else(|| self.file.complaint(self.line, format!("column {column} is missing")))?;
        self.next.set(place + 1);
        std::str::from_utf8(field).map_err(|_| self.refuse(column, &String::from_utf8_lossy(field), "valid UTF-8"))
    }
}

/// A type that a field can hold.
pub(crate) trait FromField: Sized {
    /// What the field should have been, for people.
    const WANTED: &'static str;

    /// Reads the text of a field; `None` if it is no such value.
    fn from_field(text: &str) -> Option<Self>;
}

macro_rules! whole_numbers {
    ($($number:ty),*) => {
        $(impl FromField for $number {
            const WANTED: &'static str = concat!("a whole number that fits ", stringify!($number));

            fn from_field(text: &str) -> Option<Self> {
                text.parse().ok()
            }
        })*
    };
}

whole_numbers!(i8, i16, i32);

impl FromField for f64 {
    const WANTED: &'static str = "a finite number";

    fn from_field(text: &str) -> Option<Self> {
        text.parse().ok().filter(|number: &Self| number.is_finite())
    }
}

impl FromField for String {
    const WANTED: &'static str = "given";

    fn from_field(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| text.to_owned())
    }
}

impl FromField for Timestamp {
    const WANTED: &'static str = "an instant as 2013-01-01T06:00:00Z";

    fn from_field(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}
