//! A promise that names its test must name one that there is.
//!
//! Looks at the page of semantics: a code span of the form `path.rs: name` names a function in a file.

use std::path::Path;

use super::tree::TextFile;
use crate::Complaint;

const PAGE: &str = "docs/semantics.md";

pub(crate) fn check(files: &[TextFile]) -> Vec<Complaint> {
    let Some(page) = files.iter().find(|file| file.path == Path::new(PAGE)) else {
        return Vec::new();
    };
    let lines = page.text.lines().enumerate();
    lines
        .flat_map(|(index, line)| spans(line).map(move |span| (index + 1, span)))
        .filter_map(|(line, span)| named(span).map(|(path, name)| (line, path, name)))
        .filter(|(_, path, name)| !exists(files, path, name))
        .map(|(line, path, name)| {
            let fix = "name the test that holds the promise, or take the promise back";
            Complaint::new(&page.path, line, format!("`{path}` has no test `{name}`"), fix)
        })
        .collect()
}

/// What stands between backticks.
fn spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// `path.rs: name`
fn named(span: &str) -> Option<(&str, &str)> {
    let (path, name) = span.split_once(": ")?;
    path.ends_with(".rs").then_some((path, name))
}

fn exists(files: &[TextFile], path: &str, name: &str) -> bool {
    let file = files.iter().find(|file| file.path == Path::new(path));
    file.is_some_and(|file| {
        let begins = |after: &str| after.starts_with(['(', '<']);
        file.text
            .match_indices(&format!("fn {name}"))
            .any(|(start, found)| begins(&file.text[start + found.len()..]))
    })
}
