//! No file may name a folder of the machine that it was written on.

use super::tree::TextFile;
use crate::Complaint;

/// Folders in which somebody's checkout lies, without their slashes: this file is checked too.
const FOLDERS: &[&str] = &["root", "home", "work", "Users"];

pub(crate) fn check(file: &TextFile) -> Vec<Complaint> {
    let needles: Vec<String> = FOLDERS.iter().map(|folder| format!("/{folder}/")).collect();
    let lines = file.text.lines().enumerate();
    lines
        .filter_map(|(index, line)| {
            let found = needles.iter().find(|needle| starts_path(line, needle))?;
            let wrong = format!("names `{found}`, a folder of one machine");
            let fix = "use a relative path, or take the folder as an argument";
            Some(Complaint::new(&file.path, index + 1, wrong, fix))
        })
        .collect()
}

/// Whether `needle` begins an absolute path, rather than going on a relative one or a URL's.
fn starts_path(line: &str, needle: &str) -> bool {
    line.match_indices(needle).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "._-~}*]>".contains(c))
    })
}
