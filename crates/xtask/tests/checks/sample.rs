//! A small workspace in a temporary folder that passes every check until a test changes it.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use xtask::Complaint;

pub(crate) struct Sample {
    folder: TempDir,
}

pub(crate) const ROOT_MANIFEST: &str = r#"
[workspace]
members = ["crates/*"]

[workspace.package]
version = "0.1.0"

[workspace.dependencies]
actors = { version = "1", package = "ractor" }
flowstone-core = { path = "crates/core" }
flowstone-runtime = { path = "crates/runtime" }
flowstone-testkit = { path = "crates/testkit" }
ractor = "1"
sqlx = "1"
tokio = { version = "1", default-features = false }

[workspace.lints.rust]
unsafe_code = "forbid"
"#;

impl Sample {
    /// A root, core, runtime, and two decision records.
    pub(crate) fn new() -> Self {
        let sample = Self {
            folder: TempDir::new().expect("a temporary folder can be made"),
        };
        sample
            .with("Cargo.toml", ROOT_MANIFEST)
            .with("crates/core/Cargo.toml", manifest("flowstone-core", ""))
            .with("crates/core/src/lib.rs", "//! Core.\n")
            .with("crates/runtime/Cargo.toml", manifest("flowstone-runtime", ""))
            .with("crates/runtime/src/lib.rs", "//! Runtime.\n")
            .with("docs/adr/0000-template.md", "# 0000\n")
            .with("docs/adr/0001-first.md", "# 0001\n")
            .with("docs/adr/README.md", "[t](0000-template.md)\n[f](0001-first.md)\n")
    }

    /// The same with one file written.
    pub(crate) fn with(self, path: &str, text: impl AsRef<[u8]>) -> Self {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().expect("the file lies in a folder")).expect("folders can be made");
        fs::write(path, text).expect("a file can be written");
        self
    }

    /// The same with one file removed.
    pub(crate) fn without(self, path: &str) -> Self {
        fs::remove_file(self.folder.path().join(path)).expect("the file is there");
        self
    }

    /// The same with tables added to core's manifest, from its line 6 on.
    pub(crate) fn with_core(self, rest: &str) -> Self {
        self.with("crates/core/Cargo.toml", manifest("flowstone-core", rest))
    }

    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }
}

/// A manifest that inherits all it must; `rest` begins at line 6.
pub(crate) fn manifest(package: &str, rest: &str) -> String {
    format!(
        r#"[package]
name = "{package}"
version.workspace = true
edition.workspace = true
license.workspace = true
{rest}
[lints]
workspace = true
"#
    )
}

/// Asserts one complaint at `path:line` whose words contain `words`.
pub(crate) fn assert_complains(complaints: &[Complaint], place: &str, words: &str) {
    let [complaint] = complaints else {
        panic!("want one complaint, got {complaints:#?}")
    };
    let said = complaint.to_string();
    assert!(said.starts_with(&format!("{place}: ")), "want {place}, got {said}");
    assert!(said.contains(words), "want “{words}”, got {said}");
    assert!(!complaint.fix.is_empty(), "no fix in {said}");
}
