//! Defines the partitions of assets anew, within one transaction.
//!
//! What moves is written to a small table of runs once; rows follow it by joins, so that a shift of a million partitions is
//! a few statements. Only lineage intervals that a border cuts in two are read and written one by one.

use std::collections::BTreeMap;

use flowstone_core::partition::{PartitionMoves, PartitionSet};
use flowstone_core::store::{AssetRow, LineageInput, Redefinition};
use flowstone_core::{AssetId, Error, ErrorKind, Result};
use sqlx::{AssertSqlSafe, Executor, SqliteConnection};

use super::batch::Rows;
use super::cache::{Cache, Marks, PIECE_BITS, piece_of};
use super::encode::encode;
use super::row::{INPUT_COLUMNS, lineage_input};
use super::stage::Staged;
use super::statements::statements;
use super::{load, read};
use crate::error::sort;

/// Runs that travel to SQLite at a time.
const RUNS_AT_ONCE: usize = 50_000;

/// Defines anew what `changes` say, and gives the numbers of the assets from then on. `cache` is what the writer remembered.
pub(super) async fn redefine(
    connection: &mut SqliteConnection,
    mut cache: Cache,
    changes: &[Redefinition],
) -> Result<Vec<AssetId>> {
    Redefinition::check_apart(changes)?;
    let rows = read::assets(&mut *connection).await?;
    let mut next = cache.asset_count;
    let mut ids = Vec::with_capacity(changes.len());
    let mut marked_anew: BTreeMap<AssetId, Marked> = BTreeMap::new();
    for change in changes {
        let touched = change.moves.iter().map(|(asset, _)| *asset).chain([change.of]);
        load::statuses(connection, &mut cache, touched.collect()).await?;
        change.check(&rows, |asset| marked(&cache, asset))?;
        let into = define(connection, change, &rows, &mut next).await?;
        let mut marks = Marked::of(&cache, into);
        for (source, moves) in &change.moves {
            let mut left = Marked::of(&cache, *source);
            marks.take(&mut left, moves);
            marked_anew.insert(*source, left);
            fill_runs(connection, moves).await?;
            move_versions(connection, *source, into).await?;
            for end in [&MADE, &UPSTREAM] {
                end.move_inputs(connection, (*source, into), moves).await?;
            }
        }
        marked_anew.insert(into, marks);
        ids.push(into);
    }
    for (key, partitions) in changes.iter().flat_map(|change| &change.outdated) {
        let anew = changes.iter().zip(&ids).find(|(change, _)| change.key == *key);
        let as_before = rows
            .iter()
            .find(|row| row.key == *key && !row.is_former)
            .map(|row| row.id);
        let Some(asset) = anew.map(|(_, id)| *id).or(as_before) else {
            continue;
        };
        load::statuses(connection, &mut cache, [asset].into()).await?;
        let marks = marked_anew.entry(asset).or_insert_with(|| Marked::of(&cache, asset));
        marks.pieces.values_mut().for_each(|marks| marks.outdate(partitions));
    }
    let mut staged = Staged::default();
    for (asset, marks) in marked_anew {
        marks.stage(&cache, asset, &mut staged);
    }
    write(connection, &cache, &staged).await?;
    Ok(ids)
}

/// Writes the definition and gives the number that the asset has from then on.
async fn define(
    connection: &mut SqliteConnection,
    change: &Redefinition,
    rows: &[AssetRow],
    next: &mut u32,
) -> Result<AssetId> {
    let space = serde_json::to_string(&change.space).map_err(|error| {
        Error::new(ErrorKind::Invalid, "its partition space cannot be written")
            .about(&change.key)
            .caused_by(error)
    })?;
    if rows
        .iter()
        .any(|row| row.id == change.of && change.is_growth(&row.space))
    {
        sqlx::query("UPDATE asset SET space = ? WHERE id = ?")
            .bind(space)
            .bind(i64::from(change.of.0))
            .execute(connection)
            .await
            .map_err(sort)?;
        return Ok(change.of);
    }
    sqlx::query("UPDATE asset SET is_former = 1 WHERE id = ?")
        .bind(i64::from(change.of.0))
        .execute(&mut *connection)
        .await
        .map_err(sort)?;
    sqlx::query("INSERT INTO asset (id, key, space) VALUES (?, ?, ?)")
        .bind(i64::from(*next))
        .bind(change.key.as_str())
        .bind(space)
        .execute(connection)
        .await
        .map_err(sort)?;
    *next += 1;
    Ok(AssetId(*next - 1))
}

