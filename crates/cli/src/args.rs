//! What may be typed. Parsed here and judged elsewhere; this module alone describes the command line.

mod scatter;

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use flowstone_core::plan::{Force, Pace};

pub(crate) use scatter::{FanOutArgs, ItemsArgs, ScatterArgs, ScatterShowArgs, ScatterVerb, SetArgs};

/// Makes the assets of this pipeline, and tells what became of them.
#[derive(Debug, Parser)]
#[command(
    version = concat!("(flowstone ", env!("CARGO_PKG_VERSION"), ")"),
    arg_required_else_help = true,
    subcommand_required = true,
    max_term_width = 100,
    after_help = "A selection names assets: `total`, `raw_*`, `group:ingest`, `tag:daily and not +weather`; a `+` before \
                  or after adds what is upstream or downstream.\n\n\
                  Exit codes: 0 done, 1 something failed, 2 `plan` or `check` found something to do or a run was paused, \
                  64 wrong usage, 130 interrupted."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What every verb takes.
#[derive(Debug, Default, Clone, Args)]
pub(crate) struct GlobalArgs {
    /// For people, or one JSON document for programs
    #[arg(
        long,
        global = true,
        help_heading = "For every verb",
        value_enum,
        default_value_t,
        value_name = "FORMAT"
    )]
    pub(crate) output: OutputFormat,
    /// The state folder [default: .flowstone; also FLOWSTONE_STATE_DIR]
    #[arg(long, global = true, help_heading = "For every verb", value_name = "FOLDER")]
    pub(crate) state_dir: Option<PathBuf>,
    /// What is logged to stderr, as `warn,flowstone_runtime=debug` [default: warn; also FLOWSTONE_LOG]
    #[arg(long, global = true, help_heading = "For every verb", value_name = "FILTER")]
    pub(crate) log: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    #[default]
    Text,
    Json,
}

/// What verbs take that run assets.
#[derive(Debug, Default, Clone, Args)]
pub(crate) struct EngineArgs {
    /// How many steps run at once [default: one per core; also FLOWSTONE_WORKERS]
    #[arg(long, value_name = "COUNT")]
    pub(crate) workers: Option<String>,
    /// How long a step may take to end when it is asked to, as `5s` [also FLOWSTONE_CANCEL_GRACE]
    #[arg(long, value_name = "DURATION")]
    pub(crate) cancel_grace: Option<String>,
}

/// What verbs take that may change the definition of partitions.
#[derive(Debug, Default, Clone, Copy, Args)]
pub(crate) struct AcceptArgs {
    /// Orphan values whose partitions the pipeline no longer defines; they are kept, and come back with the definition
    #[arg(long)]
    pub(crate) accept: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Check that the pipeline fits together, and with what was made before; exits with 2 if partitions have to move
    Check,
    /// List assets
    List(SelectionArgs),
    /// Draw how assets depend on each other
    Graph(GraphArgs),
    /// Show what a run would do, and why; exits with 2 if there is anything
    Plan(PlanArgs),
    /// Carry out a plan that `plan --save` kept, if nothing has moved since
    Apply(ApplyArgs),
    /// Make assets: what is missing, or out of date
    Run(RunArgs),
    /// Make many partitions of assets, in one run that can be paused, resumed and redriven
    Backfill(BackfillArgs),
    /// Look into steps that fan out over items, change how they go about them, and try again what failed
    Scatter(ScatterArgs),
    /// Add, retire or list the partitions of a dynamic set
    Partitions(PartitionsArgs),
    /// Count partitions by what is known of them
    Status(SelectionArgs),
    /// List runs, newest first
    Runs(RunsArgs),
    /// Show one run: its steps by asset, and what failed
    Show(OneRunArgs),
    /// End a run, wherever it is going on
    Cancel(OneRunArgs),
    /// Ask what a partition was made from, or what was made from it
    Lineage(LineageArgs),
    /// Remove what nobody needs any more: events, runs and versions that outlived their time, and left-over values
    Gc(GcArgs),
    /// Check the state folder, the disk and the settings
    Doctor(EngineArgs),
}

#[derive(Debug, Args)]
pub(crate) struct SelectionArgs {
    /// Which assets; all unless given
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) selection: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct GraphArgs {
    /// How it is drawn
    #[arg(long, value_enum)]
    pub(crate) format: Option<DrawFormat>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DrawFormat {
    Text,
    Mermaid,
    Dot,
    Json,
}

/// Which assets, which partitions, and how.
#[derive(Debug, Args)]
pub(crate) struct RequestArgs {
    /// Which assets
    #[arg(required = true, value_parser = NonEmptyStringValueParser::new())]
    pub(crate) selection: Vec<String>,
    #[command(flatten)]
    pub(crate) partitions: PartitionArgs,
    #[command(flatten)]
    pub(crate) how: HowArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) request: RequestArgs,
    /// Keep the plan in this file, for `apply`
    #[arg(long, value_name = "FILE")]
    pub(crate) save: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// The file
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) accept: AcceptArgs,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

