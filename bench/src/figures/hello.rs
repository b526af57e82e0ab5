//! `hello_ms`: from the start of a process to its first value.
//!
//! What the `hello` example does, in a new process each time: this program again, with an argument that only it knows.
//! The clock runs from the spawn until the value was read from the child's output. The child is a larger file than the
//! example, so loading it costs a little more.

use std::io::{BufRead, BufReader, Write, stderr, stdout};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use flowstone::prelude::*;

use super::{Figure, Measured, Setup};
use crate::{engine, rounds};

const ROUNDS: usize = 60;

/// Makes this program be the child.
pub(crate) const CHILD_ARGUMENT: &str = "__hello";

const VALUE: &str = "6";

pub(crate) const FIGURE: Figure = Figure {
    name: "hello_ms",
    unit: "ms",
    what: "process start to first value",
    measure,
};

#[asset]
async fn numbers() -> Vec<i64> {
    vec![1, 2, 3]
}

#[asset]
async fn total(numbers: Vec<i64>) -> i64 {
    numbers.iter().sum()
}

/// The child: prints the value.
pub(crate) fn child() -> ExitCode {
    let made = engine::block_on(async {
        let pipeline = Pipeline::builder("hello").assets(assets![numbers, total]).build()?;
        let total: i64 = flowstone::run(&pipeline, "total").await?;
        writeln!(stdout(), "{total}")?;
        Ok(())
    });
    match made {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(stderr(), "{error:?}"));
            ExitCode::FAILURE
        }
    }
}

fn measure(_: &Setup) -> Result<Measured> {
    let mut taken_ms = Vec::new();
    for _ in 0..ROUNDS {
        taken_ms.push(spawn_once()?);
    }
    let least = taken_ms.iter().copied().fold(f64::INFINITY, f64::min);
    Ok(Measured {
        value: Some(rounds::median(taken_ms)),
        rounds: ROUNDS,
        doubt: None,
        note: format!("least {least:.1} ms"),
    })
}

/// Milliseconds from the spawn to the value.
fn spawn_once() -> Result<f64> {
    let program = std::env::current_exe()?;
    let mut line = String::new();
    let started = Instant::now();
    let mut child = Command::new(program)
        .arg(CHILD_ARGUMENT)
        .stdout(Stdio::piped())
        .spawn()?;
    if let Some(out) = child.stdout.take() {
        BufReader::new(out).read_line(&mut line)?;
    }
    let taken = started.elapsed();
    let status = child.wait()?;
    if status.success() && line.trim_end() == VALUE {
        return Ok(taken.as_secs_f64() * 1e3);
    }
    let went = format!("the child printed {line:?} and ended with {status}");
    Err(Error::new(ErrorKind::Internal, went))
}
