//! `runs`: what was run here, newest first.

use flowstone_core::RunId;
use flowstone_core::plan::RunRequest;
use flowstone_core::run::{RunCounts, RunState};
use flowstone_core::store::{RunFilter, RunRow};
use jiff::Timestamp;
use serde::Serialize;

use super::run::tell;
use crate::args::RunsArgs;
use crate::entry::Context;
use crate::exit::{Exit, Failure};
use crate::output::table;
use crate::progress::duration;
use crate::state::{self, NOTHING_YET};

/// The most names that one row lists.
const NAMES_LISTED_MAX: usize = 3;

#[derive(Serialize)]
struct Runs {
    runs: Vec<Listed>,
    /// True when there are older ones.
    has_more: bool,
}

#[derive(Serialize)]
struct Listed {
    run: RunId,
    state: RunState,
    created_at: Timestamp,
    moved_at: Timestamp,
    /// From the moment it was asked for to its end; none for a run that has not ended.
    elapsed_ms: Option<u64>,
    targets: Vec<String>,
    counts: RunCounts,
}

pub(super) async fn perform(context: &Context, args: &RunsArgs) -> Result<Exit, Failure> {
    let limit = args.limit as usize;
    let mut rows = match state::read(context.state_dir()).await? {
        Some(store) => store.runs(RunFilter::All, limit + 1).await?,
        None => Vec::new(),
    };
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let runs = Runs {
        runs: rows.iter().map(describe).collect(),
        has_more,
    };
    context.out.data("flowstone.runs/1", &runs, show)?;
    Ok(Exit::Done)
}

fn describe(row: &RunRow) -> Listed {
    // A request that this build cannot read hides its targets, not the run.
    let targets = RunRequest::decode(&row.request)
        .map(|request| request.targets)
        .unwrap_or_default();
    Listed {
        run: row.run,
        state: row.state,
        created_at: row.created_at,
        moved_at: row.moved_at,
        elapsed_ms: elapsed_ms(row),
        targets: targets.iter().map(ToString::to_string).collect(),
        counts: row.counts,
    }
}

/// From the moment a run was asked for to its end.
pub(super) fn elapsed_ms(row: &RunRow) -> Option<u64> {
    let elapsed = row.moved_at.duration_since(row.created_at).unsigned_abs();
    row.state
        .is_terminal()
        .then(|| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}

fn show(runs: &Runs) -> String {
    if runs.runs.is_empty() {
        return NOTHING_YET.to_owned();
    }
    let rows = runs.runs.iter().map(|run| {
        let mut targets = run.targets[..run.targets.len().min(NAMES_LISTED_MAX)].join(", ");
        if run.targets.len() > NAMES_LISTED_MAX {
            targets.push_str(&format!(" and {} more", run.targets.len() - NAMES_LISTED_MAX));
        }
        [
            run.run.to_string(),
            run.state.to_string(),
            format!("{:.0}", run.created_at),
            run.elapsed_ms
                .map_or_else(String::new, |ms| duration(std::time::Duration::from_millis(ms))),
            targets,
            tell(&run.counts),
        ]
    });
    let mut text = table(["run", "state", "asked for at", "took", "targets", "steps"], rows);
    if runs.has_more {
        text.push_str("\nthere are older ones: give `--limit`");
    }
    text
}
