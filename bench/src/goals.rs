//! What the figures should be: the one table of goals and aims.
//!
//! A goal is what we promise ourselves; an aim is where we would be content. Both are for two cores.

use std::fmt;

/// A bound that a value should keep.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bound {
    /// Less than this.
    Below(f64),
    /// More than this.
    Above(f64),
}

use Bound::{Above, Below};

/// What one figure should be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Goal {
    pub(crate) goal: Bound,
    pub(crate) aim: Option<Bound>,
}

/// By the figure's name. "A few seconds" is written as 5.
const GOALS: &[(&str, Bound, Option<Bound>)] = &[
    ("step_memory_chain_us", Below(5.0), Some(Below(1.5))),
    ("step_memory_layered_us", Below(5.0), Some(Below(1.5))),
    (
        "backfill_memory_steps_per_s",
        Above(250_000.0),
        Some(Above(1_000_000.0)),
    ),
    ("backfill_durable_steps_per_s", Above(50_000.0), Some(Above(200_000.0))),
    ("store_bytes_per_step", Below(200.0), Some(Below(80.0))),
    ("chain_durable_over_fsync", Below(1.7), Some(Below(1.2))),
    ("chain_pipelined_us", Below(20.0), Some(Below(5.0))),
    ("hello_ms", Below(15.0), Some(Below(5.0))),
    ("january_s", Below(5.0), None),
    ("plan_10m_ms", Below(100.0), Some(Below(10.0))),
    ("status_10m_ms", Below(100.0), Some(Below(10.0))),
    ("sets_10m_rss_mb", Below(200.0), None),
    ("scatter_1m_s", Below(20.0), Some(Below(4.0))),
    ("scatter_1m_rss_mb", Below(200.0), Some(Below(64.0))),
    ("scatter_bytes_per_item", Below(50.0), None),
    ("scatter_memory_s", Below(1.0), None),
    ("scatter_resume_s", Below(0.2), Some(Below(0.02))),
    ("scatter_rerun_items", Below(1.000_001), None),
    ("scatter_kills_exact", Above(19.5), None),
    ("results_jsonl_1m_s", Below(20.0), Some(Below(4.0))),
    ("results_parquet_1m_s", Below(20.0), Some(Below(4.0))),
    ("results_1m_rss_mb", Below(200.0), Some(Below(64.0))),
    ("key_lookup_us", Below(10.0), None),
    ("dynamic_1m_load_ms", Below(1000.0), None),
    // Linear time has no number; these keep a graph of 100,000 assets below a second.
    ("plan_chain_us", Below(10.0), None),
    ("plan_mesh_us", Below(10.0), None),
];

/// Figures that are only compared with others.
#[cfg(test)]
const WITHOUT_GOAL: &[&str] = &["batch_memory_steps_per_s", "batch_durable_steps_per_s"];

/// What the figure `name` should be.
pub(crate) fn of(name: &str) -> Option<Goal> {
    let found = GOALS.iter().find(|(figure, ..)| *figure == name);
    found.map(|&(_, goal, aim)| Goal { goal, aim })
}

impl Bound {
    /// Whether `value` keeps it.
    pub(crate) fn keeps(self, value: f64) -> bool {
        match self {
            Self::Below(bound) => value < bound,
            Self::Above(bound) => value > bound,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Below(bound) => write!(f, "< {bound}"),
            Self::Above(bound) => write!(f, "> {bound}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::figures::FIGURES;

    use super::*;

    #[test]
    fn figures_and_goals_name_each_other() {
        let has_goal = |name: &&str| !WITHOUT_GOAL.contains(name);
        let figures: Vec<_> = FIGURES.iter().map(|figure| figure.name).filter(has_goal).collect();
        let goals: Vec<_> = GOALS.iter().map(|(figure, ..)| *figure).collect();

        assert_eq!(figures, goals);
    }

    #[test]
    fn a_bound_itself_is_a_miss() {
        assert!(!Below(5.0).keeps(5.0));
        assert!(!Above(5.0).keeps(5.0));
    }
}
