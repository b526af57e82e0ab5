//! `scatter show`: the fan-outs of a run, as they are.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use flowstone_core::fan_out::BarrierCounts;
use flowstone_core::run::RunState;
use flowstone_core::store::{FanOutFilter, FanOutRow, Store};
use flowstone_core::{FanOutId, Result, RunId};
use jiff::Timestamp;
use serde::Serialize;

use super::describe::{FanOutJson, FanOuts, ItemCounts, ValueJson, values};
use super::find::{Finder, Found};
use crate::args::ScatterShowArgs;
use crate::control::{Answer, Ask, LiveItems, LiveResults, ask};
use crate::entry::Context;
use crate::exit::{Exit, Failure};
use crate::output::{aligned, counted, readable};
use crate::progress::{duration, rate};
use crate::state::{self, KnownAssets};

/// The most fan-outs that the process which runs them is asked about.
const LIVE_ASKED_MAX: usize = 500;
/// The most fan-outs of which people are told more than a line.
const DETAILED_MAX: usize = 10;

#[derive(Serialize)]
struct Shown<'a> {
    /// The run that the fan-outs belong to; none when nothing has fanned out yet.
    run: Option<RunId>,
    run_state: Option<RunState>,
    fan_outs: Vec<FanOutJson<'a>>,
}

pub(super) async fn perform(context: &Context, args: &ScatterShowArgs) -> std::result::Result<Exit, Failure> {
    let pipeline = context.pipeline().ok();
    let store = state::read_existing(context.state_dir()).await?;
    let known = KnownAssets::read(&*store).await?;
    let finder = Finder {
        store: &*store,
        known: &known,
        pipeline: pipeline.as_ref(),
    };
    let found = match &args.of {
        Some(text) => Some(finder.any(text).await?),
        None => finder.newest().await?.map(|run| Found::Run(Box::new(run))),
    };
    let (run, fan_out) = match found {
        None => (None, None),
        Some(Found::Run(run)) => (Some(*run), None),
        Some(Found::FanOut(row)) => (store.run(row.run).await?, Some(row.fan_out)),
    };
    let rows = match &run {
        Some(run) => store.fan_outs(FanOutFilter::OfRun(run.run)).await?,
        None => Vec::new(),
    };
    let values = values(&*store, &rows).await?;
    let fan_outs = FanOuts {
        live: live(context, &rows, &values).await,
        values,
        rows: &rows,
        known: &known,
        now: Timestamp::now(),
    };
    let shown = Shown {
        run: run.as_ref().map(|run| run.run),
        run_state: run.as_ref().map(|run| run.state),
        fan_outs: match fan_out {
            Some(fan_out) => fan_outs.one(fan_out).into_iter().collect(),
            None => fan_outs.outermost(),
        },
    };
    context
        .out
        .data("flowstone.scatter/1", &shown, |shown| show(shown, &context.program))?;
    Ok(Exit::Done)
}

/// How far those are that go on or store what they gave, as the process says that runs them. Without one, the ledger is all
/// that is known.
async fn live(
    context: &Context,
    rows: &[FanOutRow],
    values: &HashMap<FanOutId, ValueJson>,
) -> HashMap<FanOutId, LiveItems> {
    let may_store = |row: &FanOutRow| row.parent.is_none() && !values.contains_key(&row.fan_out);
    let may_go_on = |row: &&FanOutRow| !row.state.is_terminal() || may_store(row);
    let mut open: Vec<&FanOutRow> = rows.iter().filter(may_go_on).collect();
    open.sort_by_key(|row| (row.state.is_terminal(), row.parent.is_some()));
    let open: Vec<FanOutId> = open.iter().take(LIVE_ASKED_MAX).map(|row| row.fan_out).collect();
    if open.is_empty() {
        return HashMap::new();
    }
    match ask(context.state_dir(), &Ask::Items(open)).await {
        Ok(Some(Answer::Items(live))) => live.into_iter().map(|items| (items.fan_out, items)).collect(),
        _ => HashMap::new(),
    }
}

