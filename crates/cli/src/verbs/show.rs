//! `show`: one run, its steps by asset, and what failed.

use flowstone_core::partition::PartitionSelector;
use flowstone_core::pipeline::Pipeline;
use flowstone_core::plan::{Force, Pace, RunPlan, RunRequest};
use flowstone_core::run::{RunCounts, RunState, StepSets};
use flowstone_core::store::{ChunkRow, RunRow, StepFailure, Store};
use flowstone_core::{AssetId, Result, RunId};
use jiff::Timestamp;
use serde::Serialize;

use super::run::tell;
use super::runs::elapsed_ms;
use super::scatter::{ItemCounts, items_of};
use crate::args::OneRunArgs;
use crate::entry::Context;
use crate::exit::{Exit, Failure};
use crate::output::{ErrorJson, aligned, counted, readable};
use crate::progress::duration;
use crate::state::{self, KnownAssets};

/// The most failed attempts that an answer for programs spells out.
const FAILURES_MAX: usize = 10_000;
/// The most failed attempts that an answer for people spells out.
const FAILURES_SHOWN_MAX: usize = 20;

#[derive(Serialize)]
struct Shown<'a> {
    run: RunId,
    pipeline: &'a str,
    state: RunState,
    created_at: Timestamp,
    moved_at: Timestamp,
    elapsed_ms: Option<u64>,
    /// The run of which it makes what was left.
    redrive_of: Option<RunId>,
    request: Option<Request>,
    counts: RunCounts,
    /// The items of its steps that fanned out, as of the last commit.
    items: Option<ItemCounts>,
    assets: Vec<Steps>,
    error: Option<ErrorJson<'a>>,
    failures: Vec<Failed<'a>>,
    failures_left_out: usize,
}

#[derive(Serialize)]
struct Request {
    assets: Vec<String>,
    targets: Vec<String>,
    partitions: PartitionSelector,
    force: Force,
    config: serde_json::Value,
    pace: Pace,
}

#[derive(Serialize)]
pub(super) struct Steps {
    asset: String,
    counts: RunCounts,
}

impl Steps {
    #[cfg(test)]
    pub(super) fn of(asset: &str, counts: RunCounts) -> Self {
        Self {
            asset: asset.to_owned(),
            counts,
        }
    }
}

#[derive(Serialize)]
struct Failed<'a> {
    asset: String,
    partition: String,
    attempt: u32,
    /// False when another attempt followed.
    is_final: bool,
    at: Timestamp,
    error: ErrorJson<'a>,
}

pub(super) async fn perform(context: &Context, args: &OneRunArgs) -> std::result::Result<Exit, Failure> {
    // A run can be shown whatever has become of its pipeline.
    let pipeline = context.pipeline().ok();
    let store = state::read_existing(context.state_dir()).await?;
    let row = state::find_run(&*store, &args.run).await?;
    let known = KnownAssets::read(&*store).await?;
    let failures = store.failures(row.run).await?;
    let assets = steps_of(pipeline.as_ref(), &*store, &row).await?;
    let items = items_of(&*store, row.run).await?;
    let shown = Shown {
        items,
        ..describe(&row, assets, &known, &failures)
    };
    context
        .out
        .data("flowstone.show/1", &shown, |shown| show(shown, &context.program))?;
    Ok(Exit::Done)
}

/// The steps of each planned asset, by state; none before the run is planned.
pub(super) async fn steps_of(pipeline: Option<&Pipeline>, store: &dyn Store, row: &RunRow) -> Result<Vec<Steps>> {
    let Some(plan) = &row.plan else { return Ok(Vec::new()) };
    let known = KnownAssets::read(store).await?;
    let failures = store.failures(row.run).await?;
    steps(pipeline, store, &known, row, &RunPlan::decode(plan)?, &failures).await
}

