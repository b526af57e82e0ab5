//! The way in: from the words on the command line to a verb, and from its end to an exit code.

use std::ffi::OsString;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind as ClapErrorKind;
use flowstone_core::pipeline::Pipeline;
use flowstone_core::{Error, ErrorKind, Result};
use flowstone_runtime::Engine;
use tokio::runtime::{Builder, Runtime};

use crate::args::{AcceptArgs, BackfillVerb, Cli, EngineArgs, GlobalArgs, OutputFormat, ScatterVerb, Verb};
use crate::exit::{Exit, Failure, OrUsage as _, USAGE, exit_code};
use crate::output::Output;
use crate::settings::Settings;
use crate::{logs, session, verbs};

/// What a verb has at hand.
pub(crate) struct Context {
    pub(crate) out: Output,
    pub(crate) settings: Settings,
    /// The name of the program, for hints.
    pub(crate) program: String,
    /// Whether values may be orphaned whose partitions the pipeline no longer defines.
    pub(crate) accepts_orphans: bool,
    pipeline: fn() -> Result<Pipeline>,
}

impl Context {
    /// Builds the pipeline.
    pub(crate) fn pipeline(&self) -> Result<Pipeline> {
        (self.pipeline)()
    }

    pub(crate) fn state_dir(&self) -> &Path {
        &self.settings.state_dir.value
    }
}

/// Does what the process was started for; see the crate for the verbs and the exit codes.
///
/// The pipeline is built once the command line is understood. Never panics for a closed stdout.
pub fn main(pipeline: fn() -> Result<Pipeline>) -> ExitCode {
    start(pipeline, &std::env::args_os().collect::<Vec<_>>())
}

/// The same with given arguments, the program's name first.
///
/// ```
/// # fn pipeline() -> flowstone_core::Result<flowstone_core::pipeline::Pipeline> {
/// #     flowstone_core::pipeline::Pipeline::builder("none").build()
/// # }
/// let ended = flowstone_cli::main_with(pipeline, ["demo", "check"].map(String::from));
/// assert_eq!(format!("{ended:?}"), format!("{:?}", std::process::ExitCode::SUCCESS));
/// ```
pub fn main_with(pipeline: fn() -> Result<Pipeline>, args: impl IntoIterator<Item = String>) -> ExitCode {
    start(pipeline, &args.into_iter().map(OsString::from).collect::<Vec<_>>())
}

/// Where the command line keeps state when no flag says so: as `FLOWSTONE_STATE_DIR` or `flowstone.toml` say, else
/// `.flowstone` in the current folder.
///
/// # Errors
/// `Invalid` when one of the settings is not well formed.
pub fn state_dir() -> Result<PathBuf> {
    Ok(Settings::read(&GlobalArgs::default(), &EngineArgs::default())?
        .state_dir
        .value)
}

/// Opens `pipeline` on the state in `state_dir`, as the command line does: the ledger in SQLite, values as objects in its
/// folder `data`, and the other settings as the environment and `flowstone.toml` have them.
///
/// # Errors
/// As [`Engine::start`]; `Locked` when another process holds the state; `Invalid` for a setting that is not well formed.
pub async fn open(pipeline: Pipeline, state_dir: &Path) -> Result<Engine> {
    let settings = Settings::read(&GlobalArgs::default(), &EngineArgs::default())?;
    session::start(pipeline, state_dir, &settings, false).await
}

fn start(pipeline: fn() -> Result<Pipeline>, args: &[OsString]) -> ExitCode {
    let program = program_name(args.first());
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error, wants_json(args)),
    };
    let out = Output::new(cli.global.output);
    let ended = perform(pipeline, &cli, out.clone(), program);
    if let Err(failure) = &ended {
        out.failure(failure);
    }
    exit_code(&ended)
}

fn perform(
    pipeline: fn() -> Result<Pipeline>,
    cli: &Cli,
    out: Output,
    program: String,
) -> std::result::Result<Exit, Failure> {
    let none = EngineArgs::default();
    let engine = match &cli.verb {
        Verb::Run(args) => &args.engine,
        Verb::Apply(args) => &args.engine,
        Verb::Backfill(args) => match &args.verb {
            Some(BackfillVerb::Resume(args) | BackfillVerb::Redrive(args)) => &args.engine,
            _ => &args.engine,
        },
        Verb::Scatter(args) => match &args.verb {
            ScatterVerb::Redrive(args) => &args.engine,
            _ => &none,
        },
        Verb::Doctor(args) => args,
        _ => &none,
    };
    let accept = match &cli.verb {
        Verb::Run(args) => args.accept,
        Verb::Apply(args) => args.accept,
        Verb::Backfill(args) => args.accept,
        _ => AcceptArgs::default(),
    };
    let settings = Settings::read(&cli.global, engine).or_usage()?;
    logs::start(&settings.log, &out).or_usage()?;
    let context = Context {
        out,
        settings,
        program,
        accepts_orphans: accept.accept,
        pipeline,
    };
    verbs::perform(&context, &cli.verb)
}

/// Runs `work` to its end on a runtime of `threads` threads, or on this one if there are none.
pub(crate) fn block_on<T>(threads: usize, work: impl Future<Output = T>) -> Result<T> {
    let built: std::io::Result<Runtime> = match threads {
        0 => Builder::new_current_thread().enable_all().build(),
        count => Builder::new_multi_thread().worker_threads(count).enable_all().build(),
    };
    let runtime = built.map_err(|error| {
        Error::new(ErrorKind::Unavailable, error.to_string())
            .during("start")
            .about("the threads of the runtime")
    })?;
    let ended = runtime.block_on(work);
    // User code that blocks a thread and does not end holds nobody up: what counts is on disk.
    runtime.shutdown_background();
    Ok(ended)
}

/// Says what is wrong with the command line, or shows the help that was asked for.
fn refuse(error: &clap::Error, is_json: bool) -> ExitCode {
    let text = error.render().to_string();
    match error.kind() {
        ClapErrorKind::DisplayHelp | ClapErrorKind::DisplayVersion => exit_code(
            &Output::new(OutputFormat::Text)
                .text(&text)
                .map(|()| Exit::Done)
                .map_err(Failure::Failed),
        ),
        kind if is_json => {
            let text = text.trim_end();
            let message = text.strip_prefix("error: ").unwrap_or(text);
            let refused = Error::new(ErrorKind::Invalid, message).code("usage");
            let refused = match kind {
                ClapErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ClapErrorKind::MissingSubcommand => {
                    Error::new(ErrorKind::Invalid, "no verb was given")
                        .code("usage")
                        .fix("see `--help`")
                }
                _ => refused,
            };
            Output::new(OutputFormat::Json).failure(&Failure::Usage(refused));
            ExitCode::from(USAGE)
        }
        _ => {
            Output::new(OutputFormat::Text).say(text.trim_end());
            ExitCode::from(USAGE)
        }
    }
}

/// Whether a command line that could not be parsed asks for JSON.
fn wants_json(args: &[OsString]) -> bool {
    let texts: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
    texts.iter().any(|text| text == "--output=json")
        || texts.windows(2).any(|pair| pair[0] == "--output" && pair[1] == "json")
}

fn program_name(first: Option<&OsString>) -> String {
    let name = first.map(Path::new).and_then(Path::file_stem);
    name.map_or_else(|| "flowstone".to_owned(), |name| name.to_string_lossy().into_owned())
}
