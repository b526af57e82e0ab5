//! Backfills: previewed, paused, resumed, redriven, and told of.

use serde_json::Value;

use crate::gate::Gate;
use crate::program::{Workspace, eventually};

fn newest_run(workspace: &Workspace) -> String {
    workspace.json(0, "runs")["runs"][0]["run"].as_str().unwrap().to_owned()
}

/// The total, if all states together give it.
fn total(counts: &Value) -> u64 {
    let counts = counts.as_object().unwrap();
    let states = counts.iter().filter(|(state, _)| *state != "total");
    let sum: u64 = states.map(|(_, count)| count.as_u64().unwrap()).sum();
    assert_eq!(Some(sum), counts["total"].as_u64(), "{counts:?}");
    sum
}

#[test]
fn a_preview_tells_what_would_be_done_and_does_nothing() {
    let workspace = Workspace::new();

    let preview = workspace.json(2, "backfill +lengths --all --preview");
    assert_eq!(
        (preview["schema"].as_str(), preview["steps"].as_u64()),
        (Some("flowstone.plan/1"), Some(10))
    );
    assert!(!workspace.path().join(".flowstone").exists());
    let done = workspace.json(0, "backfill +lengths --all --concurrency 1 --priority -3");
    assert_eq!(total(&done["counts"]), 10);
    assert_eq!(workspace.json(0, "backfill +lengths --all --preview")["steps"], 0);

    let shown = workspace.json(0, &format!("backfill show {}", done["run"].as_str().unwrap()));
    assert_eq!((shown["ended"].as_u64(), shown["left"].as_u64()), (Some(10), Some(0)));
    assert_eq!(shown["pace"], serde_json::json!({ "concurrency": 1, "priority": -3 }));
    assert_eq!(total(&shown["counts"]), 10);
}

#[test]
fn a_live_backfill_is_paused_and_its_process_ends_and_another_resumes_it() {
    let workspace = Workspace::new();
    let gate = Gate::open(&workspace);
    let running = workspace.start(
        workspace
            .command("backfill +lengths --all --workers 1 --output json")
            .env("SAMPLE_GATE", &gate.path),
    );
    let held = gate.next();
    let run = newest_run(&workspace);

    let paused = workspace.json(0, &format!("backfill pause {run}"));
    assert_eq!(paused["state"], "paused");
    held.pass();
    let ended = running.wait();
    assert_eq!(ended.code, Some(2), "{ended:#?}");
    assert_eq!(
        (ended.json()["outcome"].as_str(), ended.json()["run"].as_str()),
        (Some("paused"), Some(&*run))
    );
    let shown = workspace.json(0, &format!("backfill show {run}"));
    assert_eq!(
        (shown["state"].as_str(), shown["ended"].as_u64()),
        (Some("paused"), Some(1))
    );
    assert_eq!((total(&shown["counts"]), shown["per_second"].as_f64()), (10, None));

    let other = workspace.run("run total numbers");
    assert_eq!(other.code, Some(0), "{other:#?}");
    assert!(other.stderr.contains("is paused and stays so"), "{other:#?}");
    let resumed = workspace.json(0, &format!("backfill resume {run} --workers 2"));
    assert_eq!(
        (resumed["outcome"].as_str(), resumed["run"].as_str()),
        (Some("succeeded"), Some(&*run))
    );
    assert_eq!(total(&resumed["counts"]), 10);
    assert_eq!(gate.rest(), Vec::<String>::new());
}

#[test]
fn a_pause_survives_a_kill_and_a_live_run_is_resumed_where_it_is() {
    let workspace = Workspace::new();
    let gate = Gate::open(&workspace);
    let start = |line: &str| workspace.start(workspace.command(line).env("SAMPLE_GATE", &gate.path));
    let running = start("backfill days --all --workers 1");
    let held = gate.next();
    let run = newest_run(&workspace);
    workspace.json(0, &format!("backfill pause {run}"));
    running.kill();
    drop(held);

    let shown = workspace.json(0, &format!("backfill show {run}"));
    assert_eq!((shown["state"].as_str(), total(&shown["counts"])), (Some("paused"), 5));
    // Somebody else's process holds the state now.
    let running = start("run stubborn");
    let held = gate.next();
    assert_eq!(workspace.json(0, &format!("backfill show {run}"))["state"], "paused");
    let resumed = workspace.json(0, &format!("backfill resume {run}"));
    assert_eq!(resumed["state"], "running");
    held.pass();
    for _ in 0..5 {
        gate.next().pass();
    }

    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let shown = workspace.json(0, &format!("backfill show {run}"));
    assert_eq!(
        (shown["state"].as_str(), total(&shown["counts"])),
        (Some("succeeded"), 5)
    );
}

