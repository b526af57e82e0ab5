//! The flights example makes what SQLite computed from the same files, and says clearly what is wrong with bad ones.
//!
//! The example is compiled in whole, so that its own types read its values back.

#[path = "../../examples/flights/main.rs"]
#[expect(dead_code, reason = "what the example prints is not called here")]
mod example;

mod bad_input;
mod figures;
mod lab;
mod times;
mod touched;

use std::path::Path;
use std::process::ExitCode;

use flowstone::prelude::*;
use tempfile::TempDir;

use example::pipeline_over;
use figures::Figures;

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/flights/data");
/// Where the full tables lie on the machines that have them.
const YEAR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/nycflights13");

#[test]
fn january_comes_to_what_sqlite_computed() {
    let state = TempDir::new().unwrap();

    let code = run_all(january, state.path());

    assert_eq!(code, ExitCode::SUCCESS);
    Figures::of("january").compare(january().unwrap(), state.path());
}

#[test]
fn the_year_comes_to_what_sqlite_computed() {
    if !Path::new(YEAR).is_dir() {
        eprintln!("the full tables are not here: only January was compared");
        return;
    }
    let state = TempDir::new().unwrap();

    let code = run_all(year, state.path());

    assert_eq!(code, ExitCode::SUCCESS);
    Figures::of("year").compare(year().unwrap(), state.path());
}

fn january() -> Result<Pipeline> {
    pipeline_over(Path::new(SAMPLE))
}

fn year() -> Result<Pipeline> {
    pipeline_over(Path::new(YEAR))
}

/// Makes everything, as the example does when it is given no arguments.
fn run_all(pipeline: fn() -> Result<Pipeline>, state: &Path) -> ExitCode {
    let state = state.to_str().expect("temporary folders have names in UTF-8");
    flowstone::cli::main_with(
        pipeline,
        ["flights", "run", "*", "--all", "--state-dir", state].map(String::from),
    )
}
