//! Dynamic partitions, added and retired by the verb: with nobody running, and through the process that runs.

use serde_json::json;

use crate::gate::Gate;
use crate::program::{Ended, Workspace};

fn run(workspace: &Workspace, line: &str) -> Ended {
    Ended::from(workspace.command(line).env("SAMPLE_DYNAMIC", "1").output().unwrap())
}

#[test]
fn partitions_are_added_made_retired_and_taken_back() {
    let workspace = Workspace::new();
    let listed = run(&workspace, "partitions list customers");
    assert!(listed.stdout.contains("no partitions yet"), "{listed:#?}");

    let added = run(&workspace, "partitions add customers ann jo 5 --output json");
    assert_eq!(
        added.json()["partitions"],
        json!([
            { "partition": "ann", "index": 0 },
            { "partition": "jo", "index": 1 },
            { "partition": "5", "index": 2 }
        ]),
        "{added:#?}"
    );
    assert_eq!(run(&workspace, "run orders --partition jo").code, Some(0));
    let plan = run(&workspace, "plan orders --all --output json");
    assert_eq!((plan.code, &plan.json()["steps"]), (Some(2), &json!(2)));

    let retired = run(&workspace, "partitions retire customers jo");
    assert_eq!(retired.code, Some(0), "{retired:#?}");
    let refused = run(&workspace, "run orders --partition jo --output json");
    let error = refused.json()["error"].clone();
    assert_eq!((refused.code, &error["code"]), (Some(64), &json!("partition_retired")));
    assert!(
        error["fix"].as_str().unwrap().contains("partitions add customers jo"),
        "{error}"
    );
    let status = run(&workspace, "status orders --output json").json()["assets"][0].clone();
    assert_eq!(
        (
            &status["partitions"],
            &status["missing"]["count"],
            &status["retired"]["count"]
        ),
        (&json!(2), &json!(2), &json!(1))
    );
    let told = run(&workspace, "status orders").stdout;
    assert!(told.contains("one more partition of orders is retired"), "{told}");
    let listed = run(&workspace, "partitions list customers --output json").json()["partitions"][1].clone();
    assert_eq!(listed["partition"], "jo");
    assert!(listed["retired_at"].is_string());
    let lineage = run(&workspace, "lineage up orders --partition jo");
    assert!(lineage.stdout.contains("jo"), "{lineage:#?}");

    assert_eq!(run(&workspace, "partitions add customers jo").code, Some(0));
    let plan = run(&workspace, "plan orders --partition jo");
    assert_eq!(plan.code, Some(0), "what was made is current again: {plan:#?}");
}

#[test]
fn the_process_that_holds_the_state_adds_for_others() {
    let workspace = Workspace::new();
    let gate = Gate::open(&workspace);
    let running = workspace.start(
        workspace
            .command("run days --partition 2024-01-01")
            .env("SAMPLE_DYNAMIC", "1")
            .env("SAMPLE_GATE", &gate.path),
    );
    let held = gate.next();
    let keys: Vec<String> = (0..20_000).map(|number| format!("customer {number}")).collect();
    let file = workspace.path().join("keys");
    std::fs::write(&file, keys.join("\n")).unwrap();

    let line = format!("partitions add customers --from {} --output json", file.display());
    let added = run(&workspace, &line);
    let retired = run(
        &workspace,
        "partitions retire customers --from /dev/null nobody --output json",
    );

    assert_eq!(
        added.json()["partitions"][19_999],
        json!({ "partition": "customer 19999", "index": 19_999 })
    );
    assert_eq!(retired.json()["error"]["kind"], "not_found");
    held.pass();
    assert_eq!(running.wait().code, Some(0));
    let plan = run(&workspace, "plan orders --all --output json").json();
    assert_eq!(plan["steps"], 20_000);
}

#[test]
fn a_set_that_there_is_not_and_a_key_that_is_too_long_are_wrong_usage() {
    let workspace = Workspace::new();

    let no_set = run(&workspace, "partitions add customer ann --output json");
    let too_long = run(
        &workspace,
        &format!("partitions add customers {} --output json", "x".repeat(2000)),
    );
    let unknown = run(&workspace, "run orders --partition ann --output json");

    assert_eq!(
        (no_set.code, too_long.code, unknown.code),
        (Some(64), Some(64), Some(64))
    );
    let error = &no_set.json()["error"];
    assert_eq!(error["code"], "partition_set_unknown");
    assert!(error["fix"].as_str().unwrap().contains("customers"));
    assert_eq!(too_long.json()["error"]["kind"], "limit_exceeded");
    let fix = unknown.json()["error"]["fix"].clone();
    assert!(fix.as_str().unwrap().contains("partitions add customers"), "{fix}");
}