/// The items of all fan-outs of a run, as of the last commit, those that fan out themselves left out; none when nothing of it
/// has fanned out.
pub(in crate::verbs) async fn items_of(store: &dyn Store, run: RunId) -> Result<Option<ItemCounts>> {
    let rows = store.fan_outs(FanOutFilter::OfRun(run)).await?;
    let outer: HashSet<FanOutId> = rows.iter().filter_map(|row| Some(row.parent?.0)).collect();
    let innermost = rows.iter().filter(|row| !outer.contains(&row.fan_out));
    let sum: BarrierCounts = innermost.map(|row| row.counts).sum();
    Ok((!rows.is_empty()).then(|| sum.into()))
}

fn show(shown: &Shown<'_>, program: &str) -> String {
    let (Some(run), Some(state)) = (shown.run, shown.run_state) else {
        return "nothing has fanned out here yet".to_owned();
    };
    if shown.fan_outs.is_empty() {
        return format!("nothing of run {run} has fanned out");
    }
    let mut text = format!("run {run}: {state}\n\n{}", table(&shown.fan_outs));
    for fan_out in shown.fan_outs.iter().take(DETAILED_MAX) {
        text.push_str(&format!("\n\n{}", detail(fan_out, program)));
    }
    text
}

fn table(fan_outs: &[FanOutJson<'_>]) -> String {
    let rows = fan_outs.iter().map(|fan_out| {
        let counts = &fan_out.counts;
        let [total, pending, running, ok, skipped, failed, quarantined, cancelled] = [
            counts.total,
            counts.pending,
            counts.running,
            counts.succeeded,
            counts.skipped,
            counts.failed,
            counts.quarantined,
            counts.cancelled,
        ]
        .map(|count| count.to_string());
        [
            step(fan_out),
            fan_out.fan_out.to_string(),
            fan_out.state.to_string(),
            total,
            pending,
            running,
            ok,
            skipped,
            failed,
            quarantined,
            cancelled,
        ]
    });
    let header = [
        "step",
        "fan-out",
        "state",
        "items",
        "pending",
        "running",
        "ok",
        "skipped",
        "failed",
        "quarantined",
        "cancelled",
    ];
    aligned(header, &[3, 4, 5, 6, 7, 8, 9, 10], rows)
}

/// The step that fans out.
fn step(fan_out: &FanOutJson<'_>) -> String {
    let FanOutJson { asset, partition, .. } = fan_out;
    // What has no partitions has one that is written so.
    if partition == "-" {
        asset.clone()
    } else {
        format!("{asset}[{partition}]")
    }
}

fn detail(fan_out: &FanOutJson<'_>, program: &str) -> String {
    let mut text = format!("{}: {}", readable(&step(fan_out)), fan_out.options.to_text());
    if fan_out.epoch > 1 {
        let redriven = counted(fan_out.redriven, "item");
        text.push_str(&format!("\n  opened {} times, {redriven} redriven", fan_out.epoch));
    }
    if let Some(rate_of) = fan_out.per_second {
        text.push_str(&format!("\n  {} items/s", rate(rate_of)));
        match fan_out.left_ms {
            Some(left) => text.push_str(&format!(", {} left", duration(Duration::from_millis(left)))),
            None => text.push_str(", more are being read"),
        }
    } else if !fan_out.state.is_terminal() && !fan_out.is_live {
        text.push_str("\n  no process runs it now; it goes on with the next that does");
    }
    if let Some(nested) = &fan_out.nested {
        let counts = &nested.counts;
        text.push_str(&format!(
            "\n  {} within it, {} open: {}: {}",
            counted(nested.fan_outs, "fan-out"),
            nested.open,
            counted(counts.total, "item"),
            counts.to_text()
        ));
    }
    if let (Some(results), None) = (&fan_out.results, &fan_out.value) {
        let LiveResults { written, total } = results;
        text.push_str(&format!("\n  results: {written} of {} written", counted(*total, "row")));
    }
    if let Some(value) = &fan_out.value {
        text.push_str(&format!("\n  value: {}", value.to_text()));
    }
    if let Some(error) = &fan_out.error {
        text.push_str(&format!("\n  {}", readable(&error.message).replace('\n', "\n  ")));
        if let Some(fix) = error.fix {
            text.push_str(&format!("\n  fix: {}", readable(fix)));
        }
    }
    if fan_out.counts.failed + fan_out.counts.quarantined > 0 {
        text.push_str(&format!(
            "\n  `{program} scatter items {}` lists what failed",
            fan_out.fan_out
        ));
    }
    text
}