/// The partitions of which anything is known.
fn marked(cache: &Cache, asset: AssetId) -> PartitionSet {
    let mut marked = PartitionSet::new();
    for marks in cache.marks.get(&asset).into_iter().flat_map(BTreeMap::values) {
        marks.heads.values().for_each(|head| marked.union_with(head));
        marked.union_with(&marks.failed);
    }
    marked
}

/// The marks of an asset on their way.
#[derive(Default)]
struct Marked {
    pieces: BTreeMap<u64, Marks>,
}

impl Marked {
    fn of(cache: &Cache, asset: AssetId) -> Self {
        Self {
            pieces: cache.marks.get(&asset).cloned().unwrap_or_default(),
        }
    }

    /// Takes what `moves` names out of `source` and puts it to its new places.
    fn take(&mut self, source: &mut Self, moves: &PartitionMoves) {
        let sources = moves.sources();
        for marks in source.pieces.values_mut() {
            for (head, partitions) in &mut marks.heads {
                self.add(&moves.image(partitions), |marks| marks.heads.entry(*head).or_default());
                partitions.subtract(&sources);
            }
            marks.heads.retain(|_, partitions| !partitions.is_empty());
            self.add(&moves.image(&marks.failed), |marks| &mut marks.failed);
            marks.failed.subtract(&sources);
            self.add(&moves.image(&marks.stale), |marks| &mut marks.stale);
            marks.stale.subtract(&sources);
        }
    }

    fn add(&mut self, partitions: &PartitionSet, set: impl Fn(&mut Marks) -> &mut PartitionSet) {
        let Some((min, max)) = partitions.min().zip(partitions.max()) else {
            return;
        };
        for piece in piece_of(min)..=piece_of(max) {
            let range = PartitionSet::from_range(piece << PIECE_BITS..(piece + 1) << PIECE_BITS);
            let within = partitions.intersect(&range);
            if !within.is_empty() {
                set(self.pieces.entry(piece).or_default()).union_with(&within);
            }
        }
    }

    fn stage(self, cache: &Cache, asset: AssetId, staged: &mut Staged<'_>) {
        for (piece, marks) in self.pieces {
            if cache.marks(asset, piece) != Some(&marks) {
                staged.marks.insert((asset, piece), marks);
            }
        }
    }
}

/// Writes what is staged: marks and inputs.
async fn write(connection: &mut SqliteConnection, cache: &Cache, staged: &Staged<'_>) -> Result<()> {
    let encoded = encode(cache, staged)?;
    if encoded.targets == 0 {
        return Ok(());
    }
    let text = statements(encoded.targets);
    let mut query = sqlx::query(AssertSqlSafe(text)).bind(encoded.heap);
    for rows in encoded.rows {
        query = query.bind(rows);
    }
    query.execute(connection).await.map_err(sort)?;
    Ok(())
}

/// Fills the table of runs that the statements below join with.
async fn fill_runs(connection: &mut SqliteConnection, moves: &PartitionMoves) -> Result<()> {
    const EMPTY: &str = "CREATE TEMP TABLE IF NOT EXISTS move
                             (first INTEGER PRIMARY KEY, last INTEGER NOT NULL, target INTEGER NOT NULL) STRICT;
                         DELETE FROM temp.move";
    const FILL: &str = "INSERT INTO temp.move (first, last, target)
                        SELECT value->>0, value->>1, value->>2 FROM jsonb_each(?)";
    connection.execute(EMPTY).await.map_err(sort)?;
    for runs in moves.runs().chunks(RUNS_AT_ONCE) {
        let mut rows = Rows::default();
        for run in runs {
            rows.row().uint(run.first).uint(run.last).uint(run.to);
        }
        sqlx::query(FILL)
            .bind(rows.into_json())
            .execute(&mut *connection)
            .await
            .map_err(sort)?;
    }
    Ok(())
}

