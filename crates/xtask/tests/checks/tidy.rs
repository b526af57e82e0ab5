//! Each rule about files fires on a file that breaks it.
//!
//! What a source must not contain is put together here from parts, since this file is checked as well.

use xtask::tidy::{LINES_MAX, check};

use crate::sample::{ROOT_MANIFEST, Sample, assert_complains, manifest};

#[test]
fn a_workspace_in_order_is_left_alone() {
    let sample = Sample::new()
        .with("crates/core/tests/it.rs", "#[test]\nfn a() {}\n")
        .with("crates/core/target/debug/build.rs", format!("{}!()", "todo"))
        .with("out/CACHEDIR.TAG", "")
        .with("out/build.rs", format!("{}!()", "todo"))
        .with(".hidden/notes.txt", machine_path())
        .with("data.bin", [0xff, 0xfe, b'/']);

    let complaints = check(sample.root());

    assert_eq!(complaints, []);
}

#[test]
fn a_parent_inside_its_folder_is_refused() {
    let sample = Sample::new().with("crates/core/src/words/mod.rs", "//! Words.\n");

    let complaints = check(sample.root());

    assert_complains(
        &complaints,
        "crates/core/src/words/mod.rs:1",
        "rename it to `crates/core/src/words.rs`",
    );
}

#[test]
fn a_file_that_is_too_long_is_refused() {
    let at_most = format!("//! Long.\n{}", "//\n".repeat(LINES_MAX - 1));
    let too_long = format!("{at_most}//\n");
    let sample = Sample::new()
        .with("crates/core/src/fits.rs", at_most)
        .with("crates/core/src/long.rs", too_long);

    let complaints = check(sample.root());

    assert_complains(&complaints, "crates/core/src/long.rs:801", "has 801 lines, 800 at most");
}

#[test]
fn a_source_file_without_an_opening_is_refused() {
    for path in ["src/words.rs", "crates/core/src/a/b.rs", "bench/src/main.rs"] {
        let sample = Sample::new().with(path, "use std::fmt;\n");

        let complaints = check(sample.root());

        assert_complains(&complaints, &format!("{path}:1"), "does not open with a `//!` comment");
    }
}

#[test]
fn something_unfinished_is_refused() {
    for name in ["todo", "unimplemented", "dbg"] {
        for call in [
            format!("{name}!()"),
            format!("{name} ! [1]"),
            format!("std::{name}!{{}}"),
        ] {
            let sample = Sample::new().with("crates/core/src/lib.rs", format!("//! Core.\nfn f() {{ {call} }}\n"));

            let complaints = check(sample.root());

            assert_complains(&complaints, "crates/core/src/lib.rs:2", &format!("calls `{name}!`"));
        }
    }
}

#[test]
fn mentioning_something_unfinished_is_fine() {
    let mentions = [
        "// {}!()",
        "/* {}!() */",
        "const A: &str = \"{}!()\";",
        "const A: &str = r#\"{}!()\"#;",
        "my_{}!();",
    ];
    for mention in mentions {
        let line = mention.replace("{}", "todo");
        let sample = Sample::new().with("crates/core/src/lib.rs", format!("//! Core.\n{line}\n"));

        let complaints = check(sample.root());

        assert_eq!(complaints, [], "{line}");
    }
}

#[test]
fn a_promise_whose_test_is_gone_is_refused() {
    let page = "| it holds | `crates/core/tests/it.rs: it_holds`, `crates/core/tests/it.rs: it_is` |\n";
    let sample = Sample::new()
        .with("crates/core/tests/it.rs", "#[test]\nfn it_holds() {}\n")
        .with("docs/semantics.md", page);

    let complaints = check(sample.root());

    assert_complains(&complaints, "docs/semantics.md:1", "has no test `it_is`");
}

