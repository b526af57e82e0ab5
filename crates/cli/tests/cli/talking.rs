//! What people read: data on stdout, talk on stderr, and what is said where nothing was run yet.

use std::io::Read as _;
use std::process::Stdio;

use flowstone_core::asset::Asset;
use flowstone_core::pipeline::Pipeline;

use crate::program::{Workspace, eventually};

#[test]
fn verbs_that_read_have_an_answer_where_nothing_was_run_yet() {
    let workspace = Workspace::new();
    for (line, code, says) in [
        ("status", 0, "nothing was run here yet"),
        ("runs", 0, "nothing was run here yet"),
        ("doctor", 0, "nothing was run here yet"),
        ("plan +total", 2, "missing"),
        ("list", 0, "total"),
        ("graph", 0, "total"),
        ("check", 0, "fits together"),
    ] {
        let ended = workspace.run(line);

        assert_eq!(ended.code, Some(code), "{line}: {ended:#?}");
        assert!(ended.stdout.contains(says), "{line}: {ended:#?}");
    }
    for line in ["show 0190", "cancel 0190", "lineage up total"] {
        let ended = workspace.run(line);

        assert_eq!(ended.code, Some(1), "{line}: {ended:#?}");
        assert!(ended.stderr.contains("nothing was run here yet"), "{line}: {ended:#?}");
    }
    assert!(!workspace.path().join(".flowstone").exists(), "reading makes no state");
}

#[test]
fn a_run_tells_what_it_made_and_a_second_one_has_nothing_to_do() {
    let workspace = Workspace::new();

    let first = workspace.run("run +total");
    let second = workspace.run("run +total");

    assert_eq!(first.code, Some(0), "{first:#?}");
    assert!(first.stdout.contains(" succeeded in "), "{first:#?}");
    assert!(first.stdout.trim_end().ends_with("2 made"), "{first:#?}");
    assert!(first.stderr.contains("2 steps in 2 assets"), "{first:#?}");
    assert_eq!(
        (second.code, second.stdout.as_str()),
        (Some(0), "nothing to do: everything that was asked for is current\n")
    );
    assert_eq!(workspace.run("plan +total").code, Some(0));
}

#[test]
fn a_failure_is_named_with_its_cause_and_what_it_stopped() {
    let workspace = Workspace::new();

    let failed = workspace.run("run +month --all");

    assert_eq!(failed.code, Some(1), "{failed:#?}");
    assert!(
        failed.stdout.contains("the third day is not to its taste"),
        "{failed:#?}"
    );
    assert!(failed.stdout.contains("fix: leave the third day away"), "{failed:#?}");
    assert!(failed.stdout.contains("picky[2024-01-03]"), "{failed:#?}");
    assert!(
        failed.stdout.contains("1 step was stopped by that failure"),
        "{failed:#?}"
    );
    let id = failed.stdout.split_whitespace().nth(1).unwrap();
    let shown = workspace.run(&format!("show {id}"));
    assert!(shown.stdout.contains("the third day is not to its taste"), "{shown:#?}");
}

#[test]
fn a_configuration_makes_another_value() {
    let workspace = Workspace::new();

    let first = workspace.json(0, "run +scaled");
    let same = workspace.json(0, "run +scaled");
    let scaled = workspace.json(0, "run +scaled --config scaled.by=3");
    let forced = workspace.json(0, "run total --force");

    assert_eq!(first["counts"]["succeeded"], 3);
    assert_eq!(same["outcome"], "nothing_to_do");
    assert_eq!(scaled["counts"]["succeeded"], 1);
    assert_eq!(forced["counts"]["succeeded"], 1);
}

#[test]
fn a_run_is_found_by_the_start_of_its_id() {
    let workspace = Workspace::new();
    let first = workspace.json(0, "run numbers")["run"].as_str().unwrap().to_owned();
    let second = workspace.json(0, "run total")["run"].as_str().unwrap().to_owned();

    let by_start = workspace.run(&format!("show {}", &second[..30]));
    let ambiguous = workspace.run("show 0");
    let unknown = workspace.run("show ffff");
    let ended = workspace.run(&format!("cancel {first}"));

    assert!(by_start.stdout.contains(&second), "{by_start:#?}");
    assert!(ambiguous.stderr.contains("several runs"), "{ambiguous:#?}");
    assert!(unknown.stderr.contains("no run has the id"), "{unknown:#?}");
    assert_eq!((ambiguous.code, unknown.code, ended.code), (Some(1), Some(1), Some(1)));
    assert!(
        ended.stderr.contains("it has ended already: it succeeded"),
        "{ended:#?}"
    );
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let workspace = Workspace::new();
    let mut command = workspace.command("run +total");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());

    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();

    assert_eq!(child.wait().unwrap().code(), Some(0), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    eventually("the state of the run", || {
        workspace.run("plan +total").code.filter(|code| *code == 0)
    });
}

#[test]
fn a_state_folder_that_cannot_be_one_is_refused_with_the_fix() {
    let workspace = Workspace::new();
    std::fs::write(workspace.path().join("occupied"), "a file").unwrap();

    for line in ["run total --force", "doctor"] {
        let refused = workspace.run(&format!("{line} --state-dir occupied"));

        assert_eq!(refused.code, Some(1), "{line}: {refused:#?}");
        assert!(
            format!("{}{}", refused.stdout, refused.stderr).contains("fix: "),
            "{line}: {refused:#?}"
        );
    }
}

#[test]
fn a_program_opens_the_same_state_as_the_command_line() {
    let workspace = Workspace::new();
    let state = workspace.path().join(".flowstone");
    let answer = || Asset::new("numbers").run(|| async { vec![1_i64, 2, 3] });
    let pipeline = || Pipeline::builder("sample").asset(answer()).build().unwrap();
    workspace.json(0, "run numbers");

    let (loaded, second) = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let engine = flowstone_cli::open(pipeline(), &state).await.unwrap();
        let loaded = engine.load::<Vec<i64>>("numbers", "").await.unwrap();
        let second = workspace.run("run numbers --force");
        engine.shutdown().await.unwrap();
        (loaded, second)
    });

    assert_eq!(loaded, [1, 2, 3]);
    assert_eq!(second.code, Some(1), "{second:#?}");
}

#[test]
fn a_run_outlives_its_pipeline() {
    let workspace = Workspace::new();
    let run = workspace.json(1, "run +month --all")["run"]
        .as_str()
        .unwrap()
        .to_owned();

    let shown = workspace
        .command(&format!("show {run} --output json"))
        .env("SAMPLE_BROKEN_PIPELINE", "1")
        .output()
        .unwrap();

    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["assets"][0]["counts"]["succeeded"], 5);
    assert_eq!(shown["failures"][0]["partition"], "2024-01-03");
}
