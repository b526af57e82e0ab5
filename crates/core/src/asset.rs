//! What an asset is: a name, what it needs, how it is made and kept.
//!
//! [`Asset`] is the builder that `#[asset]` writes for you; nothing here is checked until the pipeline is built, so that
//! every complaint can be given at once.

mod argument;
mod batch;
mod context;
mod handler;
mod outcome;
mod retry;
mod row_stream;

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crate::fan_out::FanOut;
use crate::partition::{Mapping, PartitionKey, Partitions};
use crate::pool::PoolUse;
use crate::retention::Keep;
use crate::{BoxFuture, CodeVersion, Result, TypeInfo, Value};

pub use argument::{Argument, Config, FromStep, In, InputKind, ItemPart, PartitionStream, Res};
pub use batch::{
    BATCH_LEN_MAX, Batch, BatchContext, BatchOutcome, BatchPartition, Call, FromCall, IntoBatchOutcome, SortedOutcome,
};
pub use context::{AssetContext, InputLoader, PartitionSets, RunScope, Step};
pub use handler::{BatchHandler, BlockingBatchHandler, BlockingHandler, Handler};
pub use outcome::{Fallible, IntoOutcome, Outcome, Plain};
pub use retry::{NextAttempt, Retry};
pub use row_stream::RowStream;

/// How the function of an asset is called.
#[derive(Clone)]
pub enum Body {
    /// It may wait, and must not block its thread.
    Async(Arc<dyn Fn(Step) -> BoxFuture<'static, Result<Outcome<Value>>> + Send + Sync>),
    /// It may block: it runs on a thread of its own kind, its arguments are loaded before.
    Blocking(Arc<dyn Fn(Step) -> BoxFuture<'static, Result<BlockingCall>> + Send + Sync>),
    /// It is called for many partitions at once, may wait, and must not block its thread.
    AsyncBatch(Arc<dyn Fn(Call) -> BoxFuture<'static, Result<BatchOutcome<Value>>> + Send + Sync>),
    /// It is called for many partitions at once, and may block.
    BlockingBatch(Arc<dyn Fn(Call) -> BoxFuture<'static, Result<BlockingBatchCall>> + Send + Sync>),
    /// It becomes many items and comes back.
    FanOut(Arc<dyn FanOut>),
}

/// A blocking function with its arguments, ready to be called.
pub type BlockingCall = Box<dyn FnOnce() -> Result<Outcome<Value>> + Send>;

/// The same for a function that is called for many partitions.
pub type BlockingBatchCall = Box<dyn FnOnce() -> Result<BatchOutcome<Value>> + Send>;

/// Where in the user's code something was defined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceLocation {
    /// The file, as the compiler names it.
    pub file: &'static str,
    /// The line, from 1.
    pub line: u32,
}

impl fmt::Display for SourceLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Something that an asset is made from, by name.
#[derive(Debug, Clone)]
pub struct Upstream {
    pub(crate) name: String,
    pub(crate) mapping: Option<Mapping>,
}

impl Upstream {
    /// The asset called `name`, with the partition mapping that the two partition spaces imply.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            mapping: None,
        }
    }

    /// Gives the partition mapping explicitly.
    #[must_use]
    pub fn mapping(mut self, mapping: Mapping) -> Self {
        self.mapping = Some(mapping);
        self
    }
}

impl<S: Into<String>> From<S> for Upstream {
    fn from(name: S) -> Self {
        Self::new(name)
    }
}

/// An asset's definition.
///
/// ```
/// use flowstone_core::asset::{Asset, In};
///
/// let total = Asset::new("total")
///     .upstream("numbers")
///     .run(|In(numbers): In<Vec<i64>>| async move { numbers.iter().sum::<i64>() });
/// assert_eq!(total.name(), "total");
/// ```
#[derive(Clone)]
pub struct Asset {
    pub(crate) name: String,
    pub(crate) location: SourceLocation,
    pub(crate) description: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) partitions: Partitions,
    pub(crate) upstreams: Vec<Upstream>,
    pub(crate) arguments: Vec<Argument>,
    pub(crate) io: Option<String>,
    pub(crate) retry: Retry,
    pub(crate) deadline: Option<Duration>,
    pub(crate) code_version: CodeVersion,
    pub(crate) source_versions: Vec<(PartitionKey, CodeVersion)>,
    pub(crate) acts_outside: bool,
    pub(crate) keep_versions: Option<Keep>,
    pub(crate) pools: Vec<PoolUse>,
    pub(crate) max_concurrent: Option<u32>,
    pub(crate) batch: Option<u64>,
    pub(crate) made: Option<(Body, TypeInfo)>,
}