#[test]
fn an_ignored_test_is_refused() {
    for attribute in ["#[{}]", "#[{} = \"slow\"]", "#[cfg_attr(windows, {})]"] {
        let line = attribute.replace("{}", "ignore");
        let sample = Sample::new().with("crates/core/tests/it.rs", format!("#[test]\n{line}\nfn a() {{}}\n"));

        let complaints = check(sample.root());

        assert_complains(&complaints, "crates/core/tests/it.rs:2", "ignores a test");
    }
}

#[test]
fn an_allowed_lint_is_refused() {
    for attribute in [
        "#[{}(dead_code)]",
        "#![{}(dead_code)]",
        "#[cfg_attr(test, {}(dead_code))]",
    ] {
        let line = attribute.replace("{}", "allow");
        let sample = Sample::new().with("crates/core/src/lib.rs", format!("//! Core.\n{line}\nfn f() {{}}\n"));

        let complaints = check(sample.root());

        assert_complains(&complaints, "crates/core/src/lib.rs:2", "allows a lint");
    }
}

#[test]
fn a_lint_is_expected_or_allowed_by_generated_code() {
    let generated = format!("//! Macros.\nfn f() {{ quote!(#[{}(dead_code)]) }}\n", "allow");
    let sample = Sample::new()
        .with(
            "crates/core/src/lib.rs",
            "//! Core.\n#[expect(dead_code, reason = \"…\")]\nfn f() {}\n",
        )
        .with("crates/macros/src/emit.rs", generated);

    let complaints = check(sample.root());

    assert_eq!(complaints, []);
}

#[test]
fn a_path_of_one_machine_is_refused_in_any_text() {
    for file in [
        "crates/core/src/lib.rs",
        "docs/use.md",
        ".ci/run",
        ".config/nextest.toml",
    ] {
        for line in ["//! see {}", "//! \"{}\"", "//! DATA={}", "//! file://{}"] {
            let sample = Sample::new().with(file, format!("{}\n", line.replace("{}", &machine_path())));

            let complaints = check(sample.root());

            assert_complains(&complaints, &format!("{file}:1"), "a folder of one machine");
        }
    }
}

#[test]
fn a_relative_path_or_an_address_is_fine() {
    for line in ["..{}", "a{}", "~{}", "$HOME{}", "${HOME}{}", "https://example.org{}"] {
        let sample = Sample::new().with("docs/use.md", line.replace("{}", &machine_path()));

        let complaints = check(sample.root());

        assert_eq!(complaints, [], "{line}");
    }
}

#[test]
fn a_package_with_a_value_of_its_own_is_refused() {
    for key in ["version", "edition", "license"] {
        let own = manifest("flowstone-core", "").replace(&format!("{key}.workspace = true"), &format!("{key} = \"1\""));
        let sample = Sample::new().with("crates/core/Cargo.toml", own);

        let complaints = check(sample.root());

        assert_complains(
            &complaints,
            "crates/core/Cargo.toml:2",
            &format!("does not inherit its {key}"),
        );
    }
}

#[test]
fn a_package_without_the_lints_is_refused() {
    let own = manifest("flowstone-core", "").replace("[lints]\nworkspace = true\n", "");
    let sample = Sample::new()
        .with("crates/core/Cargo.toml", own)
        .with("crates/core/src/lib.rs", "//! Core.\n#![forbid(unsafe_code)]\n");

    let complaints = check(sample.root());

    assert_complains(&complaints, "crates/core/Cargo.toml:2", "does not inherit the lints");
}

#[test]
fn a_crate_that_may_be_unsafe_is_refused() {
    let own = manifest("flowstone-core", "").replace("[lints]\nworkspace = true\n", "");
    let sample = Sample::new()
        .with("crates/core/Cargo.toml", own)
        .with("crates/core/src/bin/tool.rs", "//! A tool.\n");

    let complaints = check(sample.root());

    let unsafe_roots = complaints
        .iter()
        .filter(|complaint| complaint.wrong.contains("does not forbid unsafe code"));
    let paths: Vec<_> = unsafe_roots.map(|complaint| complaint.path.to_str()).collect();
    assert_eq!(
        paths,
        [Some("crates/core/src/bin/tool.rs"), Some("crates/core/src/lib.rs")]
    );
}

