//! `partitions`: adds to a dynamic set, retires some of it, or lists it. A process that holds the state is asked.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use flowstone_core::partition::{KEYS_PER_CALL_MAX, PartitionKey, PartitionSpace};
use flowstone_core::store::Store as _;
use flowstone_core::{Error, ErrorKind, Result};
use flowstone_runtime::dynamic_set;
use flowstone_store::SqliteStore;
use jiff::Timestamp;
use serde::Serialize;

use crate::args::{KeysArgs, PartitionsArgs, PartitionsVerb};
use crate::control::{Answer, Ask, Reached, reach};
use crate::entry::Context;
use crate::exit::{Exit, Failure, OrUsage as _};
use crate::output::{counted, table};
use crate::state;

/// The most bytes of keys, as JSON, that go to another process at once; a key may be longer by itself.
const SENT_LEN_MAX: usize = 48 * 1024;
/// The most bytes of keys that are read from a file.
const FILE_LEN_MAX: u64 = 256 << 20;
/// How many partitions an answer for people names.
const NAMED_MAX: usize = 10;

#[derive(Serialize)]
struct Changed<'a> {
    set: &'a str,
    /// In the order given.
    partitions: Vec<ChangedKey<'a>>,
}

#[derive(Serialize)]
struct ChangedKey<'a> {
    partition: &'a str,
    index: u64,
}

#[derive(Serialize)]
struct Listed<'a> {
    set: &'a str,
    partitions: Vec<ListedKey>,
}

#[derive(Serialize)]
struct ListedKey {
    partition: String,
    index: u64,
    added_at: Timestamp,
    retired_at: Option<Timestamp>,
}

pub(super) async fn perform(context: &Context, args: &PartitionsArgs) -> std::result::Result<Exit, Failure> {
    match &args.verb {
        PartitionsVerb::Add(keys) => change(context, keys, true).await,
        PartitionsVerb::Retire(keys) => change(context, keys, false).await,
        PartitionsVerb::List { set } => list(context, set).await,
    }
}

async fn change(context: &Context, args: &KeysArgs, adds: bool) -> std::result::Result<Exit, Failure> {
    dynamic_set(&context.pipeline()?, &args.set).or_usage()?;
    let read = args.from.as_deref().map(read).transpose().or_usage()?;
    let lines = read
        .iter()
        .flat_map(|text| text.lines())
        .filter(|line| !line.is_empty());
    let texts: Vec<&str> = args.keys.iter().map(String::as_str).chain(lines).collect();
    let keys: Vec<PartitionKey> = texts.iter().map(|text| key(text)).collect::<Result<_>>().or_usage()?;
    let mut indices = Vec::with_capacity(keys.len());
    let mut rest = &keys[..];
    while !rest.is_empty() {
        let (some, others) = rest.split_at(sent_at_once(rest)?);
        indices.extend(change_some(context.state_dir(), &args.set, some, adds).await?);
        rest = others;
    }
    let partitions = texts.into_iter().zip(indices);
    let changed = Changed {
        set: &args.set,
        partitions: partitions
            .map(|(partition, index)| ChangedKey { partition, index })
            .collect(),
    };
    context
        .out
        .data("flowstone.partitions_changed/1", &changed, |changed| {
            let count = counted(changed.partitions.len() as u64, "partition");
            let named = changed.partitions.iter().take(NAMED_MAX).map(|key| key.partition);
            let mut names = named.collect::<Vec<_>>().join(", ");
            if let Some(more @ 1..) = changed.partitions.len().checked_sub(NAMED_MAX) {
                names.push_str(&format!(" and {more} more"));
            }
            match adds {
                true => format!("{} has {count}: {names}", changed.set),
                false => format!("{count} of {} retired: {names}", changed.set),
            }
        })?;
    Ok(Exit::Done)
}

/// The text of a file, or of what is piped in for `-`.
fn read(file: &Path) -> Result<String> {
    let about = |error: Error| error.during("read partitions from").about(file.display());
    let source: Box<dyn Read> = if file == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(File::open(file).map_err(|error| about(error.into()))?)
    };
    let mut text = String::new();
    let read = source.take(FILE_LEN_MAX + 1).read_to_string(&mut text);
    if read.map_err(|error| about(error.into()))? as u64 > FILE_LEN_MAX {
        let error = Error::new(
            ErrorKind::LimitExceeded,
            format!("it is longer than {FILE_LEN_MAX} bytes"),
        );
        return Err(about(error.code("file_too_large").fix("give it in parts")));
    }
    Ok(text)
}

/// A key as typed: canonical text where it is some, else a text.
fn key(text: &str) -> Result<PartitionKey> {
    match text.parse() {
        Ok(key) => Ok(key),
        Err(_) => PartitionKey::text(text),
    }
}

/// How many of `keys` go to another process at once.
fn sent_at_once(keys: &[PartitionKey]) -> Result<usize> {
    let mut len = 0;
    for (count, key) in keys.iter().enumerate().take(KEYS_PER_CALL_MAX) {
        let text = serde_json::to_string(key).map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
        len += text.len() + 1;
        if len > SENT_LEN_MAX && count > 0 {
            return Ok(count);
        }
    }
    Ok(keys.len().min(KEYS_PER_CALL_MAX))
}

async fn change_some(dir: &Path, set: &str, keys: &[PartitionKey], adds: bool) -> Result<Vec<u64>> {
    let ask = Ask::Partitions {
        set: set.to_owned(),
        keys: keys.to_vec(),
        adds,
    };
    let here = async || {
        let store = SqliteStore::open(dir).await?;
        let now = Timestamp::now();
        let changed = match adds {
            true => store.add_dynamic_keys(set, keys, now).await,
            false => store.retire_dynamic_keys(set, keys, now).await,
        };
        store.close().await?;
        changed
    };
    match reach(dir, &ask, here).await? {
        Reached::Here(indices) | Reached::There(Answer::Partitions(indices)) => Ok(indices),
        Reached::There(_) => Err(Error::new(
            ErrorKind::Internal,
            "the running process gave another answer",
        )),
    }
}

async fn list(context: &Context, set: &str) -> std::result::Result<Exit, Failure> {
    dynamic_set(&context.pipeline()?, set).or_usage()?;
    let mut partitions = Vec::new();
    if let Some(store) = state::read(context.state_dir()).await? {
        let known = store.dynamic_set(set).await?;
        let rows = (0..known.len()).map_while(|index| known.entry(index));
        let space = PartitionSpace::Dynamic(known.clone());
        partitions.extend(rows.map(|row| ListedKey {
            partition: space.label(row.index),
            index: row.index,
            added_at: row.added_at,
            retired_at: row.retired_at,
        }));
    }
    let listed = Listed { set, partitions };
    context.out.data("flowstone.partitions/1", &listed, |listed| {
        if listed.partitions.is_empty() {
            return format!("{} has no partitions yet", listed.set);
        }
        let rows = listed.partitions.iter().map(|row| {
            let retired = row.retired_at.map_or_else(String::new, |at| format!("{at:.0}"));
            [row.partition.clone(), format!("{:.0}", row.added_at), retired]
        });
        table(["partition", "added", "retired"], rows)
    })?;
    Ok(Exit::Done)
}
