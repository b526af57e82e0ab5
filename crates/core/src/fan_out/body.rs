//! What a plugin supplies to fan a step out: where its items come from, what is done with one, what is made of all.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::options::FanOutOptions;
use super::outcomes::Outcomes;
use super::page::ItemPage;
use crate::asset::{Outcome, Step};
use crate::codec::{Codec, Json};
use crate::coordinator::Coordinator;
use crate::io::{Manifest, Rows};
use crate::reader::{ITEM_LEN_MAX, Item, ItemReader};
use crate::{BoxFuture, Error, ErrorKind, FanOutId, Result, TypeInfo, Value};

/// One item of a fan-out, as its function's arguments are drawn from it.
#[derive(Debug, Clone)]
pub struct ItemSlot {
    /// The fan-out.
    pub fan_out: FanOutId,
    /// The page that the item is of.
    pub page: Arc<ItemPage>,
    /// Its number.
    pub index: u64,
    /// What all items share, as [`FanOut::shared`] gave it.
    pub shared: Option<Bytes>,
}

impl ItemSlot {
    /// The item.
    ///
    /// # Errors
    /// `Internal` when the page does not hold it.
    pub fn item(&self) -> Result<&Item> {
        self.page.get(self.index).ok_or_else(|| {
            let (index, page) = (self.index, &self.page);
            Error::new(ErrorKind::Internal, format!("item {index} is not of {page:?}"))
        })
    }
}

/// What the function gave for an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemResult {
    /// Its value, encoded.
    Value(Bytes),
    /// There was nothing to do, with the reason.
    Skipped(String),
}

impl ItemResult {
    /// The result that keeps `outcome`, its value as JSON (see [`Json`](crate::codec::Json)).
    ///
    /// # Errors
    /// `Invalid` when the value cannot be written as JSON; `LimitExceeded` when it has more than [`ITEM_LEN_MAX`] bytes.
    pub fn of(outcome: Outcome<Value>) -> Result<Self> {
        let value = match outcome {
            Outcome::Value(value) => Json.encode(&value)?,
            Outcome::Skipped(reason) => return Ok(Self::Skipped(reason)),
        };
        if value.len() > ITEM_LEN_MAX {
            let bytes = value.len();
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                format!("its result has {bytes} bytes, {ITEM_LEN_MAX} are allowed"),
            )
            .code("item_result_too_large")
            .fix("store what is large elsewhere, and give back where it lies"));
        }
        Ok(Self::Value(value))
    }

    /// The value that [`of`](Self::of) kept; `None` when there was nothing to do.
    ///
    /// # Errors
    /// `Corrupt` when it is no value of type `ty`.
    pub fn read(&self, ty: TypeInfo) -> Result<Option<Value>> {
        match self {
            Self::Value(value) => Json.decode(value, ty).map(Some),
            Self::Skipped(_) => Ok(None),
        }
    }
}

/// A call for several items of one page.
#[derive(Clone)]
pub struct ItemCall {
    /// The step that fans out; its `item` is the first of the call's.
    pub step: Step,
    /// The items, with the attempt at each.
    pub items: Vec<(ItemSlot, u32)>,
}

/// A function that is called for one item.
pub type EachItem = Arc<dyn Fn(Step) -> BoxFuture<'static, Result<ItemResult>> + Send + Sync>;
/// A plain function that is called for one item, with its arguments drawn.
pub type BlockingItem = Box<dyn FnOnce() -> Result<ItemResult> + Send>;
/// A plain function that is called for one item.
pub type EachItemBlocking = Arc<dyn Fn(Step) -> BoxFuture<'static, Result<BlockingItem>> + Send + Sync>;
/// What a call for several items gave: the result of each item, by number. An item without one has failed.
pub type ItemResults = Vec<(u64, Result<ItemResult>)>;
/// A function that is called for several items.
pub type ManyItems = Arc<dyn Fn(ItemCall) -> BoxFuture<'static, Result<ItemResults>> + Send + Sync>;

