//! `backfill show`: how far a run is, how fast it goes, and how long it will take.

use std::time::Duration;

use flowstone_core::RunId;
use flowstone_core::plan::{Pace, RunRequest};
use flowstone_core::run::{RunCounts, RunState};
use flowstone_core::store::RunRow;
use jiff::Timestamp;
use serde::Serialize;

use super::super::run::tell;
use super::super::show::{Steps, current_counts, show_steps, steps_of};
use crate::args::OneRunArgs;
use crate::entry::Context;
use crate::exit::{Exit, Failure};
use crate::progress::duration;
use crate::state;

#[derive(Serialize)]
struct Shown {
    run: RunId,
    state: RunState,
    /// The run of which it makes what was left.
    redrive_of: Option<RunId>,
    created_at: Timestamp,
    pace: Option<Pace>,
    counts: RunCounts,
    /// Steps that have ended, in whatever way.
    ended: u64,
    /// Those that have not.
    left: u64,
    /// Steps that ended in a second, since it began or was resumed; none while it does not run.
    per_second: Option<f64>,
    /// At that rate.
    left_ms: Option<u64>,
    assets: Vec<Steps>,
}

pub(super) async fn perform(context: &Context, args: &OneRunArgs) -> Result<Exit, Failure> {
    let pipeline = context.pipeline().ok();
    let store = state::read_existing(context.state_dir()).await?;
    let row = state::find_run(&*store, &args.run).await?;
    let assets = steps_of(pipeline.as_ref(), &*store, &row).await?;
    let shown = describe(&row, assets, Timestamp::now());
    context.out.data("flowstone.backfill/1", &shown, show)?;
    Ok(Exit::Done)
}

fn describe(row: &RunRow, assets: Vec<Steps>, now: Timestamp) -> Shown {
    let counts = current_counts(row, &assets);
    let left = counts.total - counts.ended();
    let per_second = (row.state == RunState::Running)
        .then(|| rate(row, &counts, now))
        .flatten();
    let request = RunRequest::decode(&row.request).ok();
    Shown {
        run: row.run,
        state: row.state,
        redrive_of: request.as_ref().and_then(|request| Some(request.redrive.as_ref()?.of)),
        created_at: row.created_at,
        pace: request.map(|request| request.pace),
        counts,
        ended: counts.ended(),
        left,
        per_second,
        left_ms: per_second.map(|rate| (left as f64 / rate * 1000.0) as u64),
        assets,
    }
}

/// Steps in a second since the run moved last, which is when it began or was resumed.
fn rate(row: &RunRow, counts: &RunCounts, now: Timestamp) -> Option<f64> {
    let ended = counts
        .ended()
        .checked_sub(row.counts.ended())
        .filter(|ended| *ended > 0)?;
    let seconds = now.duration_since(row.moved_at).as_secs_f64();
    (seconds > 0.0).then(|| ended as f64 / seconds)
}

fn show(shown: &Shown) -> String {
    let percent = (shown.ended * 100).checked_div(shown.counts.total).unwrap_or(100);
    let mut text = format!(
        "run {}: {}, {}/{} steps ({percent} %)",
        shown.run, shown.state, shown.ended, shown.counts.total
    );
    if let Some(of) = shown.redrive_of {
        text.push_str(&format!("\nmakes what was left of run {of}"));
    }
    if let (Some(rate), Some(left_ms)) = (shown.per_second, shown.left_ms) {
        let left = duration(Duration::from_millis(left_ms));
        text.push_str(&format!("\n{rate:.1} steps/s, {left} left"));
    }
    text.push_str(&format!("\n{}", tell(&shown.counts)));
    if !shown.assets.is_empty() {
        text.push_str(&format!("\n\n{}", show_steps(&shown.assets)));
    }
    text
}

#[cfg(test)]
mod tests {
    use flowstone_core::Incarnation;
    use flowstone_core::run::RunState;

    use super::*;

    fn row(state: RunState, ended_before: u64) -> RunRow {
        RunRow {
            run: "018f4e5c-8c4e-7cc0-9c4b-3c7a5a6d2f10".parse().unwrap(),
            pipeline: "p".to_owned(),
            idempotency_key: None,
            request: RunRequest::default().encode().unwrap(),
            plan: None,
            incarnation: Incarnation::NONE,
            state,
            created_at: Timestamp::UNIX_EPOCH,
            moved_at: Timestamp::UNIX_EPOCH,
            counts: at(ended_before),
            error: None,
        }
    }

    fn at(ended: u64) -> RunCounts {
        RunCounts {
            total: 100,
            succeeded: ended,
            ready: 100 - ended,
            ..RunCounts::default()
        }
    }

    #[test]
    fn the_rate_is_that_since_it_was_resumed() {
        let assets = vec![Steps::of("a", at(60))];
        let now = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(10);

        let shown = describe(&row(RunState::Running, 40), assets, now);

        assert_eq!((shown.ended, shown.left), (60, 40));
        assert_eq!((shown.per_second, shown.left_ms), (Some(2.0), Some(20_000)));
        assert!(shown.counts.adds_up());
    }

    #[test]
    fn what_does_not_run_has_no_rate() {
        let now = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(10);
        for (state, ended) in [(RunState::Paused, 60), (RunState::Running, 40)] {
            let shown = describe(&row(state, 40), vec![Steps::of("a", at(ended))], now);

            assert_eq!((shown.per_second, shown.left_ms), (None, None));
        }
    }
}
