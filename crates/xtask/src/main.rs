//! `cargo run -p xtask -- check` prints what is wrong with the workspace, one complaint a line; `-- proof [--long]` runs what
//! proves the promises and prints a table.

use std::env;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: u8 = 64;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let mut talk = io::stderr().lock();
    let (code, said) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["check"] => check(&mut talk),
        ["proof"] => prove(false, &mut talk),
        ["proof", "--long"] => prove(true, &mut talk),
        _ => (
            ExitCode::from(USAGE),
            writeln!(talk, "usage: cargo run -p xtask -- check | proof [--long]"),
        ),
    };
    // With nobody left to listen, the exit code still tells.
    said.map_or(ExitCode::FAILURE, |()| code)
}

fn prove(is_long: bool, talk: &mut impl io::Write) -> (ExitCode, io::Result<()>) {
    match xtask::proof::run(is_long, &mut io::stdout(), talk) {
        Ok(true) => (ExitCode::SUCCESS, Ok(())),
        Ok(false) => (ExitCode::FAILURE, writeln!(talk, "xtask proof: not proven")),
        Err(error) => (ExitCode::FAILURE, Err(error)),
    }
}

fn check(talk: &mut impl io::Write) -> (ExitCode, io::Result<()>) {
    let complaints = xtask::check(&workspace_root());
    if complaints.is_empty() {
        return (
            ExitCode::SUCCESS,
            writeln!(talk, "xtask check: layers and files are in order"),
        );
    }
    let said = complaints
        .iter()
        .try_for_each(|complaint| writeln!(talk, "{complaint}"))
        .and_then(|()| writeln!(talk, "xtask check: {} complaints", complaints.len()));
    (ExitCode::FAILURE, said)
}

/// Two folders above this crate when cargo runs us, the current folder otherwise.
fn workspace_root() -> PathBuf {
    env::var_os("CARGO_MANIFEST_DIR")
        .and_then(|crate_dir| Path::new(&crate_dir).ancestors().nth(2).map(Path::to_path_buf))
        .unwrap_or_else(|| PathBuf::from("."))
}
