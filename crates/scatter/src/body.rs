//! A scatter as the engine drives it.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use flowstone_core::asset::{BlockingCall, Outcome, Step};
use flowstone_core::codec::{Codec, Json};
use flowstone_core::fan_out::{
    Batching, BlockingItem, FanOut, FanOutOptions, GatheredValue, ItemCall, ItemResult, ItemResults, ItemSlot,
    ItemWork, NESTING_MAX, Outcomes,
};
use flowstone_core::reader::{ItemReader, ItemSource};
use flowstone_core::{BoxFuture, Error, ErrorKind, Result, TypeInfo, Value};
use futures::FutureExt;
use futures::future::ready;

use crate::batches::Batches;
use crate::carrier::Carrier;
use crate::inputs::{CallInputs, Given, InputCache, OnceInputs};
use crate::limits::Limits;
use crate::picked::{Pick, PickingReader};
use crate::wiring::{Layout, Wiring};

/// A function whose value is made into `T`.
pub(crate) type Calling<T> = Arc<dyn Fn(Step) -> BoxFuture<'static, Result<T>> + Send + Sync>;
/// Makes a value of the outcomes of all items without reading anything else.
pub(crate) type Folding = Arc<dyn Fn(Outcomes) -> BoxFuture<'static, Result<GatheredValue>> + Send + Sync>;
/// What a function gave for the items with these numbers.
pub(crate) type Sorting = fn(Value, &[u64]) -> Result<ItemResults>;

/// A function of a scatter with what it reads.
#[derive(Clone)]
pub(crate) struct Function<F> {
    pub(crate) wiring: Wiring,
    pub(crate) call: F,
}

impl<T> Function<Calling<T>> {
    /// Calls it once for a step.
    fn once(&self, mut step: Step, given: Option<(Given, Value)>) -> BoxFuture<'static, Result<T>> {
        step.inputs = Arc::new(OnceInputs::new(step.inputs, self.wiring.offset(), given));
        (self.call)(step)
    }
}

/// Lets a step of an item read what the function for it reads.
fn prepare(step: &mut Step, kept: Option<&InputCache>) -> Result<()> {
    if let Some(cache) = kept {
        step.inputs = cache.of(step)?;
    }
    Ok(())
}

/// Where items come from.
#[derive(Clone)]
pub(crate) enum Source {
    Function(Function<Calling<Box<dyn ItemReader>>>),
    Fixed(Arc<dyn ItemSource>),
}

/// What is done with them.
#[derive(Clone)]
pub(crate) enum Work {
    Each(Function<Calling<Outcome<Value>>>),
    EachBlocking(Function<Calling<BlockingCall>>),
    Many(Function<Calling<Outcome<Value>>>, Sorting, Batches),
    Nested(Arc<Body>),
}

/// What is made of what they gave.
#[derive(Clone)]
pub(crate) enum Gathering {
    Function(Function<Calling<Outcome<Value>>>),
    Fold(Folding),
}

/// Everything that a scatter says.
#[derive(Clone)]
pub(crate) struct Body {
    pub(crate) source: Source,
    pub(crate) picks: Vec<Pick>,
    pub(crate) shared: Option<(Function<Calling<Outcome<Value>>>, TypeInfo)>,
    pub(crate) work: Work,
    pub(crate) gathering: Gathering,
    pub(crate) limits: Limits,
    /// Set where it stands within a scatter that keeps what its items read.
    pub(crate) kept: Option<Kept>,
}

/// What the items of a scatter read, if they read anything.
type Kept = Option<Arc<InputCache>>;

impl Body {
    /// Forgets with its last clone what it keeps, so that nothing of a step outlives it.
    fn keep(&self) -> Kept {
        let wiring = match &self.work {
            Work::Each(function) | Work::Many(function, ..) => &function.wiring,
            Work::EachBlocking(function) => &function.wiring,
            Work::Nested(_) => return None,
        };
        let cache = || InputCache::new(wiring.offset(), wiring.upstreams(), wiring.shared());
        (!wiring.is_self_contained()).then(|| Arc::new(cache()))
    }

    /// The same, keeping what its items read for all the items that it stands within.
    fn keeping(&self) -> Self {
        let mut body = self.clone();
        body.kept = Some(self.keep());
        if let Work::Nested(inner) = &self.work {
            body.work = Work::Nested(Arc::new(inner.keeping()));
        }
        body
    }

    /// Gives each function its place among the upstreams of the asset.
    pub(crate) fn place(&mut self, layout: &mut Layout) {
        if let Source::Function(function) = &mut self.source {
            function.wiring.place(layout);
        }
        if let Some((function, _)) = &mut self.shared {
            function.wiring.place(layout);
        }
        match &mut self.work {
            Work::Each(function) | Work::Many(function, ..) => function.wiring.place(layout),
            Work::EachBlocking(function) => function.wiring.place(layout),
            Work::Nested(inner) => Arc::make_mut(inner).place(layout),
        }
        if let Gathering::Function(function) = &mut self.gathering {
            function.wiring.place(layout);
        }
    }

    fn wirings(&self) -> impl Iterator<Item = &Wiring> {
        let source = match &self.source {
            Source::Function(function) => Some(&function.wiring),
            Source::Fixed(_) => None,
        };
        let work = match &self.work {
            Work::Each(function) | Work::Many(function, ..) => Some(&function.wiring),
            Work::EachBlocking(function) => Some(&function.wiring),
            Work::Nested(_) => None,
        };
        let gathering = match &self.gathering {
            Gathering::Function(function) => Some(&function.wiring),
            Gathering::Fold(_) => None,
        };
        let shared = self.shared.as_ref().map(|(function, _)| &function.wiring);
        source.into_iter().chain(shared).chain(work).chain(gathering)
    }

