//! Dynamic sets: named partitions that are added and retired while everything runs.
//!
//! What a process knows of a set is read once, and then follows what this store changes; the count of changes in the
//! ledger tells when another process was there. Rows travel in few values as for commits.

use std::collections::{BTreeMap, HashMap};

use flowstone_core::partition::{DYNAMIC_LEN_MAX, DynamicKey, DynamicSpace, PartitionKey};
use flowstone_core::{Error, ErrorKind, Result};
use futures::future::join;
use jiff::Timestamp;
use sqlx::{Executor, Row, SqliteConnection, SqlitePool};

use super::batch::{Heap, Rows};
use super::row::{nanos, number};
use super::writer::Writer;
use crate::error::{corrupt, sort};

/// How many keys are read at a time.
const PAGE_LEN: i64 = 4096;

/// Makes sure that the set is there.
const KNOW: &str = "INSERT INTO dynamic_set (name, changes) VALUES (?, 0) ON CONFLICT DO NOTHING";

/// What this process knows of sets, by name.
pub(super) type KnownSets = HashMap<String, KnownSet>;

/// What this process knows of one set.
#[derive(Debug)]
pub(super) struct KnownSet {
    space: DynamicSpace,
    /// How often the set had changed by then.
    changes: i64,
}

/// What a change came to.
pub(super) struct Changed {
    /// Of each key, in the order given.
    pub(super) indices: Vec<u64>,
    /// The keys that are new or were retired or taken back.
    rows: Vec<DynamicKey>,
    /// How often the set has changed since it was there.
    changes: i64,
}

/// The set as the ledger has it.
pub(super) async fn current(known: &mut KnownSets, readers: &SqlitePool, name: &str) -> Result<DynamicSpace> {
    if !known.contains_key(name) {
        let space = DynamicSpace::new(name)?;
        known.insert(name.to_owned(), KnownSet { space, changes: 0 });
    }
    let set = known.get_mut(name).expect("it was put there");
    catch_up(set, readers).await?;
    Ok(set.space.clone())
}

/// Lets those who hold the set see what was changed.
pub(super) async fn tell(known: &mut KnownSets, readers: &SqlitePool, name: &str, changed: Changed) -> Result<()> {
    let Some(set) = known.get_mut(name) else {
        return Ok(());
    };
    if set.changes + 1 != changed.changes {
        return catch_up(set, readers).await;
    }
    set.space.learn(changed.rows)?;
    set.changes = changed.changes;
    Ok(())
}

async fn catch_up(set: &mut KnownSet, readers: &SqlitePool) -> Result<()> {
    const ASK: &str = "SELECT id, changes FROM dynamic_set WHERE name = ?";
    const RETIRED: &str = "SELECT number, retired_ns FROM dynamic_key WHERE set_id = ? AND retired_ns IS NOT NULL";
    let found: Option<(i64, i64)> = sqlx::query_as(ASK)
        .bind(set.space.name())
        .fetch_optional(readers)
        .await
        .map_err(sort)?;
    let Some((id, changes)) = found.filter(|(_, changes)| *changes != set.changes) else {
        return Ok(());
    };
    let rows: Vec<(i64, i64)> = sqlx::query_as(RETIRED)
        .bind(id)
        .fetch_all(readers)
        .await
        .map_err(sort)?;
    let mut retired = BTreeMap::new();
    for (index, at) in rows {
        retired.insert(number("number of a partition", index)?, nanos(at)?);
    }
    let len = set.space.len();
    let mut moved: Vec<u64> = set.space.retired().iter().collect();
    moved.extend(retired.range(..len).map(|(index, _)| *index));
    let moved = moved.into_iter().filter_map(|index| set.space.entry(index));
    let moved: Vec<_> = moved
        .map(|row| DynamicKey {
            retired_at: retired.get(&row.index).copied(),
            ..row
        })
        .collect();
    set.space.learn(moved)?;
    let mut keys = page(readers, id, len).await?;
    while let Some(last) = keys.last() {
        let rows = page(readers, id, last.index + 1);
        let learned = async {
            set.space.learn(keys.into_iter().map(|row| DynamicKey {
                retired_at: retired.get(&row.index).copied(),
                ..row
            }))
        };
        // SQLite has a thread of its own: it reads the next page while this one is learned.
        let (next, learned) = join(rows, learned).await;
        learned?;
        keys = next?;
    }
    set.changes = changes;
    Ok(())
}

