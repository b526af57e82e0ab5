//! `scatter items`: those that failed, with their last errors; or all, page by page, with what they gave.

use std::collections::BTreeMap;

use flowstone_core::fan_out::{ChildState, ItemPage, ItemResult, SegmentBody};
use flowstone_core::partition::PartitionSet;
use flowstone_core::store::{FanOutRow, ItemEnds, ItemFailure, Store};
use flowstone_core::{Error, ErrorKind, FanOutId, Result, TypeInfo, Value};
use jiff::Timestamp;
use serde::Serialize;

use super::find::Finder;
use crate::args::ItemsArgs;
use crate::entry::Context;
use crate::exit::{Exit, Failure};
use crate::output::{ErrorJson, Output, aligned, one_line};
use crate::state::{self, KnownAssets};

/// How many items that failed are listed unless told otherwise.
const FAILED_LISTED: u64 = 100;
/// How many failures are read at once.
const FAILURES_LEN: usize = 1_000;
/// The most characters of a result that people are shown.
const RESULT_SHOWN_MAX: usize = 80;

/// An item and what became of it.
#[derive(Serialize)]
struct ItemJson<'a> {
    item: u64,
    key: &'a str,
    state: ItemState,
    /// The attempts of it that failed, since it was last tried anew.
    failed_attempts: u32,
    /// What it gave; none unless all are listed and it succeeded.
    result: Option<serde_json::Value>,
    /// Why there was nothing to do, under the same terms.
    reason: Option<&'a str>,
    /// How it failed last, even if it succeeded since.
    error: Option<ErrorJson<'a>>,
    failed_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum ItemState {
    Pending,
    Running,
    Succeeded,
    Skipped,
    Failed,
    Quarantined,
    Cancelled,
}

impl From<ChildState> for ItemState {
    fn from(state: ChildState) -> Self {
        match state {
            ChildState::Pending => Self::Pending,
            ChildState::Leased => Self::Running,
            ChildState::Succeeded => Self::Succeeded,
            ChildState::Skipped => Self::Skipped,
            ChildState::Failed => Self::Failed,
            ChildState::Quarantined => Self::Quarantined,
            ChildState::Cancelled => Self::Cancelled,
        }
    }
}

impl ItemState {
    const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Succeeded => "ok",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
            Self::Quarantined => "quarantined",
            Self::Cancelled => "cancelled",
        }
    }
}

pub(super) async fn perform(context: &Context, args: &ItemsArgs) -> std::result::Result<Exit, Failure> {
    let pipeline = context.pipeline().ok();
    let store = state::read_existing(context.state_dir()).await?;
    let finder = Finder {
        store: &*store,
        known: &KnownAssets::read(&*store).await?,
        pipeline: pipeline.as_ref(),
    };
    let row = finder.one(&args.of.fan_out).await?;
    let listing = Listing::read(&*store, row).await?;
    let limit = args.limit.unwrap_or(if args.all { u64::MAX } else { FAILED_LISTED });
    let mut sheet = Sheet::begin(&context.out, &listing.row, limit)?;
    if args.all {
        listing.all(args.from, &mut sheet).await?;
    } else {
        listing.failed(args.from, args.quarantined, &mut sheet).await?;
    }
    sheet.end(args.all)?;
    Ok(Exit::Done)
}

/// What tells the states of the items of a fan-out.
struct Listing<'a> {
    store: &'a dyn Store,
    row: FanOutRow,
    ends: ItemEnds,
    claimed: PartitionSet,
}

impl<'a> Listing<'a> {
    async fn read(store: &'a dyn Store, row: FanOutRow) -> Result<Self> {
        let claims = store.item_claims(row.fan_out).await?;
        let held = claims.iter().filter(|claim| claim.is_held);
        Ok(Self {
            claimed: held.fold(PartitionSet::new(), |all, claim| all.union(&claim.items)),
            ends: store.item_ends(row.fan_out).await?,
            store,
            row,
        })
    }

