//! Steps that fan out: shown, listed by item, changed while they run, cancelled and redriven.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::gate::{Arrival, Gate};
use crate::program::{Running, Workspace, eventually};

fn workspace() -> Workspace {
    Workspace::new().with("SAMPLE_SCATTER", "1")
}

fn start(workspace: &Workspace, gate: &Gate, line: &str) -> Running {
    workspace.start(workspace.command(line).env("SAMPLE_GATE", &gate.path))
}

/// The only fan-out that `scatter show` shows.
fn shown(workspace: &Workspace, of: &str) -> Value {
    let mut shown = workspace.json(0, &format!("scatter show {of}"));
    let fan_outs = shown["fan_outs"].as_array_mut().unwrap();
    assert_eq!(fan_outs.len(), 1, "{fan_outs:?}");
    fan_outs.remove(0)
}

/// Items start before their fan-out is on disk.
fn on_disk(workspace: &Workspace) {
    eventually("the fan-out to be on disk", || {
        let shown = workspace.json(0, "scatter show");
        shown["fan_outs"].as_array().filter(|fan_outs| !fan_outs.is_empty())?;
        Some(())
    });
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap()
}

fn ended(counts: &Value) -> [u64; 4] {
    ["total", "succeeded", "skipped", "failed"].map(|field| counts[field].as_u64().unwrap())
}

#[test]
fn a_fan_out_is_found_by_its_run_its_id_and_its_step() {
    let workspace = workspace();
    let nothing = workspace.json(0, "run numbers");
    assert_eq!(workspace.json(0, "scatter show")["fan_outs"], serde_json::json!([]));
    let ran = workspace.json(0, "run sum");
    let run = text(&ran, "run");
    // The newest run with some is meant, not the newest.
    workspace.json(0, "run total");

    let found = shown(&workspace, "");
    let id = text(&found, "fan_out");
    assert_eq!(
        (text(&found, "state"), ended(&found["counts"])),
        ("partial", [8, 6, 1, 1])
    );
    assert_eq!((text(&found, "asset"), text(&found, "run")), ("sum", run));
    let value = &found["value"];
    assert_eq!((&value["place"], value["bytes"].as_u64()), (&Value::Null, Some(5)));
    for of in [run, id, "sum", &format!("{run}/sum"), &id[..35]] {
        assert_eq!(text(&shown(&workspace, of), "fan_out"), id, "{of}");
    }
    for of in [run, id, "sum"] {
        assert_eq!(workspace.json(0, &format!("scatter items {of}"))["fan_out"], id, "{of}");
    }

    let told = workspace.run("scatter show");
    for says in [
        "FAN-OUT",
        id,
        "partial",
        "64 at once",
        "1 may fail",
        "scatter items",
        "value: 5 B",
    ] {
        assert!(told.stdout.contains(says), "{says}: {told:#?}");
    }
    let told = workspace.run(&format!("show {run}"));
    assert!(told.stdout.contains("8 items: 6 ok, 1 skipped, 1 failed"), "{told:#?}");
    let told = workspace.run(&format!("scatter show {}", text(&nothing, "run")));
    assert!(told.stdout.contains("has fanned out"), "{told:#?}");
}

#[test]
fn what_is_not_there_is_refused_with_what_may_be_meant() {
    let workspace = workspace();
    let nothing_yet = workspace.run("scatter show");
    assert!(
        nothing_yet.stderr.contains("nothing was run here yet"),
        "{nothing_yet:#?}"
    );
    workspace.json(0, "run sum numbers");
    workspace.json(0, "run daily_sum --range 2024-01-01..2024-01-02");

    for (line, says) in [
        ("scatter show ffff", "no fan-out has the id"),
        (
            "scatter items 018f4e5c-8c4e-7cc0-9c4b-3c7a5a6d2f10",
            "no fan-out has the id",
        ),
        ("scatter cancel dayly_sum", "did you mean \"daily_sum\""),
        ("scatter items numbers", "no step of that name has fanned out"),
        ("scatter items sum[2024-01-01]", "no step of that name has fanned out"),
        ("scatter show 0", "several runs or fan-outs"),
        ("scatter redrive daily_sum", "as `daily_sum[2024-01-0"),
        ("scatter set sum --priority 1", "it has ended already: it is partial"),
        ("scatter cancel sum", "it has ended already: it is partial"),
        ("scatter redrive daily_sum[2024-01-02]", "every item of it succeeded"),
    ] {
        let refused = workspace.run(line);

        assert_eq!(refused.code, Some(1), "{line}: {refused:#?}");
        assert!(refused.stderr.contains(says), "{line}: {refused:#?}");
        assert!(refused.stderr.contains("fix: "), "{line}: {refused:#?}");
    }
    assert_eq!(
        text(&shown(&workspace, "daily_sum[2024-01-02]"), "partition"),
        "2024-01-02"
    );
}

