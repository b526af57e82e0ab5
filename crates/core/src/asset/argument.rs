//! What the arguments of an asset's function may be, and how each is drawn from its step.

use std::any::TypeId;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use futures::Stream;
use serde::de::DeserializeOwned;

use super::context::{AssetContext, Step};
use crate::partition::PartitionSet;
use crate::{AssetValue, Error, ErrorKind, Result, TypeInfo, Value};

/// How an argument reads its upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputKind {
    /// Exactly one upstream partition, which must be there.
    Value,
    /// At most one upstream partition, which may be missing.
    Optional,
    /// Any number of upstream partitions, one after the other.
    Stream,
}

/// What an argument needs, as checked when the pipeline is built.
#[derive(Debug, Clone, Copy)]
pub enum Argument {
    /// The next upstream.
    Upstream {
        /// How it is read.
        kind: InputKind,
        /// The type that the function expects.
        ty: TypeInfo,
        /// True for one value that all partitions of a call share; false where each has its own.
        of_call: bool,
    },
    /// A resource of the pipeline.
    Resource {
        /// The type by which it was registered.
        id: fn() -> TypeId,
        /// Its name, for people.
        name: fn() -> &'static str,
    },
    /// The asset's section of the run's configuration.
    Config {
        /// Checks a section before anything runs.
        check: fn(&serde_json::Value) -> Result<()>,
    },
    /// Who the step is.
    Context,
    /// Something of a step that fans out; only the functions of one that does take it.
    Item(ItemPart),
}

/// What an argument takes of a step that fans out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemPart {
    /// The item.
    Item,
    /// The items of a call for several.
    Items,
    /// What all items share.
    Shared(TypeInfo),
    /// How the items ended.
    Outcomes,
}

/// Something that an argument of an asset's function may be.
#[diagnostic::on_unimplemented(
    message = "an asset's function cannot take `{Self}`",
    label = "not an argument that a step can fill",
    note = "take `In<T>`, `Arc<T>`, `Option` of either, `RowStream<T>`, `PartitionStream<T>`, `Res<T>`, `Config<T>` or \
            `AssetContext`"
)]
pub trait FromStep: Sized + Send + 'static {
    /// What it needs.
    fn argument() -> Argument;

    /// Draws it from `step`; `input` is the number of its upstream, if it takes one.
    ///
    /// # Errors
    /// What loading the input gives; `NotFound` when a needed input was never materialized.
    fn from_step(step: &Step, input: usize) -> impl Future<Output = Result<Self>> + Send;
}

/// The value of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct In<T>(pub T);

impl<T: AssetValue> FromStep for In<T> {
    fn argument() -> Argument {
        Argument::Upstream {
            kind: InputKind::Value,
            ty: TypeInfo::of::<T>(),
            of_call: false,
        }
    }

    async fn from_step(step: &Step, input: usize) -> Result<Self> {
        match load_single(step, input).await? {
            Some(value) => value.take().map(In),
            None => Err(never_materialized()),
        }
    }
}

/// The same as [`In`], shared instead of copied: for large values that several steps read.
impl<T: AssetValue> FromStep for Arc<T> {
    fn argument() -> Argument {
        In::<T>::argument()
    }

    async fn from_step(step: &Step, input: usize) -> Result<Self> {
        load_single(step, input).await?.ok_or_else(never_materialized)?.shared()
    }
}

impl<T: AssetValue> FromStep for Option<In<T>> {
    fn argument() -> Argument {
        Argument::Upstream {
            kind: InputKind::Optional,
            ty: TypeInfo::of::<T>(),
            of_call: false,
        }
    }

    async fn from_step(step: &Step, input: usize) -> Result<Self> {
        load_single(step, input)
            .await?
            .map(|value| value.take().map(In))
            .transpose()
    }
}

impl<T: AssetValue> FromStep for Option<Arc<T>> {
    fn argument() -> Argument {
        Option::<In<T>>::argument()
    }

    async fn from_step(step: &Step, input: usize) -> Result<Self> {
        load_single(step, input).await?.map(|value| value.shared()).transpose()
    }
}

pub(super) fn never_materialized() -> Error {
    Error::new(ErrorKind::NotFound, "an input was never materialized").code("input_missing")
}

async fn load_single(step: &Step, input: usize) -> Result<Option<Value>> {
    match only_partition(step, input)? {
        Some(only) => step.inputs.load(input, only).await,
        None => Ok(None),
    }
}

