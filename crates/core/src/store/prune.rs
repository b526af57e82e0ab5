//! What a store is asked to forget, and what it says about it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::AssetId;
use crate::io::Address;
use crate::retention::Keep;

/// What a store is asked to forget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prune {
    /// The current time.
    pub now: Timestamp,
    /// The events that stay. The newest always does.
    pub events: Keep,
    /// Of the runs that have ended, those that stay.
    pub runs: Keep,
    /// The versions that stay, for each asset whose old versions may go at all.
    pub versions: BTreeMap<AssetId, Keep>,
    /// About how many rows of a kind are looked at before the rest is left for another time.
    pub rows_max: u64,
    /// Counts what would go, and removes nothing.
    pub is_dry_run: bool,
}

/// What went, or would.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Rows by table; tables that lost none are left out.
    pub rows: BTreeMap<String, u64>,
    /// The values that no row names any more, to be deleted; none of a dry run.
    pub values: Vec<(AssetId, Address)>,
    /// How many values outside the ledger went, or would.
    pub value_count: u64,
    /// Their bytes.
    pub value_bytes: u64,
    /// True when there was no time for everything: asking again goes on with the rest.
    pub has_more: bool,
}

impl Pruned {
    /// Counts rows of a table.
    pub fn count(&mut self, table: &str, rows: u64) {
        if rows > 0 {
            *self.rows.entry(table.to_owned()).or_default() += rows;
        }
    }

    /// Counts a value that went.
    pub fn lose(&mut self, asset: AssetId, address: Address, bytes: u64) {
        if address.place().is_some() {
            self.value_count += 1;
            self.value_bytes += bytes;
            self.values.push((asset, address));
        }
    }

    /// Adds what another pass did.
    pub fn absorb(&mut self, other: Self) {
        for (table, rows) in other.rows {
            *self.rows.entry(table).or_default() += rows;
        }
        self.values.extend(other.values);
        self.value_count += other.value_count;
        self.value_bytes += other.value_bytes;
        self.has_more = other.has_more;
    }
}
