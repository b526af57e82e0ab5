//! How far a run is, as it is watched: a bar on a terminal, a line now and then elsewhere.

use std::time::{Duration, Instant};

use flowstone_core::fan_out::BarrierCounts;
use flowstone_core::run::{RunCounts, RunState};
use flowstone_runtime::{ItemProgress, ResultRows, RunProgress};
use indicatif::{ProgressBar, ProgressStyle};

use crate::output::{Output, stderr_is_terminal};

/// A line is due after this long, if anything has changed…
const LINE_AFTER: Duration = Duration::from_secs(5);
/// … or when another such part of the steps has ended, and at most once within `LINE_EVERY_MIN`.
const LINE_PARTS: u64 = 10;
const LINE_EVERY_MIN: Duration = Duration::from_millis(500);

/// Watches one run.
pub(crate) enum Meter {
    Bars { steps: ProgressBar, items: ItemBar },
    Lines { out: Output, lines: Lines },
}

impl Meter {
    pub(crate) fn new(out: &Output, now: Instant) -> Self {
        if !stderr_is_terminal() {
            return Self::Lines {
                out: out.clone(),
                lines: Lines::new(now),
            };
        }
        Self::Bars {
            steps: bar(out, "steps"),
            items: ItemBar {
                out: out.clone(),
                bar: None,
                ended_before: 0,
            },
        }
    }

    /// Shows how far the run is: its steps, and the items of those that fan out.
    pub(crate) fn update(&mut self, progress: RunProgress, items: Option<&ItemProgress>, now: Instant) {
        let counts = progress.counts;
        match self {
            Self::Bars { steps, .. } if progress.state == RunState::Queued => {
                steps.set_message(", waiting for another run");
            }
            Self::Bars { steps, items: item_bar } => {
                if steps.length() != Some(counts.total) {
                    // What an earlier process did is no speed of ours.
                    steps.set_length(counts.total);
                    steps.set_position(counts.ended());
                    steps.reset_eta();
                }
                steps.set_position(counts.ended());
                steps.set_message(troubles(&counts));
                if let Some(items) = items {
                    item_bar.update(items);
                }
            }
            Self::Lines { out, lines } => {
                if let Some(line) = lines.update(progress, items, now) {
                    out.say(line);
                }
            }
        }
    }

    pub(crate) fn finish(self) {
        if let Self::Bars { steps, items } = self {
            items.bar.inspect(ProgressBar::finish_and_clear);
            steps.finish_and_clear();
        }
    }
}

fn bar(out: &Output, what: &str) -> ProgressBar {
    let template = format!("{{bar:32}} {{pos}}/{{len}} {what}, {{per_sec}}, {{eta}} left{{msg}}");
    let style = ProgressStyle::with_template(&template).expect("the template is well formed");
    let bar = out.bars().add(ProgressBar::no_length().with_style(style));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// The bar of items, once there are any.
pub(crate) struct ItemBar {
    out: Output,
    bar: Option<ProgressBar>,
    ended_before: u64,
}

impl ItemBar {
    fn update(&mut self, items: &ItemProgress) {
        let bar = self.bar.get_or_insert_with(|| bar(&self.out, "items"));
        bar.set_length(items.counts.total);
        if self.ended_before != items.ended_before {
            self.ended_before = items.ended_before;
            bar.set_position(items.counts.ended());
            bar.reset_eta();
        }
        bar.set_position(items.counts.ended());
        let more = if items.is_filling { ", more are being read" } else { "" };
        bar.set_message(format!("{more}{}{}", item_troubles(items), results_text(items)));
    }
}

/// Decides when a line is due, and what it says.
pub(crate) struct Lines {
    started: Instant,
    /// What had ended when the first line was said: the work of an earlier process.
    before: Option<u64>,
    /// When there first were items.
    items_started: Option<Instant>,
    said: Option<Said>,
}

/// What the last line said, and when.
struct Said {
    at: Instant,
    counts: RunCounts,
    items_ended: u64,
    results_written: u64,
}

impl Lines {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            started: now,
            before: None,
            items_started: None,
            said: None,
        }
    }

    /// The line that is due at `now`, if one is.
    pub(crate) fn update(
        &mut self,
        progress: RunProgress,
        items: Option<&ItemProgress>,
        now: Instant,
    ) -> Option<String> {
        let counts = progress.counts;
        if counts.total == 0 || progress.state.is_terminal() {
            return None;
        }
        let ended = counts.ended();
        let before = *self.before.get_or_insert(ended);
        let items = items.filter(|items| items.counts.total > 0);
        let items_ended = items.map_or(0, |items| items.counts.ended());
        let results = items.and_then(|items| items.results);
        let results_written = results.map_or(0, |results| results.written);
        let items_started = items.map(|_| *self.items_started.get_or_insert(now));
        if let Some(said) = &self.said {
            let since = now.duration_since(said.at);
            let has_part = ended >= said.counts.ended() + counts.total.div_ceil(LINE_PARTS)
                || items.is_some_and(|items| {
                    !items.is_filling && items_ended >= said.items_ended + items.counts.total.div_ceil(LINE_PARTS)
                })
                || results.is_some_and(|results| {
                    results_written > said.results_written
                        && results_written >= said.results_written + results.total.div_ceil(LINE_PARTS)
                });
            let has_changed =
                counts != said.counts || items_ended != said.items_ended || results_written != said.results_written;
            if !(has_part && since >= LINE_EVERY_MIN || has_changed && since >= LINE_AFTER) {
                return None;
            }
        }
        let said = Said {
            at: now,
            counts,
            items_ended,
            results_written,
        };
        let is_first = self.said.replace(said).is_none();
        if is_first && ended + items_ended == 0 {
            // Whoever started the run has just said how many steps it has.
            return None;
        }
        let mut line = format!("{ended}/{} steps", counts.total);
        match (items, items_started) {
            (Some(items), Some(started)) => {
                line.push_str(&troubles(&counts));
                line.push_str(&items_text(items, now.duration_since(started)));
            }
            _ => {
                let done = ended - before;
                line.push_str(&speed(
                    done,
                    Some(counts.total - ended),
                    now.duration_since(self.started),
                ));
                line.push_str(&troubles(&counts));
            }
        }
        Some(line)
    }
}

