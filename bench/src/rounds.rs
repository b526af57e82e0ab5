//! What several rounds of the same come to: the median of the time, and the processor time beside it.
//!
//! Processor time is the fairer number while other programs use the machine: waiting for a core is not in it.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

/// What one round took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round {
    /// On the clock.
    pub(crate) wall: Duration,
    /// On all processors together, user and system; none where the system does not tell.
    pub(crate) cpu: Option<Duration>,
}

/// Takes the time of one round.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    started: Instant,
    threads: Option<HashMap<String, Duration>>,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self {
            threads: cpu_by_thread(),
            started: Instant::now(),
        }
    }

    /// What passed since the start. A thread that ended in between is not counted.
    pub(crate) fn stop(self) -> Round {
        let wall = self.started.elapsed();
        let cpu = self.threads.zip(cpu_by_thread()).map(|(before, after)| {
            let spent = after
                .iter()
                .map(|(thread, spent)| spent.saturating_sub(before.get(thread).copied().unwrap_or_default()));
            spent.sum()
        });
        Round { wall, cpu }
    }
}

/// The processor time of each thread of this process, from the scheduler's own books.
fn cpu_by_thread() -> Option<HashMap<String, Duration>> {
    let mut spent = HashMap::new();
    for thread in fs::read_dir("/proc/self/task").ok()?.flatten() {
        let Ok(text) = fs::read_to_string(thread.path().join("schedstat")) else {
            continue;
        };
        let nanos = text.split_whitespace().next()?.parse().ok()?;
        spent.insert(
            thread.file_name().to_string_lossy().into_owned(),
            Duration::from_nanos(nanos),
        );
    }
    (!spent.is_empty()).then_some(spent)
}

/// The middle of `values`.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        len if len % 2 == 0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

/// Microseconds on the clock for each of `steps`, the median of `rounds`.
pub(crate) fn wall_us(rounds: &[Round], steps: u64) -> f64 {
    median(rounds.iter().map(|round| round.wall.as_secs_f64() * 1e6 / steps as f64))
}

/// "CPU 3.2 µs a step", the median of `rounds`; empty where the system does not tell.
pub(crate) fn cpu_note(rounds: &[Round], steps: u64) -> String {
    let spent = rounds
        .iter()
        .filter_map(|round| round.cpu)
        .map(|cpu| cpu.as_secs_f64() * 1e6 / steps as f64);
    match median(spent) {
        us if us.is_nan() => String::new(),
        us => format!("CPU {us:.1} µs a step"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(median([4.0, 1.0, 3.0, 2.0]).to_bits(), 2.5_f64.to_bits());
        assert_eq!(median([9.0, 1.0, 2.0]).to_bits(), 2.0_f64.to_bits());
    }
}
