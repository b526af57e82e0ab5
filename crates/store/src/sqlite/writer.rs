//! The one connection that writes.
//!
//! A commit loads what it must know, decides, encodes, and runs one text of statements from BEGIN to COMMIT, so that
//! sqlx crosses threads once. What the writer remembers is taken away while it works and given back only after a
//! success: a commit that fails, or whose future is dropped half-way, costs a reload and nothing else.

use std::collections::HashMap;
use std::path::Path;

use flowstone_core::partition::PartitionSpace;
use flowstone_core::store::{Record, Redefinition};
use flowstone_core::{AssetId, AssetKey, Error, ErrorKind, Result};
use sqlx::{AssertSqlSafe, Connection, Executor, Sqlite, SqliteConnection, Transaction};

use super::batch::{Heap, Rows};
use super::cache::Cache;
use super::encode::{Encoded, encode};
use super::lock::OwnerLock;
use super::redefine::redefine;
use super::row::json;
use super::stage::stage;
use super::statements::Texts;
use super::{connect, load, schema};
use crate::error::{corrupt, sort};

#[derive(Debug)]
pub(super) struct Writer {
    connection: SqliteConnection,
    /// `None` when a commit may have been left half-way.
    cache: Option<Cache>,
    texts: Texts,
}

impl Writer {
    /// Opens the ledger at `path` for its owner, and creates it or brings it to the newest schema.
    pub(super) async fn open(path: &Path, lock: OwnerLock) -> Result<Self> {
        let mut connection = SqliteConnection::connect_with(&connect::owner(path))
            .await
            .map_err(sort)?;
        connect::keep_until_closed(&mut connection, lock).await?;
        schema::migrate(&mut connection).await?;
        let cache = Some(load::base(&mut connection).await?);
        Ok(Self {
            connection,
            cache,
            texts: Texts::default(),
        })
    }

    pub(super) async fn close(self) -> Result<()> {
        self.connection.close().await.map_err(sort)
    }

    pub(super) async fn commit(&mut self, records: &[Record]) -> Result<Vec<Result<()>>> {
        let mut cache = self.take_cache().await?;
        let kept = load::load(&mut self.connection, &mut cache, records).await?;
        let (staged, verdicts) = stage(&cache, &kept, records);
        let encoded = encode(&cache, &staged)?;
        if encoded.targets != 0 {
            self.write(encoded).await?;
            cache.absorb(staged);
        }
        cache.let_go(&kept.fan_outs);
        self.cache = Some(cache);
        Ok(verdicts)
    }

    async fn write(&mut self, encoded: Encoded) -> Result<()> {
        let text = self.texts.writing(encoded.targets);
        let mut query = sqlx::query(AssertSqlSafe(text)).bind(encoded.heap);
        for rows in encoded.rows {
            query = query.bind(rows);
        }
        match query.execute(&mut self.connection).await {
            Ok(_) => Ok(()),
            Err(error) => {
                self.roll_back().await;
                Err(sort(error))
            }
        }
    }

    /// Ends what a failed text left open. That nothing is open is the usual answer of a full disk, and no error.
    async fn roll_back(&mut self) {
        if let Err(error) = self.connection.execute("ROLLBACK").await {
            tracing::debug!(%error, "no transaction to roll back");
        }
    }

    async fn take_cache(&mut self) -> Result<Cache> {
        if let Some(cache) = self.cache.take() {
            return Ok(cache);
        }
        self.roll_back().await;
        load::base(&mut self.connection).await
    }

    /// Begins a transaction that touches nothing that is remembered here. Dropped before its end, it is rolled back.
    pub(super) async fn begin(&mut self) -> Result<Transaction<'_, Sqlite>> {
        self.connection.begin_with("BEGIN IMMEDIATE").await.map_err(sort)
    }

    pub(super) async fn declare(&mut self, assets: &[(AssetKey, PartitionSpace)]) -> Result<Vec<AssetId>> {
        let mut cache = self.take_cache().await?;
        let known: Vec<(i64, String, String)> = sqlx::query_as("SELECT id, key, space FROM asset WHERE is_former = 0")
            .fetch_all(&mut self.connection)
            .await
            .map_err(sort)?;
        let mut next = cache.asset_count;
        let mut by_key = HashMap::with_capacity(known.len());
        for (id, key, space) in known {
            by_key.insert(
                key,
                (u32::try_from(id).map_err(|error| corrupt("asset id", error))?, space),
            );
        }

        let (mut heap, mut rows, mut ids) = (Heap::new(), Rows::default(), Vec::with_capacity(assets.len()));
        let mut changed = HashMap::new();
        for (key, space) in assets {
            let text = serde_json::to_string(space).map_err(|error| unwritable(key, error))?;
            let (id, stored) = by_key.entry(key.as_str().to_owned()).or_insert_with(|| {
                next += 1;
                (next - 1, String::new())
            });
            if *stored != text {
                check_growth(key, stored, space)?;
                stored.clone_from(&text);
                changed.insert(*id, (key, text));
            }
            ids.push(AssetId(*id));
        }
        for (id, (key, space)) in &changed {
            rows.row()
                .int((*id).into())
                .bytes(&mut heap, key.as_str().as_bytes())
                .bytes(&mut heap, space.as_bytes());
        }
        if let Some(rows) = rows.into_json() {
            const DECLARE: &str = "INSERT INTO asset (id, key, space)
                SELECT value->>0, CAST(substr($1, value->>1, value->>2) AS TEXT),
                       CAST(substr($1, value->>3, value->>4) AS TEXT)
                FROM jsonb_each($2) WHERE true
                ON CONFLICT (id) DO UPDATE SET space = excluded.space";
            let heap = heap.into_bytes();
            sqlx::query(DECLARE)
                .bind(heap)
                .bind(rows)
                .execute(&mut self.connection)
                .await
                .map_err(sort)?;
        }
        cache.asset_count = next;
        self.cache = Some(cache);
        Ok(ids)
    }

    pub(super) async fn redefine(&mut self, changes: &[Redefinition]) -> Result<Vec<AssetId>> {
        // What is remembered of the assets is not true any more afterwards.
        let cache = self.take_cache().await?;
        let mut transaction = self.begin().await?;
        let ids = redefine(&mut transaction, cache, changes).await?;
        transaction.commit().await.map_err(sort)?;
        Ok(ids)
    }
}