#[derive(Debug, Default, Args)]
#[command(group = ArgGroup::new("partitions"))]
pub(crate) struct PartitionArgs {
    /// One partition, as `2013-01-01` or `EWR`; a time may hold several, as `2013-01`
    #[arg(long, short, group = "partitions", value_name = "KEY")]
    pub(crate) partition: Option<String>,
    /// A range of partitions, as `2013-01-01..2013-01-31`; both ends are included
    #[arg(long, short, group = "partitions", value_name = "FIRST..LAST")]
    pub(crate) range: Option<String>,
    /// All partitions that there are by now
    #[arg(long, group = "partitions")]
    pub(crate) all: bool,
}

#[derive(Debug, Default, Args)]
pub(crate) struct HowArgs {
    /// Make what is current, too: what was asked for, also what is downstream of it, or all that is selected
    #[arg(long, value_enum, value_name = "WHAT", num_args = 0..=1, require_equals = true, default_missing_value = "target")]
    pub(crate) force: Option<ForceArg>,
    /// Configuration: `asset.field=value`, a JSON object by asset, or a file with one; may be repeated
    #[arg(long, value_name = "CONFIG")]
    pub(crate) config: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ForceArg {
    Target,
    Downstream,
    All,
}

impl HowArgs {
    pub(crate) fn force(&self) -> Force {
        match self.force {
            None => Force::Nothing,
            Some(ForceArg::Target) => Force::Target,
            Some(ForceArg::Downstream) => Force::Downstream,
            Some(ForceArg::All) => Force::All,
        }
    }
}

/// How a run shares the workers with others.
#[derive(Debug, Default, Args)]
pub(crate) struct PaceArgs {
    /// How many of its steps run at once [default: as many as there are workers]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) concurrency: Option<u32>,
    /// Runs of a higher priority get workers first; those of equal priority take turns
    #[arg(long, value_name = "NUMBER", default_value_t, allow_negative_numbers = true)]
    pub(crate) priority: i32,
}

impl PaceArgs {
    pub(crate) fn pace(&self) -> Pace {
        Pace {
            concurrency: self.concurrency.and_then(NonZeroU32::new),
            priority: self.priority,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) request: RequestArgs,
    #[command(flatten)]
    pub(crate) pace: PaceArgs,
    #[command(flatten)]
    pub(crate) accept: AcceptArgs,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("many").required(true),
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub(crate) struct BackfillArgs {
    #[command(subcommand)]
    pub(crate) verb: Option<BackfillVerb>,
    /// Show what it would do, and why; exits with 2 if there is anything
    #[arg(long)]
    pub(crate) preview: bool,
    /// Which assets
    #[arg(required = true, value_parser = NonEmptyStringValueParser::new())]
    pub(crate) selection: Vec<String>,
    /// A range of partitions, as `2013-01-01..2013-01-31`; both ends are included
    #[arg(long, short, group = "many", value_name = "FIRST..LAST")]
    pub(crate) range: Option<String>,
    /// All partitions that there are by now
    #[arg(long, group = "many")]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) how: HowArgs,
    #[command(flatten)]
    pub(crate) pace: PaceArgs,
    #[command(flatten)]
    pub(crate) accept: AcceptArgs,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

/// What can be done with a backfill, or any other run, once it was asked for.
#[derive(Debug, Subcommand)]
pub(crate) enum BackfillVerb {
    /// Let it wait: steps that run end, and nothing more is started until it is resumed
    Pause(OneRunArgs),
    /// Let it go on; without a process that runs it, in this one
    Resume(GoOnArgs),
    /// End it
    Cancel(OneRunArgs),
    /// Make what it did not bring to a good end: what failed, was stopped by that, quarantined or cancelled
    Redrive(GoOnArgs),
    /// Show how far it is, how fast, and how long it will take
    Show(OneRunArgs),
}

#[derive(Debug, Args)]
pub(crate) struct GoOnArgs {
    #[command(flatten)]
    pub(crate) run: OneRunArgs,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PartitionsArgs {
    #[command(subcommand)]
    pub(crate) verb: PartitionsVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PartitionsVerb {
    /// Add partitions, or take retired ones back
    Add(KeysArgs),
    /// Retire partitions: they are not planned any more, and keep what was made of them
    Retire(KeysArgs),
    /// List all partitions, retired ones included
    List {
        /// The set, as in `Partitions::dynamic(…)`
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        set: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct KeysArgs {
    /// The set, as in `Partitions::dynamic(…)`
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) set: String,
    /// The partitions
    #[arg(required_unless_present = "from")]
    pub(crate) keys: Vec<String>,
    /// A file with more of them, one a line; `-` reads what is piped in
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct RunsArgs {
    /// At most so many
    #[arg(long, short = 'n', default_value_t = 20, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
}

#[derive(Debug, Args)]
pub(crate) struct OneRunArgs {
    /// The run's id, or the first characters of it
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) run: String,
}

#[derive(Debug, Args)]
pub(crate) struct GcArgs {
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LineageArgs {
    /// Which way
    #[arg(value_enum)]
    pub(crate) direction: Direction,
    /// The asset
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) asset: String,
    /// The partition, as `2013-01-01` or `EWR`
    #[arg(long, short, value_name = "KEY")]
    pub(crate) partition: Option<String>,
    /// The version; the current one unless given
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) version: Option<u64>,
    /// How many steps away it may be
    #[arg(long, value_name = "STEPS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) depth: Option<u32>,
    /// How it is drawn
    #[arg(long, value_enum)]
    pub(crate) format: Option<DrawFormat>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Direction {
    /// What it was made from
    Up,
    /// What was made from it
    Down,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::error::ErrorKind> {
        Cli::try_parse_from(line.split_whitespace()).map_err(|error| error.kind())
    }

    #[test]
    fn the_description_of_the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn one_way_to_name_partitions_at_a_time() {
        assert!(parse("x run a --partition 2013-01").is_ok());
        assert!(parse("x run a --range 2013-01..2013-02").is_ok());
        assert_eq!(
            parse("x run a --all --partition 1").unwrap_err(),
            clap::error::ErrorKind::ArgumentConflict
        );
    }

    #[test]
    fn a_backfill_says_which_partitions() {
        assert!(parse("x backfill a --all").is_ok());
        assert_eq!(
            parse("x backfill a").unwrap_err(),
            clap::error::ErrorKind::MissingRequiredArgument
        );
        assert_eq!(
            parse("x backfill a --partition 1").unwrap_err(),
            clap::error::ErrorKind::UnknownArgument
        );
    }

    #[test]
    fn a_fan_out_is_changed_in_something_and_its_items_are_listed_in_one_way() {
        assert!(parse("x scatter set 01 --priority -2 --rate-limit none").is_ok());
        assert_eq!(
            parse("x scatter set 01").unwrap_err(),
            clap::error::ErrorKind::MissingRequiredArgument
        );
        assert!(parse("x scatter items sum --all --from 7 -n 3").is_ok());
        assert_eq!(
            parse("x scatter items sum --all --failed").unwrap_err(),
            clap::error::ErrorKind::ArgumentConflict
        );
    }

    #[test]
    fn a_backfill_has_verbs_of_its_own() {
        for line in [
            "pause 01",
            "resume 01 --workers 2",
            "cancel 01",
            "redrive 01",
            "show 01",
        ] {
            assert!(parse(&format!("x backfill {line}")).is_ok(), "{line}");
        }
        assert!(parse("x backfill a --all --concurrency 2 --priority -5 --preview").is_ok());
        assert_eq!(
            parse("x backfill a --all --concurrency 0").unwrap_err(),
            clap::error::ErrorKind::ValueValidation
        );
        assert_eq!(
            parse("x backfill pause").unwrap_err(),
            clap::error::ErrorKind::MissingRequiredArgument
        );
    }

    #[test]
    fn force_means_the_targets_and_does_not_swallow_the_selection() {
        let Verb::Run(run) = parse("x run --force a").unwrap().verb else {
            panic!("it is a run")
        };
        assert_eq!(
            (run.request.how.force(), run.request.selection),
            (Force::Target, vec!["a".to_owned()])
        );

        let Verb::Run(run) = parse("x run a --force=downstream").unwrap().verb else {
            panic!("it is a run")
        };
        assert_eq!(run.request.how.force(), Force::Downstream);
    }

    #[test]
    fn what_every_verb_takes_may_stand_before_or_after_it() {
        for line in ["x --output json list", "x list --output json"] {
            assert_eq!(parse(line).unwrap().global.output, OutputFormat::Json);
        }
    }
}