#[test]
fn limits_that_let_nothing_run_are_wrong_usage() {
    let workspace = workspace();

    for option in [
        "--max-concurrent 0",
        "--rate-limit 0/s",
        "--rate-limit 10/s:0",
        "--rate-limit often",
        "--attempts 0",
        "--item-timeout 0s",
        "--items-max 0",
        "--tolerate 1.5",
        "--tolerate count:many",
    ] {
        let refused = workspace.run(&format!("scatter set sum {option}"));

        assert_eq!(refused.code, Some(64), "{option}: {refused:#?}");
        assert!(refused.stderr.contains("fix: "), "{option}: {refused:#?}");
    }
    assert_eq!(workspace.run("scatter set sum").code, Some(64));
    assert_eq!(workspace.run("scatter items sum --limit 0").code, Some(64));
}

#[test]
fn items_are_listed_by_how_they_ended_and_in_parts() {
    let workspace = workspace();
    workspace.json(0, "run sum");

    let failed = workspace.run("scatter items sum");
    assert!(failed.stdout.contains("three is not to its taste"), "{failed:#?}");
    assert!(failed.stdout.contains("(fix: leave three away)"), "{failed:#?}");
    assert_eq!(failed.stdout.lines().count(), 2, "{failed:#?}");
    let quarantined = workspace.run("scatter items sum --quarantined");
    assert_eq!((quarantined.code, &*quarantined.stdout), (Some(0), ""));
    let all = workspace.run("scatter items sum --all");
    assert_eq!(all.stdout.lines().count(), 9, "{all:#?}");
    assert!(all.stdout.contains("n7   ok            0  70"), "{all:#?}");

    let part = workspace.json(0, "scatter items sum --all --from 2 --limit 3");
    let keys: Vec<&str> = part["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| text(item, "key"))
        .collect();
    assert_eq!((keys, part["next"].as_u64()), (vec!["n2", "n3", "n4"], Some(5)));
    let rest = workspace.json(0, "scatter items sum --all --from 5 --limit 3");
    assert_eq!(
        (rest["items"].as_array().unwrap().len(), &rest["next"]),
        (3, &Value::Null)
    );
    let cut = workspace.run("scatter items sum --all --limit 3");
    assert!(cut.stderr.contains("--from 3"), "{cut:#?}");
}

#[test]
fn many_items_are_one_list() {
    let workspace = workspace().with("SAMPLE_ITEMS", "2500");
    workspace.json(0, "run sum");

    let all = workspace.json(0, "scatter items sum --all");
    let items = all["items"].as_array().unwrap();
    let numbers: Vec<u64> = items.iter().map(|item| item["item"].as_u64().unwrap()).collect();
    let lines = workspace.run("scatter items sum --all").stdout;

    assert_eq!(numbers, (0..2500).collect::<Vec<_>>());
    assert_eq!(lines.lines().count(), 2501);
    assert_eq!(lines.matches("KEY").count(), 1);
}

#[test]
fn only_what_failed_is_redriven() {
    let workspace = workspace();
    let first = workspace.json(0, "run sum");
    let id = text(&shown(&workspace, ""), "fan_out").to_owned();
    let gate = Gate::open(&workspace);
    let again = workspace.start(
        workspace
            .command("scatter redrive sum --workers 1 --output json")
            .env("SAMPLE_GATE", &gate.path)
            .env("SAMPLE_MENDED", "1"),
    );
    let only = gate.next();
    assert_eq!(only.step, "sum n3 1");
    only.pass();
    let again = again.wait();

    assert_eq!(again.code, Some(0), "{again:#?}");
    assert_eq!(gate.rest(), Vec::<String>::new());
    let again = again.json();
    assert_eq!(
        (text(&again, "schema"), text(&again, "outcome")),
        ("flowstone.run/1", "succeeded")
    );
    assert_ne!(again["run"], first["run"]);
    let found = shown(&workspace, "sum");
    assert_eq!((text(&found, "fan_out"), found["epoch"].as_u64()), (&*id, Some(2)));
    assert_eq!(found["redriven"].as_u64(), Some(1));
    assert_eq!(
        (text(&found, "state"), ended(&found["counts"])),
        ("complete", [8, 7, 1, 0])
    );
    let failed = workspace.json(0, "scatter items sum");
    assert_eq!(failed["items"], serde_json::json!([]), "it has succeeded since");
    let all = workspace.json(0, "scatter items sum --all");
    let third = &all["items"][3];
    assert_eq!(
        (text(third, "state"), third["result"].as_i64()),
        ("succeeded", Some(30))
    );
    assert_eq!(text(&third["error"], "fix"), "leave three away");
}

#[test]
fn a_second_process_changes_what_goes_on() {
    let workspace = workspace().with("SAMPLE_AT_ONCE", "1");
    let gate = Gate::open(&workspace);
    let running = start(&workspace, &gate, "run sum --workers 1");
    let held = gate.next();
    on_disk(&workspace);
    let before = shown(&workspace, "");
    assert_eq!(
        (&before["is_live"], before["left"].as_u64()),
        (&Value::Bool(true), Some(8))
    );
    assert!(before["counts"]["running"].as_u64() > Some(0), "{before:#}");
    assert_eq!(gate.rest(), Vec::<String>::new());

    let changed = workspace.json(
        0,
        "scatter set sum --max-concurrent 4 --rate-limit 600/min:50 --tolerate 50% --attempts 2 --item-timeout 1h --priority -3",
    );
    let mut waiting: Vec<Arrival> = (0..3).map(|_| gate.next()).collect();
    let options = &changed["options"];
    assert_eq!(
        *options,
        serde_json::json!({
            "max_concurrent": 4,
            "rate_limit": { "count": 600, "per_ms": 60_000, "burst": 50 },
            "tolerate": { "share": 0.5 },
            "attempts_max": 2,
            "item_timeout_ms": 3_600_000,
            "order": "breadth",
            "priority": -3,
            "items_max": null,
            "page_len": 1000,
        })
    );
    let settled = workspace.json(1, "scatter set sum --items-max 100");
    assert!(settled.to_string().contains("its items are all read"), "{settled:#}");
    assert_eq!(settled["error"]["code"], "fan_out_sealed");
    let back = workspace.run("scatter set sum --item-timeout none --rate-limit none");
    assert!(back.stdout.contains("at most 4 at once, a share"), "{back:#?}");
    waiting.push(held);
    waiting.into_iter().for_each(Arrival::pass);
    (0..4).for_each(|_| gate.next().pass());

    assert_eq!(running.wait().code, Some(0));
    let after = shown(&workspace, "sum");
    assert_eq!(
        (text(&after, "state"), &after["is_live"]),
        ("partial", &Value::Bool(false))
    );
    let options = &after["options"];
    assert_eq!(
        (options["max_concurrent"].as_u64(), &options["items_max"]),
        (Some(4), &Value::Null)
    );
}

#[test]
fn a_fan_out_is_cancelled_from_elsewhere_and_redriven() {
    let workspace = workspace().with("SAMPLE_AT_ONCE", "1");
    let gate = Gate::open(&workspace);
    let running = start(&workspace, &gate, "run sum --workers 1");
    gate.next().pass();
    let held = gate.next();
    on_disk(&workspace);

    let cancelled = workspace.json(0, "scatter cancel sum");
    assert_eq!(text(&cancelled, "state"), "cancelled");
    assert_eq!(running.wait().code, Some(1));
    drop(held);
    assert_eq!(workspace.run("scatter cancel sum").code, Some(0), "twice does no harm");
    let found = shown(&workspace, "sum");
    assert_eq!(
        (text(&found, "state"), found["counts"]["cancelled"].as_u64()),
        ("cancelled", Some(7))
    );
    let all = workspace.json(0, "scatter items sum --all");
    assert_eq!(text(&all["items"][0], "state"), "succeeded");
    assert_eq!(text(&all["items"][1], "state"), "cancelled");

    let redriven = workspace.json(0, "scatter redrive sum");
    assert_eq!(text(&redriven, "outcome"), "succeeded");
    assert_eq!(ended(&shown(&workspace, "sum")["counts"]), [8, 6, 1, 1]);
}

#[test]
fn what_nobody_runs_cannot_be_changed_and_says_how_it_goes_on() {
    let workspace = workspace().with("SAMPLE_AT_ONCE", "1");
    let gate = Gate::open(&workspace);
    let running = start(&workspace, &gate, "run sum --workers 1");
    gate.next().pass();
    let held = gate.next();
    on_disk(&workspace);
    eventually("the first item to be on disk", || {
        (workspace.json(0, "scatter items sum --all")["items"][0]["state"] == "succeeded").then_some(())
    });
    running.kill();
    drop(held);

    let found = shown(&workspace, "sum");
    assert_eq!(
        (&found["is_live"], found["ended"].as_u64()),
        (&Value::Bool(false), Some(1))
    );
    let told = workspace.run("scatter show");
    assert!(told.stdout.contains("no process runs it now"), "{told:#?}");
    for line in ["scatter set sum --priority 1", "scatter cancel sum"] {
        let refused = workspace.run(line);

        assert_eq!(refused.code, Some(1), "{line}: {refused:#?}");
        assert!(
            refused.stderr.contains("no process runs it now"),
            "{line}: {refused:#?}"
        );
        assert!(refused.stderr.contains("backfill resume"), "{line}: {refused:#?}");
    }
    let run = text(&found, "run");
    assert_eq!(workspace.run(&format!("backfill resume {run}")).code, Some(0));
    assert_eq!(ended(&shown(&workspace, "sum")["counts"]), [8, 6, 1, 1]);
}

#[test]
fn a_redrive_of_items_goes_to_the_process_that_holds_the_state() {
    let workspace = workspace();
    workspace.json(0, "run sum");
    let gate = Gate::open(&workspace);
    let running = start(&workspace, &gate, "run stubborn");
    let held = gate.next();

    let redriven = workspace.json(0, "scatter redrive sum");
    assert_eq!(text(&redriven, "schema"), "flowstone.scatter.redrive/1");
    let item = gate.next();
    assert_eq!(item.step, "sum n3 1");
    let refused = workspace.run("scatter redrive sum");
    assert!(refused.stderr.contains("its run is running"), "{refused:#?}");
    item.pass();
    held.pass();

    assert_eq!(running.wait().code, Some(0));
    assert_eq!(shown(&workspace, "sum")["run"], redriven["run"]);
}

#[test]
fn fan_outs_within_others_are_counted_under_them_and_redriven_with_them() {
    let workspace = workspace();
    workspace.json(0, "run grid");

    let found = shown(&workspace, "");
    let nested = &found["nested"];
    assert_eq!(
        (nested["fan_outs"].as_u64(), ended(&nested["counts"])),
        (Some(3), [6, 6, 0, 0])
    );
    assert_eq!(ended(&found["counts"]), [3, 3, 0, 0]);
    let told = workspace.run("scatter show grid");
    assert!(
        told.stdout.contains("3 fan-outs within it, 0 open: 6 items: 6 ok"),
        "{told:#?}"
    );
    let all = workspace.json(0, "scatter items grid --all");
    assert_eq!(all["items"][2]["result"], 10);
}

#[test]
fn items_are_told_of_while_their_step_goes_on() {
    let workspace = workspace();
    let gate = Gate::open(&workspace);
    let mut running = workspace
        .command("run sum --workers 1")
        .env("SAMPLE_GATE", &gate.path)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(running.stderr.take().unwrap()).lines();

    let mut waiting: Vec<Arrival> = (0..8).map(|_| gate.next()).collect();
    waiting.drain(..4).for_each(Arrival::pass);

    let line = said.by_ref().map(Result::unwrap).find(|line| line.contains(" items"));
    assert!(
        line.as_ref().is_some_and(|line| line.starts_with("0/1 steps, ")),
        "{line:?}"
    );
    assert!(line.as_ref().is_some_and(|line| line.contains("/8 items")), "{line:?}");
    waiting.into_iter().for_each(Arrival::pass);
    assert!(running.wait().unwrap().success());
}
