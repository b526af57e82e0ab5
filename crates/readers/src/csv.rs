//! Rows of CSV and its kin, each a JSON object by the names of the header.
//!
//! What a row's JSON looks like is decided in `row`; cutting rows out of bytes is csv-core's, what they come from
//! `content`'s.

mod row;

use std::path::PathBuf;

use async_trait::async_trait;
use bytes::BytesMut;
use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use flowstone_core::reader::{Cursor, ITEM_LEN_MAX, Item, ItemReader, ItemSource, Page};
use flowstone_core::{Error, ErrorKind, Result};

use self::row::{Header, Types};
use crate::content::{Content, Mark};
use crate::cursor::CursorFormat;
use crate::error::{corrupt, invalid, no_column};
use crate::page::PageBuilder;
use crate::place::Place;

const FORMAT: CursorFormat = CursorFormat {
    reader: "rows of CSV",
    tag: b'c',
    version: 1,
};

/// Items are written into blocks of this size, which they share.
const BLOCK_LEN: usize = 64 << 10;

/// The rows of a CSV file, or of another delimiter, as items.
///
/// A row is a JSON object with a field for each column, in the order of the header. Values are texts, as they stand;
/// [`typed`](Self::typed) makes numbers, truth values and nulls of some. The key is the number of the row, from 1, the
/// header not counted, unless [`key`](Self::key) says otherwise. Empty lines are passed over; a name that ends in `.gz` is
/// unpacked.
///
/// ```
/// use flowstone_core::reader::ItemSource;
/// use flowstone_readers::Csv;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> flowstone_core::Result<()> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("airports.csv");
/// std::fs::write(&path, "faa,name,alt\nEWR,Newark Liberty,18\nJFK,\"John F Kennedy\",13\n")?;
///
/// let airports = Csv::file(&path).key("faa").typed();
/// let mut reader = airports.open().await?;
/// let page = reader.read(None, 1_000).await?;
/// assert_eq!(page.items[1].key, "JFK");
/// assert_eq!(&page.items[1].json[..], br#"{"faa":"JFK","name":"John F Kennedy","alt":13}"#);
/// # reader.close().await;
/// # Ok(())
/// # }
/// ```
///
/// # When the file changes
/// As for lines of JSON: a cursor is an offset with what stood before it. Rows may be appended while the file is read; a file
/// that was replaced or cut is refused with `source_changed`.
///
/// # Errors
/// Opening says `NotFound` when there is no file, or no column for the key; `Corrupt` with code `csv_header` when there is
/// no header or two columns have one name. Reading says `Corrupt` with code `csv_row` for a row of another length, with
/// bytes that are not UTF-8, or with a quote that is never closed, naming row and line.
#[derive(Debug, Clone)]
pub struct Csv {
    place: Place,
    dialect: Dialect,
    headers: Option<Vec<String>>,
    keys: Vec<String>,
    types: Types,
}

#[derive(Debug, Clone, Copy)]
struct Dialect {
    delimiter: u8,
    quote: Option<u8>,
}

impl Csv {
    /// Reads a file on the local disk. Its columns are separated by tabs when its name ends in `.tsv`, by `|` for `.psv`,
    /// else by commas.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::at(Place::Disk(path.into()))
    }

    /// Reads an object of `store`.
    #[cfg(feature = "object")]
    pub fn in_store(
        store: std::sync::Arc<dyn object_store::ObjectStore>,
        path: impl Into<object_store::path::Path>,
    ) -> Self {
        Self::at(Place::Store(store, path.into()))
    }

    fn at(place: Place) -> Self {
        let delimiter = match place.extension().as_deref() {
            Some("tsv" | "tab") => b'\t',
            Some("psv") => b'|',
            _ => b',',
        };
        Self {
            place,
            dialect: Dialect {
                delimiter,
                quote: Some(b'"'),
            },
            headers: None,
            keys: Vec::new(),
            types: Types::default(),
        }
    }

    /// Takes this byte to separate columns.
    #[must_use]
    pub fn delimiter(mut self, delimiter: u8) -> Self {
        self.dialect.delimiter = delimiter;
        self
    }

    /// Takes this byte for quotes instead of `"`; within quotes it stands for itself when it stands twice.
    #[must_use]
    pub fn quote(mut self, quote: u8) -> Self {
        self.dialect.quote = Some(quote);
        self
    }

    /// Takes quotes for what they are, as many programs write TSV.
    #[must_use]
    pub fn unquoted(mut self) -> Self {
        self.dialect.quote = None;
        self
    }

    /// Names the columns of a file that has no header: its first row is a row then.
    #[must_use]
    pub fn headers<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.headers = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Takes the key of a row from this column. Called again, several columns make up the key.
    #[must_use]
    pub fn key(mut self, column: impl Into<String>) -> Self {
        self.keys.push(column.into());
        self
    }

    /// Makes JSON of what looks like it: numbers that 64 bits hold, `true`, `false`, and null of what is empty.
    ///
    /// Each value is looked at by itself. `007` and `1,5` are no numbers, so a column of zip codes comes out mixed:
    /// say [`text`](Self::text) for it.
    #[must_use]
    pub fn typed(mut self) -> Self {
        self.types.is_typed = true;
        self
    }

    /// Keeps this column text where others are [`typed`](Self::typed).
    #[must_use]
    pub fn text(mut self, column: impl Into<String>) -> Self {
        self.types.texts.push(column.into());
        self
    }

    /// Makes null of this value, such as `NA`, in every column that is not kept text.
    #[must_use]
    pub fn null(mut self, value: impl Into<String>) -> Self {
        self.types.nulls.push(value.into());
        self
    }

    fn parser(&self) -> Result<Reader> {
        let Dialect { delimiter, quote } = self.dialect;
        if [b'\n', b'\r'].contains(&delimiter) || quote == Some(delimiter) {
            let delimiter = char::from(delimiter);
            return Err(invalid(&self.place, format!("{delimiter:?} cannot separate columns"))
                .fix("take another byte than line ends and quotes"));
        }
        let mut parser = ReaderBuilder::new();
        parser.delimiter(delimiter).quoting(quote.is_some());
        if let Some(quote) = quote {
            parser.quote(quote);
        }
        Ok(parser.build())
    }
}

