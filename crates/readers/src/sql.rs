//! Rows of a query, page by page in the order of a unique key.
//!
//! Going on means asking for what comes after the last key, never for what comes after so many rows. What is asked is
//! put together in `text`, what keys are stands in `value`; the two databases know how to ask.

#[cfg(feature = "postgres")]
mod postgres;
mod sort;
#[cfg(feature = "sqlite")]
mod sqlite;
mod text;
mod value;

use std::collections::HashSet;
use std::fmt;
use std::ops::ControlFlow;
#[cfg(feature = "sqlite")]
use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use flowstone_core::reader::{Cursor, Item, ItemReader, ItemSource, Page};
use flowstone_core::{Error, ErrorKind, Result};

use self::text::{Ask, select_table};
use self::value::KeyValue;
use crate::cursor::CursorFormat;
use crate::error::{invalid, no_column};
use crate::key::key_of;
use crate::page::PageBuilder;

pub use self::value::SqlValue;

const FORMAT: CursorFormat = CursorFormat {
    reader: "rows of a query",
    tag: b's',
    version: 1,
};

/// A page has so many rows at most.
const ROWS_MAX: usize = 100_000;

/// The rows of a query on SQLite or Postgres, as items.
///
/// A row is a JSON object of its columns. Rows come in the order of a key, one column or several, that **no two rows share and
/// that is never null**; going on asks for the rows after the last one (`WHERE key > … ORDER BY key LIMIT …`), so an index on
/// the key makes every page cheap, however far it is. The key of the item is that key.
///
/// What is asked stands in the program: a [`table`](Self::table), whose names are quoted, or a [`query`](Self::query), which is
/// taken as part of a larger one and gets what varies by [`bind`](Self::bind).
///
#[cfg_attr(feature = "sqlite", doc = "```no_run")]
#[cfg_attr(not(feature = "sqlite"), doc = "```ignore")]
/// use flowstone_core::reader::ItemSource;
/// use flowstone_readers::Sql;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> flowstone_core::Result<()> {
/// let planes = Sql::sqlite("flights.db").table("planes").key("tailnum");
/// let flights = Sql::sqlite("flights.db")
///     .query("SELECT id, origin, dest FROM flights WHERE carrier = ?1")
///     .bind("UA")
///     .key("id");
/// let mut reader = flights.open().await?;
/// let page = reader.read(None, 1_000).await?;
/// # reader.close().await;
/// # Ok(())
/// # }
/// ```
///
/// # What values become
/// On SQLite: integers, reals, texts and null are the same in JSON, blobs hexadecimal texts. On Postgres what `row_to_json` makes of
/// them.
///
/// # When rows change
/// Each page is a statement of its own. A row that is added while the others are read is read if its key comes later than what
/// was read; one that is deleted before is not; one whose key is changed may be read twice, under both keys, or not at all.
///
/// # Errors
/// Opening says `NotFound` when there is no such database, table or column, `PermissionDenied`, `Invalid` when the query is no
/// query, and `Invalid` with code `key_null` when a row has no key. Reading says `Invalid` with code `key_not_unique` when two rows
/// have one key: rows would be lost otherwise.
#[derive(Debug, Clone)]
pub struct Sql {
    database: Database,
    select: Select,
    binds: Vec<SqlValue>,
    keys: Vec<String>,
}

#[derive(Clone)]
enum Database {
    #[cfg(feature = "sqlite")]
    Sqlite(PathBuf),
    #[cfg(feature = "postgres")]
    Postgres(String),
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(path) => f.debug_tuple("Sqlite").field(path).finish(),
            // The address may hold a password.
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => f.write_str("Postgres"),
        }
    }
}

#[derive(Debug, Clone)]
enum Select {
    Nothing,
    Query(&'static str),
    Table { name: String, columns: Vec<String> },
}

impl Sql {
    /// Reads the SQLite database in this file. It is opened for reading only.
    #[cfg(feature = "sqlite")]
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self::on(Database::Sqlite(path.into()))
    }

    /// Reads the Postgres database at this address: `postgres://user:password@host:port/database`. What it leaves out is taken
    /// from `PGHOST` and its kin. The connection is not encrypted, so go through a tunnel where others listen; an address that
    /// demands encryption is refused.
    #[cfg(feature = "postgres")]
    pub fn postgres(url: impl Into<String>) -> Self {
        Self::on(Database::Postgres(url.into()))
    }

