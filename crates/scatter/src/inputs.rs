//! What the functions of a scatter read: each its own part of the asset's upstreams, and what it alone is given.
//!
//! A value that all items of a step read alike is loaded once and shared by them; a stream of rows or of many partitions is
//! not kept.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use flowstone_core::asset::{InputLoader, Step};
use flowstone_core::codec::{Codec, Json};
use flowstone_core::io::RowParts;
use flowstone_core::partition::PartitionSet;
use flowstone_core::{AssetValue, BoxFuture, FanOutId, Result, TypeInfo, Value};
use futures::FutureExt;
use futures::future::ready;
use futures::lock::Mutex as AsyncMutex;

/// What a function is given beside its upstreams, under numbers that no upstream has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Given {
    /// What all items share.
    Shared,
    /// The items of a call.
    Items,
    /// How the items ended.
    Outcomes,
}

/// Numbers from here on are those of [`Given`].
const GIVEN_FIRST: usize = usize::MAX - 2;

impl Given {
    const fn number(self) -> usize {
        GIVEN_FIRST + self as usize
    }

    /// What `step` was given, if it was.
    pub(crate) async fn draw<T: AssetValue>(self, step: &Step) -> Result<Option<Arc<T>>> {
        let given = step.inputs.load(self.number(), 0).await?;
        given.map(|value| value.shared()).transpose()
    }
}

/// The upstreams of a function that is called once for a step, with what it is given.
pub(crate) struct OnceInputs {
    inner: Arc<dyn InputLoader>,
    /// How many upstreams stand before those of the function.
    offset: usize,
    given: Option<(Given, Value)>,
}

impl OnceInputs {
    pub(crate) fn new(inner: Arc<dyn InputLoader>, offset: usize, given: Option<(Given, Value)>) -> Self {
        Self { inner, offset, given }
    }
}

impl InputLoader for OnceInputs {
    fn partitions(&self, input: usize, partition: u64) -> Result<PartitionSet> {
        self.inner.partitions(self.offset + input, partition)
    }

    fn load(&self, input: usize, upstream: u64) -> BoxFuture<'_, Result<Option<Value>>> {
        if input < GIVEN_FIRST {
            return self.inner.load(self.offset + input, upstream);
        }
        let given = self.given.as_ref().filter(|(what, _)| what.number() == input);
        ready(Ok(given.map(|(_, value)| value.clone()))).boxed()
    }

    fn load_rows(&self, input: usize, upstream: u64) -> BoxFuture<'_, Result<Option<RowParts>>> {
        self.inner.load_rows(self.offset + input, upstream)
    }
}

/// The upstreams of the function for the items of one step: what is one value is loaded once.
pub(crate) struct ItemInputs {
    inner: Arc<dyn InputLoader>,
    offset: usize,
    kept: Vec<Kept>,
    shared: Option<Value>,
}

/// What is known of one upstream.
#[derive(Default)]
struct Kept {
    partitions: OnceLock<PartitionSet>,
    value: OnceLock<Option<Value>>,
    /// Held by whoever loads the value, so that the others wait for it.
    loading: AsyncMutex<()>,
}

impl ItemInputs {
    async fn load_once(&self, input: usize, kept: &Kept, upstream: u64) -> Result<Option<Value>> {
        let _loading = kept.loading.lock().await;
        if let Some(value) = kept.value.get() {
            return Ok(value.clone());
        }
        let value = self.inner.load(self.offset + input, upstream).await?;
        Ok(kept.value.get_or_init(|| value).clone())
    }
}

impl InputLoader for ItemInputs {
    fn partitions(&self, input: usize, partition: u64) -> Result<PartitionSet> {
        let Some(kept) = self.kept.get(input) else {
            return self.inner.partitions(self.offset + input, partition);
        };
        if let Some(partitions) = kept.partitions.get() {
            return Ok(partitions.clone());
        }
        let partitions = self.inner.partitions(self.offset + input, partition)?;
        Ok(kept.partitions.get_or_init(|| partitions).clone())
    }

