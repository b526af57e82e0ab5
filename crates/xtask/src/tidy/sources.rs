//! Rules for each `.rs` file: where it lies, how long it is, how it opens, what it must not contain.

use std::path::Path;

use super::code_text::code_text;
use super::tree::TextFile;
use crate::Complaint;

/// The most lines that a source file may have.
pub const LINES_MAX: usize = 800;

/// Macros that mark something unfinished.
const UNFINISHED: &[&str] = &["todo", "unimplemented", "dbg"];

/// The code that this crate generates cannot know whether a lint fires, so it may allow where others must expect.
const GENERATES_CODE: &str = "crates/macros/src";

pub(crate) fn check(file: &TextFile) -> Vec<Complaint> {
    let path = &file.path;
    if path.extension().is_none_or(|extension| extension != "rs") {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    complaints.extend(nested_parent(path));
    complaints.extend(too_long(file));
    complaints.extend(unopened(file));
    for (index, line) in code_text(&file.text).lines().enumerate() {
        complaints.extend(unfinished(path, index + 1, line));
        complaints.extend(ignored_test(path, index + 1, line));
        complaints.extend(allowed_lint(path, index + 1, line));
    }
    complaints
}

fn nested_parent(path: &Path) -> Option<Complaint> {
    (path.file_name()? == "mod.rs").then(|| {
        let fix = format!("rename it to `{}.rs`", path.parent().unwrap_or(Path::new("")).display());
        Complaint::new(path, 1, "a parent module lies inside its folder", fix)
    })
}

fn too_long(file: &TextFile) -> Option<Complaint> {
    let lines = file.text.lines().count();
    (lines > LINES_MAX).then(|| {
        let wrong = format!("has {lines} lines, {LINES_MAX} at most");
        Complaint::new(&file.path, LINES_MAX + 1, wrong, "split it by idea")
    })
}

fn unopened(file: &TextFile) -> Option<Complaint> {
    let first = file.text.lines().next().unwrap_or("");
    (in_src(&file.path) && !first.starts_with("//!")).then(|| {
        Complaint::new(
            &file.path,
            1,
            "does not open with a `//!` comment",
            "say in its first lines why the file exists and what it leaves to others",
        )
    })
}

/// `src/…`, `bench/src/…` and `crates/x/src/…`.
fn in_src(path: &Path) -> bool {
    let mut parts = path.iter().filter_map(|part| part.to_str());
    match parts.next() {
        Some("src") => true,
        Some("bench") => parts.next() == Some("src"),
        Some("crates") => parts.nth(1) == Some("src"),
        _ => false,
    }
}

fn unfinished(path: &Path, line_number: usize, line: &str) -> Option<Complaint> {
    let name = UNFINISHED.iter().find(|name| calls_macro(line, name))?;
    let wrong = format!("calls `{name}!`");
    Some(Complaint::new(
        path,
        line_number,
        wrong,
        "finish it, or return a typed error",
    ))
}

fn calls_macro(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + name.len()..]
            .trim_start()
            .strip_prefix('!')
            .map(str::trim_start);
        let begins_a_name = !before.is_some_and(|c| c.is_alphanumeric() || c == '_');
        begins_a_name && after.is_some_and(|after| after.starts_with(['(', '[', '{']))
    })
}

fn ignored_test(path: &Path, line_number: usize, line: &str) -> Option<Complaint> {
    has_attribute(line, "ignore").then(|| {
        let fix = "mend the test or delete it; one that never runs holds nothing";
        Complaint::new(path, line_number, "ignores a test", fix)
    })
}

fn allowed_lint(path: &Path, line_number: usize, line: &str) -> Option<Complaint> {
    let generated = path.starts_with(GENERATES_CODE);
    (!generated && has_attribute(line, "allow")).then(|| {
        let fix = "write `#[expect(lint, reason = \"…\")]` on the smallest item";
        Complaint::new(path, line_number, "allows a lint without end", fix)
    })
}

/// Whether an attribute of this name opens on the line, alone or behind a `cfg_attr`.
fn has_attribute(line: &str, name: &str) -> bool {
    let dense: String = line.chars().filter(|c| !c.is_whitespace()).collect();
    let conditional = dense.contains("cfg_attr(");
    dense.match_indices(name).any(|(start, _)| {
        let before = &dense[..start];
        let opens = before.ends_with("#[") || before.ends_with("#![") || (conditional && before.ends_with(','));
        let after = dense[start + name.len()..].chars().next();
        opens && !after.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}
