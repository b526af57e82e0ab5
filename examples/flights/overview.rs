//! Everything in one value: the asset that is not partitioned.

use std::collections::BTreeMap;

use flowstone::prelude::*;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::join::{DayReport, day_report};
use super::reports::{CarrierRow, RouteRow, carrier_report, route_report};

/// What all flights come to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) first_day: String,
    pub(crate) last_day: String,
    pub(crate) scheduled: u64,
    pub(crate) cancelled: u64,
    pub(crate) flown: u64,
    pub(crate) dep_delay_sum: i64,
    pub(crate) wet_n: u64,
    pub(crate) wet_dep_delay_sum: i64,
    pub(crate) dry_n: u64,
    pub(crate) dry_dep_delay_sum: i64,
    pub(crate) plane_age_n: u64,
    pub(crate) plane_age_sum: i64,
    /// The route with most flown flights; of equal ones the first by name.
    pub(crate) busiest: Option<Route>,
    /// The day with the highest mean departure delay; of equal ones the earliest.
    pub(crate) worst_day: Option<DayReport>,
}

/// A route and its flown flights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Route {
    pub(crate) origin: String,
    pub(crate) dest: String,
    pub(crate) flown: u64,
}

/// All flights in a few numbers.
#[asset(group = "reports")]
pub(crate) async fn summary(
    mut day_report: PartitionStream<DayReport>,
    mut carrier_report: PartitionStream<Vec<CarrierRow>>,
    mut route_report: PartitionStream<Vec<RouteRow>>,
) -> Result<Summary> {
    let mut summary = Summary::default();
    while let Some(day) = day_report.next().await? {
        summary.add_day(day);
    }
    while let Some(month) = carrier_report.next().await? {
        for carrier in month {
            summary.scheduled += carrier.scheduled;
            summary.cancelled += carrier.cancelled;
        }
    }
    let mut routes: BTreeMap<(String, String), u64> = BTreeMap::new();
    while let Some(month) = route_report.next().await? {
        for route in month {
            *routes.entry((route.origin, route.dest)).or_default() += route.flown;
        }
    }
    summary.busiest = busiest(routes);
    Ok(summary)
}

impl Summary {
    /// The years of the flights, as `punctuality` names its partitions.
    pub(crate) fn years(&self) -> Result<Vec<String>> {
        let (first, last): (Date, Date) = (self.first_day.parse()?, self.last_day.parse()?);
        Ok((first.year()..=last.year()).map(|year| format!("{year:04}")).collect())
    }

    /// Takes the days in order.
    fn add_day(&mut self, day: DayReport) {
        if self.first_day.is_empty() {
            self.first_day.clone_from(&day.day);
        }
        self.last_day.clone_from(&day.day);
        self.flown += day.flown;
        self.dep_delay_sum += day.dep_delay_sum;
        self.wet_n += day.wet_n;
        self.wet_dep_delay_sum += day.wet_dep_delay_sum;
        self.dry_n += day.dry_n;
        self.dry_dep_delay_sum += day.dry_dep_delay_sum;
        self.plane_age_n += day.plane_age_n;
        self.plane_age_sum += day.plane_age_sum;
        if day.flown > 0 && self.worst_day.as_ref().is_none_or(|worst| is_worse(&day, worst)) {
            self.worst_day = Some(day);
        }
    }
}

/// Compares the means as fractions, exactly; both days have flights.
fn is_worse(day: &DayReport, than: &DayReport) -> bool {
    let crosswise = |a: &DayReport, b: &DayReport| i128::from(a.dep_delay_sum) * i128::from(b.flown);
    crosswise(day, than) > crosswise(than, day)
}

fn busiest(routes: BTreeMap<(String, String), u64>) -> Option<Route> {
    let first_of_most = routes
        .into_iter()
        .reduce(|best, route| if route.1 > best.1 { route } else { best });
    first_of_most.map(|((origin, dest), flown)| Route { origin, dest, flown })
}
