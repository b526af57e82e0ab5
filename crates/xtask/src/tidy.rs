//! What every file of the workspace must look like.
//!
//! Rules that clippy or rustfmt can hold are theirs; these are the ones that they cannot.

mod code_text;
mod machine_paths;
mod manifests;
mod promises;
mod records;
mod sources;
mod tree;

use std::path::Path;

use crate::Complaint;
use crate::manifest::Manifests;

pub use sources::LINES_MAX;

/// Checks every file below `root` that belongs to the workspace.
pub fn check(root: &Path) -> Vec<Complaint> {
    let read = Manifests::read(root);
    let (files, mut complaints) = tree::read(root);
    complaints.extend(manifests::check(root, &read));
    complaints.extend(files.iter().flat_map(sources::check));
    complaints.extend(files.iter().flat_map(machine_paths::check));
    complaints.extend(promises::check(&files));
    complaints.extend(records::check(&files));
    complaints.extend(read.unreadable);
    complaints.sort();
    complaints.dedup();
    complaints
}
