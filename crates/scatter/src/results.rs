//! What the items gave, as the value of an asset: where a scatter has no function that gathers.
//!
//! A row for each item, in their order. It serializes as a plain sequence of rows, so that every IO manager that keeps
//! lists or tables keeps it: JSON, or a Parquet file with a column for each field.

use flowstone_core::asset::Outcome;
use flowstone_core::fan_out::{BarrierCounts, GatheredValue, ItemOutcome, ItemResult, Outcomes};
use flowstone_core::io::{Manifest, Rows};
use flowstone_core::{AssetValue, Result};
use futures::stream;
use serde::{Deserialize, Serialize};

use crate::gather::Gathered;

/// The most rows that are in memory at a time while they are stored.
const PART_ROWS: usize = 4096;
/// About how many bytes of values are in memory at a time while they are stored; a single one may be longer.
const PART_LEN: usize = 4 << 20;

/// What all items of a scatter gave: the value of a scatter that gathers nothing.
///
/// It is stored as it is read, a few thousand rows at a time. Who takes it as an argument has all of it in memory; as
/// [`RowStream<Results<R>>`](flowstone_core::asset::RowStream) its rows come one after the other. How many items ended in
/// which way is its [manifest](flowstone_core::io::Stored::manifest), as [`ResultCounts`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent, bound(deserialize = "R: serde::de::DeserializeOwned"))]
pub struct Results<R>(Vec<ResultRow<R>>);

/// How one item ended: with one of a value, a reason to skip it, and an error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResultRow<R> {
    /// Its number, from 0.
    pub index: u64,
    /// Its key.
    pub key: String,
    /// What it gave.
    pub value: Option<R>,
    /// Why there was nothing to do.
    pub skipped: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
}

/// How many items ended in which way: the manifest of [`Results`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultCounts {
    /// Gave a value.
    pub succeeded: u64,
    /// Found nothing to do.
    pub skipped: u64,
    /// Failed.
    pub failed: u64,
}

impl<R> Results<R> {
    /// A row for each item, in the order of the items.
    pub fn rows(&self) -> &[ResultRow<R>] {
        &self.0
    }

    /// The values alone.
    pub fn values(&self) -> impl Iterator<Item = &R> {
        self.0.iter().filter_map(|row| row.value.as_ref())
    }

    /// The values alone, moved out.
    pub fn into_values(self) -> impl Iterator<Item = R> {
        self.0.into_iter().filter_map(|row| row.value)
    }

    /// How many items ended in which way.
    pub fn counts(&self) -> ResultCounts {
        let mut counts = ResultCounts::default();
        for row in &self.0 {
            let count = match (&row.error, &row.skipped) {
                (Some(_), _) => &mut counts.failed,
                (None, Some(_)) => &mut counts.skipped,
                (None, None) => &mut counts.succeeded,
            };
            *count += 1;
        }
        counts
    }
}

impl<R> IntoIterator for Results<R> {
    type Item = ResultRow<R>;
    type IntoIter = std::vec::IntoIter<ResultRow<R>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<R> FromIterator<ResultRow<R>> for Results<R> {
    fn from_iter<I: IntoIterator<Item = ResultRow<R>>>(rows: I) -> Self {
        Self(rows.into_iter().collect())
    }
}

impl<R: AssetValue> Results<R> {
    /// The rows of `outcomes`, to be read while they are stored.
    pub(crate) fn gather(outcomes: Outcomes) -> Result<GatheredValue> {
        let counts = *outcomes.counts();
        let parts = stream::try_unfold(outcomes, |mut outcomes| async move {
            let part = next_part(&mut outcomes).await?;
            Ok((!part.is_empty()).then_some((part, outcomes)))
        });
        let manifest = Manifest::of(&ResultCounts::from(counts))?;
        Ok(GatheredValue::Rows(Rows::new::<Self, _>(counts.total, parts), manifest))
    }
}

async fn next_part<R: AssetValue>(outcomes: &mut Outcomes) -> Result<Vec<ResultRow<R>>> {
    let (mut rows, mut len) = (Vec::new(), 0);
    while rows.len() < PART_ROWS && len < PART_LEN {
        let Some(raw) = outcomes.next().await? else {
            break;
        };
        if let ItemOutcome::Ended(ItemResult::Value(value)) = &raw.outcome {
            len += value.len();
        }
        rows.push(Gathered::read(raw)?.into());
    }
    Ok(rows)
}

impl From<BarrierCounts> for ResultCounts {
    fn from(counts: BarrierCounts) -> Self {
        Self {
            succeeded: counts.succeeded,
            skipped: counts.skipped,
            failed: counts.failed + counts.quarantined,
        }
    }
}

impl<R> From<Gathered<R>> for ResultRow<R> {
    fn from(gathered: Gathered<R>) -> Self {
        let (value, skipped, error) = match gathered.outcome {
            Ok(Outcome::Value(value)) => (Some(value), None, None),
            Ok(Outcome::Skipped(reason)) => (None, Some(reason), None),
            Err(error) => (None, None, Some(error.to_string())),
        };
        Self {
            index: gathered.index,
            key: gathered.key,
            value,
            skipped,
            error,
        }
    }
}
