//! Drives one scatter as the engine would, one item after the other and without a store.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use flowstone_core::asset::{Asset, Body, InputLoader, Outcome, PartitionSets, RunScope, Step};
use flowstone_core::fan_out::{
    BarrierCounts, FanOut, ItemCall, ItemOutcome, ItemPage, ItemResult, ItemSlot, ItemWork, Outcomes, RawOutcome,
};
use flowstone_core::partition::{PartitionKey, PartitionSet};
use flowstone_core::pipeline::Pipeline;
use flowstone_core::reader::Item;
use flowstone_core::{AssetValue, BoxFuture, Error, FanOutId, Result, RunId, Value};
use futures::future::ready;
use futures::{FutureExt, stream};

const RUN: &str = "0190163d-8694-739b-aea5-966c26f8ad91";
const FAN_OUT: &str = "0190163d-8694-739b-aea5-966c26f8ad92";

/// An asset that scatters, among those that it is made from.
pub(crate) struct Lab {
    pipeline: Pipeline,
    asset: String,
    inputs: Arc<Given>,
    config: serde_json::Value,
    partition: u64,
    page_len: usize,
}

/// The values of the upstreams in the order in which they are named.
struct Given {
    values: Vec<Value>,
    loads: AtomicUsize,
}

impl InputLoader for Given {
    fn partitions(&self, _: usize, _: u64) -> Result<PartitionSet> {
        Ok(PartitionSet::single(0))
    }

    fn load(&self, input: usize, _: u64) -> BoxFuture<'_, Result<Option<Value>>> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        ready(Ok(Some(self.values[input].clone()))).boxed()
    }
}

struct NoSets;

impl PartitionSets for NoSets {
    fn add<'a>(&'a self, set: &'a str, _: Vec<PartitionKey>) -> BoxFuture<'a, Result<Vec<u64>>> {
        panic!("nobody adds to {set}")
    }

    fn retire<'a>(&'a self, set: &'a str, _: Vec<PartitionKey>) -> BoxFuture<'a, Result<Vec<u64>>> {
        panic!("nobody retires of {set}")
    }
}

/// What came of a scatter.
pub(crate) struct Driven {
    pub(crate) outcome: Outcome<Value>,
    /// Of the outermost scatter: each item, with how it ended.
    pub(crate) ended: Vec<RawOutcome>,
    /// The items of each call.
    pub(crate) calls: Vec<Vec<u64>>,
}

impl Driven {
    pub(crate) fn value<T: AssetValue>(self) -> T {
        match self.outcome {
            Outcome::Value(value) => value.take().expect("it is of the type that the test names"),
            Outcome::Skipped(reason) => panic!("skipped: {reason}"),
        }
    }
}

