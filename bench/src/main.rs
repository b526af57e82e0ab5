//! The figures of Flowstone: measured on the machine at hand and printed beside what we want to reach.
//!
//! This file reads the command line and says how the process ends. What a figure is stands in `figures`, what it should
//! be in `goals`, how it is told in `report`.

mod child;
mod disk;
mod engine;
mod figures;
mod goals;
mod machine;
mod pipelines;
mod report;
mod rounds;

use std::ffi::OsStr;
use std::io::{Write, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use flowstone_core::Result;

use crate::figures::{FIGURES, Figure, Setup};

/// A command line that cannot be meant (`EX_USAGE`).
const EXIT_USAGE: u8 = 64;

/// Measures figures of Flowstone and prints them beside their goals.
#[derive(Debug, Parser)]
#[command(name = "flowstone-bench", version)]
struct Args {
    /// The figures; all of them when none is named.
    figures: Vec<String>,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
    /// Print the names of the figures and measure nothing.
    #[arg(long)]
    list: bool,
    /// Where durable figures write; a folder on the disk that is meant [default: beside this program].
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

/// What this program does where it measures itself.
type Child = fn() -> ExitCode;

fn main() -> ExitCode {
    let first = std::env::args_os().nth(1);
    let children: [(&str, Child); 5] = [
        (figures::dynamic::CHILD_ARGUMENT, figures::dynamic::child),
        (figures::hello::CHILD_ARGUMENT, figures::hello::child),
        (figures::scatter::CHILD_ARGUMENT, figures::scatter::child),
        (figures::sets::CHILD_ARGUMENT, figures::sets::child),
        (figures::shapes::CHILD_ARGUMENT, figures::shapes::child),
    ];
    if let Some((_, child)) = children
        .iter()
        .find(|(argument, _)| first.as_deref() == Some(OsStr::new(argument)))
    {
        return child();
    }
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let is_wrong = error.use_stderr();
            drop(error.print());
            return if is_wrong {
                ExitCode::from(EXIT_USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let chosen = match figures::choose(&args.figures) {
        Ok(chosen) => chosen,
        Err(complaint) => {
            drop(writeln!(stderr(), "{complaint}"));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let told = if args.list { list() } else { measure(&args, &chosen) };
    match told {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            drop(writeln!(stderr(), "{error:?}"));
            ExitCode::FAILURE
        }
    }
}

fn list() -> Result<bool> {
    let mut out = stdout().lock();
    for figure in FIGURES {
        writeln!(
            out,
            "{:<width$}  {}",
            figure.name,
            figure.what,
            width = figures::name_len_max()
        )?;
    }
    Ok(true)
}

/// True when every figure could be measured; one that missed its goal was measured too.
fn measure(args: &Args, chosen: &[&Figure]) -> Result<bool> {
    let setup = Setup::new(args.dir.as_deref())?;
    let header = machine::describe(setup.folder())?;
    if args.json {
        // Standard output carries figures only, for programs.
        writeln!(stderr(), "{header}")?;
    } else {
        writeln!(stdout(), "{header}\n\n{}", report::heading())?;
    }
    let mut is_complete = true;
    for figure in chosen {
        match (figure.measure)(&setup) {
            Ok(measured) => {
                let line = report::Line::new(figure, goals::of(figure.name), measured);
                let text = if args.json { line.json() } else { line.row() };
                writeln!(stdout(), "{text}")?;
            }
            Err(error) => {
                is_complete = false;
                writeln!(stderr(), "{}: {error:?}", figure.name)?;
            }
        }
    }
    Ok(is_complete)
}