#[async_trait]
impl ItemSource for Csv {
    async fn open(&self) -> Result<Box<dyn ItemReader>> {
        let parser = self.parser()?;
        let content = Content::open(&self.place, &Mark::default()).await?;
        let mut state = State::new(content, parser, At { row: 0, line: 1 });
        let names = match &self.headers {
            Some(names) => names.clone(),
            None => state.header().await?,
        };
        let header = Header::new(&names, &self.types, &self.keys).map_err(|bad| bad.sort(&self.place))?;
        state.at.line = state.parser.line();
        let start = (state.at, state.content.mark().clone());
        Ok(Box::new(CsvReader {
            csv: self.clone(),
            header,
            start,
            state: Some(state),
            has_distinct_keys: self.keys.is_empty(),
        }))
    }
}

struct CsvReader {
    csv: Csv,
    header: Header,
    /// Where the first row begins.
    start: (At, Mark),
    /// Taken while a page is read: one that is given up half-way starts again from its cursor.
    state: Option<State>,
    has_distinct_keys: bool,
}

#[async_trait]
impl ItemReader for CsvReader {
    fn has_distinct_keys(&self) -> bool {
        self.has_distinct_keys
    }

    async fn read(&mut self, cursor: Option<&Cursor>, items_max: usize) -> Result<Page> {
        let (at, mark) = match cursor {
            None => self.start.clone(),
            Some(cursor) => {
                let mut position = FORMAT.open(cursor)?;
                let at = At {
                    row: position.u64()?,
                    line: position.u64()?,
                };
                (at, Mark::read(position)?)
            }
        };
        let mut state = match self.state.take() {
            Some(state) if state.at.row == at.row && *state.content.mark() == mark => state,
            _ => State::new(Content::open(&self.csv.place, &mark).await?, self.csv.parser()?, at),
        };
        let mut page = PageBuilder::new(items_max);
        let mut block = BytesMut::new();
        while !page.is_full() {
            if !state.next().await? {
                return Ok(page.finish(None));
            }
            state.at.row += 1;
            block.reserve(BLOCK_LEN.max(state.fields_len() * 2));
            page.push(self.item(&state, &mut block)?)?;
        }
        let next = FORMAT.cursor(|position| {
            position.extend(state.at.row.to_le_bytes());
            position.extend(state.parser.line().to_le_bytes());
            state.content.mark().write(position);
        });
        self.state = Some(state);
        Ok(page.finish(Some(next)))
    }

    async fn close(&mut self) {
        self.state = None;
    }
}

impl CsvReader {
    fn item(&self, state: &State, block: &mut BytesMut) -> Result<Item> {
        let (found, wanted) = (state.ends_len, self.header.len());
        if found != wanted {
            return Err(state
                .refuse(format!("it has {found} columns, the header has {wanted}"))
                .fix("mend the row, or say what separates columns by `.delimiter(…)`, and `.unquoted()` where quotes mean nothing"));
        }
        let fields = state.fields().map(|field| {
            std::str::from_utf8(field.bytes).map_err(|error| {
                let byte = error.valid_up_to() + 1;
                let column = self.header.name(field.index);
                state
                    .refuse(format!("byte {byte} of its column {column:?} is not UTF-8"))
                    .fix("write the file as UTF-8; `iconv -f latin1 -t utf-8` does it")
            })
        });
        self.header.write(fields, block)?;
        let json = block.split().freeze();
        let key = self
            .header
            .key(|index| state.field(index))
            .unwrap_or_else(|| state.at.row.to_string());
        Ok(Item { key, json })
    }
}

/// Where in the file a row stands.
#[derive(Debug, Clone, Copy)]
struct At {
    /// Rows before it.
    row: u64,
    /// The number of the line on which it begins, from 1.
    line: u64,
}

