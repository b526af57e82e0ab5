//! Runs one asset's function by itself, on values that the test gives.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use flowstone_core::asset::{Body, Call, InputLoader, Outcome, PartitionSets, RunScope, Step};
use flowstone_core::graph::{Input, Node};
use flowstone_core::memory::MemoryStore;
use flowstone_core::partition::{BoundMapping, PartitionKey, PartitionSet};
use flowstone_core::pipeline::Pipeline;
use flowstone_core::store::Store as _;
use flowstone_core::{AssetValue, BoxFuture, Error, ErrorKind, Result, RunId, Value};
use jiff::Timestamp;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// One asset, and what it is to be made from. Nothing is stored, nothing else is run.
///
/// ```
/// use flowstone_core::asset::{Asset, In};
/// use flowstone_core::pipeline::Pipeline;
/// use flowstone_testkit::OneAsset;
///
/// # flowstone_testkit::run(async {
/// let pipeline = Pipeline::builder("sums")
///     .asset(Asset::new("numbers").run(|| async { vec![1_i64, 2, 3] }))
///     .asset(Asset::new("total").upstream("numbers").run(|In(numbers): In<Vec<i64>>| async move {
///         numbers.iter().sum::<i64>()
///     }))
///     .build()
///     .unwrap();
///
/// let total: Option<i64> = OneAsset::of(&pipeline, "total").given("numbers", vec![20_i64, 22]).make().await.unwrap();
/// assert_eq!(total, Some(42));
/// # });
/// ```
#[derive(Debug)]
pub struct OneAsset<'a> {
    pipeline: &'a Pipeline,
    name: String,
    partition: String,
    now: Timestamp,
    attempt: u32,
    config: serde_json::Value,
    given: Vec<(String, String, Value)>,
    sets: BTreeMap<String, Vec<PartitionKey>>,
}

impl<'a> OneAsset<'a> {
    /// The asset called `name`, its first attempt, now.
    pub fn of(pipeline: &'a Pipeline, name: impl Into<String>) -> Self {
        Self {
            pipeline,
            name: name.into(),
            partition: String::new(),
            now: Timestamp::now(),
            attempt: 1,
            config: json!({}),
            given: Vec::new(),
            sets: BTreeMap::new(),
        }
    }

    /// The partition that is made, as text; not needed for an asset without partitions.
    #[must_use]
    pub fn partition(mut self, partition: impl Into<String>) -> Self {
        self.partition = partition.into();
        self
    }

    /// Gives the value of an upstream without partitions.
    #[must_use]
    pub fn given<T: AssetValue>(self, upstream: impl Into<String>, value: T) -> Self {
        self.given_partition(upstream, "", value)
    }

    /// Gives the value of one partition of an upstream. Partitions that are not given were never made.
    #[must_use]
    pub fn given_partition<T: AssetValue>(
        mut self,
        upstream: impl Into<String>,
        partition: impl Into<String>,
        value: T,
    ) -> Self {
        self.given.push((upstream.into(), partition.into(), Value::new(value)));
        self
    }

    /// The keys that a dynamic set has. What the function adds or retires is answered, and forgotten.
    ///
    /// ```
    /// # use flowstone_core::asset::{Asset, AssetContext};
    /// # use flowstone_core::partition::Partitions;
    /// # use flowstone_core::pipeline::Pipeline;
    /// # use flowstone_testkit::OneAsset;
    /// # flowstone_testkit::run(async {
    /// let orders = Asset::new("orders")
    ///     .partitions(Partitions::dynamic("customers"))
    ///     .run(|context: AssetContext| async move { context.add_partitions("customers", ["ann", "jo"]).await });
    /// let pipeline = Pipeline::builder("shop").asset(orders).build().unwrap();
    ///
    /// let made = OneAsset::of(&pipeline, "orders").dynamic("customers", ["ann"]).partition("ann");
    /// assert_eq!(made.make::<Vec<u64>>().await.unwrap(), Some(vec![0, 1]));
    /// # });
    /// ```
    #[must_use]
    pub fn dynamic<K: Into<PartitionKey>>(mut self, set: impl Into<String>, keys: impl IntoIterator<Item = K>) -> Self {
        self.sets.insert(set.into(), keys.into_iter().map(Into::into).collect());
        self
    }

    /// The asset's section of the run's configuration.
    #[must_use]
    pub fn config(mut self, section: serde_json::Value) -> Self {
        self.config = section;
        self
    }

