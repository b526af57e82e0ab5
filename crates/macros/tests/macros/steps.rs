//! What the macro wrote, called as the engine calls it.

use std::fmt;
use std::sync::Arc;

use flowstone::asset::{
    AssetContext, Body, Config, InputLoader, Outcome, PartitionSets, PartitionStream, Res, RunScope, Step,
};
use flowstone::partition::{PartitionKey, PartitionSet};
use flowstone::pipeline::Pipeline;
use flowstone::{BoxFuture, Result, Value};
use flowstone_macros::{asset, assets};
use futures::FutureExt;
use serde::Deserialize;

/// There are no dynamic partitions here.
struct NoSets;

impl PartitionSets for NoSets {
    fn add<'a>(&'a self, set: &'a str, _: Vec<PartitionKey>) -> BoxFuture<'a, Result<Vec<u64>>> {
        panic!("nobody adds to {set}")
    }

    fn retire<'a>(&'a self, set: &'a str, _: Vec<PartitionKey>) -> BoxFuture<'a, Result<Vec<u64>>> {
        panic!("nobody retires of {set}")
    }
}

#[derive(Deserialize)]
struct Settings {
    factor: u64,
}

struct Base(u64);

#[derive(Debug)]
struct TooMany;

impl fmt::Display for TooMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too many")
    }
}

impl std::error::Error for TooMany {}

#[asset]
fn numbers() -> Vec<u64> {
    vec![1, 2, 3]
}

#[asset]
fn missing() -> u64 {
    0
}

#[asset]
async fn everything(
    ctx: AssetContext,
    numbers: Vec<u64>,
    base: Res<Base>,
    missing: Option<u64>,
    settings: Config<Settings>,
    #[from(numbers)] mut stream: PartitionStream<Vec<u64>>,
) -> Result<String> {
    let first = stream.next().await?;
    let sum = numbers.iter().sum::<u64>() * settings.factor + base.0;
    Ok(format!("{} {sum} {missing:?} {first:?}", ctx.asset()))
}

#[asset]
fn shared(numbers: Arc<Vec<u64>>, missing: Option<Arc<u64>>) -> String {
    format!("{numbers:?} {missing:?}")
}

#[asset]
fn own_error(numbers: Vec<u64>) -> std::result::Result<u64, TooMany> {
    if numbers.len() > 2 { Err(TooMany) } else { Ok(0) }
}

#[asset]
async fn error_of_an_alias(numbers: Vec<u64>) -> std::io::Result<Outcome<u64>> {
    let _ = numbers;
    Ok(Outcome::skip("it is Sunday"))
}

/// Hands every input the same value, if it is of the type of `numbers`.
struct Numbers;

impl InputLoader for Numbers {
    fn partitions(&self, input: usize, _: u64) -> Result<PartitionSet> {
        Ok(if input == 1 {
            PartitionSet::new()
        } else {
            PartitionSet::single(0)
        })
    }

    fn load(&self, _: usize, _: u64) -> BoxFuture<'_, Result<Option<Value>>> {
        async { Ok(Some(Value::new(vec![1_u64, 2, 3]))) }.boxed()
    }
}

fn run(asset: &str) -> Result<Outcome<Value>> {
    let all = assets![numbers, missing, everything, shared, own_error, error_of_an_alias];
    let pipeline = Pipeline::builder("test").resource(Base(100)).assets(all).build()?;
    let node = pipeline.graph().find(asset)?;
    let run = "0190163d-8694-739b-aea5-966c26f8ad91".parse()?;
    let config = r#"{"factor": 10}"#.parse()?;
    let scope = Arc::new(RunScope {
        pipeline: pipeline.clone(),
        node,
        run,
        config,
        sets: Arc::new(NoSets),
    });
    let step = Step {
        scope,
        inputs: Arc::new(Numbers),
        partition: 0,
        attempt: 1,
        cancelled: Default::default(),
        item: None,
    };
    match pipeline.graph().node(node).body() {
        Body::Async(body) => body(step).now_or_never().expect("nothing waits"),
        Body::Blocking(body) => body(step).now_or_never().expect("nothing waits")?(),
        Body::AsyncBatch(_) | Body::BlockingBatch(_) | Body::FanOut(_) => {
            panic!("each of these assets takes one partition")
        }
    }
}

#[test]
fn every_kind_of_argument_is_handed_over() {
    let Outcome::Value(value) = run("everything").unwrap() else {
        panic!("it makes a value")
    };

    assert_eq!(value.take::<String>().unwrap(), "everything 160 None Some([1, 2, 3])");
}

#[test]
fn a_value_may_be_shared() {
    let Outcome::Value(value) = run("shared").unwrap() else {
        panic!("it makes a value")
    };

    assert_eq!(value.take::<String>().unwrap(), "[1, 2, 3] None");
}

#[test]
fn an_error_of_the_users_becomes_ours() {
    assert_eq!(run("own_error").unwrap_err().message(), "too many");
}

#[test]
fn an_alias_of_result_is_seen_through() {
    assert!(matches!(run("error_of_an_alias").unwrap(), Outcome::Skipped(reason) if reason == "it is Sunday"));
}