async fn steps(
    pipeline: Option<&Pipeline>,
    store: &dyn Store,
    known: &KnownAssets,
    row: &RunRow,
    plan: &RunPlan,
    failures: &[StepFailure],
) -> Result<Vec<Steps>> {
    let rebuilt = match pipeline {
        Some(pipeline) => state::rebuild(pipeline, store, known, row, plan, Timestamp::now())
            .await
            .ok(),
        None => None,
    };
    let assets = match rebuilt {
        Some((machine, _)) => {
            let rebuilt = machine.assets().map(|(planned, steps)| Steps {
                asset: planned.key.to_string(),
                counts: settled(count(steps), row.state),
            });
            rebuilt.collect()
        }
        // The pipeline has changed since; what was recorded is counted all the same.
        None => {
            let chunks = store.chunks(row.run).await?;
            let recorded = plan.assets.iter().map(|planned| Steps {
                asset: planned.key.to_string(),
                counts: settled(recorded(planned.id, planned.steps.len(), &chunks, failures), row.state),
            });
            recorded.collect()
        }
    };
    Ok(assets)
}

fn count(steps: &StepSets) -> RunCounts {
    let mut counts = RunCounts::default();
    steps.add_to(&mut counts);
    counts
}

/// The counts of an asset as far as its chunks and failures tell.
fn recorded(asset: AssetId, total: u64, chunks: &[ChunkRow], failures: &[StepFailure]) -> RunCounts {
    let mut counts = RunCounts {
        total,
        ..RunCounts::default()
    };
    for chunk in chunks.iter().filter(|chunk| chunk.claim.asset == asset) {
        counts.succeeded += chunk.succeeded.len();
        counts.skipped += chunk.skipped.len() + chunk.unchanged.difference(&chunk.succeeded).len();
    }
    counts.failed = failures
        .iter()
        .filter(|failure| failure.asset == asset && failure.is_final)
        .count() as u64;
    counts.blocked = total.saturating_sub(counts.ended());
    counts
}

/// What had not ended in a run that was cancelled is cancelled.
fn settled(counts: RunCounts, state: RunState) -> RunCounts {
    if state != RunState::Cancelled {
        return counts;
    }
    let open = counts.blocked + counts.ready + counts.running;
    RunCounts {
        blocked: 0,
        ready: 0,
        running: 0,
        cancelled: counts.cancelled + open,
        ..counts
    }
}

fn describe<'a>(row: &'a RunRow, assets: Vec<Steps>, known: &KnownAssets, failures: &'a [StepFailure]) -> Shown<'a> {
    let failed = failures.iter().take(FAILURES_MAX).map(|failure| {
        let (asset, partition) = known.name(failure.asset, failure.partition);
        let StepFailure {
            attempt,
            is_final,
            at,
            error,
            ..
        } = failure;
        Failed {
            asset,
            partition,
            attempt: *attempt,
            is_final: *is_final,
            at: *at,
            error: error.into(),
        }
    });
    let asked = RunRequest::decode(&row.request).ok();
    Shown {
        run: row.run,
        pipeline: &row.pipeline,
        state: row.state,
        created_at: row.created_at,
        moved_at: row.moved_at,
        elapsed_ms: elapsed_ms(row),
        redrive_of: asked.as_ref().and_then(|asked| Some(asked.redrive.as_ref()?.of)),
        request: asked.map(request),
        counts: current_counts(row, &assets),
        items: None,
        assets,
        error: row.error.as_ref().map(ErrorJson::from),
        failures: failed.collect(),
        failures_left_out: failures.len().saturating_sub(FAILURES_MAX),
    }
}

/// A run that goes on has recorded its counts when it began; its chunks know better.
pub(super) fn current_counts(row: &RunRow, assets: &[Steps]) -> RunCounts {
    if row.state.is_terminal() || assets.is_empty() {
        return row.counts;
    }
    let mut sum = RunCounts::default();
    for RunCounts {
        total,
        blocked,
        ready,
        running,
        succeeded,
        skipped,
        failed,
        dependency_failed,
        cancelled,
        quarantined,
    } in assets.iter().map(|asset| asset.counts)
    {
        sum.total += total;
        sum.blocked += blocked;
        sum.ready += ready;
        sum.running += running;
        sum.succeeded += succeeded;
        sum.skipped += skipped;
        sum.failed += failed;
        sum.dependency_failed += dependency_failed;
        sum.cancelled += cancelled;
        sum.quarantined += quarantined;
    }
    sum
}

