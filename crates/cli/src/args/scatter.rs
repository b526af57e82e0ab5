//! The words of `scatter`.

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgGroup, Args, Subcommand};

use super::EngineArgs;

#[derive(Debug, Args)]
pub(crate) struct ScatterArgs {
    #[command(subcommand)]
    pub(crate) verb: ScatterVerb,
}

/// What can be done with fan-outs.
#[derive(Debug, Subcommand)]
pub(crate) enum ScatterVerb {
    /// Show the fan-outs of a run: how far they are, how fast, and how long they will take
    Show(ScatterShowArgs),
    /// List items that failed, with their last errors; or all, with what they gave
    Items(ItemsArgs),
    /// Change how a fan-out goes about its items while it runs
    Set(SetArgs),
    /// Try again what did not succeed, and gather anew; what succeeded is not run again
    Redrive(RedriveArgs),
    /// End a fan-out that goes on; its step fails as cancelled
    Cancel(FanOutArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ScatterShowArgs {
    /// A run or a fan-out: an id, the first characters of it, or `asset[partition]`; the newest run that has some unless
    /// given
    #[arg(value_name = "RUN|FAN-OUT", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) of: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct FanOutArgs {
    /// The fan-out: its id, the first characters of it, `asset[partition]` for the newest, or `run/asset[partition]`
    #[arg(value_name = "FAN-OUT", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) fan_out: String,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which"))]
pub(crate) struct ItemsArgs {
    #[command(flatten)]
    pub(crate) of: FanOutArgs,
    /// Those that failed for good, quarantined ones included; so unless told otherwise
    #[arg(long, group = "which")]
    pub(crate) failed: bool,
    /// Those that killed their process too often
    #[arg(long, group = "which")]
    pub(crate) quarantined: bool,
    /// All, with what they gave
    #[arg(long, group = "which")]
    pub(crate) all: bool,
    /// At most so many [default: 100; no limit with `--all`]
    #[arg(long, short = 'n', value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    /// From the item with this number on
    #[arg(long, value_name = "NUMBER", default_value_t)]
    pub(crate) from: u64,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("changes").required(true).multiple(true))]
pub(crate) struct SetArgs {
    #[command(flatten)]
    pub(crate) of: FanOutArgs,
    /// How many items may run at once
    #[arg(long, group = "changes", value_name = "COUNT")]
    pub(crate) max_concurrent: Option<String>,
    /// How often items may start, and how many at once after a rest, as `10/s:5` or `600/min`; `none` for no limit
    #[arg(long, group = "changes", value_name = "COUNT/TIME[:BURST]")]
    pub(crate) rate_limit: Option<String>,
    /// How many items may fail: a share, as `0.05`, a number, as `count:3`, or `none`
    #[arg(long, group = "changes", value_name = "SHARE|count:NUMBER")]
    pub(crate) tolerate: Option<String>,
    /// How often an item that fails in passing is tried, the first time included
    #[arg(long, group = "changes", value_name = "COUNT")]
    pub(crate) attempts: Option<String>,
    /// How long one attempt at an item may take, as `30s`; `none` for no limit
    #[arg(long, group = "changes", value_name = "DURATION")]
    pub(crate) item_timeout: Option<String>,
    /// Items of fan-outs with the greater number go first
    #[arg(long, group = "changes", value_name = "NUMBER", allow_negative_numbers = true)]
    pub(crate) priority: Option<i32>,
    /// The most items that are taken from the source; `none` for no limit
    #[arg(long, group = "changes", value_name = "COUNT")]
    pub(crate) items_max: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct RedriveArgs {
    #[command(flatten)]
    pub(crate) of: FanOutArgs,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}