/// The one partition of an input that `step` reads, if it was materialized as far as is known.
pub(super) fn only_partition(step: &Step, input: usize) -> Result<Option<u64>> {
    if let Some(only) = step.inputs.only(input, step.partition) {
        return Ok(Some(only));
    }
    let partitions = step.inputs.partitions(input, step.partition)?;
    match partitions.min() {
        None => Ok(None),
        Some(only) if partitions.len() == 1 => Ok(Some(only)),
        Some(_) => {
            let count = partitions.len();
            Err(Error::new(
                ErrorKind::TypeMismatch,
                format!("the argument takes one partition, its mapping gives {count}"),
            )
            .code("input_many_partitions")
            .fix("take it as `PartitionStream<T>`"))
        }
    }
}

/// The values of many upstream partitions, in the order of their indices, loaded one at a time.
pub struct PartitionStream<T> {
    step: Step,
    input: usize,
    left: PartitionSet,
    total: u64,
    ty: PhantomData<fn() -> T>,
}

impl<T: AssetValue> PartitionStream<T> {
    /// The next partition's value, or `None` after the last.
    ///
    /// # Errors
    /// What loading it gives.
    pub async fn next(&mut self) -> Result<Option<T>> {
        let Some(first) = self.left.split_off_first(1).min() else {
            return Ok(None);
        };
        match self.step.inputs.load(self.input, first).await? {
            Some(value) => value.take().map(Some),
            None => Err(Error::new(ErrorKind::Internal, "a pinned input is not in the ledger").code("input_missing")),
        }
    }

    /// The number of partitions that the stream started with.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// All values at once, for when they fit in memory.
    ///
    /// # Errors
    /// What loading any of them gives.
    pub async fn collect(mut self) -> Result<Vec<T>> {
        let mut all = Vec::new();
        while let Some(value) = self.next().await? {
            all.push(value);
        }
        Ok(all)
    }

    /// The same as a [`Stream`].
    pub fn into_stream(self) -> impl Stream<Item = Result<T>> + Send {
        futures::stream::try_unfold(self, |mut partitions| async move {
            Ok(partitions.next().await?.map(|value| (value, partitions)))
        })
    }
}

impl<T: AssetValue> FromStep for PartitionStream<T> {
    fn argument() -> Argument {
        Argument::Upstream {
            kind: InputKind::Stream,
            ty: TypeInfo::of::<T>(),
            of_call: false,
        }
    }

    async fn from_step(step: &Step, input: usize) -> Result<Self> {
        let left = step.inputs.partitions(input, step.partition)?;
        let total = left.len();
        Ok(Self {
            step: step.clone(),
            input,
            left,
            total,
            ty: PhantomData,
        })
    }
}

impl<T> fmt::Debug for PartitionStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartitionStream")
            .field("total", &self.total)
            .field("left", &self.left.len())
            .finish()
    }
}

/// A resource of the pipeline, shared by everyone who takes it.
#[derive(Debug)]
pub struct Res<T>(Arc<T>);

impl<T> Deref for Res<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Clone for Res<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Send + Sync + 'static> FromStep for Res<T> {
    fn argument() -> Argument {
        Argument::Resource {
            id: TypeId::of::<T>,
            name: std::any::type_name::<T>,
        }
    }

    async fn from_step(step: &Step, _: usize) -> Result<Self> {
        step.scope.pipeline.resources().get::<T>().map(Res)
    }
}

/// The asset's own section of the run's configuration, read as a `T`; an absent section reads as `{}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config<T>(pub T);

impl<T> Deref for Config<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

fn read_config<T: DeserializeOwned>(section: &serde_json::Value) -> Result<T> {
    T::deserialize(section).map_err(|error| {
        Error::new(ErrorKind::Invalid, error.to_string())
            .code("config_invalid")
            .during("read the run configuration")
            .fix("give `--config <asset>.<field>=<value>`, or the field a default with `#[serde(default)]`")
    })
}

impl<T: DeserializeOwned + Send + 'static> FromStep for Config<T> {
    fn argument() -> Argument {
        Argument::Config {
            check: |section| read_config::<T>(section).map(drop),
        }
    }

    async fn from_step(step: &Step, _: usize) -> Result<Self> {
        read_config(&step.scope.config).map(Config)
    }
}

impl FromStep for AssetContext {
    fn argument() -> Argument {
        Argument::Context
    }

    async fn from_step(step: &Step, _: usize) -> Result<Self> {
        Ok(Self::new(step.clone()))
    }
}