fn request(request: RunRequest) -> Request {
    let names = |keys: &[flowstone_core::AssetKey]| keys.iter().map(ToString::to_string).collect();
    Request {
        assets: names(&request.assets),
        targets: names(&request.targets),
        partitions: request.partitions,
        force: request.force,
        config: serde_json::to_value(&request.config.0).unwrap_or_default(),
        pace: request.pace,
    }
}

fn show(shown: &Shown<'_>, program: &str) -> String {
    let mut text = format!(
        "run {} of pipeline {}: {}",
        shown.run,
        readable(shown.pipeline),
        shown.state
    );
    text.push_str(&format!("\nasked for at {:.0}", shown.created_at));
    if let Some(ms) = shown.elapsed_ms {
        text.push_str(&format!(", took {}", duration(std::time::Duration::from_millis(ms))));
    }
    if let Some(request) = &shown.request {
        text.push_str(&format!("\nfor {}", readable(&request.targets.join(", "))));
        match &request.partitions {
            PartitionSelector::All => {}
            PartitionSelector::Key(text_of) | PartitionSelector::Range(text_of) => {
                text.push_str(&format!(", partitions {}", readable(text_of)));
            }
        }
    }
    text.push_str(&format!("\n{}", tell(&shown.counts)));
    if let Some(items) = &shown.items {
        text.push_str(&format!(
            "\n{}: {}, `{program} scatter show {}` tells more",
            counted(items.total, "item"),
            items.to_text(),
            shown.run
        ));
    }
    if !shown.assets.is_empty() {
        text.push_str(&format!("\n\n{}", show_steps(&shown.assets)));
    }
    if let (Some(error), true) = (&shown.error, shown.failures.is_empty()) {
        text.push_str(&format!("\n\n{}", show_error(error)));
    }
    if !shown.failures.is_empty() {
        text.push('\n');
    }
    for failure in shown.failures.iter().take(FAILURES_SHOWN_MAX) {
        let again = if failure.is_final { "" } else { ", tried again" };
        text.push_str(&format!(
            "\n{}\n  attempt {}{again}, at {:.0}",
            show_error(&failure.error),
            failure.attempt,
            failure.at
        ));
    }
    let more = shown.failures.len().saturating_sub(FAILURES_SHOWN_MAX) + shown.failures_left_out;
    if more > 0 {
        text.push_str(&format!("\nand {more} more failed attempts: `--output json` has them"));
    }
    text
}

pub(super) fn show_steps(assets: &[Steps]) -> String {
    let rows = assets.iter().map(|Steps { asset, counts }| {
        let open = counts.blocked + counts.ready + counts.running;
        let failed = counts.failed + counts.quarantined;
        let numbers = [
            counts.total,
            counts.succeeded,
            counts.skipped,
            failed,
            counts.dependency_failed,
            counts.cancelled,
            open,
        ];
        let [total, made, skipped, failed, stopped, cancelled, open] = numbers.map(|number| number.to_string());
        [asset.clone(), total, made, skipped, failed, stopped, cancelled, open]
    });
    let header = [
        "asset",
        "steps",
        "made",
        "skipped",
        "failed",
        "stopped",
        "cancelled",
        "open",
    ];
    aligned(header, &[1, 2, 3, 4, 5, 6, 7], rows)
}

fn show_error(error: &ErrorJson<'_>) -> String {
    let mut text = readable(&error.message).replace('\n', "\n  ");
    if let Some(fix) = error.fix {
        text.push_str(&format!("\n  fix: {}", readable(fix)));
    }
    text
}
