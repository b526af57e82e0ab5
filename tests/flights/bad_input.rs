//! What is said, and what is not made, when the files are not as they should be.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::LazyLock;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use flowstone::prelude::*;
use jiff::civil::date;
use tempfile::TempDir;

use crate::example::ingest::RawFlight;
use crate::example::join::DayReport;
use crate::example::pipeline_over;
use crate::example::reports::CarrierRow;
use crate::example::source::FlightsData;
use crate::{SAMPLE, run_all};

#[test]
fn a_value_that_does_not_parse_is_named_with_its_place() {
    let folder = sample_with("flights.csv.gz", |lines| {
        lines[2] = lines[2].replacen(",533,529,4,", ",533,529,4x,", 1);
    });

    let error = flights_of_new_year(folder.path()).unwrap_err();

    assert_eq!(error.stable_code(), "csv_row_malformed");
    let text = error.to_string();
    assert!(text.contains("flights.csv.gz"), "{text}");
    assert!(
        text.ends_with(r#"line 3: column dep_delay: "4x" is not a whole number that fits i32"#),
        "{text}"
    );
    assert!(error.advice().is_some());
}

#[test]
fn a_clock_time_that_no_clock_shows_is_refused() {
    let folder = sample_with("flights.csv.gz", |lines| {
        lines[2] = lines[2].replacen(",533,529,4,", ",533,569,4,", 1);
    });

    let text = flights_of_new_year(folder.path()).unwrap_err().to_string();

    assert!(
        text.contains(r#"line 3: column sched_dep_time: "569" is not a clock time"#),
        "{text}"
    );
}

#[test]
fn a_row_that_ends_early_is_named_with_its_line() {
    let folder = sample_with("flights.csv.gz", |lines| lines[9] = "2013,1,1,557,600".to_owned());

    let text = flights_of_new_year(folder.path()).unwrap_err().to_string();

    assert!(text.ends_with("line 10: 5 fields, the header has 19"), "{text}");
}

#[test]
fn a_day_that_is_not_in_the_calendar_is_refused_at_once() {
    let folder = sample_with("flights.csv.gz", |lines| {
        lines[4] = lines[4].replacen("2013,1,1,", "2013,1,41,", 1);
    });

    let text = pipeline_over(folder.path()).unwrap_err().to_string();

    assert!(
        text.ends_with(r#"line 5: column day: "2013-1-41" is not a day of the calendar"#),
        "{text}"
    );
}

#[test]
fn a_header_without_a_column_is_refused() {
    let folder = sample_with("flights.csv.gz", |lines| {
        lines[0] = lines[0].replacen("dep_delay", "delay", 1);
    });

    let text = flights_of_new_year(folder.path()).unwrap_err().to_string();

    assert!(text.ends_with("line 1: the header has no column dep_delay"), "{text}");
}

#[test]
fn a_file_that_was_cut_off_is_named() {
    let folder = sample();
    let path = folder.path().join("weather.csv.gz");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();

    let error = pipeline_over(folder.path()).unwrap_err();

    assert!(error.to_string().contains("weather.csv.gz"), "{error}");
    assert!(error.advice().is_some());
}

#[test]
fn a_missing_folder_ends_with_code_1_and_says_what_to_set() {
    fn nowhere() -> Result<Pipeline> {
        pipeline_over(Path::new("no/such/folder"))
    }
    let state = TempDir::new().unwrap();

    let error = nowhere().unwrap_err();

    assert_eq!(
        error.to_string(),
        "failed to open the flights data in no/such/folder: there is no such folder"
    );
    assert!(error.advice().unwrap().contains("FLIGHTS_DATA"));
    assert_eq!(run_all(nowhere, state.path()), ExitCode::from(1));
}

#[test]
fn a_folder_without_a_table_says_which() {
    let folder = sample();
    fs::remove_file(folder.path().join("planes.csv.gz")).unwrap();

    let text = pipeline_over(folder.path()).unwrap_err().to_string();

    assert!(text.ends_with("it does not hold planes.csv.gz"), "{text}");
}

/// The second day holds a row that does not parse.
static BROKEN: LazyLock<TempDir> = LazyLock::new(|| {
    sample_with("flights.csv.gz", |lines| {
        let second = lines.iter_mut().find(|line| line.starts_with("2013,1,2,")).unwrap();
        *second = second.replacen("2013,1,2,", "2013,1,2,soon", 1);
    })
});

#[test]
fn a_malformed_row_fails_its_day_and_what_is_made_from_it_and_nothing_else() {
    fn broken() -> Result<Pipeline> {
        pipeline_over(BROKEN.path())
    }
    let state = TempDir::new().unwrap();

    let code = run_all(broken, state.path());

    assert_eq!(code, ExitCode::from(1));
    let made = made(
        broken().unwrap(),
        state.path(),
        &["2013-01-01", "2013-01-02", "2013-01-03"],
    );
    assert_eq!(made, [true, false, true]);
}

/// Which days of `day_report` there are; the month's reports must not be there.
#[tokio::main]
async fn made(pipeline: Pipeline, state: &Path, days: &[&str]) -> Vec<bool> {
    let engine = flowstone::open(pipeline, state).await.unwrap();
    let mut made = Vec::new();
    for day in days {
        made.push(engine.load::<DayReport>("day_report", day).await.is_ok());
    }
    assert!(
        engine
            .load::<Vec<CarrierRow>>("carrier_report", "2013-01")
            .await
            .is_err()
    );
    engine.shutdown().await.unwrap();
    made
}

fn flights_of_new_year(folder: &Path) -> Result<Vec<RawFlight>, Error> {
    FlightsData::open(folder)?.flights_on(date(2013, 1, 1))
}

/// A copy of the January sample.
pub(crate) fn sample() -> TempDir {
    let copy = TempDir::new().unwrap();
    for table in ["flights", "weather", "airlines", "airports", "planes"] {
        let name = format!("{table}.csv.gz");
        fs::copy(Path::new(SAMPLE).join(&name), copy.path().join(&name)).unwrap();
    }
    copy
}

/// A copy of the January sample in which the lines of one file were changed.
pub(crate) fn sample_with(name: &str, change: impl FnOnce(&mut Vec<String>)) -> TempDir {
    let copy = sample();
    let path = copy.path().join(name);
    let mut text = String::new();
    GzDecoder::new(File::open(&path).unwrap())
        .read_to_string(&mut text)
        .unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    change(&mut lines);
    // A file of its own, since a copied one may be read-only.
    fs::remove_file(&path).unwrap();
    let mut file = GzEncoder::new(File::create(&path).unwrap(), Compression::fast());
    file.write_all((lines.join("\n") + "\n").as_bytes()).unwrap();
    file.finish().unwrap();
    copy
}
