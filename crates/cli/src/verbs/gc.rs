//! `gc`: removes what nobody needs any more, or says what that is.

use std::collections::BTreeMap;
use std::sync::Arc;

use flowstone_core::store::Store;
use flowstone_core::{Error, ErrorKind, Result};
use flowstone_runtime::{check_retention, collect_garbage};
use flowstone_store::SqliteStore;
use serde::Serialize;

use crate::args::GcArgs;
use crate::control::{Answer, Ask, Collected, Reached, reach};
use crate::entry::Context;
use crate::exit::{Exit, Failure, OrUsage as _};
use crate::output::{aligned, counted, size};
use crate::{session, state};

#[derive(Serialize)]
struct Told {
    is_dry_run: bool,
    /// Tables that lose rows.
    tables: Vec<Table>,
    old_versions: Values,
    left_over: Values,
    /// What lies there of runs that this ledger has never heard of; it is left alone.
    unknown: u64,
    /// The first of the assets whose IO manager cannot tell what it keeps.
    unlisted: Vec<String>,
}

#[derive(Serialize)]
struct Table {
    table: String,
    rows: u64,
    /// About so much, by what a row of the table takes; none where the store cannot tell.
    bytes: Option<u64>,
}

#[derive(Serialize)]
struct Values {
    count: u64,
    bytes: u64,
}

pub(super) async fn perform(context: &Context, args: &GcArgs) -> std::result::Result<Exit, Failure> {
    let dir = context.state_dir();
    let pipeline = context.pipeline()?;
    let options = session::options(dir, &context.settings);
    check_retention(&pipeline, &options.retention).or_usage()?;
    let store = state::read_existing(dir).await?;
    let per_row = bytes_per_row(&*store).await?;
    let collected = if args.dry_run {
        collect_garbage(&pipeline, store, &options, true).await?.into()
    } else {
        let here = async || {
            let store = Arc::new(SqliteStore::open(dir).await?);
            let garbage = collect_garbage(&pipeline, store.clone(), &options, false).await?;
            if let Some(store) = Arc::into_inner(store) {
                store.close().await?;
            }
            Ok(Collected::from(garbage))
        };
        match reach(dir, &Ask::CollectGarbage, here).await? {
            Reached::Here(collected) | Reached::There(Answer::Collected(collected)) => collected,
            Reached::There(_) => {
                return Err(Error::new(ErrorKind::Internal, "the running process gave another answer").into());
            }
        }
    };
    let told = describe(args.dry_run, collected, &per_row);
    context.out.data("flowstone.gc/1", &told, show)?;
    Ok(Exit::Done)
}

/// What a row of each table takes, with its indexes.
async fn bytes_per_row(store: &dyn Store) -> Result<BTreeMap<String, f64>> {
    let tables = store.stats().await?.tables.into_iter();
    let known = tables.filter_map(|(table, (rows, bytes))| Some((table, bytes? as f64 / rows.max(1) as f64)));
    Ok(known.collect())
}

fn describe(is_dry_run: bool, collected: Collected, per_row: &BTreeMap<String, f64>) -> Told {
    let tables = collected.rows.into_iter().map(|(table, rows)| Table {
        bytes: per_row.get(&table).map(|each| (each * rows as f64) as u64),
        table,
        rows,
    });
    Told {
        is_dry_run,
        tables: tables.collect(),
        old_versions: Values {
            count: collected.old_values,
            bytes: collected.old_bytes,
        },
        left_over: Values {
            count: collected.left_over,
            bytes: collected.left_over_bytes,
        },
        unknown: collected.unknown,
        unlisted: collected.unlisted,
    }
}

fn show(told: &Told) -> String {
    let verb = if told.is_dry_run { "would be removed" } else { "removed" };
    let mut text = String::new();
    if told.tables.is_empty() && told.old_versions.count == 0 && told.left_over.count == 0 {
        text.push_str("nothing to remove: everything that is kept is needed, or young enough");
    } else {
        text.push_str(&format!(
            "{verb}: {} of old versions ({}), {} left over by attempts ({})",
            counted(told.old_versions.count, "value"),
            size(told.old_versions.bytes),
            counted(told.left_over.count, "value"),
            size(told.left_over.bytes),
        ));
    }
    if !told.tables.is_empty() {
        let rows = told.tables.iter().map(|table| {
            let bytes = table
                .bytes
                .map_or_else(String::new, |bytes| format!("~{}", size(bytes)));
            [table.table.clone(), table.rows.to_string(), bytes]
        });
        text.push_str(&format!("\n\n{}", aligned(["table", "rows", "size"], &[1, 2], rows)));
    }
    if told.unknown > 0 {
        text.push_str(&format!(
            "\n\nleft alone: {} of runs that this ledger has never heard of",
            counted(told.unknown, "value")
        ));
    }
    if !told.unlisted.is_empty() {
        text.push_str(&format!(
            "\n\nnot looked for left-overs, since their IO manager cannot tell what it keeps: {}",
            told.unlisted.join(", ")
        ));
    }
    text
}
