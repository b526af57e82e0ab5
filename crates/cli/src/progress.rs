//! How far a run is, as it is watched: a bar on a terminal, a line now and then elsewhere.

use std::time::{Duration, Instant};

use flowstone_core::run::{RunCounts, RunState};
use flowstone_runtime::RunProgress;
use indicatif::{ProgressBar, ProgressStyle};

use crate::output::{Output, stderr_is_terminal};

/// A line is due after this long, if anything has changed…
const LINE_AFTER: Duration = Duration::from_secs(5);
/// … or when another such part of the steps has ended, and at most once within `LINE_EVERY_MIN`.
const LINE_PARTS: u64 = 10;
const LINE_EVERY_MIN: Duration = Duration::from_millis(500);

/// Watches one run.
pub(crate) enum Meter {
    Bar(ProgressBar),
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
        let style = ProgressStyle::with_template("{bar:32} {pos}/{len} steps, {per_sec}, {eta} left{msg}")
            .expect("the template is well formed");
        let bar = out.bars().add(ProgressBar::no_length().with_style(style));
        bar.enable_steady_tick(Duration::from_millis(100));
        Self::Bar(bar)
    }

    pub(crate) fn update(&mut self, progress: RunProgress, now: Instant) {
        let counts = progress.counts;
        match self {
            Self::Bar(bar) if progress.state == RunState::Queued => bar.set_message(", waiting for another run"),
            Self::Bar(bar) => {
                if bar.length() != Some(counts.total) {
                    // What an earlier process did is no speed of ours.
                    bar.set_length(counts.total);
                    bar.set_position(counts.ended());
                    bar.reset_eta();
                }
                bar.set_position(counts.ended());
                bar.set_message(troubles(&counts));
            }
            Self::Lines { out, lines } => {
                if let Some(line) = lines.update(progress, now) {
                    out.say(line);
                }
            }
        }
    }

    pub(crate) fn finish(self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// Decides when a line is due, and what it says.
pub(crate) struct Lines {
    started: Instant,
    /// What had ended when the first line was said: the work of an earlier process.
    before: Option<u64>,
    said: Option<(Instant, RunCounts)>,
}

impl Lines {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            started: now,
            before: None,
            said: None,
        }
    }

    /// The line that is due at `now`, if one is.
    pub(crate) fn update(&mut self, progress: RunProgress, now: Instant) -> Option<String> {
        let counts = progress.counts;
        if counts.total == 0 || progress.state.is_terminal() {
            return None;
        }
        let ended = counts.ended();
        let before = *self.before.get_or_insert(ended);
        if let Some((at, last)) = self.said {
            let since = now.duration_since(at);
            let part = counts.total.div_ceil(LINE_PARTS);
            let has_part = ended >= last.ended() + part && since >= LINE_EVERY_MIN;
            let has_waited = counts != last && since >= LINE_AFTER;
            if !has_part && !has_waited {
                return None;
            }
        }
        let is_first = self.said.replace((now, counts)).is_none();
        if is_first && ended == 0 {
            // Whoever started the run has just said how many steps it has.
            return None;
        }
        let mut line = format!("{ended}/{} steps", counts.total);
        let elapsed = now.duration_since(self.started).as_secs_f64();
        if ended > before && elapsed > 0.0 {
            let per_second = (ended - before) as f64 / elapsed;
            let left = Duration::from_secs_f64((counts.total - ended) as f64 / per_second);
            line.push_str(&format!(", {}/s, {} left", rate(per_second), duration(left)));
        }
        line.push_str(&troubles(&counts));
        Some(line)
    }
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

fn rate(per_second: f64) -> String {
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
        let mut update = |ended, ms| lines.update(at(ended), start + Duration::from_millis(ms));

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

        lines.update(at(50), start);
        let line = lines.update(at(60), start + Duration::from_secs(10)).unwrap();

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
                start,
            )
            .unwrap();

        assert_eq!(line, "5/10 steps, 1 failed, 4 stopped by them");
    }

    #[test]
    fn durations_read_well_at_every_size() {
        let texts = [7, 1_200, 184_000, 7_500_000].map(|ms| duration(Duration::from_millis(ms)));

        assert_eq!(texts, ["7 ms", "1.2 s", "3 min 4 s", "2 h 5 min"]);
    }
}
