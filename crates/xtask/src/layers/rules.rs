//! Compares manifests with the tables.
//!
//! A package that is listed but does not exist yet is fine, one that exists and is not listed is not. Looks at what a
//! manifest names, not at what that pulls in.

use std::path::Path;

use super::table::{BENCH, LAYERS, Layer, OWNERSHIPS, TEST_ONLY, TRIED_WITH};
use crate::Complaint;
use crate::manifest::{Dependency, DependencyKind, Manifest, Manifests, Package};

const CORE: &str = "flowstone-core";

/// The features of tokio and tokio-util that start something; core takes none of them outside of its tests.
const RUNTIME_FEATURES: &[&str] = &[
    "compat",
    "fs",
    "full",
    "io",
    "io-std",
    "net",
    "process",
    "rt",
    "rt-multi-thread",
    "signal",
    "time",
];

/// Compares every manifest of the workspace at `root` with the tables.
pub fn check(root: &Path) -> Vec<Complaint> {
    let manifests = Manifests::read(root);
    let mut complaints = Vec::new();
    if manifests.root().is_none() && manifests.unreadable.is_empty() {
        let wrong = format!("`{}` holds no workspace", root.display());
        complaints.push(Complaint::new(
            Path::new("Cargo.toml"),
            1,
            wrong,
            "run the check on a checkout",
        ));
    }
    for manifest in &manifests.all {
        let Some(package) = &manifest.package else {
            complaints.extend(no_package(manifest));
            continue;
        };
        let Some(layer) = LAYERS.iter().find(|layer| layer.package == package.name) else {
            complaints.push(Complaint::new(
                &manifest.path,
                package.line,
                format!("package `{}` is in no layer", package.name),
                "add it to LAYERS in crates/xtask/src/layers/table.rs, with what it may depend on",
            ));
            continue;
        };
        complaints.extend(misplaced(manifest, package, layer));
        for dependency in &manifest.dependencies {
            let named = manifests.package_of(dependency);
            complaints.extend(crossed_layer(manifest, layer, dependency, named));
            complaints.extend(not_owned(manifest, layer, dependency, named));
            complaints.extend(started_in_core(&manifests, manifest, layer, dependency, named));
        }
    }
    complaints.extend(manifests.unreadable);
    complaints.sort();
    complaints
}

fn no_package(manifest: &Manifest) -> Option<Complaint> {
    let only_a_workspace = manifest.folder() == Path::new("");
    (!only_a_workspace).then(|| {
        Complaint::new(
            &manifest.path,
            1,
            "has no package name",
            "give it a [package] with a name",
        )
    })
}

fn misplaced(manifest: &Manifest, package: &Package, layer: &Layer) -> Option<Complaint> {
    (manifest.folder() != Path::new(layer.folder)).then(|| {
        Complaint::new(
            &manifest.path,
            package.line,
            format!("package `{}` lies in the wrong folder", layer.package),
            format!(
                "move it to `{}`",
                if layer.folder.is_empty() { "." } else { layer.folder }
            ),
        )
    })
}

fn crossed_layer(manifest: &Manifest, layer: &Layer, dependency: &Dependency, named: &str) -> Option<Complaint> {
    let ours = named == "flowstone" || named == "xtask" || named.starts_with("flowstone-");
    let tried_with = TRIED_WITH.iter().find(|(package, _)| *package == layer.package);
    // Its own tests may turn on its features.
    let is_for_tests = named == layer.package
        || TEST_ONLY.contains(&named)
        || tried_with.is_some_and(|(_, others)| others.contains(&named));
    let allowed = layer.may_depend_on.contains(&named) || (dependency.kind == DependencyKind::Dev && is_for_tests);
    (ours && !allowed).then(|| {
        let mut may = layer.may_depend_on.join(", ");
        if may.is_empty() {
            may.push_str("none of ours");
        }
        Complaint::new(
            &manifest.path,
            dependency.line,
            format!("`{}` may not depend on `{named}`", layer.package),
            format!("it may depend on {may}: move what you need down into core, or what uses it up"),
        )
    })
}

fn not_owned(manifest: &Manifest, layer: &Layer, dependency: &Dependency, named: &str) -> Option<Complaint> {
    let ownership = OWNERSHIPS
        .iter()
        .find(|ownership| ownership.packages.iter().any(|pattern| fits(pattern, named)))?;
    let allowed = layer.package == BENCH || ownership.owners.contains(&layer.package);
    (!allowed).then(|| {
        Complaint::new(
            &manifest.path,
            dependency.line,
            format!("`{named}` belongs to {}", ownership.owners.join(", ")),
            format!("use what its owner offers; the reason is in {}", ownership.reason),
        )
    })
}

/// Core may use tokio's plain data structures, but nothing that needs or starts a runtime.
fn started_in_core(
    manifests: &Manifests,
    manifest: &Manifest,
    layer: &Layer,
    dependency: &Dependency,
    named: &str,
) -> Vec<Complaint> {
    let concerned =
        layer.package == CORE && dependency.kind != DependencyKind::Dev && matches!(named, "tokio" | "tokio-util");
    if !concerned {
        return Vec::new();
    }
    let inherited = manifests
        .offered_for(dependency)
        .into_iter()
        .flat_map(|offer| &offer.features);
    let inherited = inherited.map(|(feature, _)| (feature, dependency.line));
    let own = dependency.features.iter().map(|(feature, line)| (feature, *line));
    own.chain(inherited)
        .filter(|(feature, _)| RUNTIME_FEATURES.contains(&feature.as_str()))
        .map(|(feature, line)| {
            Complaint::new(
                &manifest.path,
                line,
                format!("core turns on `{named}/{feature}`, which needs a runtime"),
                "decide in core and act in the runtime; the reason is in docs/adr/0002-tokio-runs-everything.md",
            )
        })
        .collect()
}

fn fits(pattern: &str, name: &str) -> bool {
    pattern
        .strip_suffix('*')
        .map_or(pattern == name, |start| name.starts_with(start))
}
