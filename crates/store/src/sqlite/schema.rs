//! The versions of the stored schema, and how an older one becomes the newest.
//!
//! Forward only: a migration is never edited once published, and a ledger that a newer Flowstone has written is
//! refused, not guessed at. The version is SQLite's `user_version`, which is part of the transaction.

use flowstone_core::{Error, ErrorKind, Result};
use sqlx::{AssertSqlSafe, Connection, Executor, SqliteConnection};

use crate::error::sort;

/// One script for each version, the first for version 1.
const MIGRATIONS: &[&str] = &[include_str!("../../migrations/sqlite/0001_ledger.sql")];

/// `Flws`, which tells our files from those of other programs.
const APPLICATION_ID: i64 = 0x466c_7773;

/// The schema version that this build writes.
pub(super) fn newest() -> u32 {
    MIGRATIONS.len() as u32
}

/// Brings the ledger to the newest version.
///
/// # Errors
/// `Unsupported` for a ledger that a newer Flowstone has written, `Corrupt` for a file of another program.
pub(super) async fn migrate(connection: &mut SqliteConnection) -> Result<()> {
    if check(connection).await? == newest() {
        return Ok(());
    }
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(sort)?;
    // Asked again under the lock.
    let from = check(&mut transaction).await?;
    for script in &MIGRATIONS[from as usize..] {
        transaction.execute(*script).await.map_err(sort)?;
    }
    let to = newest();
    let stamp = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {to}");
    transaction.execute(AssertSqlSafe(stamp)).await.map_err(sort)?;
    transaction.commit().await.map_err(sort)?;
    tracing::debug!(from, to, "ledger schema migrated");
    Ok(())
}

/// The version of the ledger; 0 when it is empty.
///
/// # Errors
/// As for [`migrate`].
pub(super) async fn check(connection: &mut SqliteConnection) -> Result<u32> {
    const ASK: &str = "SELECT (SELECT user_version FROM pragma_user_version), \
                       (SELECT application_id FROM pragma_application_id), \
                       EXISTS (SELECT 1 FROM sqlite_schema)";
    let (version, application, is_used): (i64, i64, bool) =
        sqlx::query_as(ASK).fetch_one(connection).await.map_err(sort)?;
    match u32::try_from(version) {
        Ok(0) if !is_used => Ok(0),
        Ok(version @ 1..) if application == APPLICATION_ID => {
            let newest = newest();
            if version > newest {
                Err(newer(version, newest))
            } else {
                Ok(version)
            }
        }
        _ => Err(Error::new(ErrorKind::Corrupt, "it is the database of another program")
            .code("ledger_foreign")
            .fix("choose another state folder, or move the file away")),
    }
}

/// Refuses a ledger that this build cannot read as it is.
///
/// # Errors
/// `Unsupported` when it is older or newer, `Corrupt` for a file of another program.
pub(super) async fn require_newest(connection: &mut SqliteConnection) -> Result<()> {
    let (version, newest) = (check(connection).await?, newest());
    if version == newest {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Unsupported,
        format!("it has schema version {version}, and this build reads version {newest}"),
    )
    .code("schema_older")
    .fix("run something with this version first, which brings the ledger up to date"))
}

fn newer(stored: u32, newest: u32) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!("it has schema version {stored}, and this build knows versions up to {newest}"),
    )
    .code("schema_newer")
    .fix("use the version of Flowstone that wrote it, or a newer one")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_empty_file_becomes_the_newest_version_and_stays_it() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();

        assert_eq!(check(&mut connection).await.unwrap(), 0);
        migrate(&mut connection).await.unwrap();
        migrate(&mut connection).await.unwrap();

        assert_eq!(check(&mut connection).await.unwrap(), newest());
    }

    #[tokio::test]
    async fn the_database_of_another_program_is_left_alone() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        connection.execute("CREATE TABLE theirs (a)").await.unwrap();

        let refused = migrate(&mut connection).await.unwrap_err();

        assert_eq!(refused.stable_code(), "ledger_foreign");
    }
}
