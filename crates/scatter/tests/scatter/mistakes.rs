//! The messages that a person reads.
//!
//! They are the compiler's in part and change with it, so they are compared with one version of it only. When that
//! version changes, look at each message before `TRYBUILD=overwrite` accepts them.

use std::env;
use std::process::Command;

/// The version of the compiler that said what the `.stderr` files hold.
const COMPILER: &str = "rustc 1.95.";

#[test]
fn mistakes_are_explained_where_they_stand() {
    let compiler = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(compiler).arg("--version").output().unwrap().stdout;
    if version.starts_with(COMPILER.as_bytes()) {
        trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
    } else {
        println!("not compared: the messages are those of {COMPILER}x");
    }
}
