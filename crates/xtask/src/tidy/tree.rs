//! The text files that belong to the workspace.
//!
//! Build output, state folders and hidden folders are left out; so is what is not UTF-8. Does not ask git, so that a
//! file is checked before it is added.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::Complaint;

/// A file, its path relative to the workspace.
#[derive(Debug)]
pub(crate) struct TextFile {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

const LEFT_OUT: &[&str] = &["target", "node_modules", "artifacts", "corpus"];

const HIDDEN_BUT_OURS: &[&str] = &[".cargo", ".ci", ".config", ".github"];

/// All of them in order of path, with a complaint for each folder or file that cannot be read.
pub(crate) fn read(root: &Path) -> (Vec<TextFile>, Vec<Complaint>) {
    let mut files = Vec::new();
    let mut complaints = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let entries = match entries(&root.join(&folder)) {
            Ok(entries) => entries,
            Err(error) => {
                complaints.push(unreadable(&folder, &error));
                continue;
            }
        };
        for entry in entries {
            let path = folder.join(&entry.name);
            match entry.kind {
                Kind::Folder if belongs(&root.join(&path), &entry.name) => folders.push(path),
                // In a second work tree of git this is a file that names the first one.
                Kind::File if entry.name == ".git" => {}
                Kind::File => match fs::read(root.join(&path)) {
                    Ok(bytes) => files.extend(String::from_utf8(bytes).ok().map(|text| TextFile { path, text })),
                    Err(error) => complaints.push(unreadable(&path, &error)),
                },
                Kind::Folder | Kind::Other => {}
            }
        }
    }
    files.sort_by(|left, right| left.path.cmp(&right.path));
    (files, complaints)
}

enum Kind {
    Folder,
    File,
    Other,
}

struct Entry {
    name: String,
    kind: Kind,
}

fn entries(folder: &Path) -> io::Result<Vec<Entry>> {
    fs::read_dir(folder)?
        .map(|entry| {
            let entry = entry?;
            let file_type = entry.file_type()?;
            let kind = match (file_type.is_dir(), file_type.is_file()) {
                (true, _) => Kind::Folder,
                (_, true) => Kind::File,
                _ => Kind::Other,
            };
            Ok(Entry {
                name: entry.file_name().to_string_lossy().into_owned(),
                kind,
            })
        })
        .collect()
}

fn belongs(folder: &Path, name: &str) -> bool {
    let hidden = name.starts_with('.') && !HIDDEN_BUT_OURS.contains(&name);
    let built = LEFT_OUT.contains(&name) || folder.join("CACHEDIR.TAG").exists();
    !hidden && !built
}

fn unreadable(path: &Path, error: &io::Error) -> Complaint {
    Complaint::new(path, 1, format!("cannot be read: {error}"), "make it readable")
}