/// Keys from the index `first` on, in order; none when there are no more. One row, since a row for each costs many times
/// what it holds; encoded keys say themselves where they end.
async fn page(readers: &SqlitePool, id: i64, first: u64) -> Result<Vec<DynamicKey>> {
    const ASK: &str =
        "SELECT CAST(group_concat(key, '') AS BLOB), group_concat(added_ns, ' '), min(number), max(number)
        FROM (SELECT number, key, added_ns FROM dynamic_key
              WHERE set_id = ? AND number >= ? AND number < ? ORDER BY number)";
    let from = i64::try_from(first).map_err(|error| corrupt("number of a partition", error))?;
    let asked = sqlx::query(ASK).bind(id).bind(from).bind(from.saturating_add(PAGE_LEN));
    let page = asked.fetch_one(readers).await.map_err(sort)?;
    let Some(mut keys) = page.try_get::<Option<&[u8]>, _>(0).map_err(sort)? else {
        return Ok(Vec::new());
    };
    let added: &str = page.try_get(1).map_err(sort)?;
    let mut rows = Vec::new();
    for (index, added) in (first..).zip(added.split(' ')) {
        let (key, rest) = PartitionKey::decode_first(keys)?;
        keys = rest;
        let added = added.parse().map_err(|error| corrupt("time of a partition", error))?;
        rows.push(DynamicKey {
            index,
            key,
            added_at: nanos(added)?,
            retired_at: None,
        });
    }
    let last = from.saturating_add(rows.len() as i64 - 1);
    let stored: (i64, i64) = (page.try_get(2).map_err(sort)?, page.try_get(3).map_err(sort)?);
    if !keys.is_empty() || stored != (from, last) {
        return Err(corrupt(
            "dynamic set",
            format!("its keys from {from} to {last} have gaps"),
        ));
    }
    Ok(rows)
}

impl Writer {
    /// Adds `keys`, or takes them back.
    pub(super) async fn add_dynamic_keys(
        &mut self,
        set: &str,
        keys: &[PartitionKey],
        at: Timestamp,
    ) -> Result<Changed> {
        const LAST: &str = "SELECT coalesce(max(number) + 1, 0) FROM dynamic_key WHERE set_id = ?";
        const ADD: &str = "INSERT INTO dynamic_key (set_id, number, key, added_ns)
            SELECT $3, value->>0, substr($1, value->>1, value->>2), $4 FROM jsonb_each($2)";
        DynamicSpace::new(set)?;
        DynamicSpace::check_call(keys)?;
        let added_ns = nanos_of(at)?;
        let mut transaction = self.begin().await?;
        transaction.execute(sqlx::query(KNOW).bind(set)).await.map_err(sort)?;
        let id = id_of(&mut transaction, set).await?;
        let known = known(&mut transaction, id, keys).await?;
        let next = sqlx::query_scalar(LAST).bind(id).fetch_one(&mut *transaction);
        let mut next = number("number of a partition", next.await.map_err(sort)?)?;
        let (mut heap, mut new, mut back) = (Heap::new(), Rows::default(), Rows::default());
        let mut rows = Vec::new();
        let mut given: HashMap<&PartitionKey, u64> = HashMap::with_capacity(keys.len());
        for (key, found) in keys.iter().zip(known) {
            if given.contains_key(key) {
                continue;
            }
            let row = match found {
                Some(row) if row.retired_at.is_none() => {
                    given.insert(key, row.index);
                    continue;
                }
                Some(row) => {
                    back.row().uint(row.index);
                    DynamicKey {
                        retired_at: None,
                        ..row
                    }
                }
                None => {
                    new.row().uint(next).bytes(&mut heap, &key.encode());
                    next += 1;
                    DynamicKey {
                        index: next - 1,
                        key: key.clone(),
                        added_at: at,
                        retired_at: None,
                    }
                }
            };
            given.insert(key, row.index);
            rows.push(row);
        }
        if next > DYNAMIC_LEN_MAX {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                format!("a set has at most {DYNAMIC_LEN_MAX} partitions"),
            )
            .code("partition_set_too_large")
            .fix("begin another set"));
        }
        if let Some(new) = new.into_json() {
            let add = sqlx::query(ADD).bind(heap.into_bytes()).bind(new).bind(id);
            transaction.execute(add.bind(added_ns)).await.map_err(sort)?;
        }
        set_retired(&mut transaction, id, back, None).await?;
        let changes = count_change(&mut transaction, id).await?;
        transaction.commit().await.map_err(sort)?;
        Ok(Changed {
            indices: keys.iter().map(|key| given[key]).collect(),
            rows,
            changes,
        })
    }

    /// Retires `keys`.
    pub(super) async fn retire_dynamic_keys(
        &mut self,
        set: &str,
        keys: &[PartitionKey],
        at: Timestamp,
    ) -> Result<Changed> {
        DynamicSpace::new(set)?;
        DynamicSpace::check_call(keys)?;
        let retired_ns = nanos_of(at)?;
        let mut transaction = self.begin().await?;
        transaction.execute(sqlx::query(KNOW).bind(set)).await.map_err(sort)?;
        let id = id_of(&mut transaction, set).await?;
        let mut retired = Rows::default();
        let (mut indices, mut rows) = (Vec::with_capacity(keys.len()), Vec::new());
        for (key, found) in keys.iter().zip(known(&mut transaction, id, keys).await?) {
            let row = found.ok_or_else(|| no_such_key(key))?;
            indices.push(row.index);
            if row.retired_at.is_none() {
                retired.row().uint(row.index);
                rows.push(DynamicKey {
                    retired_at: Some(at),
                    ..row
                });
            }
        }
        set_retired(&mut transaction, id, retired, Some(retired_ns)).await?;
        let changes = count_change(&mut transaction, id).await?;
        transaction.commit().await.map_err(sort)?;
        Ok(Changed { indices, rows, changes })
    }
}

