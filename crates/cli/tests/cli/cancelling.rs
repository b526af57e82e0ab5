//! Ends runs while they go on: by the verb, by signals, and where no process runs them.

use std::os::unix::fs::PermissionsExt as _;

use crate::gate::Gate;
use crate::program::{Workspace, eventually};

/// The id of the run that is going on.
fn open_run(workspace: &Workspace) -> String {
    let runs = workspace.json(0, "runs");
    let run = runs["runs"]
        .as_array()
        .unwrap()
        .iter()
        .find(|run| run["state"] == "running")
        .unwrap()
        .clone();
    run["run"].as_str().unwrap().to_owned()
}

#[test]
fn a_second_process_is_told_who_holds_the_state_and_may_read_it() {
    let workspace = Workspace::new();
    let gate = Gate::open(&workspace);
    let running = workspace.start(
        workspace
            .command("run days --all --workers 1")
            .env("SAMPLE_GATE", &gate.path),
    );
    let held = gate.next();

    let refused = workspace.run("run total");
    assert_eq!(refused.code, Some(1), "{refused:#?}");
    assert!(refused.stderr.contains("owns it"), "{refused:#?}");
    assert!(refused.stderr.contains("fix: "), "{refused:#?}");
    assert_eq!(workspace.json(1, "run total")["error"]["kind"], "locked");
    let run = open_run(&workspace);
    for line in ["status", "runs", "list", &format!("show {run}")] {
        assert_eq!(workspace.run(line).code, Some(0), "{line}");
    }
    assert_eq!(workspace.run("plan days --all").code, Some(2));
    let diagnosis = workspace.json(0, "doctor");
    assert_eq!(diagnosis["state"]["holder"]["verb"], "run");
    assert_eq!(diagnosis["state"]["store"]["open_runs"], 1);

    held.pass();
    for _ in 0..4 {
        gate.next().pass();
    }
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(ended.stderr.contains("5 steps in 1 asset\n"), "{ended:#?}");
}

#[test]
fn a_live_run_is_cancelled_through_the_process_that_runs_it() {
    let workspace = Workspace::new();
    let gate = Gate::open(&workspace);
    let running = workspace.start(
        workspace
            .command("run +lengths --all --workers 1")
            .env("SAMPLE_GATE", &gate.path),
    );
    let held = gate.next();
    let socket = workspace.path().join(".flowstone/control.sock");
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let run = open_run(&workspace);
    let cancelled = workspace.json(0, &format!("cancel {run}"));

    assert_eq!(cancelled["run"], run.as_str());
    let ended = running.wait();
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    assert!(ended.stdout.contains("cancelled"), "{ended:#?}");
    assert!(!socket.exists());
    drop(held);
    assert_eq!(gate.rest(), Vec::<String>::new(), "a cancelled run starts nothing more");
    let shown = workspace.json(0, &format!("show {run}"));
    assert_eq!(
        (shown["state"].as_str(), shown["counts"]["cancelled"].as_u64()),
        (Some("cancelled"), Some(10))
    );
    assert_eq!(
        workspace.json(0, &format!("cancel {run}"))["state"],
        "cancelled",
        "asking twice does no harm"
    );
}

#[test]
fn an_interrupt_cancels_and_ends_with_130() {
    for signal in ["INT", "TERM"] {
        let workspace = Workspace::new();
        let gate = Gate::open(&workspace);
        let mut running = workspace.start(
            workspace
                .command("run days --all --workers 1")
                .env("SAMPLE_GATE", &gate.path),
        );
        let held = gate.next();

        running.signal(signal);
        let ended = running.wait();

        assert_eq!(ended.code, Some(130), "{ended:#?}");
        assert!(ended.stderr.contains("interrupted: cancelling"), "{ended:#?}");
        assert!(ended.stdout.contains("cancelled"), "{ended:#?}");
        drop(held);
        assert_eq!(workspace.json(0, "runs")["runs"][0]["state"], "cancelled");
        assert_eq!(workspace.json(0, "run days --all")["counts"]["succeeded"], 5);
    }
}

#[test]
fn a_second_interrupt_ends_the_process_at_once_and_the_next_one_finds_everything_whole() {
    let workspace = Workspace::new();
    let gate = Gate::open(&workspace);
    let mut running = workspace.start(
        workspace
            .command("run stubborn --workers 1 --cancel-grace 1h")
            .env("SAMPLE_GATE", &gate.path),
    );
    let held = gate.next();

    running.signal("INT");
    eventually("the first interrupt to be taken", || {
        let runs = workspace.json(0, "runs");
        (runs["runs"][0]["state"] == "cancelling").then_some(())
    });
    running.signal("INT");
    let ended = running.wait();

    assert_eq!(ended.code, Some(130), "{ended:#?}");
    drop(held);
    assert!(!workspace.path().join(".flowstone/control.sock").exists());
    let next = workspace.json(0, "run total+ or numbers");
    assert_eq!(next["recovered"][0]["state"], "cancelled");
}

#[test]
fn a_run_that_nobody_runs_any_more_is_cancelled_without_running_anything() {
    let workspace = Workspace::new();
    let gate = Gate::open(&workspace);
    let running = workspace.start(
        workspace
            .command("run days --all --workers 1")
            .env("SAMPLE_GATE", &gate.path),
    );
    let held = gate.next();
    let run = open_run(&workspace);
    running.kill();
    drop(held);
    assert!(
        workspace.path().join(".flowstone/control.sock").exists(),
        "a dead process leaves its socket"
    );

    let cancelled = workspace
        .command(&format!("cancel {run}"))
        .env("SAMPLE_GATE", &gate.path)
        .output()
        .unwrap();

    assert_eq!(cancelled.status.code(), Some(0), "{cancelled:?}");
    assert_eq!(gate.rest(), Vec::<String>::new());
    let shown = workspace.json(0, &format!("show {run}"));
    assert_eq!(
        (shown["state"].as_str(), shown["counts"]["cancelled"].as_u64()),
        (Some("cancelled"), Some(5))
    );
    let next = workspace.json(0, "run days --all");
    assert_eq!(next["recovered"], serde_json::json!([]));
    assert_eq!(next["counts"]["succeeded"], 5);
}

#[test]
fn a_state_folder_with_a_long_path_can_be_asked_too() {
    let workspace = Workspace::new();
    let gate = Gate::open(&workspace);
    let deep = workspace.path().join("d".repeat(60)).join("e".repeat(60));
    let line = |verb: &str| format!("{verb} --state-dir {}", deep.display());
    let running = workspace.start(
        workspace
            .command(&line("run days --all --workers 1"))
            .env("SAMPLE_GATE", &gate.path),
    );
    let held = gate.next();
    let run = workspace.json(0, &line("runs"))["runs"][0]["run"]
        .as_str()
        .unwrap()
        .to_owned();

    let cancelled = workspace.run(&line(&format!("cancel {run}")));

    assert_eq!(cancelled.code, Some(0), "{cancelled:#?}");
    assert_eq!(running.wait().code, Some(1));
    drop(held);
}
