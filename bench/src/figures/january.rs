//! `january_s`: the whole flights example over its January sample, from nothing to printed reports.
//!
//! Runs the built example as a person would, on a new state folder: CSV files in, Parquet files and a durable ledger
//! out. The example is not built by this crate, so it may not be there.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use flowstone_core::{Error, ErrorKind, Result};

use super::{Figure, Measured, Setup};
use crate::rounds;

const ROUNDS: usize = 3;

pub(crate) const FIGURE: Figure = Figure {
    name: "january_s",
    unit: "s",
    what: "the flights example on January, from CSV files to reports",
    measure,
};

fn measure(setup: &Setup) -> Result<Measured> {
    let Some(example) = built_example()? else {
        return Ok(Measured {
            value: None,
            rounds: 0,
            doubt: None,
            note: "build the example first: cargo build --release --example flights".to_owned(),
        });
    };
    let mut taken_s = Vec::new();
    for _ in 0..ROUNDS {
        let folder = setup.new_folder()?;
        let started = Instant::now();
        let status = Command::new(&example)
            .current_dir(folder.path())
            .env("FLOWSTONE_STATE_DIR", folder.path().join("state"))
            .env_remove("FLIGHTS_DATA")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        taken_s.push(started.elapsed().as_secs_f64());
        if !status.success() {
            let fix = "build it again: cargo build --release --example flights";
            let went = format!("the flights example ended with {status}");
            return Err(Error::new(ErrorKind::Internal, went).fix(fix));
        }
    }
    Ok(Measured {
        value: Some(rounds::median(taken_s)),
        rounds: ROUNDS,
        doubt: None,
        note: "the example as it was last built".to_owned(),
    })
}

/// The example in the folder where cargo puts it when it builds this program.
fn built_example() -> Result<Option<PathBuf>> {
    let program = std::env::current_exe()?;
    let name = format!("flights{}", std::env::consts::EXE_SUFFIX);
    let example = program.parent().map(|folder| folder.join("examples").join(name));
    Ok(example.filter(|path| path.exists()))
}