fn items_text(items: &ItemProgress, elapsed: Duration) -> String {
    let ended = items.counts.ended();
    let (more, left) = match items.is_filling {
        true => (" so far", None),
        false => ("", Some(items.counts.total - ended)),
    };
    let speed = speed(ended.saturating_sub(items.ended_before), left, elapsed);
    format!(
        ", {ended}/{} items{more}{speed}{}{}",
        items.counts.total,
        item_troubles(items),
        results_text(items)
    )
}

fn results_text(items: &ItemProgress) -> String {
    let told = |results: ResultRows| format!(", {}/{} results written", results.written, results.total);
    items.results.map(told).unwrap_or_default()
}

/// How fast it went when so many ended in this time, and how long the others will take.
fn speed(ended: u64, left: Option<u64>, elapsed: Duration) -> String {
    let elapsed = elapsed.as_secs_f64();
    if ended == 0 || elapsed <= 0.0 {
        return String::new();
    }
    let per_second = ended as f64 / elapsed;
    let mut text = format!(", {}/s", rate(per_second));
    if let Some(left) = left {
        let left = Duration::from_secs_f64(left as f64 / per_second);
        text.push_str(&format!(", {} left", duration(left)));
    }
    text
}

fn item_troubles(items: &ItemProgress) -> String {
    let BarrierCounts {
        failed, quarantined, ..
    } = items.counts;
    let counts = RunCounts {
        failed,
        quarantined,
        ..RunCounts::default()
    };
    troubles(&counts)
}