    /// The time at which open-ended windows are as long as they are.
    #[must_use]
    pub fn at(mut self, now: Timestamp) -> Self {
        self.now = now;
        self
    }

    /// Which attempt it is, from 1.
    #[must_use]
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }

    /// Calls the function: what it made, or `None` if it found nothing to make.
    ///
    /// # Errors
    /// What the function says; `NotFound` for an asset, upstream or partition that there is not; `TypeMismatch` for a
    /// value of another type.
    pub async fn make<T: AssetValue>(mut self) -> Result<Option<T>> {
        let partition = std::mem::take(&mut self.partition);
        let made = self.make_each(&[&partition]).await?.pop();
        made.unwrap_or_else(|| Err(Error::new(ErrorKind::Internal, "no outcome for the one partition")))
    }

    /// The same for many partitions, in order of partition: in one call if the function takes batches, whatever their
    /// size, else one after the other.
    ///
    /// ```
    /// use flowstone_core::asset::{Asset, Batch, BatchOutcome, In};
    /// use flowstone_core::partition::Partitions;
    /// use flowstone_core::pipeline::Pipeline;
    /// use flowstone_testkit::OneAsset;
    ///
    /// # flowstone_testkit::run(async {
    /// let letters = || Partitions::keys(["a", "b", "c"]);
    /// let lens = |texts: Batch<In<String>>| async move {
    ///     texts.map(|In(text)| text.len()).into_iter().collect::<BatchOutcome<_>>()
    /// };
    /// let pipeline = Pipeline::builder("letters")
    ///     .asset(Asset::new("texts").partitions(letters()).run(|| async { String::new() }))
    ///     .asset(Asset::new("lens").partitions(letters()).upstream("texts").run_batch(2, lens))
    ///     .build()
    ///     .unwrap();
    ///
    /// let made = OneAsset::of(&pipeline, "lens")
    ///     .given_partition("texts", "a", "one".to_owned())
    ///     .given_partition("texts", "c", "three".to_owned())
    ///     .make_each::<usize>(&["a", "c"])
    ///     .await
    ///     .unwrap();
    /// let made: Vec<_> = made.into_iter().map(Result::unwrap).collect();
    /// assert_eq!(made, [Some(3), Some(5)]);
    /// # });
    /// ```
    ///
    /// # Errors
    /// What the function says of the call as a whole; else as [`make`](Self::make).
    pub async fn make_each<T: AssetValue>(self, partitions: &[&str]) -> Result<Vec<Result<Option<T>>>> {
        let about = format!("asset {}", self.name);
        let about = |error: Error| error.during("make").about(&about);
        let made = self.call(partitions).await.map_err(about)?;
        let sort = |outcome: Result<Outcome<Value>>| match outcome.map_err(about)? {
            Outcome::Value(value) => value.take().map(Some),
            Outcome::Skipped(_) => Ok(None),
        };
        Ok(made.into_iter().map(sort).collect())
    }

    async fn call(self, partitions: &[&str]) -> Result<Vec<Result<Outcome<Value>>>> {
        let store = MemoryStore::default();
        let mut known = BTreeMap::new();
        for name in self.pipeline.graph().dynamic_sets().into_keys() {
            let keys = self.sets.get(name).map_or(&[][..], Vec::as_slice);
            store.add_dynamic_keys(name, keys, self.now).await?;
            known.insert(name.to_owned(), store.dynamic_set(name).await?);
        }
        let pipeline = self.pipeline.with_sets(&known);
        let graph = pipeline.graph();
        let ix = graph.find(&self.name)?;
        let node = graph.node(ix);
        let partitions = partitions.iter().map(|label| index_of(node, label));
        let partitions: BTreeSet<u64> = partitions.collect::<Result<_>>()?;
        let mut inputs = Vec::with_capacity(node.inputs().len());
        for input in node.inputs() {
            inputs.push(GivenInput::new(&pipeline, node, input, self.now)?);
        }
        for (upstream, label, value) in self.given {
            let up = graph.find(&upstream)?;
            let at = node.inputs().iter().position(|input| input.upstream == up);
            let at = at.ok_or_else(|| {
                Error::new(ErrorKind::NotFound, format!("it does not read {upstream:?}")).code("no_such_input")
            })?;
            let wanted = graph.node(up).output();
            if value.ty() != wanted {
                let found = value.ty().name();
                return Err(Error::new(
                    ErrorKind::TypeMismatch,
                    format!(
                        "the value given for {upstream:?} is a `{found}`, not a `{}`",
                        wanted.name()
                    ),
                )
                .code("value_type"));
            }
            inputs[at].values.insert(index_of(graph.node(up), &label)?, value);
        }
        let call = Call {
            scope: Arc::new(RunScope {
                pipeline: pipeline.clone(),
                node: ix,
                run: RunId(Uuid::from_u128(1)),
                config: self.config,
                sets: Arc::new(OwnSets { store, now: self.now }),
            }),
            inputs: Arc::new(Given(inputs)),
            partitions: partitions.iter().map(|partition| (*partition, self.attempt)).collect(),
            cancelled: CancellationToken::new(),
        };
        let outcomes = match node.body() {
            Body::AsyncBatch(function) => function(call.clone()).await?,
            Body::BlockingBatch(function) => function(call.clone()).await?()?,
            Body::Async(_) | Body::Blocking(_) | Body::FanOut(_) => return Ok(one_by_one(node, &call).await),
        };
        let sorted = outcomes.sorted(&call);
        if let Some(stranger) = sorted.strangers.first() {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("the call gave an outcome for {stranger}, which it was not for"),
            )
            .code("batch_stranger"));
        }
        Ok(sorted.outcomes.into_iter().map(|(_, outcome)| outcome).collect())
    }
}