/// Moves all versions. A materialization never changes, so that it goes and comes again.
async fn move_versions(connection: &mut SqliteConnection, source: AssetId, into: AssetId) -> Result<()> {
    const COME: &str = "INSERT INTO materialization (asset, version, partition, run, code, attempt, started_ms, took_ms,
                                                     data_version, bytes, rows, address, manifest)
                        SELECT ?2, version, partition - move.first + move.target, run, code, attempt, started_ms, took_ms,
                               data_version, bytes, rows, address, manifest
                        FROM materialization AS made CROSS JOIN temp.move AS move
                            ON move.first = (SELECT max(first) FROM temp.move WHERE first <= made.partition)
                        WHERE made.asset = ?1 AND made.partition <= move.last";
    const GO: &str = "DELETE FROM materialization WHERE asset = ? AND partition <=
                          (SELECT last FROM temp.move WHERE first <= materialization.partition
                           ORDER BY first DESC LIMIT 1)";
    sqlx::query(COME)
        .bind(i64::from(source.0))
        .bind(i64::from(into.0))
        .execute(&mut *connection)
        .await
        .map_err(sort)?;
    sqlx::query(GO)
        .bind(i64::from(source.0))
        .execute(connection)
        .await
        .map_err(sort)?;
    Ok(())
}

/// One of the two ends of a lineage interval.
struct End {
    /// Its columns: asset, first, span.
    columns: [&'static str; 3],
    cut: fn(&LineageInput, AssetId, &PartitionMoves, AssetId) -> Vec<LineageInput>,
}

const MADE: End = End {
    columns: ["asset", "first", "span"],
    cut: LineageInput::moved_made,
};

const UPSTREAM: End = End {
    columns: ["upstream", "upstream_first", "upstream_span"],
    cut: LineageInput::moved_upstream,
};

impl End {
    /// Moves this end of every interval. Those that lie within one run move by a statement; the others are cut.
    async fn move_inputs(
        &self,
        connection: &mut SqliteConnection,
        (source, into): (AssetId, AssetId),
        moves: &PartitionMoves,
    ) -> Result<()> {
        let [asset, first, span] = self.columns;
        let id = i64::from(source.0);
        // The run that begins last before a place ends behind another place.
        let reaches = |from: &str, to: &str| {
            format!("{to} <= (SELECT last FROM temp.move WHERE move.first <= {from} ORDER BY move.first DESC LIMIT 1)")
        };
        let begin = format!("input.{first}");
        let end = format!("input.{first} + input.{span}");
        let within = reaches(&begin, &end);
        // It does so at the interval's end, if the run touches the interval at all.
        let touches = reaches(&end, &begin);
        let cut = format!("input.{asset} = ?1 AND {touches} AND ({within}) IS NOT TRUE");

        let select = format!("SELECT {INPUT_COLUMNS} FROM lineage_input AS input WHERE {cut}");
        let found = sqlx::query(AssertSqlSafe(select))
            .bind(id)
            .fetch_all(&mut *connection)
            .await
            .map_err(sort)?;
        let found: Vec<LineageInput> = found.iter().map(lineage_input).collect::<Result<_>>()?;
        let pieces: Vec<LineageInput> = found
            .iter()
            .flat_map(|input| (self.cut)(input, source, moves, into))
            .collect();
        if !found.is_empty() {
            let delete = format!("DELETE FROM lineage_input AS input WHERE {cut}");
            sqlx::query(AssertSqlSafe(delete))
                .bind(id)
                .execute(&mut *connection)
                .await
                .map_err(sort)?;
        }

        let moved = INPUT_COLUMNS.split(", ").map(|column| match column {
            column if column == asset => "?2".to_owned(),
            column if column == first => format!("input.{first} - move.first + move.target"),
            column => format!("input.{column}"),
        });
        let come = format!(
            "INSERT OR IGNORE INTO lineage_input ({INPUT_COLUMNS})
             SELECT {} FROM lineage_input AS input CROSS JOIN temp.move AS move
                 ON move.first = (SELECT max(move.first) FROM temp.move WHERE move.first <= {begin})
             WHERE input.{asset} = ?1 AND {end} <= move.last",
            moved.collect::<Vec<_>>().join(", ")
        );
        sqlx::query(AssertSqlSafe(come))
            .bind(id)
            .bind(i64::from(into.0))
            .execute(&mut *connection)
            .await
            .map_err(sort)?;
        let go = format!("DELETE FROM lineage_input AS input WHERE input.{asset} = ?1 AND {within}");
        sqlx::query(AssertSqlSafe(go))
            .bind(id)
            .execute(&mut *connection)
            .await
            .map_err(sort)?;

        let staged = Staged {
            inputs: pieces.iter().collect(),
            ..Staged::default()
        };
        write(connection, &Cache::default(), &staged).await
    }
}