/// Refuses a space that is not the one that is stored with more behind its end.
fn check_growth(key: &AssetKey, stored: &str, space: &PartitionSpace) -> Result<()> {
    if stored.is_empty() {
        return Ok(());
    }
    let known: PartitionSpace = json("partition space", stored.as_bytes())?;
    if known.is_start_of(space) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Conflict, "its partitions are defined anew")
        .code("partitions_redefined")
        .about(format!("asset {key}")))
}

fn unwritable(key: &AssetKey, error: serde_json::Error) -> Error {
    Error::new(ErrorKind::Invalid, "its partition space cannot be written")
        .about(key)
        .caused_by(error)
}

#[cfg(test)]
mod tests {
    use flowstone_core::run::{RunCounts, RunState};
    use flowstone_core::store::RunRow;
    use flowstone_core::{Incarnation, RunId};
    use uuid::Uuid;

    use super::super::{LEDGER_FILE, LOCK_FILE};
    use super::*;

    async fn writer(dir: &Path) -> Writer {
        let lock = OwnerLock::take(&dir.join(LOCK_FILE)).await.unwrap();
        Writer::open(&dir.join(LEDGER_FILE), lock).await.unwrap()
    }

    fn created(no: u128, request_len: usize) -> Record {
        Record::RunCreated(RunRow {
            run: RunId(Uuid::from_u128(no)),
            pipeline: "p".into(),
            idempotency_key: None,
            request: vec![7; request_len].into(),
            plan: None,
            incarnation: Incarnation::NONE,
            state: RunState::Queued,
            created_at: jiff::Timestamp::UNIX_EPOCH,
            moved_at: jiff::Timestamp::UNIX_EPOCH,
            counts: RunCounts::default(),
            error: None,
        })
    }

    async fn run_count(writer: &mut Writer) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM run")
            .fetch_one(&mut writer.connection)
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn a_group_that_did_not_fit_goes_in_once_there_is_room() {
        let state = tempfile::tempdir().unwrap();
        let mut writer = writer(state.path()).await;
        let group = [created(1, 10), created(2, 1 << 20)];
        // SQLite's own bound gives the same result as a full disk, at the same places.
        writer.connection.execute("PRAGMA max_page_count = 60").await.unwrap();

        let full = writer.commit(&group).await.unwrap_err();
        let left = run_count(&mut writer).await;
        let small = writer.commit(&[created(3, 10)]).await.unwrap();
        writer
            .connection
            .execute("PRAGMA max_page_count = 1000000")
            .await
            .unwrap();
        let again = writer.commit(&group).await.unwrap();

        assert_eq!((full.kind(), left), (ErrorKind::StorageFull, 0));
        assert!(full.advice().is_some());
        assert!(small.iter().chain(&again).all(Result::is_ok));
        assert_eq!(run_count(&mut writer).await, 3);
    }

    #[tokio::test]
    async fn a_text_that_was_left_half_way_is_rolled_back_by_the_next_commit() {
        let state = tempfile::tempdir().unwrap();
        let mut writer = writer(state.path()).await;
        writer.commit(&[created(1, 1)]).await.unwrap();

        // What a dropped future leaves behind at worst: an open transaction, and nothing remembered.
        writer
            .connection
            .execute("BEGIN IMMEDIATE; DELETE FROM run")
            .await
            .unwrap();
        drop(writer.cache.take());
        let verdicts = writer.commit(&[created(1, 1), created(2, 1)]).await.unwrap();

        assert!(verdicts[0].is_err() && verdicts[1].is_ok());
        assert_eq!(run_count(&mut writer).await, 2);
    }
}