#[test]
fn a_workspace_lint_that_only_denies_unsafe_code_is_refused() {
    for level in ["\"deny\"", "{ level = \"deny\", priority = 1 }"] {
        let sample = Sample::new()
            .with("Cargo.toml", ROOT_MANIFEST.replace("\"forbid\"", level))
            .with("crates/runtime/src/lib.rs", "//! Runtime.\n#![forbid(unsafe_code)]\n");

        let complaints = check(sample.root());

        assert_complains(&complaints, "crates/core/src/lib.rs:1", "does not forbid unsafe code");
    }
}

#[test]
fn a_version_outside_of_the_root_is_refused() {
    for (table, dependency) in [
        ("dependencies", "serde = \"1\""),
        ("dependencies", "serde = { path = \"x\" }"),
        ("build-dependencies", "serde.workspace = false"),
        ("dev-dependencies", "serde = { path = \"x\", version = \"1\" }"),
        ("target.'cfg(unix)'.dev-dependencies", "serde = { version = \"1\" }"),
    ] {
        let sample = Sample::new().with_core(&format!("[{table}]\n{dependency}"));

        let complaints = check(sample.root());

        assert_complains(
            &complaints,
            "crates/core/Cargo.toml:7",
            "`serde` does not come from the workspace",
        );
    }
}

#[test]
fn a_dev_dependency_by_path_alone_is_fine() {
    let sample = Sample::new().with_core("[dev-dependencies]\nwords = { path = \"../words\", package = \"my-words\" }");

    let complaints = check(sample.root());

    assert_eq!(complaints, []);
}

#[test]
fn a_number_that_was_not_used_is_no_complaint() {
    let sample = Sample::new().with("docs/adr/0003-third.md", "# 0003\n").with(
        "docs/adr/README.md",
        "[t](0000-template.md)\n[f](0001-first.md)\n[x](0003-third.md)\n",
    );

    assert_eq!(check(sample.root()), []);
}

#[test]
fn a_record_without_a_number_is_refused() {
    let sample = Sample::new().with("docs/adr/third.md", "# third\n").with(
        "docs/adr/README.md",
        "[t](0000-template.md)\n[f](0001-first.md)\n[x](third.md)\n",
    );

    let complaints = check(sample.root());

    assert_complains(&complaints, "docs/adr/third.md:1", "its name has no number of its own");
}

#[test]
fn two_records_of_one_number_are_refused() {
    let sample = Sample::new().with("docs/adr/0001-other.md", "# 0001\n").with(
        "docs/adr/README.md",
        "[t](0000-template.md)\n[f](0001-first.md)\n[o](0001-other.md)\n",
    );

    let complaints = check(sample.root());

    assert_complains(
        &complaints,
        "docs/adr/0001-other.md:1",
        "its name has no number of its own",
    );
}

#[test]
fn an_unlisted_record_is_refused() {
    let sample = Sample::new().with("docs/adr/0002-second.md", "# 0002\n");

    let complaints = check(sample.root());

    assert_complains(&complaints, "docs/adr/README.md:1", "`0002-second.md` is not listed");
}

#[test]
fn a_listed_record_that_does_not_exist_is_refused() {
    let sample = Sample::new().without("docs/adr/0001-first.md");

    let complaints = check(sample.root());

    assert_complains(
        &complaints,
        "docs/adr/README.md:2",
        "`0001-first.md` is listed but does not exist",
    );
}

#[test]
fn records_without_an_index_are_refused() {
    let sample = Sample::new().without("docs/adr/README.md");

    let complaints = check(sample.root());

    assert_complains(&complaints, "docs/adr/README.md:1", "is missing");
}

fn machine_path() -> String {
    format!("/{}/notes.txt", "home")
}
