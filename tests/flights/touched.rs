//! What there is to do after one day of the input has changed.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::LazyLock;

use flowstone::partition::{PartitionSelector, PartitionSet};
use flowstone::plan::{RunPlan, RunRequest};
use flowstone::prelude::*;
use tempfile::TempDir;

use crate::bad_input::{sample, sample_with};
use crate::example::pipeline_over;
use crate::run_all;

/// The January sample, and the same with one flight of the fifth delayed by another minute.
static FOLDERS: LazyLock<(TempDir, TempDir)> = LazyLock::new(|| {
    let touched = sample_with("flights.csv.gz", |lines| {
        let fifth = lines.iter_mut().find(|line| line.starts_with("2013,1,5,")).unwrap();
        let mut fields: Vec<String> = fifth.split(',').map(str::to_owned).collect();
        fields[8] = "99".to_owned();
        *fifth = fields.join(",");
    });
    (sample(), touched)
});

fn before() -> Result<Pipeline> {
    pipeline_over(FOLDERS.0.path())
}

fn after() -> Result<Pipeline> {
    pipeline_over(FOLDERS.1.path())
}

#[test]
fn a_day_that_changed_is_planned_with_what_depends_on_it_and_nothing_else() {
    let state = TempDir::new().unwrap();
    assert_eq!(run_all(before, state.path()), ExitCode::SUCCESS);
    assert!(planned(before().unwrap(), state.path()).is_empty());

    let touched = planned(after().unwrap(), state.path());

    let fifth = PartitionSet::single(4);
    let one = PartitionSet::single(0);
    let expected = [
        ("raw_flights", &fifth),
        ("clean_flights", &fifth),
        ("cancelled_flights", &fifth),
        ("delays", &fifth),
        ("day_report", &fifth),
        ("carrier_report", &one),
        ("route_report", &one),
        ("punctuality", &one),
        ("summary", &one),
    ];
    let expected: BTreeMap<_, _> = expected.map(|(asset, steps)| (asset.to_owned(), steps.clone())).into();
    assert_eq!(touched, expected);

    assert_eq!(run_all(after, state.path()), ExitCode::SUCCESS);
    assert!(planned(after().unwrap(), state.path()).is_empty());
}

/// What there is to do, by asset.
#[tokio::main]
async fn planned(pipeline: Pipeline, state: &Path) -> BTreeMap<String, PartitionSet> {
    let assets = pipeline.graph().nodes().map(|(_, node)| node.key().clone()).collect();
    let engine = flowstone::open(pipeline, state).await.unwrap();
    let request = RunRequest {
        assets,
        partitions: PartitionSelector::All,
        ..RunRequest::default()
    };
    let plan: RunPlan = engine.plan(&request).await.unwrap();
    engine.shutdown().await.unwrap();
    plan.assets
        .iter()
        .map(|planned| (planned.key.to_string(), planned.steps.clone()))
        .collect()
}