    fn load(&self, input: usize, upstream: u64) -> BoxFuture<'_, Result<Option<Value>>> {
        if input >= GIVEN_FIRST {
            let shared = self.shared.as_ref().filter(|_| input == Given::Shared.number());
            return ready(Ok(shared.cloned())).boxed();
        }
        let only = |kept: &&Kept| {
            let partitions = kept.partitions.get();
            partitions.is_some_and(|partitions| partitions.len() == 1 && partitions.contains(upstream))
        };
        let Some(kept) = self.kept.get(input).filter(only) else {
            return self.inner.load(self.offset + input, upstream);
        };
        match kept.value.get() {
            Some(value) => ready(Ok(value.clone())).boxed(),
            None => self.load_once(input, kept, upstream).boxed(),
        }
    }

    fn load_rows(&self, input: usize, upstream: u64) -> BoxFuture<'_, Result<Option<RowParts>>> {
        self.inner.load_rows(self.offset + input, upstream)
    }
}

/// The inputs of a call for several items: those of the items, and which items they are.
pub(crate) struct CallInputs {
    pub(crate) inner: Arc<dyn InputLoader>,
    pub(crate) items: Value,
}

impl InputLoader for CallInputs {
    fn partitions(&self, input: usize, partition: u64) -> Result<PartitionSet> {
        self.inner.partitions(input, partition)
    }

    fn load(&self, input: usize, upstream: u64) -> BoxFuture<'_, Result<Option<Value>>> {
        if input == Given::Items.number() {
            ready(Ok(Some(self.items.clone()))).boxed()
        } else {
            self.inner.load(input, upstream)
        }
    }

    fn load_rows(&self, input: usize, upstream: u64) -> BoxFuture<'_, Result<Option<RowParts>>> {
        self.inner.load_rows(input, upstream)
    }
}

/// How many steps that are scattered at the same time have their inputs kept.
const STEPS_MAX: usize = 64;

/// Finds the inputs of an item among those of the steps that were scattered last.
pub(crate) struct InputCache {
    offset: usize,
    upstreams: usize,
    shared: Option<TypeInfo>,
    steps: Mutex<Vec<CachedStep>>,
}

struct CachedStep {
    partition: u64,
    /// Which fan-out, where its items share something.
    fan_out: Option<FanOutId>,
    inputs: Arc<ItemInputs>,
}

impl InputCache {
    /// For a function whose `upstreams` stand behind `offset` others, with the type of what its items share.
    pub(crate) fn new(offset: usize, upstreams: usize, shared: Option<TypeInfo>) -> Self {
        Self {
            offset,
            upstreams,
            shared,
            steps: Mutex::default(),
        }
    }

    /// The inputs of the item that `step` is for.
    ///
    /// # Errors
    /// `Corrupt` when what the items share cannot be read.
    pub(crate) fn of(&self, step: &Step) -> Result<Arc<ItemInputs>> {
        let shared = self.shared.zip(step.item.as_ref());
        let fan_out = shared.map(|(_, slot)| slot.fan_out);
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |cached: &&CachedStep| {
            Arc::ptr_eq(&cached.inputs.inner, &step.inputs)
                && cached.partition == step.partition
                && cached.fan_out == fan_out
        };
        if let Some(cached) = steps.iter().find(is_same) {
            return Ok(Arc::clone(&cached.inputs));
        }
        let text = shared.and_then(|(ty, slot)| Some((ty, slot.shared.as_ref()?)));
        let inputs = Arc::new(ItemInputs {
            inner: Arc::clone(&step.inputs),
            offset: self.offset,
            kept: (0..self.upstreams).map(|_| Kept::default()).collect(),
            shared: text.map(|(ty, text)| Json.decode(text, ty)).transpose()?,
        });
        if steps.len() == STEPS_MAX {
            steps.remove(0);
        }
        steps.push(CachedStep {
            partition: step.partition,
            fan_out,
            inputs: Arc::clone(&inputs),
        });
        Ok(inputs)
    }
}
