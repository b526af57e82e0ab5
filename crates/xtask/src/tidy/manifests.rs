//! Rules for manifests: one place for versions and lints, and no unsafe code.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Complaint;
use crate::manifest::{Dependency, DependencyKind, Manifest, Manifests, Package};

/// The keys of `[package]` that stand in the root manifest only.
const INHERITED: &[&str] = &["version", "edition", "license"];

pub(crate) fn check(root: &Path, manifests: &Manifests) -> Vec<Complaint> {
    let forbidden_everywhere = manifests
        .root()
        .is_some_and(|manifest| manifest.unsafe_code_level.as_deref() == Some("forbid"));
    let mut complaints = Vec::new();
    for manifest in &manifests.all {
        let Some(package) = &manifest.package else {
            continue;
        };
        complaints.extend(own_values(manifest, package));
        complaints.extend(own_lints(manifest, package));
        complaints.extend(own_versions(manifest));
        if !(forbidden_everywhere && manifest.inherits_lints) {
            complaints.extend(unsafe_roots(root, manifest));
        }
    }
    complaints
}

fn own_values(manifest: &Manifest, package: &Package) -> Vec<Complaint> {
    INHERITED
        .iter()
        .filter(|key| !package.inherited.iter().any(|inherited| inherited == *key))
        .map(|key| {
            let wrong = format!("package `{}` does not inherit its {key}", package.name);
            Complaint::new(
                &manifest.path,
                package.line,
                wrong,
                format!("write `{key}.workspace = true`"),
            )
        })
        .collect()
}

fn own_lints(manifest: &Manifest, package: &Package) -> Option<Complaint> {
    (!manifest.inherits_lints).then(|| {
        let wrong = format!("package `{}` does not inherit the lints", package.name);
        Complaint::new(
            &manifest.path,
            package.line,
            wrong,
            "add `[lints]` with `workspace = true`",
        )
    })
}

/// A dev-dependency by path alone is fine: it names no version, and cargo leaves it out when it publishes, so that the
/// tests of a crate may use one that depends on it.
fn own_versions(manifest: &Manifest) -> Vec<Complaint> {
    let in_order = |dependency: &&Dependency| {
        dependency.inherited || (dependency.path_only && dependency.kind == DependencyKind::Dev)
    };
    let own = manifest.dependencies.iter().filter(|dependency| !in_order(dependency));
    own.map(|dependency| {
        let wrong = format!("`{}` does not come from the workspace", dependency.key);
        let fix = format!(
            "put its version into [workspace.dependencies] of the root and write `{}.workspace = true`",
            dependency.key
        );
        Complaint::new(&manifest.path, dependency.line, wrong, fix)
    })
    .collect()
}

/// The crate roots that forbid unsafe code neither by lint nor by attribute.
fn unsafe_roots(root: &Path, manifest: &Manifest) -> Vec<Complaint> {
    crate_roots(root, manifest.folder())
        .into_iter()
        .filter(|path| {
            let text = fs::read_to_string(root.join(path)).unwrap_or_default();
            !text.lines().any(|line| line.trim() == "#![forbid(unsafe_code)]")
        })
        .map(|path| {
            let fix = "inherit the lints of the workspace, or write `#![forbid(unsafe_code)]`";
            Complaint::new(&path, 1, "a crate root that does not forbid unsafe code", fix)
        })
        .collect()
}

fn crate_roots(root: &Path, folder: &Path) -> Vec<PathBuf> {
    let src = folder.join("src");
    let bins = fs::read_dir(root.join(&src).join("bin"))
        .into_iter()
        .flatten()
        .flatten();
    let mut roots: Vec<PathBuf> = bins.map(|entry| src.join("bin").join(entry.file_name())).collect();
    roots.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    roots.extend(
        ["lib.rs", "main.rs"]
            .map(|name| src.join(name))
            .into_iter()
            .filter(|path| root.join(path).is_file()),
    );
    roots
}
