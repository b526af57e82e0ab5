//! From what was typed to what is asked for. Everything that is wrong with it is found here, before anything is opened.

use flowstone_core::graph::{AssetGraph, NodeIx};
use flowstone_core::partition::PartitionSelector;
use flowstone_core::pipeline::Pipeline;
use flowstone_core::plan::{Pace, RunConfig, RunRequest};
use flowstone_core::selection::{Selected, Selection};
use flowstone_core::{Error, ErrorKind, Result};
use jiff::Timestamp;

use crate::args::{HowArgs, PartitionArgs};
use crate::config_arg;

/// The most asset names that a message lists.
const NAMES_LISTED_MAX: usize = 3;

/// The assets that the words of a selection mean; all of them without any.
pub(crate) fn select(graph: &AssetGraph, words: &[String]) -> Result<Selected> {
    let selection = if words.is_empty() {
        Selection::all()
    } else {
        Selection::parse(&words.join(" "))?
    };
    if words.is_empty() && graph.is_empty() {
        return Ok(Selected::default());
    }
    selection.resolve(graph)
}

/// What is asked for by a selection, partitions and how.
///
/// # Errors
/// `NotFound`, `OutOfRange`, `Invalid` for what does not exist or is not well formed.
pub(crate) fn request(
    pipeline: &Pipeline,
    words: &[String],
    partitions: &PartitionArgs,
    how: &HowArgs,
    now: Timestamp,
) -> Result<RunRequest> {
    let graph = pipeline.graph();
    let selected = select(graph, words)?;
    if selected.assets.is_empty() {
        return Err(Error::new(
            ErrorKind::NotFound,
            format!("the selection {:?} holds no asset", words.join(" ")),
        )
        .code("selection_empty")
        .fix("see `list` for the assets"));
    }
    let selector = choose(graph, &selected, partitions)?;
    for ix in &selected.assets {
        graph.node(*ix).space().select(&selector, now)?;
    }
    let config = config_arg::read(graph, &how.config)?;
    check_config(graph, &selected, &config)?;
    let keys = |ixs: &[NodeIx]| ixs.iter().map(|ix| graph.node(*ix).key().clone()).collect();
    Ok(RunRequest {
        assets: keys(&selected.assets),
        targets: keys(&selected.targets),
        partitions: selector,
        force: how.force(),
        config,
        idempotency_key: None,
        pace: Pace::default(),
        redrive: None,
    })
}

/// Which partitions are meant. Nobody makes many partitions by forgetting to say which.
fn choose(graph: &AssetGraph, selected: &Selected, partitions: &PartitionArgs) -> Result<PartitionSelector> {
    let partitioned: Vec<&str> = selected
        .assets
        .iter()
        .map(|ix| graph.node(*ix))
        .filter(|node| !node.space().is_unit())
        .map(|node| node.key().as_str())
        .collect();
    let selector = match (&partitions.partition, &partitions.range) {
        (Some(key), _) => PartitionSelector::Key(key.clone()),
        (_, Some(range)) => PartitionSelector::Range(range.clone()),
        (None, None) if partitions.all || partitioned.is_empty() => return Ok(PartitionSelector::All),
        (None, None) => {
            let names = listed(&partitioned);
            let (verb, example) = (if partitioned.len() == 1 { "is" } else { "are" }, partitioned[0]);
            let space = graph.node(graph.find(example)?).space().describe();
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("{names} {verb} partitioned, and no partition was named"),
            )
            .code("partitions_not_named")
            .fix(format!(
                "add `--partition <key>`, `--range <first>..<last>` or `--all` ({example}: {space})"
            )));
        }
    };
    if partitioned.is_empty() {
        return Err(Error::new(
            ErrorKind::Invalid,
            "a partition was named, and none of the selected assets is partitioned",
        )
        .code("partitions_not_taken")
        .fix("leave `--partition` and `--range` away"));
    }
    Ok(selector)
}

/// Checks every section, and what is selected without one.
fn check_config(graph: &AssetGraph, selected: &Selected, config: &RunConfig) -> Result<()> {
    for (_, node) in graph
        .nodes()
        .filter(|(ix, node)| selected.assets.contains(ix) || config.0.contains_key(node.key()))
    {
        match node.check_config(&config.section(node.key())) {
            Some(verdict) => verdict.map_err(|error| error.about(format!("of asset {}", node.key())))?,
            None if config.0.contains_key(node.key()) => {
                return Err(Error::new(
                    ErrorKind::Invalid,
                    format!("asset {} takes no configuration", node.key()),
                )
                .code("config_not_taken")
                .fix("leave it out, or let the asset's function take a `Config<T>`"));
            }
            None => {}
        }
    }
    Ok(())
}

fn listed(names: &[&str]) -> String {
    let first = names[..names.len().min(NAMES_LISTED_MAX)].join(", ");
    match names.len().saturating_sub(NAMES_LISTED_MAX) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use flowstone_core::asset::Asset;
    use flowstone_core::partition::Daily;

    use super::*;

    fn ask(words: &[&str], partitions: &PartitionArgs) -> Result<RunRequest> {
        let pipeline = Pipeline::builder("p")
            .asset(Asset::new("total").run(|| async { 1_i64 }))
            .asset(
                Asset::new("days")
                    .partitions(Daily::from("2024-01-01").until("2024-02-01"))
                    .run(|| async { 1_i64 }),
            )
            .build()?;
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        request(&pipeline, &words, partitions, &HowArgs::default(), Timestamp::now())
    }

    fn range(text: &str) -> PartitionArgs {
        PartitionArgs {
            range: Some(text.to_owned()),
            ..PartitionArgs::default()
        }
    }

    #[test]
    fn a_partitioned_asset_asks_for_its_partitions() {
        let error = ask(&["*"], &PartitionArgs::default()).unwrap_err();

        assert_eq!(error.to_string(), "days is partitioned, and no partition was named");
        assert!(error.advice().unwrap().contains("--range"));
        assert!(ask(&["total"], &PartitionArgs::default()).is_ok());
        assert!(
            ask(
                &["*"],
                &PartitionArgs {
                    all: true,
                    ..PartitionArgs::default()
                }
            )
            .is_ok()
        );
    }

    #[test]
    fn a_partition_that_nobody_takes_is_refused() {
        let error = ask(&["total"], &range("2024-01-01..2024-01-02")).unwrap_err();

        assert_eq!(error.stable_code(), "partitions_not_taken");
    }

    #[test]
    fn a_range_that_is_wrong_is_refused_before_anything_is_opened() {
        assert_eq!(
            ask(&["days"], &range("2024-01-05..2024-01-02"))
                .unwrap_err()
                .stable_code(),
            "partition_range_backwards"
        );
        assert_eq!(
            ask(&["days"], &range("2023-01-01..2023-01-02")).unwrap_err().kind(),
            ErrorKind::OutOfRange
        );
    }

    #[test]
    fn words_of_a_selection_may_stand_apart() {
        let request = ask(&["not", "days"], &PartitionArgs::default()).unwrap();

        assert_eq!(request.assets, ["total".parse().unwrap()]);
    }
}
