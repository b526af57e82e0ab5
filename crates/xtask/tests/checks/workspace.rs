//! This workspace itself is in order.

use std::path::Path;

use xtask::Complaint;

#[test]
fn this_workspace_keeps_its_layers() {
    let complaints = xtask::layers::check(root());

    assert!(complaints.is_empty(), "{}", listed(&complaints));
}

#[test]
fn this_workspace_is_tidy() {
    let complaints = xtask::tidy::check(root());

    assert!(complaints.is_empty(), "{}", listed(&complaints));
}

fn root() -> &'static Path {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_dir
        .ancestors()
        .nth(2)
        .expect("this crate lies two folders below the workspace")
}

fn listed(complaints: &[Complaint]) -> String {
    complaints.iter().map(|complaint| format!("\n{complaint}")).collect()
}