/// The file, at the beginning of a row; after `next`, the row as well.
struct State {
    content: Content,
    parser: Reader,
    at: At,
    /// The values of the row one after the other, and where each ends.
    values: Vec<u8>,
    ends: Vec<usize>,
    ends_len: usize,
}

struct Field<'a> {
    index: usize,
    bytes: &'a [u8],
}

impl State {
    fn new(content: Content, mut parser: Reader, at: At) -> Self {
        let mut values = vec![0; 1 << 10];
        let mut ends = vec![0; 32];
        if content.mark().offset > 0 {
            // Only at the start of a file is a byte order mark one; a parser takes its first bytes for the start.
            let _ = parser.read_record(b"\n", &mut values, &mut ends);
        }
        parser.set_line(at.line);
        Self {
            content,
            parser,
            at,
            values,
            ends,
            ends_len: 0,
        }
    }

    async fn header(&mut self) -> Result<Vec<String>> {
        let place = self.content.place().to_string();
        if !self.next().await? {
            return Err(corrupt("csv_header", place, "it has no header")
                .fix("write a first row with the names of the columns, or name them by `.headers([…])`"));
        }
        let names = self.fields().map(|field| String::from_utf8(field.bytes.to_vec()));
        let names: Result<_, _> = names.collect();
        names.map_err(|error| {
            corrupt("csv_header", place, "its header is not UTF-8")
                .fix("write the file as UTF-8; `iconv -f latin1 -t utf-8` does it")
                .caused_by(error)
        })
    }

    /// Passes over line ends, so that the line on which the next row begins is known. False at the end.
    async fn skip_line_ends(&mut self) -> Result<bool> {
        loop {
            let is_line_end = |byte: &&u8| matches!(byte, b'\n' | b'\r');
            let ends = self.content.rest().iter().take_while(is_line_end);
            let (len, lines) = ends.fold((0, 0), |(len, lines), byte| {
                (len + 1, lines + u64::from(*byte == b'\n'))
            });
            if len > 0 {
                self.content.consume(len);
                self.parser.set_line(self.parser.line() + lines);
            }
            if !self.content.rest().is_empty() {
                return Ok(true);
            }
            if !self.content.fill().await? {
                return Ok(false);
            }
        }
    }

    /// Reads the next row; false at the end.
    async fn next(&mut self) -> Result<bool> {
        if !self.skip_line_ends().await? {
            return Ok(false);
        }
        self.at.line = self.parser.line();
        let (mut values_len, mut ends_len) = (0, 0);
        let mut ending = None;
        loop {
            if self.content.rest().is_empty() && ending.is_none() && !self.content.fill().await? {
                // The line end that may be missing, and then the end: whatever ends by the latter stands in quotes.
                ending = Some(b"\n".as_slice());
            }
            let input = ending.unwrap_or(self.content.rest());
            let (values, ends) = (&mut self.values[values_len..], &mut self.ends[ends_len..]);
            let (result, read, written, ended) = self.parser.read_record(input, values, ends);
            values_len += written;
            ends_len += ended;
            let is_end = input.is_empty();
            if ending.is_none() {
                self.content.consume(read);
            }
            if values_len > ITEM_LEN_MAX {
                return Err(self.too_long());
            }
            match result {
                ReadRecordResult::InputEmpty => ending = ending.map(|_| b"".as_slice()),
                ReadRecordResult::OutputFull => self.values.resize(self.values.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record if is_end => {
                    self.at.row += 1;
                    return Err(self.refuse("the file ends within quotes").fix(
                        "the file seems to be cut off, or a quote is not closed; `.unquoted()` takes quotes for what they are",
                    ));
                }
                ReadRecordResult::Record => {
                    self.ends_len = ends_len;
                    return Ok(true);
                }
                ReadRecordResult::End => return Ok(false),
            }
        }
    }

    fn field(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.values[start..self.ends[index]]
    }

    fn fields(&self) -> impl Iterator<Item = Field<'_>> {
        (0..self.ends_len).map(|index| Field {
            index,
            bytes: self.field(index),
        })
    }

    fn fields_len(&self) -> usize {
        self.ends[..self.ends_len].last().copied().unwrap_or(0)
    }

    fn refuse(&self, message: impl Into<String>) -> Error {
        let At { row, line } = self.at;
        corrupt(
            "csv_row",
            format!("{}, row {row} (line {line})", self.content.place()),
            message,
        )
    }

    fn too_long(&self) -> Error {
        let line = self.at.line;
        Error::new(
            ErrorKind::LimitExceeded,
            format!("the row is longer than {ITEM_LEN_MAX} bytes"),
        )
        .code("item_too_large")
        .during("read")
        .about(format!("{}, line {line}", self.content.place()))
        .fix("close the quote that is open there, or take quotes for what they are by `.unquoted()`")
    }
}

impl row::Bad {
    fn sort(self, place: &Place) -> Error {
        match self {
            Self::Twice(name) => corrupt("csv_header", place, format!("two columns are called {name:?}"))
                .fix("give every column a name of its own"),
            Self::NoColumn(name, known) => no_column(place, &name, known.iter().map(String::as_str)),
        }
    }
}