#[test]
fn a_run_that_nobody_runs_is_paused_in_the_ledger_and_cancelled_there() {
    let workspace = Workspace::new();
    let gate = Gate::open(&workspace);
    let running = workspace.start(
        workspace
            .command("backfill days --all --workers 1")
            .env("SAMPLE_GATE", &gate.path),
    );
    gate.next().pass();
    let held = gate.next();
    let run = newest_run(&workspace);
    eventually("the first step to be on disk", || {
        (workspace.json(0, &format!("backfill show {run}"))["ended"] == 1).then_some(())
    });
    running.kill();
    drop(held);

    assert_eq!(workspace.json(0, &format!("backfill pause {run}"))["state"], "paused");
    assert_eq!(
        workspace.json(0, &format!("backfill pause {run}"))["state"],
        "paused",
        "twice does no harm"
    );
    let cancelled = workspace.json(0, &format!("backfill cancel {run}"));

    assert_eq!(cancelled["state"], "cancelled");
    let shown = workspace.json(0, &format!("backfill show {run}"));
    assert_eq!(
        (total(&shown["counts"]), shown["counts"]["cancelled"].as_u64()),
        (5, Some(4))
    );
    let redriven = workspace.json(0, &format!("backfill redrive {run}"));
    assert_eq!(
        (redriven["outcome"].as_str(), total(&redriven["counts"])),
        (Some("succeeded"), 4)
    );
    let shown = workspace.json(0, &format!("show {}", redriven["run"].as_str().unwrap()));
    assert_eq!(shown["redrive_of"], run.as_str());
}

#[test]
fn what_failed_is_redriven_and_nothing_else() {
    let workspace = Workspace::new();
    let failed = workspace.json(1, "backfill +month --all");
    let run = failed["run"].as_str().unwrap();
    let counts = &failed["counts"];
    assert_eq!(
        (counts["failed"].as_u64(), counts["dependency_failed"].as_u64()),
        (Some(1), Some(1))
    );

    let again = workspace.json(1, &format!("backfill redrive {run}"));

    assert_eq!(
        (again["outcome"].as_str(), total(&again["counts"])),
        (Some("failed"), 2)
    );
    assert_eq!(workspace.json(0, &format!("show {run}"))["state"], "failed");
}

#[test]
fn a_redrive_goes_to_the_process_that_holds_the_state() {
    let workspace = Workspace::new();
    let failed = workspace.json(1, "backfill +picky --all");
    let run = failed["run"].as_str().unwrap().to_owned();
    let gate = Gate::open(&workspace);
    let running = workspace.start(workspace.command("run stubborn").env("SAMPLE_GATE", &gate.path));
    let held = gate.next();

    let redriven = workspace.json(0, &format!("backfill redrive {run}"));
    assert_eq!(redriven["redrive_of"], run.as_str());
    let new = redriven["run"].as_str().unwrap();
    held.pass();

    assert_eq!(running.wait().code, Some(0));
    let shown = workspace.json(0, &format!("backfill show {new}"));
    assert_eq!((shown["state"].as_str(), total(&shown["counts"])), (Some("failed"), 1));
}

#[test]
fn what_cannot_be_done_is_refused_with_what_can() {
    let workspace = Workspace::new();
    let done = workspace.json(0, "backfill days --all");
    let run = done["run"].as_str().unwrap();

    for (line, says) in [
        (format!("backfill pause {run}"), "ended already"),
        (format!("backfill resume {run}"), "ended already"),
        (format!("backfill redrive {run}"), "every step of it succeeded"),
        ("backfill redrive 0000".to_owned(), "no run has the id"),
    ] {
        let refused = workspace.run(&line);

        assert_eq!(refused.code, Some(1), "{line}: {refused:#?}");
        assert!(refused.stderr.contains(says), "{line}: {refused:#?}");
    }
    let zero = workspace.run("backfill days --all --concurrency 0");
    assert_eq!(zero.code, Some(64), "{zero:#?}");
}
