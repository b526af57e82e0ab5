//! A process that was killed loses nothing that was committed, and its run goes on with the next one.

use crate::gate::Gate;
use crate::program::{Workspace, eventually};

#[test]
fn after_a_kill_only_what_is_missing_runs() {
    let workspace = Workspace::new();
    let gate = Gate::open(&workspace);
    let line = "run +lengths --all --workers 1";
    let running = workspace.start(workspace.command(line).env("SAMPLE_GATE", &gate.path));
    let first = gate.next();
    let committed = first.step.clone();
    // A step that took a while is reported at its end, not with the next one.
    assert_eq!(
        workspace.json(0, "status days")["assets"][0]["materialized"]["count"],
        0
    );
    first.pass();
    let in_flight = gate.next();
    eventually("the first step to be committed", || {
        let status = workspace.json(0, "status days");
        (status["assets"][0]["materialized"]["count"] == 1).then_some(())
    });
    running.kill();
    let in_flight = in_flight.step;

    let mut again = workspace.command(&format!("{line} --output json"));
    let again = workspace.start(again.env("SAMPLE_GATE", &gate.path));
    let ran: Vec<String> = (0..4)
        .map(|_| {
            let arrival = gate.next();
            let step = arrival.step.clone();
            arrival.pass();
            step
        })
        .collect();
    let ended = again.wait();

    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert_eq!(gate.rest(), Vec::<String>::new());
    assert!(!ran.contains(&committed), "{ran:?}");
    assert!(ran.contains(&in_flight), "{ran:?}");
    assert!(
        ended.stderr.contains("was left open by an earlier process"),
        "{ended:#?}"
    );
    let told = ended.json();
    assert_eq!(told["outcome"], "nothing_to_do");
    assert_eq!(told["recovered"][0]["state"], "succeeded");
    assert_eq!(told["recovered"][0]["counts"]["succeeded"], 10);
}

#[test]
fn a_dead_process_s_socket_is_replaced() {
    let workspace = Workspace::new();
    let gate = Gate::open(&workspace);
    let running = workspace.start(
        workspace
            .command("run days --all --workers 1")
            .env("SAMPLE_GATE", &gate.path),
    );
    drop(gate.next());
    running.kill();

    let next = workspace.run("run days --all");

    assert_eq!(next.code, Some(0), "{next:#?}");
    assert!(!next.stderr.contains("warning"), "{next:#?}");
    assert!(!workspace.path().join(".flowstone/control.sock").exists());
}
