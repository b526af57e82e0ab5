//! The checks that hold this workspace together, as plain functions over its files.
//!
//! [`layers`] holds who may depend on whom, [`tidy`] what a file must look like. Both read the tree and nothing else:
//! no cargo, no network. `cargo run -p xtask -- check` prints what they find, and this crate's tests fail on it. [`proof`]
//! is a command and no check: it runs tests and gathers their figures.

pub mod layers;
pub mod proof;
pub mod tidy;

mod complaint;
mod manifest;

use std::path::Path;

pub use complaint::Complaint;

/// Everything that is wrong with the workspace at `root`, in order of file and line.
pub fn check(root: &Path) -> Vec<Complaint> {
    let mut complaints = layers::check(root);
    complaints.extend(tidy::check(root));
    complaints.sort();
    complaints.dedup();
    complaints
}
