//! How connections are set up: durable for the owner, read-only for everybody else.

use std::path::Path;
use std::time::Duration;

use flowstone_core::Result;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, SqliteConnection};

use super::lock::OwnerLock;
use crate::error::sort;

/// How long a statement waits for another program that has the ledger.
const BUSY_WAIT_MAX: Duration = Duration::from_secs(5);
/// Pages of the write-ahead log after which it is copied into the file: more makes commits cheaper and a restart after
/// a crash longer. 2,000 pages are 8 MB.
const CHECKPOINT_PAGES: &str = "2000";
const READERS_MAX: u32 = 4;
/// Rows that a reading connection may run ahead of the task that takes them.
const ROWS_AHEAD: usize = 512;

fn common(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY_WAIT_MAX)
        .foreign_keys(true)
        .pragma("temp_store", "memory")
        .disable_statement_logging()
}

/// For the connection that writes: every commit is on disk when it returns.
pub(super) fn owner(path: &Path) -> SqliteConnectOptions {
    common(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
}

/// Connections that only read, opened when they are needed.
pub(super) fn readers(path: &Path) -> SqlitePool {
    SqlitePoolOptions::new()
        .min_connections(0)
        .max_connections(READERS_MAX)
        .test_before_acquire(false)
        .connect_lazy_with(common(path).read_only(true).row_buffer_size(ROWS_AHEAD))
}

/// Holds `lock` until SQLite has closed the connection.
///
/// sqlx closes it on a thread of its own, some time after it was dropped. Until then a commit that nobody waits for any
/// more may still run, and no other process may take over. A hook lives exactly that long.
pub(super) async fn keep_until_closed(connection: &mut SqliteConnection, lock: OwnerLock) -> Result<()> {
    let mut handle = connection.lock_handle().await.map_err(sort)?;
    handle.set_rollback_hook(move || {
        let _held = &lock;
    });
    Ok(())
}
