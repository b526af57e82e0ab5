//! The parts of a `Cargo.toml` that the checks ask about, each with its line.
//!
//! Reads text, not cargo's resolution: what counts is what a manifest says. Judges nothing.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::Complaint;

/// One manifest of the workspace.
#[derive(Debug)]
pub(crate) struct Manifest {
    /// Relative to the workspace.
    pub(crate) path: PathBuf,
    /// `None` in a root manifest that is only a workspace.
    pub(crate) package: Option<Package>,
    pub(crate) dependencies: Vec<Dependency>,
    /// What `[workspace.dependencies]` offers; empty outside of the root.
    pub(crate) offered: Vec<Dependency>,
    /// `[lints] workspace = true`
    pub(crate) inherits_lints: bool,
    /// The level of `[workspace.lints.rust] unsafe_code`.
    pub(crate) unsafe_code_level: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) line: usize,
    /// The keys of `[package]` that say `workspace = true`.
    pub(crate) inherited: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DependencyKind {
    Normal,
    Dev,
    Build,
}

/// One entry of a dependency table.
#[derive(Debug)]
pub(crate) struct Dependency {
    /// The name by which the manifest calls it.
    pub(crate) key: String,
    /// The package, where `package = "…"` gives another name.
    pub(crate) package: Option<String>,
    pub(crate) kind: DependencyKind,
    pub(crate) line: usize,
    /// `workspace = true`
    pub(crate) inherited: bool,
    /// A `path` and no version.
    pub(crate) path_only: bool,
    /// Features turned on here or in `[features]`, each with its line.
    pub(crate) features: Vec<(String, usize)>,
}

/// All manifests of a workspace, the root first.
#[derive(Debug, Default)]
pub(crate) struct Manifests {
    pub(crate) all: Vec<Manifest>,
    pub(crate) unreadable: Vec<Complaint>,
}

impl Manifests {
    /// Reads the root, `crates/*` and `bench`; a folder without a manifest is no crate.
    pub(crate) fn read(root: &Path) -> Self {
        let mut manifests = Self::default();
        for folder in crate_folders(root) {
            let path = folder.join("Cargo.toml");
            if !root.join(&path).is_file() {
                continue;
            }
            match read(root, &path) {
                Ok(manifest) => manifests.all.push(manifest),
                Err(complaint) => manifests.unreadable.push(complaint),
            }
        }
        manifests
    }

    pub(crate) fn root(&self) -> Option<&Manifest> {
        self.all.iter().find(|manifest| manifest.folder() == Path::new(""))
    }

    /// The entry of `[workspace.dependencies]` that `dependency` inherits.
    pub(crate) fn offered_for(&self, dependency: &Dependency) -> Option<&Dependency> {
        let offered = &self.root()?.offered;
        offered
            .iter()
            .find(|offer| dependency.inherited && offer.key == dependency.key)
    }

    /// The name of the package behind a dependency, renames in the root included.
    pub(crate) fn package_of<'a>(&'a self, dependency: &'a Dependency) -> &'a str {
        let renamed = self.offered_for(dependency).and_then(|offer| offer.package.as_deref());
        dependency.package.as_deref().or(renamed).unwrap_or(&dependency.key)
    }
}

impl Manifest {
    /// The crate's folder, relative to the workspace; empty for the root.
    pub(crate) fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }
}

fn crate_folders(root: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = fs::read_dir(root.join("crates"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| Path::new("crates").join(entry.file_name()))
        .collect();
    folders.push(PathBuf::from("bench"));
    folders.push(PathBuf::new());
    folders.sort();
    folders
}

fn read(root: &Path, path: &Path) -> Result<Manifest, Complaint> {
    let text = fs::read_to_string(root.join(path))
        .map_err(|error| Complaint::new(path, 1, format!("cannot be read: {error}"), "make it readable"))?;
    let table = DeTable::parse(&text).map_err(|error| {
        let line = line_at(&text, error.span().unwrap_or_default());
        Complaint::new(
            path,
            line,
            format!("is not TOML: {}", error.message()),
            "mend the manifest",
        )
    })?;
    Ok(Source { text: &text }.manifest(path, table.get_ref()))
}

/// Turns spans into lines while it picks the tables apart.
struct Source<'a> {
    text: &'a str,
}

