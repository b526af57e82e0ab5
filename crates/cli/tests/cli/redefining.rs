//! Partitions that are defined otherwise than when they were made.

use serde_json::{Value, json};

use crate::program::{Ended, Workspace};

/// Runs a command with the days defined from `start` on.
fn from(start: &str, workspace: &Workspace, line: &str) -> Ended {
    let mut command = workspace.command(line);
    Ended::from(command.env("SAMPLE_DAYS_START", start).output().unwrap())
}

fn json_from(start: &str, workspace: &Workspace, code: i32, line: &str) -> Value {
    let ended = from(start, workspace, &format!("{line} --output json"));
    assert_eq!(ended.code, Some(code), "{line}: {ended:#?}");
    ended.json()
}

/// What is said of each asset whose partitions are defined anew: name, kept, moved, new, back, orphaned.
fn told(answer: &Value) -> Vec<Value> {
    let changes = answer["redefined"].as_array().unwrap().iter();
    let told = changes.map(|change| {
        json!([
            change["asset"],
            change["kept"],
            change["moved"],
            change["new"],
            change["returning"],
            change["orphaned"]["count"]
        ])
    });
    told.collect()
}

#[test]
fn an_earlier_start_is_shown_first_and_moves_with_the_next_run() {
    let workspace = Workspace::new();
    workspace.json(0, "run days lengths --all");

    let planned = json_from(
        "2023-12-30",
        &workspace,
        2,
        "plan lengths --range 2024-01-01..2024-01-05",
    );
    let checked = json_from("2023-12-30", &workspace, 2, "check");
    let shown = from("2023-12-30", &workspace, "check").stdout;
    let moved = json!([["days", 0, 5, 2, 0, 0], ["lengths", 0, 5, 2, 0, 0]]);
    assert_eq!(json!(told(&planned)), moved);
    assert_eq!(json!(told(&checked)), moved);
    assert_eq!(planned["steps"], 0, "what was made is found at its new place");
    assert!(shown.contains("the next run moves"), "{shown}");
    assert_eq!(
        told(&workspace.json(0, "check")),
        [] as [Value; 0],
        "nothing was written"
    );

    let ran = json_from("2023-12-30", &workspace, 0, "run days lengths --all");

    assert_eq!(
        ran["counts"]["succeeded"], 4,
        "two days that are new, and their lengths"
    );
    assert_eq!(told(&json_from("2023-12-30", &workspace, 0, "check")), [] as [Value; 0]);
    let status = json_from("2023-12-30", &workspace, 0, "status days");
    assert_eq!(status["assets"][0]["materialized"]["count"], 7);
    let lineage = from("2023-12-30", &workspace, "lineage up lengths --partition 2024-01-04").stdout;
    assert!(lineage.contains("days[2024-01-04] v1"), "{lineage}");
}

#[test]
fn values_are_orphaned_only_when_that_is_accepted_and_come_back() {
    let workspace = Workspace::new();
    workspace.json(0, "run days lengths --all");

    let refused = json_from("2024-01-03", &workspace, 1, "run days --all");
    assert_eq!(refused["error"]["code"], "partitions_orphaned", "{refused}");
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("2 values would be orphaned, as that of 2024-01-01"),
        "{message}"
    );
    assert!(
        refused["error"]["fix"].as_str().unwrap().contains("--accept"),
        "{refused}"
    );
    let backfill = json_from("2024-01-03", &workspace, 1, "backfill days --all");
    assert_eq!(backfill["error"]["code"], "partitions_orphaned", "{backfill}");
    let shown = from("2024-01-03", &workspace, "plan days --all");
    assert_eq!(shown.code, Some(2), "{shown:#?}");
    assert!(shown.stdout.contains("2024-01-01..2024-01-02"), "{shown:#?}");
    assert!(shown.stdout.contains("`run --accept` orphans"), "{shown:#?}");
    assert_eq!(
        workspace.json(0, "status days")["assets"][0]["materialized"]["count"],
        5
    );

    let accepted = json_from("2024-01-03", &workspace, 0, "run days lengths --all --accept");

    assert_eq!(
        accepted["outcome"], "nothing_to_do",
        "nothing that is left has a reason to be made again"
    );
    let status = json_from("2024-01-03", &workspace, 0, "status days");
    assert_eq!(status["assets"][0]["materialized"]["count"], 3);
    assert_eq!(status["assets"][0]["orphaned"][0]["partitions"]["count"], 2);
    let text = from("2024-01-03", &workspace, "status days").stdout;
    assert!(
        text.contains("orphaned: 2 values of days, 2024-01-01..2024-01-02"),
        "{text}"
    );
    let lineage = from("2024-01-03", &workspace, "lineage up lengths --partition 2024-01-02").stdout;
    assert!(lineage.contains("lengths[2024-01-02] v1 (orphaned)"), "{lineage}");
    assert!(lineage.contains("days[2024-01-02] v1 (orphaned)"), "{lineage}");

    assert_eq!(
        json!(told(&workspace.json(2, "plan days --all"))),
        json!([["days", 0, 3, 2, 2, 0], ["lengths", 0, 3, 2, 2, 0]])
    );
    assert_eq!(workspace.json(0, "run days lengths --all")["outcome"], "nothing_to_do");
    let status = workspace.json(0, "status days");
    assert_eq!(status["assets"][0]["materialized"]["count"], 5);
    assert_eq!(status["assets"][0]["orphaned"], json!([]));
}

#[test]
fn a_plan_that_was_saved_before_the_change_was_carried_out_is_applied_with_it() {
    let workspace = Workspace::new();
    workspace.json(0, "run days --all");
    json_from("2024-01-02", &workspace, 2, "plan +lengths --all --save lengths.plan");

    let refused = json_from("2024-01-02", &workspace, 1, "apply lengths.plan");
    let applied = json_from("2024-01-02", &workspace, 0, "apply lengths.plan --accept");

    assert_eq!(refused["error"]["code"], "partitions_orphaned", "{refused}");
    assert_eq!(applied["counts"]["succeeded"], 4, "the lengths of four days");
}

#[test]
fn more_partitions_behind_the_others_are_told_and_ask_for_nothing() {
    let workspace = Workspace::new();
    workspace.json(0, "run days --all");
    let mut command = workspace.command("check --output json");

    let checked = Ended::from(command.env("SAMPLE_DAYS_END", "2024-01-09").output().unwrap());

    assert_eq!(checked.code, Some(0), "{checked:#?}");
    assert_eq!(told(&checked.json())[0], json!(["days", 5, 0, 3, 0, 0]));
}
