//! `doctor`: is everything in order, and where does each setting come from? Changes nothing.

mod probe;

use std::collections::BTreeMap;

use flowstone_core::retention::Keep;
use flowstone_core::store::{RunFilter, Store};
use flowstone_core::{Error, ErrorKind, Result};
use serde::Serialize;

use crate::entry::Context;
use crate::exit::{Exit, Failure};
use crate::output::{aligned, counted, readable, size, table};
use crate::settings::{VARIABLES, describe_keep};
use crate::state::{self, NOTHING_YET};
use probe::{LockHolder, free_bytes, is_writable, lock_holder, size_of_folder, time_zones};

/// With less than this, the next commits may fail.
const FREE_BYTES_MIN: u64 = 64 * 1024 * 1024;
/// The most open runs that are counted.
const RUNS_COUNTED_MAX: usize = 10_000;

#[derive(Serialize)]
struct Diagnosis {
    version: &'static str,
    pipeline: Option<PipelineFacts>,
    settings: Vec<SettingFacts>,
    state: StateFacts,
    time_zones: String,
    problems: Vec<Problem>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct PipelineFacts {
    name: String,
    assets: usize,
}

#[derive(Serialize)]
struct SettingFacts {
    name: &'static str,
    value: String,
    origin: String,
}

#[derive(Serialize)]
struct StateFacts {
    folder: String,
    exists: bool,
    is_writable: bool,
    free_bytes: Option<u64>,
    data_bytes: Option<u64>,
    holder: Option<LockHolder>,
    store: Option<StoreFacts>,
}

#[derive(Serialize)]
struct StoreFacts {
    schema_version: u32,
    bytes: u64,
    free_bytes: u64,
    open_runs: usize,
    tables: Vec<TableFacts>,
}

#[derive(Serialize)]
struct TableFacts {
    table: String,
    rows: u64,
    bytes: Option<u64>,
}

#[derive(Serialize)]
struct Problem {
    code: String,
    message: String,
    fix: Option<String>,
}

impl From<&Error> for Problem {
    fn from(error: &Error) -> Self {
        Self {
            code: error.stable_code().to_owned(),
            message: error.to_string(),
            fix: error.advice().map(str::to_owned),
        }
    }
}

pub(super) async fn perform(context: &Context) -> std::result::Result<Exit, Failure> {
    let mut problems = Vec::new();
    let mut notes = Vec::new();
    let pipeline = note(context.pipeline(), &mut problems);
    let pipeline = pipeline.map(|built| PipelineFacts {
        name: built.name().to_owned(),
        assets: built.graph().len(),
    });
    let (time_zones, works) = time_zones();
    note(works, &mut problems);
    let state = state(context, &mut problems, &mut notes).await;
    let unknown = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut unknown: Vec<String> = unknown
        .filter(|name| name.starts_with("FLOWSTONE_") && !VARIABLES.contains(&name.as_str()))
        .collect();
    unknown.sort();
    notes.extend(
        unknown
            .into_iter()
            .map(|name| format!("the variable {name} sets nothing that this program reads")),
    );
    let diagnosis = Diagnosis {
        version: env!("CARGO_PKG_VERSION"),
        pipeline,
        settings: settings(context),
        state,
        time_zones,
        problems,
        notes,
    };
    context.out.data("flowstone.doctor/1", &diagnosis, show)?;
    Ok(if diagnosis.problems.is_empty() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

fn note<T>(found: Result<T>, problems: &mut Vec<Problem>) -> Option<T> {
    found.map_err(|error| problems.push(Problem::from(&error))).ok()
}

fn settings(context: &Context) -> Vec<SettingFacts> {
    let settings = &context.settings;
    vec![
        SettingFacts {
            name: "state_dir",
            value: settings.state_dir.value.display().to_string(),
            origin: settings.state_dir.origin.to_string(),
        },
        SettingFacts {
            name: "workers",
            value: settings.workers.value.to_string(),
            origin: settings.workers.origin.to_string(),
        },
        SettingFacts {
            name: "cancel_grace",
            value: format!("{:?}", settings.cancel_grace.value),
            origin: settings.cancel_grace.origin.to_string(),
        },
        SettingFacts {
            name: "log",
            value: settings.log.value.clone(),
            origin: settings.log.origin.to_string(),
        },
        SettingFacts {
            name: "pools",
            value: pools(&settings.pools.value),
            origin: settings.pools.origin.to_string(),
        },
        keep_facts("retention.events", settings.retention.value.events, context),
        keep_facts("retention.runs", settings.retention.value.runs, context),
        keep_facts("retention.versions", settings.retention.value.versions, context),
    ]
}

fn pools(slots: &BTreeMap<String, u32>) -> String {
    if slots.is_empty() {
        return "as the pipeline says".to_owned();
    }
    let each: Vec<String> = slots.iter().map(|(name, slots)| format!("{name}: {slots}")).collect();
    each.join(", ")
}

fn keep_facts(name: &'static str, keep: Keep, context: &Context) -> SettingFacts {
    SettingFacts {
        name,
        value: describe_keep(keep),
        origin: context.settings.retention.origin.to_string(),
    }
}

async fn state(context: &Context, problems: &mut Vec<Problem>, notes: &mut Vec<String>) -> StateFacts {
    let dir = context.state_dir();
    let mut facts = StateFacts {
        folder: dir.display().to_string(),
        exists: dir.exists(),
        is_writable: false,
        free_bytes: None,
        data_bytes: None,
        holder: None,
        store: None,
    };
    facts.is_writable = note(is_writable(dir), problems).is_some();
    facts.free_bytes = note(free_bytes(dir), problems);
    if let Some(free) = facts.free_bytes.filter(|free| *free < FREE_BYTES_MIN) {
        let low = Error::new(ErrorKind::StorageFull, format!("only {} are free", size(free)))
            .about(format!("state folder {}", dir.display()))
            .fix("free some space, or move the state to a larger disk");
        problems.push(Problem::from(&low));
    }
    if !facts.exists {
        notes.push(NOTHING_YET.to_owned());
        return facts;
    }
    facts.data_bytes = size_of_folder(&dir.join(crate::session::DATA_FOLDER));
    facts.holder = note(lock_holder(dir).await, problems).flatten();
    let read = async {
        match state::read(dir).await? {
            Some(store) => store_facts(&*store).await.map(Some),
            None => Ok(None),
        }
    };
    facts.store = note(read.await, problems).flatten();
    match (&facts.store, &facts.holder) {
        (None, _) if problems.is_empty() => notes.push(NOTHING_YET.to_owned()),
        (Some(store), None) if store.open_runs > 0 => {
            notes.push(format!(
                "{}: the next `run` goes on with what is open, `cancel` ends it",
                counted(store.open_runs as u64, "open run")
            ));
        }
        _ => {}
    }
    facts
}

async fn store_facts(store: &dyn Store) -> Result<StoreFacts> {
    let stats = store.stats().await?;
    let open_runs = store.runs(RunFilter::Open, RUNS_COUNTED_MAX).await?.len();
    let tables = stats
        .tables
        .into_iter()
        .map(|(table, (rows, bytes))| TableFacts { table, rows, bytes });
    Ok(StoreFacts {
        schema_version: stats.schema_version,
        bytes: stats.bytes,
        free_bytes: stats.free_bytes,
        open_runs,
        tables: tables.collect(),
    })
}

fn show(diagnosis: &Diagnosis) -> String {
    let mut facts: Vec<[String; 2]> = vec![["flowstone".to_owned(), diagnosis.version.to_owned()]];
    let mut fact = |name: &str, value: String| facts.push([name.to_owned(), value]);
    if let Some(pipeline) = &diagnosis.pipeline {
        fact(
            "pipeline",
            format!("{}, {}", pipeline.name, counted(pipeline.assets as u64, "asset")),
        );
    }
    let state = &diagnosis.state;
    let condition = match (state.exists, state.is_writable) {
        (true, true) => "",
        (false, true) => ", to be made by the first run",
        (_, false) => ", not writable",
    };
    fact("state folder", format!("{}{condition}", state.folder));
    if let Some(free) = state.free_bytes {
        fact("free on its disk", size(free));
    }
    if let Some(data) = state.data_bytes {
        fact("data", size(data));
    }
    if let Some(store) = &state.store {
        fact(
            "ledger",
            format!(
                "schema {}, {}, of which {} free",
                store.schema_version,
                size(store.bytes),
                size(store.free_bytes)
            ),
        );
        fact("open runs", store.open_runs.to_string());
    }
    fact(
        "held by",
        state
            .holder
            .as_ref()
            .map_or_else(|| "nobody".to_owned(), ToString::to_string),
    );
    fact("time zones", diagnosis.time_zones.clone());
    let mut text = table(["what", "found"], facts);
    let settings = diagnosis.settings.iter();
    let settings = settings.map(|s| [s.name.to_owned(), s.value.clone(), s.origin.clone()]);
    text.push_str(&format!("\n\n{}", table(["setting", "value", "from"], settings)));
    if let Some(store) = &state.store {
        let rows = store.tables.iter().map(|table| {
            [
                table.table.clone(),
                table.rows.to_string(),
                table.bytes.map_or_else(String::new, size),
            ]
        });
        text.push_str(&format!("\n\n{}", aligned(["table", "rows", "size"], &[1, 2], rows)));
    }
    text.push('\n');
    for note in &diagnosis.notes {
        text.push_str(&format!("\nnote: {}", readable(note)));
    }
    for problem in &diagnosis.problems {
        text.push_str(&format!("\nproblem: {}", readable(&problem.message)));
        if let Some(fix) = &problem.fix {
            text.push_str(&format!("\n  fix: {}", readable(fix)));
        }
    }
    if diagnosis.problems.is_empty() {
        text.push_str("\nno problems found");
    }
    text
}