    fn check_at(&self, depth: usize) -> Vec<Error> {
        let shared = self.shared.as_ref().map(|(_, ty)| *ty);
        let wirings = self.wirings();
        let mut complaints: Vec<Error> = wirings.flat_map(|wiring| wiring.check(depth > 0, shared)).collect();
        complaints.extend(self.limits.options().err().into_iter().flatten());
        match &self.work {
            Work::Many(_, _, batches) => complaints.extend(batches.check(self.limits.page_len)),
            Work::Nested(_) if depth + 1 == NESTING_MAX => complaints.push(
                Error::new(
                    ErrorKind::LimitExceeded,
                    format!("scatters stand within each other more than {NESTING_MAX} deep"),
                )
                .code("scatter_depth")
                .fix("make the inner ones assets of their own"),
            ),
            Work::Nested(inner) => complaints.extend(inner.check_at(depth + 1)),
            Work::Each(_) | Work::EachBlocking(_) => {}
        }
        complaints
    }
}

#[async_trait]
impl FanOut for Body {
    fn check(&self) -> Vec<Error> {
        self.check_at(0)
    }

    fn options(&self) -> FanOutOptions {
        // A pipeline with options out of range is never built.
        self.limits.options().unwrap_or_default()
    }

    async fn shared(&self, step: &Step) -> Result<Option<Bytes>> {
        let Some((function, _)) = &self.shared else {
            return Ok(None);
        };
        match function.once(step.clone(), None).await? {
            Outcome::Value(value) => Json.encode(&value).map(Some),
            Outcome::Skipped(reason) => Err(Error::permanent(format!("there is nothing that items share: {reason}"))
                .code("shared_skipped")
                .fix("let the function for what all items share return a value")),
        }
    }

    async fn open(&self, step: &Step) -> Result<Box<dyn ItemReader>> {
        let inner = match &self.source {
            Source::Function(function) => function.once(step.clone(), None).await?,
            Source::Fixed(source) => source.open().await?,
        };
        if self.picks.is_empty() {
            return Ok(inner);
        }
        Ok(Box::new(PickingReader {
            inner,
            picks: self.picks.as_slice().into(),
        }))
    }

    fn batching(&self) -> Option<Arc<dyn Batching>> {
        match &self.work {
            Work::Many(_, _, batches) if batches.adaptive_batches().is_none() => Some(Arc::new(batches.clone())),
            _ => None,
        }
    }

    fn work(&self) -> ItemWork {
        let kept = self.kept.clone().unwrap_or_else(|| self.keep());
        match &self.work {
            Work::Each(function) => {
                let call = Arc::clone(&function.call);
                ItemWork::Each(Arc::new(move |mut step| match prepare(&mut step, kept.as_deref()) {
                    Ok(()) => call(step).map(|made| ItemResult::of(made?)).boxed(),
                    Err(error) => ready(Err(error)).boxed(),
                }))
            }
            Work::EachBlocking(function) => {
                let call = Arc::clone(&function.call);
                ItemWork::EachBlocking(Arc::new(move |mut step| match prepare(&mut step, kept.as_deref()) {
                    Ok(()) => call(step).map(|drawn| drawn.map(blocking_item)).boxed(),
                    Err(error) => ready(Err(error)).boxed(),
                }))
            }
            Work::Many(function, sort, batches) => {
                let (call, sort) = (Arc::clone(&function.call), *sort);
                let call = move |items: ItemCall| {
                    let (numbers, mut step, items) = taken_apart(items);
                    if let Err(error) = prepare(&mut step, kept.as_deref()) {
                        return ready(Err(error)).boxed();
                    }
                    step.inputs = Arc::new(CallInputs {
                        inner: step.inputs,
                        items,
                    });
                    call(step).map(move |made| sort_all(made?, &numbers, sort)).boxed()
                };
                ItemWork::Many {
                    call: Arc::new(call),
                    adaptive: batches.adaptive_batches(),
                }
            }
            Work::Nested(inner) if self.kept.is_some() => ItemWork::Nested(Arc::<Self>::clone(inner)),
            Work::Nested(inner) => ItemWork::Nested(Arc::new(inner.keeping())),
        }
    }

    async fn gather(&self, step: Step, outcomes: Outcomes) -> Result<Outcome<GatheredValue>> {
        match &self.gathering {
            Gathering::Function(function) => {
                let outcomes = Value::new(Carrier::new(outcomes));
                let gathered = function.once(step, Some((Given::Outcomes, outcomes))).await?;
                Ok(gathered.map(GatheredValue::Whole))
            }
            Gathering::Fold(fold) => fold(outcomes).await.map(Outcome::Value),
        }
    }
}

fn blocking_item(call: BlockingCall) -> BlockingItem {
    Box::new(move || ItemResult::of(call()?))
}

/// The numbers of the items of a call, its step, and its items as they are drawn.
fn taken_apart(call: ItemCall) -> (Vec<u64>, Step, Value) {
    let slots: Vec<ItemSlot> = call.items.into_iter().map(|(slot, _)| slot).collect();
    let numbers = slots.iter().map(|slot| slot.index).collect();
    (numbers, call.step, Value::new(Carrier::new(slots)))
}

fn sort_all(made: Outcome<Value>, numbers: &[u64], sort: Sorting) -> Result<ItemResults> {
    match made {
        Outcome::Value(value) => sort(value, numbers),
        Outcome::Skipped(reason) => {
            let skipped = numbers
                .iter()
                .map(|index| (*index, Ok(ItemResult::Skipped(reason.clone()))));
            Ok(skipped.collect())
        }
    }
}
