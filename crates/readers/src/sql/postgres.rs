//! Asks Postgres.
//!
//! A row comes as the JSON that Postgres makes of it, a key as its text, which is cast back to be compared.

use std::ops::ControlFlow;

use async_trait::async_trait;
use bytes::Bytes;
use flowstone_core::{Error, ErrorKind, Result};
use futures::TryStreamExt;
use sqlx::postgres::PgConnectOptions;
use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions, Connection, Executor, PgConnection, Row, SqlSafeStr, Statement,
    TypeInfo,
};

use super::text::Ask;
use super::value::KeyValue;
use super::{Column, Session, Taker, sort};
use crate::error::invalid;

pub(super) async fn connect(url: &str) -> Result<(String, Box<dyn Session>)> {
    let options: PgConnectOptions = url.parse().map_err(|error: sqlx::Error| {
        invalid("Postgres", error.to_string()).fix("write its address as postgres://user:password@host:port/database")
    })?;
    let database = options.get_database().unwrap_or("").to_owned();
    let subject = format!("{}:{}/{database}", options.get_host(), options.get_port());
    let connection = options
        .application_name("flowstone")
        .disable_statement_logging()
        .connect()
        .await;
    let connection = connection.map_err(|error| sort_postgres(&error).during("connect to").about(&subject))?;
    Ok((subject, Box::new(Postgres { connection })))
}

struct Postgres {
    connection: PgConnection,
}

#[async_trait]
impl Session for Postgres {
    async fn columns(&mut self, sql: String) -> Result<Vec<Column>> {
        let prepared = (&mut self.connection).prepare(AssertSqlSafe(sql).into_sql_str()).await;
        let prepared = prepared.map_err(|error| sort_postgres(&error))?;
        let columns = prepared.columns().iter().map(|column| Column {
            name: column.name().to_owned(),
            cast: cast(column.type_info().name()).ok_or_else(|| column.type_info().name().to_owned()),
        });
        Ok(columns.collect())
    }

    async fn has_row(&mut self, sql: String, ask: &Ask) -> Result<bool> {
        let row = ask.bound(sql).fetch_optional(&mut self.connection).await;
        Ok(row.map_err(|error| sort_postgres(&error))?.is_some())
    }

    async fn read(&mut self, ask: &Ask, after: Option<&[KeyValue]>, rows_max: i64, taker: &mut Taker) -> Result<()> {
        let mut query = ask.bound(ask.rows(after.is_some()));
        for value in after.unwrap_or_default() {
            query = query.bind(value.text());
        }
        let mut rows = query.bind(rows_max).fetch(&mut self.connection);
        while let Some(row) = rows.try_next().await.map_err(|error| sort_postgres(&error))? {
            let keys = (1..=ask.keys.len()).map(|index| row.try_get(index).map(KeyValue::Text));
            let keys: Vec<KeyValue> = keys.collect::<Result<_, _>>().map_err(|error| sort_postgres(&error))?;
            let json: String = row.try_get(0).map_err(|error| sort_postgres(&error))?;
            if taker.take(keys, Bytes::from(json))? == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    async fn close(self: Box<Self>) {
        // Nothing was written: nothing is lost when the server does not hear the good-bye.
        drop(self.connection.close().await);
    }
}

/// What a text is cast to, to be compared with a column of this type. Types whose text does not tell their values apart, or whose
/// order is none, are no keys.
fn cast(ty: &str) -> Option<&'static str> {
    Some(match ty {
        "INT2" => "int2",
        "INT4" => "int4",
        "INT8" => "int8",
        "FLOAT8" => "float8",
        "NUMERIC" => "numeric",
        "TEXT" | "VARCHAR" | "NAME" => "text",
        "UUID" => "uuid",
        "BYTEA" => "bytea",
        "DATE" => "date",
        "TIMESTAMP" => "timestamp",
        "TIMESTAMPTZ" => "timestamptz",
        _ => return None,
    })
}

fn sort_postgres(error: &sqlx::Error) -> Error {
    sort::sort(error, |code| {
        Some(match code {
            // no such table, no such database, no such schema
            "42P01" | "3D000" | "3F000" => ErrorKind::NotFound,
            "42501" => ErrorKind::PermissionDenied,
            _ => match code.get(..2)? {
                "28" => ErrorKind::PermissionDenied,
                "08" | "40" | "53" | "55" | "57" | "58" => ErrorKind::Unavailable,
                "XX" => ErrorKind::Corrupt,
                _ => return None,
            },
        })
    })
}
