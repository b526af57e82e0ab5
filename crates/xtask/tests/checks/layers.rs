//! Each rule about dependencies fires on a manifest that breaks it.

use xtask::layers::check;

use crate::sample::{ROOT_MANIFEST, Sample, assert_complains, manifest};

#[test]
fn a_workspace_in_order_is_left_alone() {
    let sample = Sample::new()
        .with(
            "crates/runtime/Cargo.toml",
            manifest("flowstone-runtime", RUNTIME_IN_ORDER),
        )
        .with("crates/not-a-crate/notes.txt", "no manifest here");

    let complaints = check(sample.root());

    assert_eq!(complaints, []);
}

const RUNTIME_IN_ORDER: &str = r#"
[dependencies]
flowstone-core.workspace = true
ractor.workspace = true
tokio = { workspace = true, features = ["rt", "time"] }

[dev-dependencies]
flowstone-testkit.workspace = true
"#;

#[test]
fn a_dependency_upward_is_refused() {
    let sample = Sample::new().with_core("[dependencies]\nflowstone-runtime.workspace = true");

    let complaints = check(sample.root());

    assert_complains(
        &complaints,
        "crates/core/Cargo.toml:7",
        "`flowstone-core` may not depend on `flowstone-runtime`",
    );
}

#[test]
fn a_dependency_upward_is_refused_in_every_table() {
    for table in [
        "dev-dependencies",
        "build-dependencies",
        "target.'cfg(unix)'.dependencies",
    ] {
        let sample = Sample::new().with_core(&format!("[{table}]\nflowstone-runtime.workspace = true"));

        let complaints = check(sample.root());

        assert_complains(
            &complaints,
            "crates/core/Cargo.toml:7",
            "may not depend on `flowstone-runtime`",
        );
    }
}

#[test]
fn the_testkit_is_for_tests_only() {
    let sample = Sample::new().with_core("[dependencies]\nflowstone-testkit.workspace = true");

    let complaints = check(sample.root());

    assert_complains(
        &complaints,
        "crates/core/Cargo.toml:7",
        "may not depend on `flowstone-testkit`",
    );
}

#[test]
fn a_package_in_no_layer_is_refused() {
    let sample = Sample::new().with("crates/extra/Cargo.toml", manifest("flowstone-extra", ""));

    let complaints = check(sample.root());

    assert_complains(
        &complaints,
        "crates/extra/Cargo.toml:2",
        "`flowstone-extra` is in no layer",
    );
}

#[test]
fn a_package_in_another_folder_is_refused() {
    let sample = Sample::new().with("crates/db/Cargo.toml", manifest("flowstone-store", ""));

    let complaints = check(sample.root());

    assert_complains(&complaints, "crates/db/Cargo.toml:2", "move it to `crates/store`");
}

#[test]
fn a_manifest_without_a_package_is_refused() {
    let sample = Sample::new().with("crates/store/Cargo.toml", "[dependencies]\n");

    let complaints = check(sample.root());

    assert_complains(&complaints, "crates/store/Cargo.toml:1", "has no package name");
}

#[test]
fn a_heavy_dependency_outside_of_its_owner_is_refused() {
    let sample = Sample::new().with(
        "crates/runtime/Cargo.toml",
        manifest("flowstone-runtime", "[dev-dependencies]\nsqlx.workspace = true"),
    );

    let complaints = check(sample.root());

    assert_complains(
        &complaints,
        "crates/runtime/Cargo.toml:7",
        "`sqlx` belongs to flowstone-store",
    );
}

#[test]
fn a_heavy_dependency_is_known_under_another_name() {
    for rest in [
        "[dependencies]\nactors.workspace = true",
        "[dependencies]\na = { version = \"1\", package = \"ractor\" }",
    ] {
        let sample = Sample::new().with_core(rest);

        let complaints = check(sample.root());

        assert_complains(
            &complaints,
            "crates/core/Cargo.toml:7",
            "`ractor` belongs to flowstone-runtime",
        );
    }
}

#[test]
fn the_facade_names_no_heavy_dependency() {
    let root = format!(
        "{}\n{ROOT_MANIFEST}",
        manifest("flowstone", "[dev-dependencies]\narrow-array = \"1\"")
    );
    let sample = Sample::new().with("Cargo.toml", root);

    let complaints = check(sample.root());

    assert_complains(
        &complaints,
        "Cargo.toml:7",
        "`arrow-array` belongs to flowstone-io-parquet",
    );
}

#[test]
fn the_figures_may_name_what_they_measure_against() {
    let sample = Sample::new().with(
        "bench/Cargo.toml",
        manifest("flowstone-bench", "[dependencies]\nsqlx.workspace = true"),
    );

    let complaints = check(sample.root());

    assert_eq!(complaints, []);
}

#[test]
fn core_may_use_tokio_without_its_runtime() {
    let sample = Sample::new().with_core(CORE_IN_ORDER);

    let complaints = check(sample.root());

    assert_eq!(complaints, []);
}

const CORE_IN_ORDER: &str = r#"
[dependencies]
tokio = { workspace = true, features = ["sync"] }

[dev-dependencies]
tokio = { workspace = true, features = ["rt", "macros"] }
"#;

#[test]
fn core_turning_on_a_runtime_is_refused() {
    let sample = Sample::new().with_core("[dependencies]\ntokio = { workspace = true, features = [\"sync\", \"rt\"] }");

    let complaints = check(sample.root());

    assert_complains(&complaints, "crates/core/Cargo.toml:7", "core turns on `tokio/rt`");
}

#[test]
fn core_turning_on_a_runtime_by_a_feature_of_its_own_is_refused() {
    let rest = "[dependencies]\ntokio.workspace = true\n[features]\nlive = [\"tokio?/rt-multi-thread\"]";
    let sample = Sample::new().with_core(rest);

    let complaints = check(sample.root());

    assert_complains(
        &complaints,
        "crates/core/Cargo.toml:9",
        "core turns on `tokio/rt-multi-thread`",
    );
}

#[test]
fn core_inheriting_a_runtime_is_refused() {
    let root = ROOT_MANIFEST.replace("default-features = false", "features = [\"time\"]");
    let sample = Sample::new()
        .with("Cargo.toml", root)
        .with_core("[dependencies]\ntokio.workspace = true");

    let complaints = check(sample.root());

    assert_complains(&complaints, "crates/core/Cargo.toml:7", "core turns on `tokio/time`");
}

#[test]
fn a_manifest_that_is_not_toml_is_named() {
    let sample = Sample::new().with_core("[dependencies\n");

    let complaints = check(sample.root());

    assert_complains(&complaints, "crates/core/Cargo.toml:6", "is not TOML");
}

#[test]
fn a_folder_without_a_workspace_is_refused() {
    let sample = Sample::new().without("Cargo.toml");

    let complaints = check(sample.root());

    assert_complains(&complaints, "Cargo.toml:1", "holds no workspace");
}