    fn on(database: Database) -> Self {
        Self {
            database,
            select: Select::Nothing,
            binds: Vec::new(),
            keys: Vec::new(),
        }
    }

    /// Reads this table or view, all columns of it.
    #[must_use]
    pub fn table(mut self, name: impl Into<String>) -> Self {
        self.select = Select::Table {
            name: name.into(),
            columns: Vec::new(),
        };
        self
    }

    /// Reads only these columns of the table; those of the key are read besides. Means nothing for a query.
    #[must_use]
    pub fn columns<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        if let Select::Table { columns, .. } = &mut self.select {
            *columns = names.into_iter().map(Into::into).collect();
        }
        self
    }

    /// Reads what this `SELECT` gives. It is text of the program, not put together from values: for those it has
    /// placeholders, `?1`, `?2` on SQLite and `$1`, `$2` on Postgres. It needs no order and no limit.
    #[must_use]
    pub fn query(mut self, select: &'static str) -> Self {
        self.select = Select::Query(select);
        self
    }

    /// Gives the next placeholder of the query its value.
    #[must_use]
    pub fn bind(mut self, value: impl Into<SqlValue>) -> Self {
        self.binds.push(value.into());
        self
    }

    /// Takes this column as the key: no two rows share it, and it is never null. Called again, several columns make up the
    /// key, in this order.
    #[must_use]
    pub fn key(mut self, column: impl Into<String>) -> Self {
        self.keys.push(column.into());
        self
    }

    async fn connect(&self) -> Result<(String, Box<dyn Session>)> {
        match &self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(path) => sqlite::connect(path).await,
            #[cfg(feature = "postgres")]
            Database::Postgres(url) => postgres::connect(url).await,
        }
    }

    fn ask(&self) -> Result<Ask> {
        let select = match &self.select {
            Select::Nothing => {
                return Err(
                    invalid("a query", "nothing says what to read").fix("give it a `.table(…)` or a `.query(…)`")
                );
            }
            Select::Query(select) => (*select).to_owned(),
            Select::Table { name, columns } => select_table(name, columns, &self.keys),
        };
        if self.keys.is_empty() {
            return Err(invalid("a query", "nothing says in which order to read")
                .fix("name the column that tells rows apart, by `.key(…)`"));
        }
        Ok(Ask {
            select,
            keys: self.keys.clone(),
            binds: self.binds.clone(),
            dialect: match &self.database {
                #[cfg(feature = "sqlite")]
                Database::Sqlite(_) => text::Dialect::Sqlite,
                #[cfg(feature = "postgres")]
                Database::Postgres(_) => text::Dialect::Postgres,
            },
            casts: Vec::new(),
        })
    }
}

/// A connection that can be asked.
#[async_trait]
trait Session: Send {
    /// The columns that a query gives, and the types by which keys in them are compared.
    async fn columns(&mut self, sql: String) -> Result<Vec<Column>>;

    /// Whether a query gives a row.
    async fn has_row(&mut self, sql: String, ask: &Ask) -> Result<bool>;

    /// Hands the rows after `after` to `taker`, until it has enough.
    async fn read(&mut self, ask: &Ask, after: Option<&[KeyValue]>, rows_max: i64, taker: &mut Taker) -> Result<()>;

    async fn close(self: Box<Self>);
}

#[derive(Debug)]
struct Column {
    name: String,
    /// What a text is cast to, to be compared with the column; `Err` with the type when there is nothing.
    cast: Result<&'static str, String>,
}

#[async_trait]
impl ItemSource for Sql {
    async fn open(&self) -> Result<Box<dyn ItemReader>> {
        let mut ask = self.ask()?;
        let (subject, mut session) = self.connect().await?;
        let checked = check(&mut *session, &mut ask, &subject).await;
        checked.map_err(|error| error.during("read").about(&subject))?;
        Ok(Box::new(SqlReader {
            sql: self.clone(),
            ask,
            subject,
            session: Some(session),
        }))
    }
}

