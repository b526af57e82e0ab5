//! Asks SQLite.

use std::ops::ControlFlow;
use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;
use flowstone_core::{Error, ErrorKind, Result};
use futures::TryStreamExt;
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions, Connection, Executor, Row, SqlSafeStr, SqliteConnection, Statement,
    TypeInfo, ValueRef,
};

use super::text::Ask;
use super::value::{KeyValue, hexadecimal};
use super::{Column, Session, Taker, sort};

pub(super) async fn connect(path: &Path) -> Result<(String, Box<dyn Session>)> {
    let subject = path.display().to_string();
    let options = SqliteConnectOptions::new().filename(path).read_only(true);
    let connection = options.disable_statement_logging().connect().await;
    let connection = connection.map_err(|error| sort_sqlite(&error).during("open").about(&subject))?;
    Ok((subject, Box::new(Sqlite { connection })))
}

struct Sqlite {
    connection: SqliteConnection,
}

#[async_trait]
impl Session for Sqlite {
    async fn columns(&mut self, sql: String) -> Result<Vec<Column>> {
        let prepared = (&mut self.connection).prepare(AssertSqlSafe(sql).into_sql_str()).await;
        let prepared = prepared.map_err(|error| sort_sqlite(&error))?;
        let columns = prepared.columns().iter().map(|column| Column {
            name: column.name().to_owned(),
            cast: Ok(""),
        });
        Ok(columns.collect())
    }

    async fn has_row(&mut self, sql: String, ask: &Ask) -> Result<bool> {
        let row = ask.bound(sql).fetch_optional(&mut self.connection).await;
        Ok(row.map_err(|error| sort_sqlite(&error))?.is_some())
    }

    async fn read(&mut self, ask: &Ask, after: Option<&[KeyValue]>, rows_max: i64, taker: &mut Taker) -> Result<()> {
        let mut query = ask.bound(ask.rows(after.is_some()));
        for value in after.unwrap_or_default() {
            query = match value {
                KeyValue::Int(value) => query.bind(*value),
                KeyValue::Real(value) => query.bind(*value),
                KeyValue::Text(value) => query.bind(value.clone()),
                KeyValue::Blob(value) => query.bind(value.clone()),
            };
        }
        let mut rows = query.bind(rows_max).fetch(&mut self.connection);
        while let Some(row) = rows.try_next().await.map_err(|error| sort_sqlite(&error))? {
            let keys = ask.keys.iter().map(|key| key_value(&row, key));
            if taker.take(keys.collect::<Result<_>>()?, json(&row)?)? == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    async fn close(self: Box<Self>) {
        // It was opened for reading only: nothing is lost when it does not say good-bye.
        drop(self.connection.close().await);
    }
}

/// What stands in a column, as SQLite tells it for this very row.
enum Stored<'r> {
    Null,
    Int(i64),
    Real(f64),
    Text(&'r str),
    Blob(&'r [u8]),
}

fn stored(row: &SqliteRow, index: usize) -> Result<Stored<'_>> {
    let read = || -> Result<Stored<'_>, sqlx::Error> {
        let value = row.try_get_raw(index)?;
        if value.is_null() {
            return Ok(Stored::Null);
        }
        match value.type_info().name() {
            "INTEGER" => row.try_get_unchecked(index).map(Stored::Int),
            "REAL" => row.try_get_unchecked(index).map(Stored::Real),
            "BLOB" => row.try_get_unchecked(index).map(Stored::Blob),
            _ => row.try_get_unchecked(index).map(Stored::Text),
        }
    };
    read().map_err(|error| {
        let name = row.column(index).name();
        Error::new(ErrorKind::Corrupt, format!("its column {name:?} cannot be read"))
            .code("row_corrupt")
            .fix("texts must be UTF-8; mend the row, or leave the column out")
            .caused_by(error)
    })
}

fn key_value(row: &SqliteRow, key: &str) -> Result<KeyValue> {
    let column = row.try_column(key).map_err(|error| sort_sqlite(&error))?;
    match stored(row, column.ordinal())? {
        Stored::Int(number) => Ok(KeyValue::Int(number)),
        Stored::Real(number) => Ok(KeyValue::Real(number)),
        Stored::Text(text) => Ok(KeyValue::Text(text.to_owned())),
        Stored::Blob(bytes) => Ok(KeyValue::Blob(bytes.to_vec())),
        Stored::Null => Err(
            Error::new(ErrorKind::Invalid, format!("a row has no key: {key} is null"))
                .code("key_null")
                .fix("take a key that is never null"),
        ),
    }
}

fn json(row: &SqliteRow) -> Result<Bytes> {
    let mut object = Vec::from(b"{");
    for (index, column) in row.columns().iter().enumerate() {
        if index > 0 {
            object.push(b',');
        }
        append(&mut object, column.name())?;
        object.push(b':');
        match stored(row, index)? {
            Stored::Null => append(&mut object, &())?,
            Stored::Int(number) => append(&mut object, &number)?,
            Stored::Real(number) => append(&mut object, &number)?,
            Stored::Text(text) => append(&mut object, text)?,
            Stored::Blob(bytes) => append(&mut object, &hexadecimal(bytes))?,
        }
    }
    object.push(b'}');
    Ok(object.into())
}

fn append<T: serde::Serialize + ?Sized>(json: &mut Vec<u8>, value: &T) -> Result<()> {
    serde_json::to_writer(json, value)
        .map_err(|error| Error::new(ErrorKind::Internal, error.to_string()).during("write a row as JSON"))
}

fn sort_sqlite(error: &sqlx::Error) -> Error {
    sort::sort(error, |code| {
        let extended: u32 = code.parse().ok()?;
        Some(match extended & 0xff {
            // busy, locked, I/O
            5 | 6 | 10 => ErrorKind::Unavailable,
            // perm, read-only, auth
            3 | 8 | 23 => ErrorKind::PermissionDenied,
            // corrupt, no database
            11 | 26 => ErrorKind::Corrupt,
            // cannot open
            14 => ErrorKind::NotFound,
            _ => return None,
        })
    })
}
