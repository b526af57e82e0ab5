//! A definition written by the macro is the one that the builder gives.

use std::time::Duration;

use flowstone::Result;
use flowstone::asset::{
    Asset, AssetContext, Batch, BatchContext, BatchOutcome, Body, Config, In, Outcome, PartitionStream, Res, Retry,
    Upstream,
};
use flowstone::graph::Node;
use flowstone::partition::{Daily, Mapping, Monthly};
use flowstone::pipeline::Pipeline;
use flowstone_macros::{asset, assets};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Row {
    miles: u64,
}

#[derive(Debug, Clone, Deserialize)]
struct Limits {
    #[expect(dead_code, reason = "only its presence is checked")]
    miles_max: u64,
}

struct Client;

const PARQUET: &str = "memory";

/// What the files hold,
/// as they came.
///
/// More for the reader of the code.
#[asset(
    partitions = Daily::from("2013-01-01"),
    retry = Retry::exponential(5),
    deadline = Duration::from_secs(60),
    group = "ingest",
    tags("raw", "daily"),
    code_version = "2",
    acts_outside
)]
async fn raw_rows(client: Res<Client>) -> Result<Vec<Row>> {
    let _ = client;
    Ok(vec![Row { miles: 1 }])
}

#[asset(name = "monthly rows", partitions = Monthly::from("2013-01"), code_version = PARQUET)]
fn monthly(
    ctx: AssetContext,
    Config(limits): Config<Limits>,
    raw_rows: PartitionStream<Vec<Row>>,
    #[from("bonus")] extra: Option<u64>,
    #[from(raw_rows)]
    #[mapping(Mapping::Last)]
    newest: Vec<Row>,
) -> Outcome<u64> {
    let _ = (ctx, limits, raw_rows, newest);
    extra.map_or_else(|| Outcome::skip("nothing came"), Outcome::Value)
}

#[asset(code_version = "")]
fn last_month(#[mapping(Mapping::Last)] monthly: u64) -> u64 {
    monthly
}

#[asset(code_version = "")]
async fn bonus() -> u64 {
    1
}

#[asset(partitions = Daily::from("2013-01-01"), batch = 50, code_version = "")]
async fn clean(ctx: BatchContext, raw_rows: Batch<Option<Vec<Row>>>, bonus: u64) -> Result<BatchOutcome<u64>> {
    let _ = (ctx, bonus);
    Ok(raw_rows
        .into_iter()
        .map(|(day, rows)| (day, rows.map_or(0, |rows| rows.len() as u64)))
        .collect())
}

#[asset(partitions = Daily::from("2013-01-01"), batch = BATCH, code_version = "")]
fn cleaner(clean: Batch<u64>) -> BatchOutcome<u64> {
    clean.into_iter().collect()
}

const BATCH: u64 = 7;

fn by_macro() -> Vec<Asset> {
    assets![raw_rows, monthly, last_month, bonus, clean, cleaner]
}

fn by_builder() -> Vec<Asset> {
    vec![
        Asset::new("raw_rows")
            .description("What the files hold, as they came.")
            .partitions(Daily::from("2013-01-01"))
            .retry(Retry::exponential(5))
            .deadline(Duration::from_secs(60))
            .group("ingest")
            .tag("raw")
            .tag("daily")
            .code_version("2")
            .acts_outside()
            .run(|client: Res<Client>| raw_rows(client)),
        Asset::new("monthly rows")
            .partitions(Monthly::from("2013-01"))
            .code_version("memory")
            .upstream("raw_rows")
            .upstream("bonus")
            .upstream(Upstream::new("raw_rows").mapping(Mapping::Last))
            .run_blocking(
                |ctx: AssetContext,
                 limits: Config<Limits>,
                 raw_rows: PartitionStream<Vec<Row>>,
                 extra: Option<In<u64>>,
                 In(newest): In<Vec<Row>>| {
                    monthly(ctx, limits, raw_rows, extra.map(|In(extra)| extra), newest)
                },
            ),
        Asset::new("last_month")
            .upstream(Upstream::new("monthly rows").mapping(Mapping::Last))
            .run_blocking(|In(monthly): In<u64>| last_month(monthly)),
        Asset::new("bonus").run(bonus),
        Asset::new("clean")
            .partitions(Daily::from("2013-01-01"))
            .code_version("")
            .upstream("raw_rows")
            .upstream("bonus")
            .run_batch(
                50,
                |ctx: BatchContext, raw_rows: Batch<Option<In<Vec<Row>>>>, In(bonus): In<u64>| {
                    clean(ctx, raw_rows.map(|rows| rows.map(|In(rows)| rows)), bonus)
                },
            ),
        Asset::new("cleaner")
            .partitions(Daily::from("2013-01-01"))
            .code_version("")
            .upstream("clean")
            .run_batch_blocking(7, |clean: Batch<In<u64>>| cleaner(clean.map(|In(clean)| clean))),
    ]
}

fn pipeline(assets: Vec<Asset>) -> Pipeline {
    Pipeline::builder("test")
        .resource(Client)
        .assets(assets)
        .build()
        .unwrap()
}

