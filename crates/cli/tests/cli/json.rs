//! The answers for programs, as they are promised: a field may be added to a version, and nothing else may change.

use serde_json::Value;

use crate::program::Workspace;

/// Replaces what differs from run to run and from machine to machine: ids, times, sizes, paths.
fn redacted(mut value: Value) -> String {
    redact("", &mut value);
    serde_json::to_string_pretty(&value).unwrap()
}

fn redact(field: &str, value: &mut Value) {
    match value {
        Value::Object(fields) => fields.iter_mut().for_each(|(field, value)| redact(field, value)),
        Value::Array(items) => items.iter_mut().for_each(|item| redact(field, item)),
        Value::Null => {}
        _ if field == "run" || field == "fan_out" || field.ends_with("_at") || field == "at" || field == "since" => {
            *value = format!("[{field}]").into();
        }
        _ if ["elapsed_ms", "bytes", "free_bytes", "data_bytes", "pid", "time_zones"].contains(&field) => {
            *value = format!("[{field}]").into();
        }
        _ => {}
    }
}

macro_rules! assert_answer {
    ($name:literal, $value:expr) => {
        insta::assert_snapshot!($name, redacted($value));
    };
}

#[test]
fn check() {
    assert_answer!("check", Workspace::new().json(0, "check"));
}

#[test]
fn list() {
    assert_answer!("list", Workspace::new().json(0, "list group:sums or days"));
}

#[test]
fn graph() {
    let workspace = Workspace::new();

    assert_answer!("graph", workspace.json(0, "graph"));
    assert_answer!("graph_mermaid", workspace.json(0, "graph --format mermaid"));
}

#[test]
fn plan() {
    let workspace = Workspace::new();
    workspace.json(0, "run numbers");

    assert_answer!("plan", workspace.json(2, "plan +total or +lengths --all"));
    assert_answer!("plan_nothing", workspace.json(0, "plan numbers"));
}

#[test]
fn run_show_runs_and_status_of_a_run_that_fails() {
    let workspace = Workspace::new();
    let ran = workspace.json(1, "run +month --all --workers 1");
    let id = ran["run"].as_str().unwrap();

    assert_answer!("show", workspace.json(0, &format!("show {id}")));
    assert_answer!("runs", workspace.json(0, "runs"));
    assert_answer!("status", workspace.json(0, "status"));
    assert_answer!("run_failed", ran);
}

#[test]
fn backfill_that_has_nothing_to_do() {
    let workspace = Workspace::new();
    workspace.json(0, "backfill +lengths --all");

    assert_answer!(
        "run_nothing",
        workspace.json(0, "backfill +lengths --range 2024-01-02..2024-01-04")
    );
}

#[test]
fn the_fan_outs_of_a_run_and_their_items() {
    let workspace = Workspace::new().with("SAMPLE_SCATTER", "1");
    workspace.json(0, "run sum");

    assert_answer!("scatter_show", workspace.json(0, "scatter show"));
    assert_answer!("scatter_items", workspace.json(0, "scatter items sum"));
    assert_answer!("scatter_items_all", workspace.json(0, "scatter items sum --all"));
}

#[test]
fn fan_outs_within_fan_outs() {
    let workspace = Workspace::new().with("SAMPLE_SCATTER", "1");
    workspace.json(0, "run grid");

    assert_answer!("scatter_show_nested", workspace.json(0, "scatter show"));
}

#[test]
fn lineage() {
    let workspace = Workspace::new();
    workspace.json(0, "run +lengths --range 2024-01-02..2024-01-03");

    assert_answer!(
        "lineage_up",
        workspace.json(0, "lineage up lengths --partition 2024-01-03")
    );
    assert_answer!(
        "lineage_down_dot",
        workspace.json(
            0,
            "lineage down days --partition 2024-01-03 --version 1 --depth 1 --format dot"
        )
    );
}

#[test]
fn doctor() {
    let workspace = Workspace::new();
    workspace.json(0, "run numbers");

    let mut diagnosis = workspace.json(0, "doctor");
    diagnosis["version"] = "[version]".into();

    // The tables are the store's own business.
    assert!(diagnosis["state"]["store"]["tables"].as_array().unwrap().len() > 3);
    diagnosis["state"]["store"]["tables"] = Value::Array(Vec::new());
    diagnosis["state"]["store"]["schema_version"] = "[schema_version]".into();
    for setting in diagnosis["settings"].as_array_mut().unwrap() {
        if setting["name"] == "workers" {
            setting["value"] = "[cores]".into();
        }
    }
    assert_answer!("doctor", diagnosis);
}
