//! Plans that are saved, looked at, and carried out later as they stand or not at all.

use std::fs;

use crate::program::{Ended, Workspace};

/// The saved plan is refused with this code, and nothing was made by it.
fn refused(ended: &Ended, code: &str, words: &str) {
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    let error = &ended.json()["error"];
    assert_eq!(error["code"], code, "{error}");
    assert!(error["message"].as_str().unwrap().contains(words), "{error}");
    assert!(error["fix"].as_str().unwrap().contains("plan --save"), "{error}");
}

#[test]
fn a_saved_plan_is_carried_out_as_it_stands() {
    let workspace = Workspace::new();
    let planned = workspace.json(2, "plan +lengths --range 2024-01-01..2024-01-02 --save days.plan");

    let ran = workspace.json(0, "apply days.plan");

    assert_eq!(
        (&ran["outcome"], &ran["counts"]["succeeded"]),
        (&"succeeded".into(), &planned["steps"])
    );
    let left = workspace.json(2, "plan +lengths --all");
    assert_eq!(
        left["assets"][1]["reasons"][0]["partitions"]["ranges"][0]["first"],
        "2024-01-03"
    );
}

#[test]
fn a_plan_with_nothing_to_do_does_nothing() {
    let workspace = Workspace::new();
    workspace.json(0, "run numbers");
    workspace.json(0, "plan numbers --save nothing.plan");

    assert_eq!(workspace.json(0, "apply nothing.plan")["outcome"], "nothing_to_do");
}

#[test]
fn a_saved_plan_is_refused_once_something_of_it_was_made() {
    let workspace = Workspace::new();
    workspace.json(0, "run days --partition 2024-01-01");
    workspace.json(2, "plan +lengths --range 2024-01-01..2024-01-03 --save days.plan");
    workspace.json(0, "run days --partition 2024-01-02");

    let ended = workspace.run("apply days.plan --output json");

    refused(&ended, "plan_outdated", "days[2024-01-02] is current now");
    assert_eq!(workspace.run("apply days.plan").code, Some(1));
}

#[test]
fn a_saved_plan_is_refused_once_an_input_of_it_was_made_again() {
    let workspace = Workspace::new();
    workspace.json(0, "run days --all");
    workspace.json(2, "plan lengths --all --save lengths.plan");
    workspace.json(0, "run days --force --partition 2024-01-04");

    let ended = workspace.run("apply lengths.plan --output json");

    refused(&ended, "plan_outdated", "days[2024-01-04] was made meanwhile");
}

#[test]
fn a_saved_plan_of_other_code_or_other_partitions_is_refused() {
    let workspace = Workspace::new();
    workspace.json(2, "plan days --all --save days.plan");
    let applied = |name: &str, value: &str| {
        let mut command = workspace.command("apply days.plan --output json");
        Ended::from(command.env(name, value).output().unwrap())
    };

    refused(
        &applied("SAMPLE_DAYS_CODE", "2"),
        "plan_of_other_code",
        "other code of days",
    );
    refused(
        &applied("SAMPLE_DAYS_END", "2024-01-09"),
        "plan_of_other_partitions",
        "other partitions of days",
    );
    refused(
        &applied("SAMPLE_NAME", "another"),
        "plan_of_other_pipeline",
        "pipeline \"sample\"",
    );
    assert_eq!(workspace.json(0, "apply days.plan")["counts"]["succeeded"], 5);
}

#[test]
fn a_file_that_is_no_saved_plan_is_refused() {
    let workspace = Workspace::new();
    workspace.json(2, "plan days --all --save days.plan");
    let whole = fs::read(workspace.path().join("days.plan")).unwrap();
    fs::write(workspace.path().join("half.plan"), &whole[..whole.len() / 2]).unwrap();
    fs::write(workspace.path().join("text.plan"), "steps:\n").unwrap();

    for (file, code) in [
        ("half.plan", "corrupt"),
        ("text.plan", "unsupported"),
        ("none.plan", "user"),
    ] {
        let ended = workspace.run(&format!("apply {file} --output json"));
        assert_eq!(ended.code, Some(64), "{ended:#?}");
        assert_eq!(ended.json()["error"]["kind"], code, "{ended:#?}");
    }
}
