//! What is measured in a process of its own: this program again, which tells its numbers on its standard error.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{Write as _, stderr};
use std::process::{Command, ExitCode, Stdio};

use flowstone_core::{Error, ErrorKind, Result};

/// Runs this program with `arguments`, of which the first says what it is to be, and gives the `N` numbers that it tells.
pub(crate) fn ask<const N: usize>(arguments: impl IntoIterator<Item: AsRef<OsStr>>) -> Result<[f64; N]> {
    let child = Command::new(std::env::current_exe()?)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()?;
    let told = String::from_utf8_lossy(&child.stderr);
    let numbers: Vec<f64> = told.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match numbers.try_into() {
        Ok(numbers) if child.status.success() => Ok(numbers),
        _ => Err(Error::new(
            ErrorKind::Internal,
            format!("the child said {told:?} and ended with {}", child.status),
        )),
    }
}

/// Tells `numbers` to the process that asked.
pub(crate) fn tell(numbers: &[f64]) -> ExitCode {
    let mut line = String::new();
    for number in numbers {
        write!(line, "{number} ").expect("a string takes all text");
    }
    match writeln!(stderr(), "{line}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
