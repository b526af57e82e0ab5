//! What comes of the routes: statistics of each, and the ranking of all.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

/// A route with fewer flights is not ranked: one late flight would say too much.
const FLIGHTS_MIN: usize = 20;
/// How many routes are shown at each end of the ranking.
const SHOWN: usize = 5;

/// How late the flights of one route were.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RouteStats {
    pub(crate) route: String,
    pub(crate) flights: usize,
    /// Those that arrived.
    pub(crate) arrived: usize,
    /// Minutes, over those that arrived; `None` when none did.
    pub(crate) mean_delay: Option<f64>,
}

impl RouteStats {
    pub(crate) fn of(route: String, delays: &[Option<f64>]) -> Self {
        let arrived = delays.iter().flatten().count();
        let sum: f64 = delays.iter().flatten().sum();
        Self {
            route,
            flights: delays.len(),
            arrived,
            mean_delay: (arrived > 0).then(|| sum / arrived as f64),
        }
    }
}

/// The routes, the latest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ranking {
    pub(crate) routes: Vec<RouteStats>,
    /// Routes of which nothing could be told.
    pub(crate) missing: Vec<String>,
}

impl Ranking {
    pub(crate) fn add(&mut self, stats: RouteStats) {
        self.routes.push(stats);
    }

    pub(crate) fn miss(&mut self, key: String) {
        self.missing.push(key);
    }

    pub(crate) fn sorted(mut self) -> Self {
        let delay = |stats: &RouteStats| stats.mean_delay.unwrap_or(f64::NEG_INFINITY);
        self.routes
            .sort_by(|a, b| delay(b).total_cmp(&delay(a)).then_with(|| a.route.cmp(&b.route)));
        self
    }

    /// Shows the latest and the most punctual routes.
    pub(crate) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let ranked: Vec<_> = self
            .routes
            .iter()
            .filter(|stats| stats.flights >= FLIGHTS_MIN)
            .collect();
        let (first, last) = (ranked.iter().take(SHOWN), ranked.iter().rev().take(SHOWN).rev());
        for stats in first {
            Self::write_route(out, stats)?;
        }
        writeln!(out, "  … {} more …", ranked.len().saturating_sub(2 * SHOWN))?;
        for stats in last {
            Self::write_route(out, stats)?;
        }
        if !self.missing.is_empty() {
            writeln!(out, "  without {}", self.missing.join(", "))?;
        }
        Ok(())
    }

    fn write_route(out: &mut impl Write, stats: &RouteStats) -> io::Result<()> {
        let RouteStats { route, flights, .. } = stats;
        let delay = stats.mean_delay.unwrap_or_default();
        writeln!(
            out,
            "  {route:<12} {flights:>6} flights {delay:>8.1} min late on average"
        )
    }
}