    /// The state of an item. Of a failure only that counts which is final and of the last epoch: what failed before is tried
    /// again.
    fn state(&self, item: u64, failure: Option<&ItemFailure>) -> ChildState {
        let failure = failure.filter(|failure| failure.is_final && failure.epoch == self.row.epoch);
        if self.ends.succeeded.contains(item) {
            ChildState::Succeeded
        } else if self.ends.skipped.contains(item) {
            ChildState::Skipped
        } else if let Some(failure) = failure {
            match failure.error.kind {
                ErrorKind::Quarantined => ChildState::Quarantined,
                _ => ChildState::Failed,
            }
        } else if self.row.state.is_terminal() {
            ChildState::Cancelled
        } else if self.claimed.contains(item) {
            ChildState::Leased
        } else {
            ChildState::Pending
        }
    }

    /// Lists what failed, or was quarantined, from an item on.
    async fn failed(&self, from: u64, is_quarantined_only: bool, sheet: &mut Sheet<'_>) -> Result<()> {
        let mut from = from;
        loop {
            let failures = self.store.item_failures(self.row.fan_out, from, FAILURES_LEN).await?;
            let Some(last) = failures.last() else { return Ok(()) };
            from = last.item + 1;
            let meant = failures.iter().filter_map(|failure| {
                let state = self.state(failure.item, Some(failure));
                let is_meant = match state {
                    ChildState::Failed => !is_quarantined_only,
                    ChildState::Quarantined => true,
                    _ => false,
                };
                is_meant.then(|| describe(failure.item, &failure.key, state, Some(failure), None))
            });
            if sheet.add(meant)? || failures.len() < FAILURES_LEN {
                return Ok(());
            }
        }
    }

    /// Lists all items from one on, a page at a time.
    async fn all(&self, from: u64, sheet: &mut Sheet<'_>) -> Result<()> {
        let fan_out = self.row.fan_out;
        for row in self.store.item_pages(fan_out).await? {
            if row.first + row.len <= from {
                continue;
            }
            let page = self.store.item_page(fan_out, row.first).await?;
            let page = page.ok_or_else(|| missing(fan_out, row.first))?;
            let page = ItemPage::decode(page.first, page.batch_starts, &page.body)?;
            let failures = self.store.item_failures(fan_out, row.first, page.items.len()).await?;
            let failures: BTreeMap<u64, ItemFailure> =
                failures.into_iter().map(|failure| (failure.item, failure)).collect();
            let mut results = BTreeMap::new();
            for segment in self.store.segments(fan_out, row.first).await? {
                results.extend(SegmentBody::read(&segment.succeeded, &segment.skipped, &segment.body)?);
            }
            let items = page.range().zip(&page.items).filter(|(item, _)| *item >= from);
            let items = items.map(|(item, content)| {
                let failure = failures.get(&item);
                let state = self.state(item, failure);
                describe(item, &content.key, state, failure, results.get(&item))
            });
            if sheet.add(items)? {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn describe<'a>(
    item: u64,
    key: &'a str,
    state: ChildState,
    failure: Option<&'a ItemFailure>,
    result: Option<&'a ItemResult>,
) -> ItemJson<'a> {
    ItemJson {
        item,
        key,
        state: state.into(),
        failed_attempts: failure.map_or(0, |failure| failure.attempt),
        result: result.and_then(value_of),
        reason: match result {
            Some(ItemResult::Skipped(reason)) => Some(reason),
            _ => None,
        },
        error: failure.map(|failure| (&failure.error).into()),
        failed_at: failure.map(|failure| failure.at),
    }
}

/// The value of a result, or what can be said of one that is no JSON.
fn value_of(result: &ItemResult) -> Option<serde_json::Value> {
    let read = result.read(TypeInfo::of::<serde_json::Value>());
    let value = read.and_then(|value| value.map(Value::take::<serde_json::Value>).transpose());
    value.unwrap_or_else(|error| Some(format!("unreadable: {error}").into()))
}

fn missing(fan_out: FanOutId, first: u64) -> Error {
    Error::new(ErrorKind::Corrupt, format!("items from {first} on are missing"))
        .code("items_missing")
        .during("read back the items of fan-out")
        .about(fan_out)
}

/// Writes items as they come, so that a million take no more memory than a page of them.
struct Sheet<'a> {
    out: &'a Output,
    fan_out: FanOutId,
    left: u64,
    is_empty: bool,
    /// The first item that was not written because the limit was reached.
    next: Option<u64>,
}

impl<'a> Sheet<'a> {
    fn begin(out: &'a Output, row: &FanOutRow, limit: u64) -> Result<Self> {
        if out.is_json() {
            let FanOutRow {
                fan_out, run, state, ..
            } = row;
            out.text(&format!(
                "{{\n\"schema\": \"flowstone.scatter.items/1\",\n\"fan_out\": \"{fan_out}\",\n\"run\": \"{run}\",\n\
                 \"state\": \"{state}\",\n\"items\": ["
            ))?;
        }
        Ok(Self {
            out,
            fan_out: row.fan_out,
            left: limit,
            is_empty: true,
            next: None,
        })
    }

