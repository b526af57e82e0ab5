//! `run`: makes what is missing or out of date, and tells how it went.

use flowstone_core::RunId;
use flowstone_core::pipeline::Pipeline;
use flowstone_core::run::{RunCounts, RunState};
use flowstone_runtime::{FailedStep, RunReport};
use jiff::Timestamp;
use serde::Serialize;

use crate::args::RunArgs;
use crate::entry::Context;
use crate::exit::{Exit, Failure, OrUsage as _};
use crate::output::{ErrorJson, readable};
use crate::progress::duration;
use crate::request::request;
use crate::session::{Carried, Work, carry_out};
use crate::state;

/// The most failures that an answer for programs spells out; `show` has them all.
const FAILURES_MAX: usize = 1000;
/// The most failures that an answer for people spells out.
const FAILURES_SHOWN_MAX: usize = 10;

#[derive(Serialize)]
struct Ran<'a> {
    outcome: Outcome,
    run: Option<RunId>,
    counts: RunCounts,
    elapsed_ms: u64,
    error: Option<ErrorJson<'a>>,
    failures: Vec<Failed<'a>>,
    failures_left_out: usize,
    /// Runs of an earlier process that ended first.
    recovered: Vec<Recovered>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    NothingToDo,
    Succeeded,
    Failed,
    Cancelled,
    Paused,
    Interrupted,
}

#[derive(Serialize)]
struct Failed<'a> {
    asset: &'a str,
    partition: &'a str,
    attempt: u32,
    error: ErrorJson<'a>,
}

#[derive(Serialize)]
struct Recovered {
    run: RunId,
    state: RunState,
    counts: RunCounts,
}

pub(super) async fn perform(context: &Context, args: &RunArgs) -> Result<Exit, Failure> {
    let pipeline = state::pipeline(context).await?;
    let asked = &args.request;
    let mut request = request(
        &pipeline,
        &asked.selection,
        &asked.partitions,
        &asked.how,
        Timestamp::now(),
    )
    .or_usage()?;
    request.pace = args.pace.pace();
    carry_out_and_tell(context, pipeline, "run", Work::Request(request)).await
}

/// Carries out `work` and tells how it went; `backfill` and `apply` do the same.
pub(super) async fn carry_out_and_tell(
    context: &Context,
    pipeline: Pipeline,
    verb: &'static str,
    work: Work,
) -> Result<Exit, Failure> {
    let carried = carry_out(context, pipeline, verb, work).await?;
    tell_how_it_went(context, &carried)
}

pub(super) fn tell_how_it_went(context: &Context, carried: &Carried) -> Result<Exit, Failure> {
    let outcome = outcome(carried);
    let ran = describe(carried, outcome);
    context
        .out
        .data("flowstone.run/1", &ran, |_| show(context, carried, outcome))?;
    Ok(match outcome {
        Outcome::NothingToDo | Outcome::Succeeded => Exit::Done,
        Outcome::Failed | Outcome::Cancelled => Exit::Failed,
        Outcome::Paused => Exit::Pending,
        Outcome::Interrupted => Exit::Interrupted,
    })
}

fn outcome(carried: &Carried) -> Outcome {
    match &carried.report {
        _ if carried.is_interrupted => Outcome::Interrupted,
        None if carried.paused.is_some() => Outcome::Paused,
        None => Outcome::NothingToDo,
        Some(report) => match report.state {
            RunState::Succeeded => Outcome::Succeeded,
            RunState::Cancelled | RunState::Cancelling => Outcome::Cancelled,
            RunState::Failed | RunState::Queued | RunState::Running | RunState::Paused => Outcome::Failed,
        },
    }
}