impl Source<'_> {
    fn manifest(&self, path: &Path, table: &DeTable<'_>) -> Manifest {
        let workspace = child(table, "workspace");
        Manifest {
            path: path.to_path_buf(),
            package: self.package(table),
            dependencies: self.dependencies(table),
            offered: workspace.map_or_else(Vec::new, |workspace| {
                self.entries(workspace, "dependencies", DependencyKind::Normal)
            }),
            inherits_lints: child(table, "lints").is_some_and(says_workspace),
            unsafe_code_level: workspace
                .and_then(|workspace| child(workspace, "lints"))
                .and_then(|lints| child(lints, "rust"))
                .and_then(|rust| rust.get("unsafe_code"))
                .and_then(|level| {
                    let named = level.get_ref().as_table().and_then(|table| table.get("level"));
                    named.unwrap_or(level).get_ref().as_str().map(str::to_owned)
                }),
        }
    }

    fn package(&self, table: &DeTable<'_>) -> Option<Package> {
        let package = child(table, "package")?;
        let name = package.get("name")?;
        Some(Package {
            name: name.get_ref().as_str()?.to_owned(),
            line: self.line(name.span()),
            inherited: package
                .iter()
                .filter(|(_, value)| value.get_ref().as_table().is_some_and(says_workspace))
                .map(|(key, _)| key.get_ref().to_string())
                .collect(),
        })
    }

    /// Those of the manifest itself and of every `[target.'…']`, with what `[features]` adds to them.
    fn dependencies(&self, table: &DeTable<'_>) -> Vec<Dependency> {
        let targets = child(table, "target").into_iter().flat_map(DeTable::values);
        let mut dependencies: Vec<Dependency> = targets
            .filter_map(|target| target.get_ref().as_table())
            .chain([table])
            .flat_map(|owner| self.all_kinds(owner))
            .collect();

        let features = child(table, "features").into_iter().flat_map(DeTable::values);
        for enabled in features.filter_map(|feature| feature.get_ref().as_array()).flatten() {
            let Some((key, feature)) = enabled.get_ref().as_str().and_then(|text| text.split_once('/')) else {
                continue;
            };
            let key = key.trim_end_matches('?');
            let line = self.line(enabled.span());
            for dependency in &mut dependencies {
                if dependency.key == key && dependency.kind == DependencyKind::Normal {
                    dependency.features.push((feature.to_owned(), line));
                }
            }
        }
        dependencies
    }

    fn all_kinds(&self, owner: &DeTable<'_>) -> Vec<Dependency> {
        let mut dependencies = self.entries(owner, "dependencies", DependencyKind::Normal);
        for (name, kind) in [
            ("dev-dependencies", DependencyKind::Dev),
            ("dev_dependencies", DependencyKind::Dev),
            ("build-dependencies", DependencyKind::Build),
            ("build_dependencies", DependencyKind::Build),
        ] {
            dependencies.extend(self.entries(owner, name, kind));
        }
        dependencies
    }

    fn entries(&self, owner: &DeTable<'_>, name: &str, kind: DependencyKind) -> Vec<Dependency> {
        let Some(table) = child(owner, name) else {
            return Vec::new();
        };
        table
            .iter()
            .map(|(key, value)| self.dependency(key, value.get_ref(), kind))
            .collect()
    }

    fn dependency(
        &self,
        key: &Spanned<toml::de::DeString<'_>>,
        value: &DeValue<'_>,
        kind: DependencyKind,
    ) -> Dependency {
        let table = value.as_table();
        let features = table
            .and_then(|table| table.get("features"))
            .and_then(|list| list.get_ref().as_array());
        Dependency {
            key: key.get_ref().to_string(),
            package: table
                .and_then(|table| table.get("package"))
                .and_then(|package| package.get_ref().as_str())
                .map(str::to_owned),
            kind,
            line: self.line(key.span()),
            inherited: table.is_some_and(says_workspace),
            path_only: table.is_some_and(|table| table.get("path").is_some() && table.get("version").is_none()),
            features: features
                .into_iter()
                .flatten()
                .filter_map(|feature| Some((feature.get_ref().as_str()?.to_owned(), self.line(feature.span()))))
                .collect(),
        }
    }

    fn line(&self, span: Range<usize>) -> usize {
        line_at(self.text, span)
    }
}

fn child<'t, 'i>(table: &'t DeTable<'i>, name: &str) -> Option<&'t DeTable<'i>> {
    table.get(name)?.get_ref().as_table()
}

fn says_workspace(table: &DeTable<'_>) -> bool {
    table
        .get("workspace")
        .is_some_and(|value| value.get_ref().as_bool() == Some(true))
}

fn line_at(text: &str, span: Range<usize>) -> usize {
    1 + text.as_bytes()[..span.start.min(text.len())]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
}