/// What is done with items.
#[derive(Clone)]
pub enum ItemWork {
    /// A function is called for each; it may wait, and must not block its thread.
    Each(EachItem),
    /// A function is called for each; it may block.
    EachBlocking(EachItemBlocking),
    /// A function is called for several at once; it may wait, and must not block its thread.
    Many {
        /// The function.
        call: ManyItems,
        /// How many it is called for, where batches are not marked when the items come.
        adaptive: Option<AdaptiveBatches>,
    },
    /// Each fans out again.
    Nested(Arc<dyn FanOut>),
}

/// Batches whose size follows from how long calls take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdaptiveBatches {
    /// How long a call should take.
    pub call_time: Duration,
    /// The most items of one call.
    pub items_max: u32,
}

impl AdaptiveBatches {
    /// How many items the next call is for, after one for `items` that took `took`: as many as would have taken
    /// [`call_time`](Self::call_time), at most twice as many as before.
    pub fn next_len(&self, items: u32, took: Duration) -> u32 {
        let each = took.as_secs_f64() / f64::from(items.max(1));
        let fitting = if each > 0.0 {
            (self.call_time.as_secs_f64() / each) as u32
        } else {
            u32::MAX
        };
        fitting.min(items.saturating_mul(2)).clamp(1, self.items_max.max(1))
    }
}

/// Which items of a page are taken together.
pub trait Batching: Send + Sync + 'static {
    /// The places of `items` in batches, in the order in which the batches are to be taken. Every place in exactly one.
    ///
    /// # Errors
    /// The user's own.
    fn batches(&self, items: &[Item]) -> Result<Vec<Vec<usize>>>;
}

/// What was made of what the items gave.
#[derive(Debug)]
pub enum GatheredValue {
    /// A value.
    Whole(Value),
    /// Rows that are read while they are stored, and what is to be known of them beside.
    Rows(Rows, Manifest),
}

impl GatheredValue {
    /// All of it, in memory.
    ///
    /// # Errors
    /// What reading the rows gives.
    pub async fn collect(self) -> Result<Value> {
        match self {
            Self::Whole(value) => Ok(value),
            Self::Rows(rows, _) => rows.collect().await,
        }
    }
}

impl From<Value> for GatheredValue {
    fn from(value: Value) -> Self {
        Self::Whole(value)
    }
}

/// How a step fans out. Plugins implement it; the engine drives it.
///
/// Implementors promise that everything here may be called again after a crash, except that
/// [`shared`](Self::shared) is asked for once.
#[async_trait]
pub trait FanOut: Send + Sync + 'static {
    /// What does not fit together, told when the pipeline is built.
    fn check(&self) -> Vec<Error> {
        Vec::new()
    }

    /// How to go about the items, unless somebody changes it while it runs.
    fn options(&self) -> FanOutOptions;

    /// Who says what the ends of items amount to: the failure policy, unless overridden. Another coordinator says by
    /// [`tolerating`](Coordinator::tolerating) whether somebody may change how many items may fail.
    fn coordinator(&self, options: &FanOutOptions) -> Arc<dyn Coordinator> {
        Arc::new(options.failure)
    }

    /// What all items share, evaluated once for the fan-out, whatever crashes.
    ///
    /// # Errors
    /// The user's own.
    async fn shared(&self, _step: &Step) -> Result<Option<Bytes>> {
        Ok(None)
    }

    /// Opens the source of the items.
    ///
    /// # Errors
    /// What evaluating or opening the source gives.
    async fn open(&self, step: &Step) -> Result<Box<dyn ItemReader>>;

    /// Which items are taken together, if they are.
    fn batching(&self) -> Option<Arc<dyn Batching>> {
        None
    }

    /// What is done with items.
    fn work(&self) -> ItemWork;

    /// Makes the value of the step of what the items gave.
    ///
    /// # Errors
    /// The user's own, and what reading the outcomes gives.
    async fn gather(&self, step: Step, outcomes: Outcomes) -> Result<Outcome<GatheredValue>>;
}