fn troubles(counts: &RunCounts) -> String {
    let mut text = String::new();
    for (count, what) in [
        (counts.failed, "failed"),
        (counts.dependency_failed, "stopped by them"),
        (counts.quarantined, "quarantined"),
        (counts.cancelled, "cancelled"),
    ] {
        if count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    text
}

pub(crate) fn rate(per_second: f64) -> String {
    if per_second < 10.0 {
        format!("{per_second:.1}")
    } else {
        format!("{per_second:.0}")
    }
}

/// A duration in the words of a person: `7 ms`, `1.2 s`, `3 min 4 s`, `2 h 5 min`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..60 => format!("{:.1} s", duration.as_secs_f64()),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ended: u64) -> RunProgress {
        let counts = RunCounts {
            total: 100,
            succeeded: ended,
            blocked: 100 - ended,
            ..RunCounts::default()
        };
        RunProgress {
            state: RunState::Running,
            counts,
        }
    }

    #[test]
    fn a_line_is_due_after_a_tenth_and_after_a_while() {
        let start = Instant::now();
        let mut lines = Lines::new(start);
        let mut update = |ended, ms| lines.update(at(ended), None, start + Duration::from_millis(ms));

        assert_eq!(update(0, 0), None);
        assert_eq!(update(9, 1_000), None);
        assert_eq!(update(10, 1_000).unwrap(), "10/100 steps, 10/s, 9.0 s left");
        assert_eq!(update(30, 1_400), None, "a fast run does not flood");
        assert_eq!(update(30, 2_000).unwrap(), "30/100 steps, 15/s, 4.7 s left");
        assert_eq!(update(30, 9_000), None, "nothing has changed");
        assert_eq!(update(31, 9_000).unwrap(), "31/100 steps, 3.4/s, 20.0 s left");
    }

    #[test]
    fn what_an_earlier_process_did_is_no_speed_of_ours() {
        let start = Instant::now();
        let mut lines = Lines::new(start);

        lines.update(at(50), None, start);
        let line = lines.update(at(60), None, start + Duration::from_secs(10)).unwrap();

        assert_eq!(line, "60/100 steps, 1.0/s, 40.0 s left");
    }

    #[test]
    fn troubles_are_counted_in_the_line() {
        let counts = RunCounts {
            total: 10,
            failed: 1,
            dependency_failed: 4,
            blocked: 5,
            ..RunCounts::default()
        };
        let start = Instant::now();

        let line = Lines::new(start)
            .update(
                RunProgress {
                    state: RunState::Running,
                    counts,
                },
                None,
                start,
            )
            .unwrap();

        assert_eq!(line, "5/10 steps, 1 failed, 4 stopped by them");
    }

    fn items(total: u64, ended: u64, is_filling: bool) -> ItemProgress {
        ItemProgress {
            counts: BarrierCounts {
                total,
                pending: total - ended,
                succeeded: ended - 1,
                failed: 1,
                ..BarrierCounts::default()
            },
            is_filling,
            ended_before: 100,
            since: jiff::Timestamp::UNIX_EPOCH,
            results: None,
        }
    }

    #[test]
    fn the_items_of_one_step_are_told_of_while_no_step_ends() {
        let start = Instant::now();
        let mut lines = Lines::new(start);
        let mut update =
            |items: Option<ItemProgress>, ms| lines.update(at(1), items.as_ref(), start + Duration::from_millis(ms));

        assert_eq!(update(None, 0).unwrap(), "1/100 steps");
        assert_eq!(update(Some(items(1_000, 100, true)), 1_000), None);
        assert_eq!(
            update(Some(items(2_000, 600, true)), 6_000).unwrap(),
            "1/100 steps, 600/2000 items so far, 100/s, 1 failed"
        );
        assert_eq!(update(Some(items(2_000, 700, false)), 7_000), None, "less than a tenth");
        assert_eq!(
            update(Some(items(2_000, 1_100, false)), 11_000).unwrap(),
            "1/100 steps, 1100/2000 items, 100/s, 9.0 s left, 1 failed"
        );
        assert_eq!(
            update(Some(items(2_000, 1_100, false)), 60_000),
            None,
            "nothing has changed"
        );
    }

    #[test]
    fn rows_that_are_stored_are_told_of_when_all_items_have_ended() {
        let start = Instant::now();
        let mut lines = Lines::new(start);
        let stored = |written| ItemProgress {
            results: Some(ResultRows { written, total: 1_000 }),
            ..items(1_000, 1_000, false)
        };
        let mut update = |items, ms| lines.update(at(1), Some(&items), start + Duration::from_millis(ms));
        update(items(1_000, 1_000, false), 0).unwrap();

        assert_eq!(update(stored(0), 1_000), None);
        assert_eq!(
            update(stored(400), 9_000).unwrap(),
            "1/100 steps, 1000/1000 items, 100/s, 0 ms left, 1 failed, 400/1000 results written"
        );
        assert_eq!(update(stored(450), 10_000), None, "less than a tenth");
        assert!(update(stored(1_000), 11_000).is_some());
    }

    #[test]
    fn durations_read_well_at_every_size() {
        let texts = [7, 1_200, 184_000, 7_500_000].map(|ms| duration(Duration::from_millis(ms)));

        assert_eq!(texts, ["7 ms", "1.2 s", "3 min 4 s", "2 h 5 min"]);
    }
}