/// Everything that a definition says, but for its place, as text.
fn told(node: &Node) -> String {
    let body = match node.body() {
        Body::Async(_) => "async",
        Body::Blocking(_) => "blocking",
        Body::AsyncBatch(_) => "async batch",
        Body::BlockingBatch(_) => "blocking batch",
        Body::FanOut(_) => "fan-out",
    };
    let config = |section: &str| {
        node.check_config(&section.parse().unwrap())
            .map(|verdict| verdict.is_ok())
    };
    let config = [config("{}"), config(r#"{"miles_max": 1}"#)];
    let retry = (node.retry(), node.deadline(), node.code_version(), node.acts_outside());
    let shown = (node.description(), node.group(), node.tags(), node.io());
    format!(
        "{:?}",
        (
            node.key(),
            node.space(),
            node.inputs(),
            (body, node.batch()),
            node.output(),
            shown,
            retry,
            config
        )
    )
}

#[test]
fn the_macro_says_what_the_builder_says() {
    let (written, built) = (pipeline(by_macro()), pipeline(by_builder()));

    assert_eq!(written.graph().len(), 6);
    for ((_, written), (_, built)) in written.graph().nodes().zip(built.graph().nodes()) {
        assert_eq!(told(written), told(built));
    }
}

#[test]
fn resources_are_asked_for() {
    let error = Pipeline::builder("test")
        .assets(by_macro())
        .build()
        .unwrap_err()
        .to_string();

    assert!(
        error.contains("resource of type") && error.contains("Client"),
        "{error}"
    );
}

#[test]
fn the_place_is_that_of_the_function() {
    let pipeline = pipeline(by_macro());

    let location = pipeline
        .graph()
        .node(pipeline.graph().find("raw_rows").unwrap())
        .location();

    let line = include_str!("definitions.rs")
        .lines()
        .position(|line| line.starts_with("async fn raw_rows"))
        .unwrap();
    assert!(location.file.ends_with("definitions.rs"), "{location}");
    assert_eq!(location.line as usize, line + 1);
}

#[test]
fn the_io_manager_is_asked_for_by_name() {
    #[asset(io = PARQUET)]
    fn kept() -> u64 {
        1
    }

    let error = Pipeline::builder("test")
        .assets(assets![kept])
        .build()
        .unwrap_err()
        .to_string();

    assert!(error.contains("no IO manager is called \"memory\""), "{error}");
}

#[test]
fn the_function_stays_callable() {
    assert_eq!(last_month(3), 3);
}

mod first {
    #[flowstone_macros::asset]
    pub(crate) fn sum(numbers: Vec<i64>) -> i64 {
        // A comment.
        numbers.iter().sum()
    }

    #[flowstone_macros::asset]
    pub(crate) fn numbers() -> Vec<i64> {
        vec![1]
    }
}

mod reworded {
    use super::first::numbers;

    /// Adds.
    #[rustfmt::skip]
    #[flowstone_macros::asset]
    pub(crate) fn sum(
        numbers: Vec<i64>,
    ) -> i64 { numbers.iter().sum() }
}

mod changed {
    use super::first::numbers;

    #[flowstone_macros::asset]
    pub(crate) fn sum(numbers: Vec<i64>) -> i64 {
        numbers.iter().product()
    }
}

#[test]
fn the_text_of_the_function_is_its_version() {
    let version = |assets| {
        let pipeline = pipeline(assets);
        pipeline
            .graph()
            .node(pipeline.graph().find("sum").unwrap())
            .code_version()
    };

    let first = version(assets![first::numbers, first::sum]);

    assert_eq!(version(assets![first::numbers, reworded::sum]), first);
    assert_ne!(version(assets![first::numbers, changed::sum]), first);
}

/// The sum of all days so far.
#[asset(partitions = Daily::from("2024-01-01"))]
fn running_total(daily_sales: u64, #[mapping(Mapping::Offset(-1))] running_total: Option<u64>) -> u64 {
    running_total.unwrap_or(0) + daily_sales
}

#[asset(partitions = Daily::from("2024-01-01"))]
fn daily_sales() -> u64 {
    1
}

/// What came in a day, and in the week before it.
#[asset(partitions = Daily::from("2024-01-01"))]
fn week_so_far(
    daily_sales: u64,
    #[from(daily_sales)]
    #[mapping(Mapping::Preceding(6))]
    before: PartitionStream<u64>,
) -> u64 {
    daily_sales + before.total()
}

#[test]
fn an_asset_may_read_itself_and_an_upstream_twice() {
    let pipeline = pipeline(assets![daily_sales, running_total, week_so_far]);

    let mappings = |name: &str| -> Vec<Mapping> {
        let node = pipeline.graph().node(pipeline.graph().find(name).unwrap());
        node.inputs().iter().map(|input| input.mapping.clone()).collect()
    };
    assert_eq!(mappings("running_total"), [Mapping::Identity, Mapping::Offset(-1)]);
    assert_eq!(mappings("week_so_far"), [Mapping::Identity, Mapping::Preceding(6)]);
}