async fn one_by_one(node: &Node, call: &Call) -> Vec<Result<Outcome<Value>>> {
    let mut made = Vec::with_capacity(call.partitions.len());
    for (partition, attempt) in call.partitions.iter() {
        let step = Step {
            scope: Arc::clone(&call.scope),
            inputs: Arc::clone(&call.inputs),
            partition: *partition,
            attempt: *attempt,
            cancelled: call.cancelled.clone(),
            item: None,
        };
        made.push(match node.body() {
            Body::Async(function) => function(step).await,
            Body::Blocking(function) => match function(step).await {
                Ok(call) => call(),
                Err(error) => Err(error),
            },
            Body::AsyncBatch(_) | Body::BlockingBatch(_) => Err(Error::new(
                ErrorKind::Internal,
                "its function is called for many partitions",
            )),
            Body::FanOut(_) => Err(Error::new(ErrorKind::Unsupported, "it fans out, which takes an engine")
                .code("fan_out_without_engine")
                .fix("run it with `flowstone::run` on a pipeline in memory")),
        });
    }
    made
}

fn index_of(node: &Node, label: &str) -> Result<u64> {
    if node.space().is_unit() && label.is_empty() {
        return Ok(0);
    }
    node.space()
        .parse(label)
        .map_err(|error| error.about(format!("a partition of {}", node.key())))
}

/// One input: which partitions are read, and those that were given.
struct GivenInput {
    mapping: BoundMapping,
    values: BTreeMap<u64, Value>,
}

impl GivenInput {
    fn new(pipeline: &Pipeline, node: &Node, input: &Input, now: Timestamp) -> Result<Self> {
        let up = pipeline.graph().node(input.upstream);
        Ok(Self {
            mapping: BoundMapping::new(&input.mapping, node.space(), up.space(), now)?,
            values: BTreeMap::new(),
        })
    }
}

/// Loads what was given.
struct Given(Vec<GivenInput>);

impl InputLoader for Given {
    fn partitions(&self, input: usize, partition: u64) -> Result<PartitionSet> {
        let input = &self.0[input];
        let given: PartitionSet = input.values.keys().copied().collect();
        Ok(input.mapping.upstream_of_one(partition).intersect(&given))
    }

    fn load(&self, input: usize, upstream: u64) -> BoxFuture<'_, Result<Option<Value>>> {
        let value = self.0[input].values.get(&upstream).cloned();
        Box::pin(async move { Ok(value) })
    }
}

/// Sets of this one call.
struct OwnSets {
    store: MemoryStore,
    now: Timestamp,
}

impl PartitionSets for OwnSets {
    fn add<'a>(&'a self, set: &'a str, keys: Vec<PartitionKey>) -> BoxFuture<'a, Result<Vec<u64>>> {
        Box::pin(async move { self.store.add_dynamic_keys(set, &keys, self.now).await })
    }

    fn retire<'a>(&'a self, set: &'a str, keys: Vec<PartitionKey>) -> BoxFuture<'a, Result<Vec<u64>>> {
        Box::pin(async move { self.store.retire_dynamic_keys(set, &keys, self.now).await })
    }
}
