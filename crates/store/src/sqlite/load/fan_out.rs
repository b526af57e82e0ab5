//! Loads where fan-outs stand, with all that stands within those that are reopened.

use std::collections::{HashMap, HashSet};

use flowstone_core::{FanOutId, Result};
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::super::batch::{Heap, Rows};
use super::super::cache::{Cache, KnownFanOut};
use super::super::row::number;
use super::super::row_fan_out::{STANDING_COLUMNS, standing};
use super::run;
use crate::error::{corrupt, sort};

/// The fan-outs that a group asks about.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) ones: HashSet<FanOutId>,
    /// Those of which what stands within them is asked for, too.
    pub(super) whole: HashSet<FanOutId>,
}

impl Asked {
    /// Loads what is not remembered, and gives what that was.
    pub(super) async fn load(mut self, connection: &mut SqliteConnection, cache: &mut Cache) -> Result<Vec<FanOutId>> {
        self.ones.retain(|fan_out| !cache.fan_outs.contains_key(fan_out));
        let mut found = Vec::new();
        if !self.ones.is_empty() {
            let ask = format!(
                "SELECT {STANDING_COLUMNS} FROM jsonb_each($2) AS asked
                 CROSS JOIN fan_out ON fan_out.fan_out = substr($1, asked.value->>0, 16)
                 JOIN run ON run.id = fan_out.run WHERE is_gone = 0"
            );
            found.extend(ask_standings(connection, ask, &self.ones).await?);
        }
        if !self.whole.is_empty() {
            let ask = format!(
                "WITH RECURSIVE within (id) AS (
                     SELECT substr($1, value->>0, 16) FROM jsonb_each($2)
                     UNION SELECT fan_out.fan_out FROM within JOIN fan_out ON fan_out.parent = within.id)
                 SELECT {STANDING_COLUMNS} FROM within CROSS JOIN fan_out ON fan_out.fan_out = within.id
                 JOIN run ON run.id = fan_out.run WHERE is_gone = 0"
            );
            found.extend(ask_standings(connection, ask, &self.whole).await?);
        }
        let mut loaded = HashMap::new();
        for known in found {
            let fan_out = known.standing.row.fan_out;
            if !cache.fan_outs.contains_key(&fan_out) {
                loaded.insert(known.number, known);
            }
        }
        open_claims(connection, &mut loaded).await?;
        let mut ids = Vec::with_capacity(loaded.len());
        for known in loaded.into_values() {
            let fan_out = known.standing.row.fan_out;
            ids.push(fan_out);
            cache.fan_outs.insert(fan_out, known);
        }
        // Whether a fan-out may be reopened depends on the run that it belongs to.
        for fan_out in self.whole {
            if let Some(owner) = cache.fan_outs.get(&fan_out).map(|known| known.standing.row.run) {
                run(connection, cache, owner).await?;
            }
        }
        Ok(ids)
    }
}

async fn ask_standings(
    connection: &mut SqliteConnection,
    ask: String,
    fan_outs: &HashSet<FanOutId>,
) -> Result<Vec<KnownFanOut>> {
    let (mut heap, mut rows) = (Heap::new(), Rows::default());
    for fan_out in fan_outs {
        rows.row().fixed(&mut heap, fan_out.0.as_bytes());
    }
    let found = sqlx::query(AssertSqlSafe(ask))
        .bind(heap.into_bytes())
        .bind(rows.into_json())
        .fetch_all(connection)
        .await
        .map_err(sort)?;
    found.iter().map(standing).collect()
}

/// Fills in the claims that are open, with the numbers of their next segments.
async fn open_claims(connection: &mut SqliteConnection, loaded: &mut HashMap<i64, KnownFanOut>) -> Result<()> {
    const CLAIMS: &str = "SELECT fan_out, chunk FROM item_claim WHERE fan_out IN (SELECT value FROM json_each(?))";
    const SEGMENTS: &str = "SELECT fan_out, chunk, max(seq) + 1 FROM segment
                            WHERE fan_out IN (SELECT value FROM json_each(?)) GROUP BY fan_out, chunk";
    if loaded.is_empty() {
        return Ok(());
    }
    let claims: Vec<(i64, i64)> = sqlx::query_as(CLAIMS)
        .bind(list(loaded.keys())?)
        .fetch_all(&mut *connection)
        .await
        .map_err(sort)?;
    if claims.is_empty() {
        return Ok(());
    }
    let with_claims: HashSet<i64> = claims.iter().map(|(fan_out, _)| *fan_out).collect();
    let segments: Vec<(i64, i64, i64)> = sqlx::query_as(SEGMENTS)
        .bind(list(&with_claims)?)
        .fetch_all(connection)
        .await
        .map_err(sort)?;
    let next: HashMap<(i64, i64), i64> = segments
        .into_iter()
        .map(|(fan_out, chunk, next)| ((fan_out, chunk), next))
        .collect();
    for (fan_out, chunk) in claims {
        let next = next.get(&(fan_out, chunk)).copied().unwrap_or_default();
        let next = u32::try_from(next).map_err(|error| corrupt("number of a segment", error))?;
        if let Some(known) = loaded.get_mut(&fan_out) {
            known.standing.open.insert(number("number of a claim", chunk)?, next);
        }
    }
    Ok(())
}

fn list<'n>(numbers: impl IntoIterator<Item = &'n i64>) -> Result<String> {
    let numbers: Vec<_> = numbers.into_iter().collect();
    serde_json::to_string(&numbers).map_err(|error| corrupt("numbers of fan-outs", error))
}