impl Lab {
    /// `asset` with `upstreams` that make these values, in the order in which it names them.
    pub(crate) fn new(asset: Asset, upstreams: Vec<(&'static str, Value)>) -> Result<Self> {
        let mut once: Vec<&(&'static str, Value)> = Vec::new();
        for upstream in &upstreams {
            if once.iter().all(|(name, _)| *name != upstream.0) {
                once.push(upstream);
            }
        }
        let sources: Vec<Asset> = once.into_iter().map(source).collect();
        let name = asset.name().to_owned();
        let pipeline = Pipeline::builder("test").assets(sources).asset(asset).build()?;
        Ok(Self {
            pipeline,
            asset: name,
            inputs: Arc::new(Given {
                values: upstreams.into_iter().map(|(_, value)| value).collect(),
                loads: AtomicUsize::new(0),
            }),
            config: serde_json::Value::Null,
            partition: 0,
            page_len: 1_000,
        })
    }

    pub(crate) fn pages_of(mut self, items: usize) -> Self {
        self.page_len = items;
        self
    }

    pub(crate) fn partition(mut self, index: u64) -> Self {
        self.partition = index;
        self
    }

    pub(crate) fn config(mut self, json: &str) -> Self {
        self.config = json.parse().expect("it is JSON");
        self
    }

    pub(crate) fn loads(&self) -> usize {
        self.inputs.loads.load(Ordering::Relaxed)
    }

    pub(crate) fn fan_out(&self) -> Arc<dyn FanOut> {
        let graph = self.pipeline.graph();
        match graph
            .node(graph.find(&self.asset).expect("it is in the pipeline"))
            .body()
        {
            Body::FanOut(fan_out) => Arc::clone(fan_out),
            _ => panic!("it does not fan out"),
        }
    }

    pub(crate) fn step(&self) -> Step {
        let scope = RunScope {
            pipeline: self.pipeline.clone(),
            node: self.pipeline.graph().find(&self.asset).expect("it is in the pipeline"),
            run: RUN.parse::<RunId>().expect("it is an id"),
            config: self.config.clone(),
            sets: Arc::new(NoSets),
        };
        Step {
            scope: Arc::new(scope),
            inputs: Arc::<Given>::clone(&self.inputs),
            partition: self.partition,
            attempt: 1,
            cancelled: Default::default(),
            item: None,
        }
    }

    /// Runs the scatter; failures are tolerated.
    pub(crate) fn run(&self) -> Result<Driven> {
        drive(&*self.fan_out(), self.step(), self.page_len)
    }
}

/// An upstream of the right type; nobody runs it.
fn source((name, value): &(&'static str, Value)) -> Asset {
    let (asset, ty) = (Asset::new(*name), value.ty());
    if ty.is::<Vec<u64>>() {
        asset.run(|| async { Vec::<u64>::new() })
    } else if ty.is::<u64>() {
        asset.run(|| async { 0_u64 })
    } else {
        asset.run(|| async { String::new() })
    }
}

fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("nothing in these tests waits")
}

fn drive(fan_out: &dyn FanOut, step: Step, page_len: usize) -> Result<Driven> {
    let shared = now(fan_out.shared(&step))?;
    let pages = read(fan_out, &step, page_len)?;
    let (work, mut ended, mut calls) = (fan_out.work(), Vec::new(), Vec::new());
    for page in &pages {
        for call in calls_of(fan_out, page, &work)? {
            let slots: Vec<ItemSlot> = call.iter().map(|index| slot(page, *index, shared.as_ref())).collect();
            ended.extend(run_call(&work, &step, &slots, page_len));
            calls.push(call);
        }
    }
    ended.sort_by_key(|ended: &RawOutcome| ended.index);
    let stream = stream::iter(ended.clone().into_iter().map(Ok));
    let outcomes = Outcomes::new(counts_of(&ended), Box::pin(stream));
    let outcome = match now(fan_out.gather(step, outcomes))? {
        Outcome::Value(gathered) => Outcome::Value(now(gathered.collect())?),
        Outcome::Skipped(reason) => Outcome::Skipped(reason),
    };
    Ok(Driven { outcome, ended, calls })
}

fn counts_of(ended: &[RawOutcome]) -> BarrierCounts {
    let mut counts = BarrierCounts {
        total: ended.len() as u64,
        ..BarrierCounts::default()
    };
    for ended in ended {
        let count = match &ended.outcome {
            ItemOutcome::Ended(ItemResult::Value(_)) => &mut counts.succeeded,
            ItemOutcome::Ended(ItemResult::Skipped(_)) => &mut counts.skipped,
            ItemOutcome::Failed(_) => &mut counts.failed,
        };
        *count += 1;
    }
    counts
}

fn read(fan_out: &dyn FanOut, step: &Step, page_len: usize) -> Result<Vec<Arc<ItemPage>>> {
    let mut reader = now(fan_out.open(step))?;
    let (mut pages, mut cursor, mut first) = (Vec::new(), None, 0);
    loop {
        let page = now(reader.read(cursor.as_ref(), page_len))?;
        let len = page.items.len() as u64;
        pages.push(Arc::new(ItemPage::new(first, page.items)));
        first += len;
        cursor = page.next;
        if cursor.is_none() {
            now(reader.close());
            return Ok(pages);
        }
    }
}

fn calls_of(fan_out: &dyn FanOut, page: &ItemPage, work: &ItemWork) -> Result<Vec<Vec<u64>>> {
    let numbered = |places: Vec<usize>| places.into_iter().map(|place| page.first + place as u64).collect();
    match (fan_out.batching(), work) {
        (Some(batching), _) => Ok(batching.batches(&page.items)?.into_iter().map(numbered).collect()),
        (None, ItemWork::Many { .. }) => Ok(vec![page.range().collect()]),
        (None, _) => Ok(page.range().map(|index| vec![index]).collect()),
    }
}

fn slot(page: &Arc<ItemPage>, index: u64, shared: Option<&Bytes>) -> ItemSlot {
    ItemSlot {
        fan_out: FAN_OUT.parse::<FanOutId>().expect("it is an id"),
        page: Arc::clone(page),
        index,
        shared: shared.cloned(),
    }
}

fn run_call(work: &ItemWork, step: &Step, slots: &[ItemSlot], page_len: usize) -> Vec<RawOutcome> {
    let items: Vec<(u64, Item)> = slots
        .iter()
        .map(|slot| (slot.index, slot.item().expect("it is of the page").clone()))
        .collect();
    let mut step = step.clone();
    step.item = slots.first().cloned();
    let each = |result: Result<ItemResult>| vec![(slots[0].index, result)];
    let results = match work {
        ItemWork::Each(call) => each(now(call(step))),
        ItemWork::EachBlocking(call) => each(now(call(step)).and_then(|call| call())),
        ItemWork::Nested(inner) => {
            each(drive(&**inner, step, page_len).and_then(|driven| ItemResult::of(driven.outcome)))
        }
        ItemWork::Many { call, .. } => {
            let call = call(ItemCall {
                step,
                items: slots.iter().map(|slot| (slot.clone(), 1)).collect(),
            });
            now(call).unwrap_or_else(|error| {
                let text = error.to_string();
                let fail = |slot: &ItemSlot| {
                    (
                        slot.index,
                        Err(Error::permanent(text.clone()).code(error.stable_code().to_owned())),
                    )
                };
                slots.iter().map(fail).collect()
            })
        }
    };
    let ended = items.into_iter().zip(results).map(|((index, item), (number, result))| {
        assert_eq!(index, number, "results come in the order of the call");
        let outcome = match result {
            Ok(result) => ItemOutcome::Ended(result),
            Err(error) => ItemOutcome::Failed(error.to_record()),
        };
        RawOutcome { index, item, outcome }
    });
    ended.collect()
}

/// The stable codes of those that failed, by number.
pub(crate) fn failures(ended: &[RawOutcome]) -> Vec<(u64, String)> {
    let failed = ended.iter().filter_map(|ended| match &ended.outcome {
        ItemOutcome::Failed(error) => Some((ended.index, error.code.clone())),
        ItemOutcome::Ended(_) => None,
    });
    failed.collect()
}
