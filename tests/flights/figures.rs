//! Compares what lies in a state folder with the figures in `examples/flights/expected`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use flowstone::prelude::*;
use serde::Serialize;
use serde_json::{Value, json};

use crate::example::clean::{CancelledFlight, CleanFlight};
use crate::example::ingest::{Observation, RawFlight};
use crate::example::join::{DayReport, Delay};
use crate::example::overview::Summary;
use crate::example::reports::{CarrierRow, PunctualityRow, RouteRow};

const EXPECTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/flights/expected");

/// One set of figures: `january` or `year`.
pub(crate) struct Figures {
    folder: PathBuf,
}

impl Figures {
    pub(crate) fn of(set: &str) -> Self {
        Self {
            folder: Path::new(EXPECTED).join(set),
        }
    }

    /// Compares every figure of the set with what `pipeline` made in `state`.
    #[tokio::main]
    pub(crate) async fn compare(&self, pipeline: Pipeline, state: &Path) {
        let engine = flowstone::open(pipeline, state).await.unwrap();
        self.compare_days(&engine).await;
        self.compare_reports(&engine).await;
        self.compare_summary(&engine).await;
        engine.shutdown().await.unwrap();
    }

    async fn compare_days(&self, engine: &Engine) {
        let scheduled = self.by("raw_flights", "day");
        let (left, observed) = (self.by("clean_flights", "day"), self.by("weather", "day"));
        let joined = self.by("delays", "day");
        assert_eq!(scheduled.len(), left.len());
        assert_eq!(scheduled.len(), joined.len());

        for (day, expected) in &scheduled {
            let raw: Vec<RawFlight> = load(engine, "raw_flights", day).await;
            let clean: Vec<CleanFlight> = load(engine, "clean_flights", day).await;
            let cancelled: Vec<CancelledFlight> = load(engine, "cancelled_flights", day).await;
            let weather: Vec<Observation> = load(engine, "weather", day).await;
            let delays: Vec<Delay> = load(engine, "delays", day).await;
            let report: DayReport = load(engine, "day_report", day).await;

            assert_eq!(expected, &[json!({ "rows": raw.len() })], "raw_flights of {day}");
            let without_arr_delay = clean.iter().filter(|flight| flight.arr_delay.is_none()).count();
            let counts = json!({
                "flown": clean.len(),
                "cancelled": cancelled.len(),
                "flown_without_arr_delay": without_arr_delay,
            });
            assert_eq!(left[day], [counts], "clean_flights of {day}");
            let observations = observed.get(day).cloned().unwrap_or_else(|| vec![json!({ "rows": 0 })]);
            assert_eq!(observations, [json!({ "rows": weather.len() })], "weather of {day}");
            assert_eq!(delays.len(), clean.len(), "delays of {day}");
            let sums = without(without(without(json(&report), "day"), "plane_age_n"), "plane_age_sum");
            assert_eq!(joined[day], [sums], "delays of {day}");
        }
    }

    async fn compare_reports(&self, engine: &Engine) {
        for (month, expected) in self.by("carrier_report", "month") {
            let rows: Vec<CarrierRow> = load(engine, "carrier_report", &month).await;
            assert_eq!(json(&rows), json(&expected), "carrier_report of {month}");
        }
        for (month, expected) in self.by("route_report", "month") {
            let rows: Vec<RouteRow> = load(engine, "route_report", &month).await;
            assert_eq!(json(&rows), json(&expected), "route_report of {month}");
        }
        for (year, expected) in self.by("punctuality", "year") {
            let rows: Vec<PunctualityRow> = load(engine, "punctuality", &year).await;
            assert_eq!(json(&rows), json(&expected), "punctuality of {year}");
        }
    }

    async fn compare_summary(&self, engine: &Engine) {
        let summary: Summary = load(engine, "summary", "").await;

        let (busiest, worst_day) = (summary.busiest.unwrap(), summary.worst_day.unwrap());
        let figures = json!({
            "scheduled": summary.scheduled,
            "cancelled": summary.cancelled,
            "flown": summary.flown,
            "busiest_origin": busiest.origin,
            "busiest_dest": busiest.dest,
            "busiest_flown": busiest.flown,
            "worst_day": worst_day.day,
            "worst_day_flown": worst_day.flown,
            "worst_day_dep_delay_sum": worst_day.dep_delay_sum,
            "plane_age_n": summary.plane_age_n,
            "plane_age_sum": summary.plane_age_sum,
        });
        assert_eq!(self.rows("summary"), [figures]);
    }

    fn rows(&self, report: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.join(report).with_extension("json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// The rows of a report by the partition that `column` names, without that column.
    fn by(&self, report: &str, column: &str) -> BTreeMap<String, Vec<Value>> {
        let mut partitions: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for row in self.rows(report) {
            let partition = row[column].as_str().unwrap().to_owned();
            partitions.entry(partition).or_default().push(without(row, column));
        }
        assert!(!partitions.is_empty(), "{report} has no figures");
        partitions
    }
}

async fn load<T: flowstone::AssetValue>(engine: &Engine, asset: &str, partition: &str) -> T {
    engine
        .load(asset, partition)
        .await
        .unwrap_or_else(|error| panic!("{asset} of {partition}: {error:?}"))
}

fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

fn without(mut row: Value, column: &str) -> Value {
    row.as_object_mut().unwrap().remove(column).unwrap();
    row
}
