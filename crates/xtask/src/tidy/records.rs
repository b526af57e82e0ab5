//! Every decision record has a number of its own, and the index lists them all.
//!
//! Gaps are fine: a number that was set aside and not used is not given out again.

use std::path::Path;

use super::tree::TextFile;
use crate::Complaint;

const FOLDER: &str = "docs/adr";

const INDEX: &str = "docs/adr/README.md";

pub(crate) fn check(files: &[TextFile]) -> Vec<Complaint> {
    let names: Vec<&str> = files
        .iter()
        .filter(|file| file.path.parent() == Some(Path::new(FOLDER)) && file.path != Path::new(INDEX))
        .filter_map(|file| file.path.file_name()?.to_str())
        .collect();
    if names.is_empty() {
        return Vec::new();
    }
    let mut complaints = misnumbered(&names);
    match files.iter().find(|file| file.path == Path::new(INDEX)) {
        Some(index) => complaints.extend(misindexed(&names, index)),
        None => complaints.push(Complaint::new(
            Path::new(INDEX),
            1,
            "is missing",
            "list every decision record in it",
        )),
    }
    complaints
}

/// `names` are in order, so each number must be greater than the one before it.
fn misnumbered(names: &[&str]) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    let mut due = 0;
    for name in names {
        let number = number(name);
        if number.is_none_or(|number| number < due) {
            let fix = format!("call it `<number>-<title>.md`, {due:04} or a later number that is free");
            complaints.push(Complaint::new(
                &Path::new(FOLDER).join(name),
                1,
                "its name has no number of its own",
                fix,
            ));
        }
        due = number.map_or(due, |number| number + 1);
    }
    complaints
}

/// The number of `0007-title.md`.
fn number(name: &str) -> Option<u32> {
    let (digits, title) = name.strip_suffix(".md")?.split_once('-')?;
    let fits = digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_digit()) && !title.is_empty();
    fits.then(|| digits.parse().ok())?
}

fn misindexed(names: &[&str], index: &TextFile) -> Vec<Complaint> {
    let unlisted = names
        .iter()
        .filter(|name| !index.text.contains(&format!("]({name})")))
        .map(|name| {
            let wrong = format!("`{name}` is not listed");
            Complaint::new(&index.path, 1, wrong, format!("add a line that links to `{name}`"))
        });
    let links = index
        .text
        .lines()
        .enumerate()
        .flat_map(|(at, line)| targets(line).map(move |target| (at + 1, target)));
    let dangling = links
        .filter(|(_, target)| number(target).is_some() && !names.contains(target))
        .map(|(line, target)| {
            let wrong = format!("`{target}` is listed but does not exist");
            Complaint::new(&index.path, line, wrong, "correct the link or remove it")
        });
    unlisted.chain(dangling).collect()
}

/// Where the Markdown links of a line lead.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target)
}
