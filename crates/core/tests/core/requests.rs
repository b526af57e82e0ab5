//! What a planner says about requests that cannot be planned, and what configuration does.

use flowstone_core::asset::{Asset, Config, In};
use flowstone_core::partition::{Daily, PartitionSelector};
use flowstone_core::pipeline::Pipeline;
use flowstone_core::plan::{Planner, RunConfig, RunPlan, RunRequest};
use flowstone_core::store::AssetStatus;
use flowstone_core::{AssetId, AssetKey, ErrorKind, Result};
use flowstone_testkit::sketch::now;
use insta::assert_snapshot;

/// `numbers` without partitions, `days` from it, and `total`, which takes a configuration.
fn small() -> Pipeline {
    #[derive(serde::Deserialize)]
    struct Scale {
        by: i64,
    }
    let numbers = Asset::new("numbers").run(|| async { 1_i64 });
    let days = Asset::new("days")
        .partitions(Daily::from("2024-03-01"))
        .upstream("numbers")
        .run(|In(number): In<i64>| async move { number });
    let total = Asset::new("total")
        .upstream("numbers")
        .run(|In(number): In<i64>, scale: Config<Scale>| async move { number * scale.by });
    Pipeline::builder("small")
        .assets([numbers, days, total])
        .build()
        .unwrap()
}

fn plan_small(request: &RunRequest) -> Result<RunPlan> {
    let pipeline = small();
    let ids = [AssetId(0), AssetId(1), AssetId(2)];
    let statuses: [AssetStatus; 3] = Default::default();
    Planner {
        graph: pipeline.graph(),
        ids: &ids,
        statuses: &statuses,
        now: now(),
        sets: None,
    }
    .plan(request)
}

fn asking_for(names: &[&str]) -> RunRequest {
    let assets: Vec<AssetKey> = names.iter().map(|name| name.parse().unwrap()).collect();
    RunRequest {
        targets: assets.clone(),
        assets,
        ..RunRequest::default()
    }
}

fn with_config(names: &[&str], sections: serde_json::Value) -> RunRequest {
    let config = RunConfig(serde_json::from_value(sections).unwrap());
    RunRequest {
        config,
        ..asking_for(names)
    }
}

#[test]
fn an_input_that_was_never_made_and_is_not_selected_is_named() {
    let error = plan_small(&asking_for(&["days"])).unwrap_err();

    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_snapshot!(format!("{error:?}"), @r"
    failed to plan asset days: it needs numbers, never materialized and not selected [input_missing]
    fix: select `+days` to make its upstream too, or run numbers first
    ");
}

#[test]
fn an_unknown_asset_says_what_may_have_been_meant() {
    assert_snapshot!(format!("{:?}", plan_small(&asking_for(&["number"])).unwrap_err()), @r#"
    no asset is called "number" [asset_unknown]
    fix: did you mean "numbers"?
    "#);
}

#[test]
fn a_partition_outside_the_space_is_refused() {
    let partitions = PartitionSelector::Key("2024-02-01".to_owned());

    let error = plan_small(&RunRequest {
        partitions,
        ..asking_for(&["numbers", "days"])
    })
    .unwrap_err();

    assert_snapshot!(format!("{error:?}"), @r"
    failed to find partition 2024-02-01: the space holds 2024-03-01 and later [partition_out_of_space]
    fix: choose a partition within the space, or widen the asset's partitions
    ");
}

#[test]
fn a_partition_that_is_not_over_yet_is_refused() {
    let partitions = PartitionSelector::Key("2024-03-05".to_owned());

    let error = plan_small(&RunRequest {
        partitions,
        ..asking_for(&["numbers", "days"])
    })
    .unwrap_err();

    assert_snapshot!(format!("{error:?}"), @r"
    failed to select 2024-03-05: the last window that is over is 2024-03-04 [partition_not_over]
    fix: wait until the window is over, or choose an earlier one
    ");
}

#[test]
fn a_configuration_that_an_asset_needs_is_asked_for() {
    assert_snapshot!(format!("{:?}", plan_small(&asking_for(&["numbers", "total"])).unwrap_err()), @r"
    failed to read the run configuration of asset total: missing field `by` [config_invalid]
    fix: give `--config <asset>.<field>=<value>`, or the field a default with `#[serde(default)]`
    ");
}

#[test]
fn a_configuration_of_the_wrong_shape_is_refused() {
    let request = with_config(&["numbers", "total"], serde_json::json!({ "total": { "by": "two" } }));

    assert_snapshot!(format!("{:?}", plan_small(&request).unwrap_err()), @r#"
    failed to read the run configuration of asset total: invalid type: string "two", expected i64 [config_invalid]
    fix: give `--config <asset>.<field>=<value>`, or the field a default with `#[serde(default)]`
    "#);
}

#[test]
fn a_configuration_for_an_asset_that_takes_none_is_refused() {
    let request = with_config(&["numbers"], serde_json::json!({ "numbers": { "by": 2 } }));

    assert_snapshot!(format!("{:?}", plan_small(&request).unwrap_err()), @r"
    asset numbers takes no configuration [config_not_taken]
    fix: remove its section, or let its function take a `Config<T>`
    ");
}

#[test]
fn another_configuration_is_other_code() {
    let code_of = |by: i64| {
        let request = with_config(&["numbers", "total"], serde_json::json!({ "total": { "by": by } }));
        let plan = plan_small(&request).unwrap();
        plan.assets.iter().map(|asset| asset.code_version).collect::<Vec<_>>()
    };

    assert_eq!(code_of(2), code_of(2));
    assert_eq!(code_of(2)[0], code_of(3)[0]);
    assert_ne!(code_of(2)[1], code_of(3)[1]);
}
