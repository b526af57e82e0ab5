//! What is typed wrongly is refused with 64, says how to mend it, and touches nothing.

use crate::program::Workspace;

/// Everything that a person can get wrong, and a part of what is said.
const MISTAKES: &[(&str, &str)] = &[
    ("", "Usage"),
    ("fly", "unrecognized subcommand 'fly'"),
    ("run", "<SELECTION>"),
    ("run days", "days is partitioned, and no partition was named"),
    ("run +month", "days, lengths, picky and 1 more are partitioned"),
    ("plan days", "days is partitioned"),
    ("backfill days", "--range"),
    ("backfill total --all", "none of the selected assets is partitioned"),
    (
        "run total --partition 2024-01-01",
        "none of the selected assets is partitioned",
    ),
    ("run dayz --all", "days"),
    ("run total( --all", "total("),
    ("run days --partition 2030-01-01", "2030-01-01"),
    ("run days --partition EWR", "EWR"),
    ("run days --range 2024-01-04..2024-01-02", "backwards"),
    ("run days --range 2024-01-04", "range"),
    ("run days --range 2023-12-30..2024-01-02", "2024-01-01"),
    ("run days --range 2024-01-04..2024-01-09", "2024-01-05"),
    ("backfill days --range ..2024-01-09", "2024-01-05"),
    ("backfill days --all --concurrency 0", "0 is not in"),
    ("partitions add customers", "<KEYS>"),
    (
        "partitions add customers ann",
        "no asset of the pipeline is partitioned by it",
    ),
    (
        "partitions retire customers --from nowhere",
        "no asset of the pipeline is partitioned by it",
    ),
    ("run days --all --partition 2024-01-01", "cannot be used with"),
    ("run total --config total.by=3", "takes no configuration"),
    ("run scaled --config scaled.by=much", "asset scaled"),
    ("run scaled --config scaled", "--config scaled"),
    ("run scaled --config nobody.by=3", "nobody"),
    ("run total --workers 0", "\"0\" (--workers)"),
    ("run total --log flowstone=loud", "log filter"),
    ("list nobody", "nobody"),
    ("runs --limit 0", "0 is not in"),
    ("lineage sideways total", "sideways"),
    ("lineage up nobody", "nobody"),
];

#[test]
fn every_mistake_ends_with_64_and_leaves_no_state() {
    let workspace = Workspace::new();
    for (line, says) in MISTAKES {
        let ended = workspace.run(line);

        assert_eq!(ended.code, Some(64), "{line}: {ended:#?}");
        assert!(ended.stderr.contains(says), "{line}: {ended:#?}");
        assert_eq!(ended.stdout, "", "{line}");
    }
    assert_eq!(std::fs::read_dir(workspace.path()).unwrap().count(), 0);
}

#[test]
fn programs_get_every_mistake_as_an_object() {
    let workspace = Workspace::new();
    for (line, _) in MISTAKES {
        let error = workspace.json(64, line);

        assert_eq!(error["schema"], "flowstone.error/1", "{line}");
        for field in ["kind", "code", "message"] {
            assert!(error["error"][field].is_string(), "{line}: {error}");
        }
    }
}

#[test]
fn help_is_no_mistake() {
    let workspace = Workspace::new();

    let helped = workspace.run("run --help");

    assert_eq!(helped.code, Some(0));
    assert!(helped.stdout.contains("--partition"), "{helped:#?}");
    assert!(workspace.run("--version").stdout.contains("flowstone"));
}

#[test]
fn a_pipeline_that_does_not_fit_together_fails_the_check() {
    let workspace = Workspace::new();

    let broken = workspace
        .command("check --output json")
        .env("SAMPLE_BROKEN_PIPELINE", "1")
        .output()
        .unwrap();

    assert_eq!(broken.status.code(), Some(1));
    assert!(String::from_utf8(broken.stdout).unwrap().contains("nobody"));
}

#[test]
fn a_zone_that_does_not_exist_fails_the_check_and_says_what_to_write() {
    let workspace = Workspace::new();

    let checked = workspace
        .command("check --output json")
        .env("SAMPLE_ZONE", "Mars/Olympus")
        .output()
        .unwrap();

    assert_eq!(checked.status.code(), Some(1));
    let told = String::from_utf8(checked.stdout).unwrap();
    assert!(told.contains("Mars/Olympus") && told.contains("IANA"), "{told}");
}

#[test]
fn limits_of_zero_in_the_file_are_refused() {
    let workspace = Workspace::new();
    for (said, named) in [("workers = 0", "workers"), ("[pools]\napi = 0", "pools.api")] {
        std::fs::write(workspace.path().join("flowstone.toml"), said).unwrap();

        let refused = workspace.run("run total");

        assert_eq!(refused.code, Some(64), "{refused:#?}");
        assert!(
            refused.stderr.contains(named) && refused.stderr.contains("fix: "),
            "{refused:#?}"
        );
    }
    assert!(!workspace.path().join(".flowstone").exists());
}

#[test]
fn settings_come_from_the_file_then_the_environment_then_flags() {
    let workspace = Workspace::new();
    std::fs::write(
        workspace.path().join("flowstone.toml"),
        "workers = 3\nstate_dir = \"from-file\"\n",
    )
    .unwrap();

    let shown = workspace
        .command("doctor --cancel-grace 1s --output json")
        .env("FLOWSTONE_WORKERS", "2")
        .env("FLOWSTONE_WORKRES", "2")
        .output()
        .unwrap();

    assert_eq!(shown.status.code(), Some(0));
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    let origin = |name: &str| {
        let settings = shown["settings"].as_array().unwrap();
        let setting = settings.iter().find(|setting| setting["name"] == name).unwrap();
        (
            setting["value"].as_str().unwrap().to_owned(),
            setting["origin"].as_str().unwrap().to_owned(),
        )
    };
    assert_eq!(origin("state_dir"), ("from-file".into(), "flowstone.toml".into()));
    assert_eq!(origin("workers"), ("2".into(), "FLOWSTONE_WORKERS".into()));
    assert_eq!(origin("cancel_grace"), ("1s".into(), "--cancel-grace".into()));
    assert_eq!(origin("log"), ("warn".into(), "default".into()));
    assert!(shown["notes"].to_string().contains("FLOWSTONE_WORKRES"));
}

#[test]
fn an_unknown_key_in_the_file_is_refused() {
    let workspace = Workspace::new();
    std::fs::write(workspace.path().join("flowstone.toml"), "worker = 3\n").unwrap();

    let refused = workspace.run("list");

    assert_eq!(refused.code, Some(64));
    assert!(refused.stderr.contains("unknown field `worker`"), "{refused:#?}");
    assert!(refused.stderr.contains("fix: "), "{refused:#?}");
}