impl Asset {
    /// An asset called `name`, defined at the caller's place.
    #[track_caller]
    pub fn new(name: impl Into<String>) -> Self {
        let place = Location::caller();
        Self {
            name: name.into(),
            location: SourceLocation {
                file: place.file(),
                line: place.line(),
            },
            description: None,
            group: None,
            tags: Vec::new(),
            partitions: Partitions::unit(),
            upstreams: Vec::new(),
            arguments: Vec::new(),
            io: None,
            retry: Retry::default(),
            deadline: None,
            code_version: CodeVersion::of(b""),
            source_versions: Vec::new(),
            acts_outside: false,
            keep_versions: None,
            pools: Vec::new(),
            max_concurrent: None,
            batch: None,
            made: None,
        }
    }

    /// Says where the definition stands; the macro knows better than the call chain.
    #[must_use]
    pub fn defined_at(mut self, file: &'static str, line: u32) -> Self {
        self.location = SourceLocation { file, line };
        self
    }

    /// A sentence or two for people.
    #[must_use]
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = Some(text.into());
        self
    }

    /// The group that `group:name` selects.
    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// A tag that `tag:name` selects. May be given several times.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// The partitions of the asset; one unnamed partition unless given.
    #[must_use]
    pub fn partitions(mut self, partitions: impl Into<Partitions>) -> Self {
        self.partitions = partitions.into();
        self
    }

    /// Adds something that the asset is made from. The function's arguments of kind [`In`], [`Option`],
    /// [`RowStream`] and [`PartitionStream`] take the upstreams in the order in which they were added.
    #[must_use]
    pub fn upstream(mut self, upstream: impl Into<Upstream>) -> Self {
        self.upstreams.push(upstream.into());
        self
    }

    /// The name of the IO manager that keeps the values; the pipeline's default unless given.
    #[must_use]
    pub fn io(mut self, name: impl Into<String>) -> Self {
        self.io = Some(name.into());
        self
    }

    /// When and how often a failed attempt is followed by another.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// How long one attempt may take before it is stopped with a timeout. For a batch, how long one call may take.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// A name for this version of the code. A step whose code and inputs are unchanged is not run again; `#[asset]` uses
    /// the function's text unless a version is given, the builder cannot see the closure's text and knows only this.
    #[must_use]
    pub fn code_version(mut self, version: impl AsRef<[u8]>) -> Self {
        self.code_version = CodeVersion::of(version.as_ref());
        self
    }

    /// Names for what partitions read of the outside world, as it is now: checksums of files, say. A partition is made
    /// again when its name is another than it was made from; those without one depend on their code and upstream only.
    ///
    /// Planning costs something for each different name, so give many partitions that change together one name.
    #[must_use]
    pub fn source_versions<K: Into<PartitionKey>, V: AsRef<[u8]>>(
        mut self,
        versions: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let versions = versions.into_iter();
        self.source_versions
            .extend(versions.map(|(key, version)| (key.into(), CodeVersion::of(version.as_ref()))));
        self
    }

    /// Marks the asset as acting on the outside world: its steps start only when everything they rest on, and the fact
    /// that they were started, is on disk.
    #[must_use]
    pub fn acts_outside(mut self) -> Self {
        self.acts_outside = true;
        self
    }

    /// Which versions of each partition are kept; as the engine's [`Retention`](crate::retention::Retention) says unless
    /// given.
    #[must_use]
    pub fn keep_versions(mut self, keep: Keep) -> Self {
        self.keep_versions = Some(keep);
        self
    }

    /// Lets each of its steps take `weight` slots of a pool while it runs, over all runs. May be given several times; the
    /// pipeline says how many slots there are. A call for a batch of partitions takes them once.
    #[must_use]
    pub fn pool(mut self, name: impl Into<String>, weight: u32) -> Self {
        self.pools.push(PoolUse {
            pool: name.into(),
            weight,
        });
        self
    }

    /// Lets at most so many of its steps run at once, over all runs. A call for a batch of partitions counts once.
    #[must_use]
    pub fn max_concurrent(mut self, count: u32) -> Self {
        self.max_concurrent = Some(count);
        self
    }

    /// The asynchronous function that makes one partition of the asset.
    #[must_use]
    pub fn run<M, H: Handler<M>>(mut self, handler: H) -> Self {
        (self.arguments, self.batch) = (H::arguments(), None);
        self.made = Some((Body::Async(handler.into_body()), TypeInfo::of::<H::Output>()));
        self
    }

    /// The plain function that makes one partition of the asset; it may block.
    #[must_use]
    pub fn run_blocking<M, H: BlockingHandler<M>>(mut self, handler: H) -> Self {
        (self.arguments, self.batch) = (H::arguments(), None);
        self.made = Some((Body::Blocking(handler.into_body()), TypeInfo::of::<H::Output>()));
        self
    }

    /// The asynchronous function that makes up to `partitions_max` partitions in one call, and says of each how it ended.
    ///
    /// Partitions that may start at the same time are called for together. While what the asset is made from is still
    /// being made in the run, a call waits until it is full. A partition that fails is tried again without the others;
    /// after a call that fails as a whole, by an error, a panic or its deadline, its partitions are called for fewer at a
    /// time and at last alone, so that one does not take the others with it.
    #[must_use]
    pub fn run_batch<M, H: BatchHandler<M>>(mut self, partitions_max: u64, handler: H) -> Self {
        (self.arguments, self.batch) = (H::arguments(), Some(partitions_max));
        self.made = Some((Body::AsyncBatch(handler.into_body()), TypeInfo::of::<H::Output>()));
        self
    }

    /// The same with a plain function; it may block.
    #[must_use]
    pub fn run_batch_blocking<M, H: BlockingBatchHandler<M>>(mut self, partitions_max: u64, handler: H) -> Self {
        (self.arguments, self.batch) = (H::arguments(), Some(partitions_max));
        self.made = Some((Body::BlockingBatch(handler.into_body()), TypeInfo::of::<H::Output>()));
        self
    }

    /// Lets each step fan out. `arguments` are those of all its functions in the order of the upstreams, `output` is the type
    /// of the value that is made in the end. Crates that implement [`FanOut`] call this.
    #[must_use]
    pub fn fan_out(mut self, arguments: Vec<Argument>, output: TypeInfo, fan_out: Arc<dyn FanOut>) -> Self {
        (self.arguments, self.batch) = (arguments, None);
        self.made = Some((Body::FanOut(fan_out), output));
        self
    }

    /// The name that was given.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for Asset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asset")
            .field("name", &self.name)
            .field("location", &self.location)
            .finish_non_exhaustive()
    }
}

/// An asset that exists as a type, so that the compiler can check who reads it. Written by `#[asset]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an asset",
    label = "expected the name of a function marked `#[asset]`",
    note = "an argument of an asset's function is named after the asset that it reads; write `#[from(\"name\")]` before \
            the argument to read an asset that was made with the builder"
)]
pub trait AssetDefinition {
    /// The type of the asset's value.
    type Output;

    /// The name of the asset.
    const NAME: &'static str;

    /// The definition.
    fn asset() -> Asset;
}