/// Sees that the key is one, as far as that shows before rows are read.
async fn check(session: &mut dyn Session, ask: &mut Ask, subject: &str) -> Result<()> {
    let columns = session.columns(ask.columns()).await?;
    let names = columns.iter().map(|column| column.name.as_str());
    let mut seen = HashSet::new();
    if let Some(twice) = names.clone().find(|name| !seen.insert(*name)) {
        return Err(invalid(subject, format!("two of its columns are called {twice:?}"))
            .fix("give one of them another name, by `AS`"));
    }
    for key in &ask.keys {
        let column = columns.iter().find(|column| column.name == *key);
        let column = column.ok_or_else(|| no_column(subject, key, names.clone()))?;
        let cast = column.cast.as_ref().map_err(|ty| {
            Error::new(
                ErrorKind::Unsupported,
                format!("its column {key:?} is of type {ty}, which is no key"),
            )
            .code("item_key_invalid")
            .fix("take another column, or write it as text in the query: `column::text AS name`")
        })?;
        ask.casts.push(cast);
    }
    if session.has_row(ask.without_key(), ask).await? {
        let keys = ask.keys.join(", ");
        return Err(
            Error::new(ErrorKind::Invalid, format!("a row has no key: {keys} is null"))
                .code("key_null")
                .fix("take a key that is never null, or leave such rows out: `WHERE … IS NOT NULL`"),
        );
    }
    Ok(())
}

struct SqlReader {
    sql: Sql,
    ask: Ask,
    subject: String,
    /// Taken while a page is read: one that is given up half-way costs its connection.
    session: Option<Box<dyn Session>>,
}

#[async_trait]
impl ItemReader for SqlReader {
    fn has_distinct_keys(&self) -> bool {
        true
    }

    async fn read(&mut self, cursor: Option<&Cursor>, items_max: usize) -> Result<Page> {
        let after = match cursor {
            None => None,
            Some(cursor) => self.after(cursor)?,
        };
        let mut session = match self.session.take() {
            Some(session) => session,
            None => self.sql.connect().await?.1,
        };
        let items_max = items_max.min(ROWS_MAX);
        let mut taker = Taker {
            page: PageBuilder::new(items_max),
            last: after.clone(),
            has_more: false,
        };
        let rows_max = i64::try_from(items_max).unwrap_or(i64::MAX - 1) + 1;
        let read = session.read(&self.ask, after.as_deref(), rows_max, &mut taker).await;
        read.map_err(|error| error.during("read").about(&self.subject))?;
        self.session = Some(session);
        let last = taker.last.unwrap_or_default();
        let next = taker
            .has_more
            .then(|| FORMAT.cursor(|position| value::write_all(&last, position)));
        Ok(taker.page.finish(next))
    }

    async fn close(&mut self) {
        if let Some(session) = self.session.take() {
            session.close().await;
        }
    }
}

impl SqlReader {
    /// The key after which to go on, `None` for the start.
    fn after(&self, cursor: &Cursor) -> Result<Option<Vec<KeyValue>>> {
        let position = FORMAT.open(cursor)?;
        let damaged = position.damaged();
        let values = value::read_all(position.rest()).ok_or(damaged)?;
        if values.is_empty() {
            return Ok(None);
        }
        if values.len() != self.ask.keys.len() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the cursor is of a key with another number of columns",
            )
            .code("cursor_reader")
            .during("go on reading")
            .about(&self.subject)
            .fix("take the key that the reading began with, or start it anew"));
        }
        Ok(Some(values))
    }
}

/// Takes rows until the page is full, and one more to see whether there is one.
struct Taker {
    page: PageBuilder,
    last: Option<Vec<KeyValue>>,
    has_more: bool,
}

impl Taker {
    /// Takes a row, in the order of keys.
    ///
    /// # Errors
    /// `Invalid` when its key does not tell it from the row before.
    fn take(&mut self, keys: Vec<KeyValue>, json: Bytes) -> Result<ControlFlow<()>> {
        let text = key_of(keys.iter().map(KeyValue::text).collect());
        if let Some(last) = &self.last {
            if *last == keys {
                return Err(Error::new(ErrorKind::Invalid, format!("two rows have the key {text}"))
                    .code("key_not_unique")
                    .fix("take a column, or several, that tell all rows apart"));
            }
            if last.iter().zip(&keys).any(|(last, key)| !last.is_like(key)) {
                return Err(Error::new(
                    ErrorKind::Invalid,
                    format!("the keys up to {text} are of several types"),
                )
                .code("item_key_invalid")
                .fix("give the keys one type in the query, by `CAST(… AS TEXT)`"));
            }
        }
        if self.page.is_full() {
            self.has_more = true;
            return Ok(ControlFlow::Break(()));
        }
        self.page.push(Item { key: text, json })?;
        self.last = Some(keys);
        Ok(ControlFlow::Continue(()))
    }
}