    /// Writes items, as far as the limit allows; true when that is reached.
    fn add<'i>(&mut self, items: impl Iterator<Item = ItemJson<'i>>) -> Result<bool> {
        let mut taken = Vec::new();
        for item in items {
            if self.left == 0 {
                self.next = Some(item.item);
                break;
            }
            self.left -= 1;
            taken.push(item);
        }
        if !taken.is_empty() {
            let text = match self.out.is_json() {
                true => self.json(&taken)?,
                false => self.lines(&taken),
            };
            self.out.text(&text)?;
            self.is_empty = false;
        }
        Ok(self.next.is_some())
    }

    fn json(&self, items: &[ItemJson<'_>]) -> Result<String> {
        let mut text = String::new();
        for (place, item) in items.iter().enumerate() {
            if place > 0 || !self.is_empty {
                text.push_str(",\n");
            }
            let item = serde_json::to_string(item).map_err(|error| {
                Error::new(ErrorKind::Internal, error.to_string())
                    .during("write")
                    .about("an item")
            })?;
            text.push_str(&item);
        }
        Ok(text)
    }

    fn lines(&self, items: &[ItemJson<'_>]) -> String {
        let rows = items.iter().map(|item| {
            let what = match (&item.result, &item.error) {
                (Some(result), _) => shortened(&result.to_string()),
                (None, Some(error)) => match error.fix {
                    Some(fix) => format!("{} (fix: {fix})", error.message),
                    None => error.message.clone(),
                },
                (None, None) => item.reason.unwrap_or_default().to_owned(),
            };
            [
                item.item.to_string(),
                item.key.to_owned(),
                item.state.name().to_owned(),
                item.failed_attempts.to_string(),
                what,
            ]
        });
        let table = aligned(["item", "key", "state", "failed", "result or error"], &[0, 3], rows);
        match table.split_once('\n') {
            // The head stands above the first page only.
            Some((_, rows)) if !self.is_empty => rows.to_owned(),
            _ => table,
        }
    }

    fn end(self, is_all: bool) -> Result<()> {
        if self.out.is_json() {
            let next = self.next.map_or("null".to_owned(), |next| next.to_string());
            return self.out.text(&format!("],\n\"next\": {next}\n}}"));
        }
        if self.is_empty {
            let what = if is_all { "no items" } else { "no items that failed" };
            self.out
                .say(format_args!("fan-out {} has {what} from there on", self.fan_out));
        }
        if let Some(next) = self.next {
            self.out.say(format_args!(
                "there are more: `--from {next}` goes on, `--limit` lists more at once"
            ));
        }
        Ok(())
    }
}

fn shortened(text: &str) -> String {
    let text = one_line(text);
    match text.char_indices().nth(RESULT_SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_results_are_cut_between_characters() {
        assert_eq!(shortened("\"é\""), "\"é\"");
        assert_eq!(shortened(&"é".repeat(81)), format!("{}…", "é".repeat(80)));
    }
}
