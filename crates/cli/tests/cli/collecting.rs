//! `gc`: what goes, what stays, and who is asked.

use std::fs;
use std::path::{Path, PathBuf};

use crate::gate::Gate;
use crate::program::Workspace;

/// All files below the data folder.
fn objects(workspace: &Workspace) -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&workspace.path().join(".flowstone/data"), &mut found);
    found
}

/// Plants a copy of an object as another attempt of `run` would have left it.
fn plant(object: &Path, run: &str, fence: u32, ending: &str) -> PathBuf {
    let name = object.file_name().unwrap().to_str().unwrap();
    let partition = name.split('-').next().unwrap();
    let run = run.replace('-', "");
    let planted = object.with_file_name(format!("{partition}-{run}-{fence}-1-0.object{ending}"));
    fs::copy(object, &planted).unwrap();
    planted
}

fn keep_only_heads(workspace: &Workspace) {
    let settings = "[retention]\nversions = { age = \"0s\", count = 1 }\nruns = { age = \"0s\", count = 1 }\n";
    fs::write(workspace.path().join("flowstone.toml"), settings).unwrap();
}

#[test]
fn old_versions_go_when_they_are_asked_to_and_the_head_can_still_be_read() {
    let workspace = Workspace::new();
    for _ in 0..3 {
        workspace.json(0, "run bulky --force");
    }
    assert_eq!(objects(&workspace).len(), 3);
    assert_eq!(
        workspace.json(0, "gc")["old_versions"]["count"],
        0,
        "a month has not passed"
    );
    keep_only_heads(&workspace);

    let would = workspace.json(0, "gc --dry-run");
    assert_eq!(objects(&workspace).len(), 3);
    let did = workspace.json(0, "gc");

    assert_eq!(
        (would["is_dry_run"].as_bool(), did["is_dry_run"].as_bool()),
        (Some(true), Some(false))
    );
    assert_eq!(
        (&would["tables"], &would["old_versions"]),
        (&did["tables"], &did["old_versions"])
    );
    assert_eq!(did["old_versions"]["count"], 2);
    assert_eq!(did["left_over"]["count"], 0);
    assert_eq!(objects(&workspace).len(), 1);
    let tables = did["tables"].as_array().unwrap();
    let rows = |name: &str| {
        let found = tables.iter().find(|table| table["table"] == name);
        found.map(|table| (table["rows"].as_u64().unwrap(), table["bytes"].as_u64().is_some()))
    };
    assert_eq!(rows("materialization"), Some((2, true)));
    assert_eq!(rows("run"), Some((2, true)));
    assert_eq!(workspace.json(0, "runs")["runs"].as_array().unwrap().len(), 1);
    assert_eq!(workspace.json(0, "run bulky")["outcome"], "nothing_to_do");
    assert_eq!(workspace.json(0, "lineage up bulky").get("error"), None);
    assert_eq!(workspace.json(0, "gc")["tables"], serde_json::json!([]));
}

#[test]
fn old_versions_go_by_themselves_at_the_end_of_a_run() {
    let workspace = Workspace::new();
    keep_only_heads(&workspace);

    for _ in 0..3 {
        workspace.json(0, "run bulky --force");
    }

    assert_eq!(objects(&workspace).len(), 1);
    assert_eq!(workspace.json(0, "runs")["runs"].as_array().unwrap().len(), 1);
}

#[test]
fn what_attempts_left_goes_and_what_may_be_needed_stays() {
    let workspace = Workspace::new();
    let ended = workspace.json(0, "run bulky")["run"].as_str().unwrap().to_owned();
    let head = objects(&workspace).pop().unwrap();
    let gate = Gate::open(&workspace);
    let running = workspace.start(
        workspace
            .command("run days --all --workers 1")
            .env("SAMPLE_GATE", &gate.path),
    );
    let held = gate.next();
    let open = workspace.json(0, "runs")["runs"][0]["run"].as_str().unwrap().to_owned();
    let left = plant(&head, &ended, 99, "");
    let half = plant(&head, &ended, 98, ".part");
    let in_flight = plant(&head, &open, 1, "");
    let staged = plant(&head, &open, 2, ".part");
    let stranger = plant(&head, "018f4e5c-8c4e-7cc0-9c4b-3c7a5a6d2f10", 1, "");
    let foreign = head.with_file_name("notes.txt");
    fs::write(&foreign, "mine").unwrap();

    let would = workspace.json(0, "gc --dry-run");
    assert!(left.exists() && half.exists());
    let did = workspace.json(0, "gc");

    assert_eq!(would["left_over"], did["left_over"]);
    assert_eq!(
        (did["left_over"]["count"].as_u64(), did["unknown"].as_u64()),
        (Some(2), Some(1))
    );
    assert!(!left.exists() && !half.exists());
    for stays in [&head, &in_flight, &staged, &stranger, &foreign] {
        assert!(stays.exists(), "{} is gone", stays.display());
    }
    held.pass();
    for _ in 0..4 {
        gate.next().pass();
    }
    assert_eq!(running.wait().code, Some(0));
    assert_eq!(
        workspace.json(0, "gc")["left_over"]["count"],
        2,
        "their run has ended by now"
    );
    assert!(!in_flight.exists() && !staged.exists() && head.exists());
}

#[test]
fn a_retention_that_cannot_be_is_refused() {
    let workspace = Workspace::new();
    for (settings, says) in [
        ("versions = { age = \"soon\" }", "is no age"),
        ("version = { count = 1 }", "unknown field `version`"),
        ("assets = { bulk = { count = 1 } }", "did you mean"),
    ] {
        fs::write(
            workspace.path().join("flowstone.toml"),
            format!("[retention]\n{settings}\n"),
        )
        .unwrap();

        let refused = workspace.run("gc");

        assert_eq!(refused.code, Some(64), "{refused:#?}");
        assert!(refused.stderr.contains(says), "{refused:#?}");
    }
}