fn describe(carried: &Carried, outcome: Outcome) -> Ran<'_> {
    let report = carried.report.as_ref();
    let failures = report.map_or(&[][..], |report| &report.failures);
    let recovered = carried.recovered.iter();
    Ran {
        outcome,
        run: report.map(|report| report.run).or(carried.paused.map(|(run, _)| run)),
        counts: report
            .map(|report| report.counts)
            .or(carried.paused.map(|(_, counts)| counts))
            .unwrap_or_default(),
        elapsed_ms: report.map_or(0, |report| {
            u64::try_from(report.elapsed.as_millis()).unwrap_or(u64::MAX)
        }),
        error: report.and_then(|report| report.error.as_ref()).map(ErrorJson::from),
        failures: failures.iter().take(FAILURES_MAX).map(failed).collect(),
        failures_left_out: failures.len().saturating_sub(FAILURES_MAX),
        recovered: recovered
            .map(|run| Recovered {
                run: run.run,
                state: run.state,
                counts: run.counts,
            })
            .collect(),
    }
}

fn failed(step: &FailedStep) -> Failed<'_> {
    let FailedStep {
        asset,
        label,
        attempt,
        error,
        ..
    } = step;
    Failed {
        asset: asset.as_str(),
        partition: label,
        attempt: *attempt,
        error: error.into(),
    }
}

fn show(context: &Context, carried: &Carried, outcome: Outcome) -> String {
    match (&carried.report, outcome) {
        (Some(report), _) => show_report(report, &context.program),
        (None, Outcome::Paused) => match carried.paused {
            Some((run, counts)) => format!(
                "run {run} is paused: {}\n  `{program} backfill resume {run}` lets it go on",
                tell(&counts),
                program = context.program
            ),
            None => "a run is paused".to_owned(),
        },
        (None, Outcome::Interrupted) => "interrupted before the run began; nothing of it was stored".to_owned(),
        (None, _) => "nothing to do: everything that was asked for is current".to_owned(),
    }
}

fn show_report(report: &RunReport, program: &str) -> String {
    let RunReport {
        run,
        state,
        counts,
        error,
        failures,
        elapsed,
    } = report;
    let mut text = format!("run {run} {state} in {}: {}", duration(*elapsed), tell(counts));
    for step in failures.iter().take(FAILURES_SHOWN_MAX) {
        text.push_str(&format!("\n  {}", indented(&step.error.message)));
        if step.attempt > 1 {
            text.push_str(&format!(" (attempt {})", step.attempt));
        }
        if let Some(fix) = &step.error.fix {
            text.push_str(&format!("\n    fix: {}", indented(fix)));
        }
    }
    if let (Some(error), true) = (error, failures.is_empty()) {
        text.push_str(&format!("\n  {}", indented(&error.message)));
        if let Some(fix) = &error.fix {
            text.push_str(&format!("\n    fix: {}", indented(fix)));
        }
    }
    if counts.dependency_failed > 0 {
        let by = if failures.len() == 1 {
            "that failure"
        } else {
            "these failures"
        };
        text.push_str(&match counts.dependency_failed {
            1 => format!("\n  1 step was stopped by {by}: it needs what was not made"),
            count => format!("\n  {count} steps were stopped by {by}: they need what was not made"),
        });
    }
    if failures.len() > FAILURES_SHOWN_MAX {
        let more = failures.len() - FAILURES_SHOWN_MAX;
        text.push_str(&format!("\n  and {more} more failures: `{program} show {run}`"));
    }
    text
}

fn indented(text: &str) -> String {
    readable(text).replace('\n', "\n    ")
}

/// The counts in words, without those that are zero.
pub(super) fn tell(counts: &RunCounts) -> String {
    let told: Vec<String> = [
        (counts.succeeded, "made"),
        (counts.skipped, "skipped"),
        (counts.failed, "failed"),
        (counts.dependency_failed, "stopped by a failure"),
        (counts.quarantined, "quarantined"),
        (counts.cancelled, "cancelled"),
        (counts.blocked + counts.ready + counts.running, "open"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{count} {what}"))
    .collect();
    if told.is_empty() {
        "no steps".to_owned()
    } else {
        told.join(", ")
    }
}