async fn id_of(connection: &mut SqliteConnection, set: &str) -> Result<i64> {
    sqlx::query_scalar("SELECT id FROM dynamic_set WHERE name = ?")
        .bind(set)
        .fetch_one(connection)
        .await
        .map_err(sort)
}

/// What the ledger has of each key.
async fn known(connection: &mut SqliteConnection, id: i64, keys: &[PartitionKey]) -> Result<Vec<Option<DynamicKey>>> {
    const ASK: &str = "SELECT value->>0, number, added_ns, retired_ns
        FROM jsonb_each($2) CROSS JOIN dynamic_key
        WHERE set_id = $3 AND dynamic_key.key = substr($1, value->>1, value->>2)";
    let (mut heap, mut wanted) = (Heap::new(), Rows::default());
    for (place, key) in keys.iter().enumerate() {
        wanted.row().uint(place as u64).bytes(&mut heap, &key.encode());
    }
    let mut found: Vec<Option<DynamicKey>> = vec![None; keys.len()];
    let Some(wanted) = wanted.into_json() else {
        return Ok(found);
    };
    let asked = sqlx::query(ASK).bind(heap.into_bytes()).bind(wanted).bind(id);
    for row in asked.fetch_all(connection).await.map_err(sort)? {
        let place = number("place", row.try_get(0).map_err(sort)?)? as usize;
        let retired: Option<i64> = row.try_get(3).map_err(sort)?;
        found[place] = Some(DynamicKey {
            index: number("number of a partition", row.try_get(1).map_err(sort)?)?,
            key: keys[place].clone(),
            added_at: nanos(row.try_get(2).map_err(sort)?)?,
            retired_at: retired.map(nanos).transpose()?,
        });
    }
    Ok(found)
}

async fn set_retired(connection: &mut SqliteConnection, id: i64, rows: Rows, at: Option<i64>) -> Result<()> {
    const MARK: &str = "UPDATE dynamic_key SET retired_ns = $3
        WHERE set_id = $1 AND number IN (SELECT value->>0 FROM jsonb_each($2))";
    if let Some(numbers) = rows.into_json() {
        let marked = sqlx::query(MARK).bind(id).bind(numbers).bind(at);
        connection.execute(marked).await.map_err(sort)?;
    }
    Ok(())
}

/// How often the set has changed, this time included.
async fn count_change(connection: &mut SqliteConnection, id: i64) -> Result<i64> {
    sqlx::query_scalar("UPDATE dynamic_set SET changes = changes + 1 WHERE id = ? RETURNING changes")
        .bind(id)
        .fetch_one(connection)
        .await
        .map_err(sort)
}

fn nanos_of(at: Timestamp) -> Result<i64> {
    i64::try_from(at.as_nanosecond()).map_err(|_| {
        Error::new(ErrorKind::OutOfRange, format!("the time {at} does not fit the ledger"))
            .fix("use times between 1678 and 2261")
    })
}

fn no_such_key(key: &PartitionKey) -> Error {
    Error::new(ErrorKind::NotFound, "the set has no such partition")
        .code("partition_unknown")
        .about(key)
        .fix("see `partitions list` for those that it has")
}
