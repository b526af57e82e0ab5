//! The builder of a scatter.

use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use flowstone_core::asset::{Asset, BlockingHandler, Handler, Outcome, Retry};
use flowstone_core::fan_out::ItemOrder;
use flowstone_core::reader::ItemSource;
use flowstone_core::{AssetValue, TypeInfo, Value};
use futures::FutureExt;
use futures::future::ready;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::batches::Batches;
use crate::body::{Body, Calling, Function, Gathering, Source, Work};
use crate::gather::{Gather, Gathered, Tree};
use crate::items::IntoItems;
use crate::limits::{Limits, Tolerated};
use crate::outcomes::IntoItemResults;
use crate::picked::Pick;
use crate::results::Results;
use crate::wiring::{Layout, Role, Upstreams, Wiring};

/// An asset that becomes many items and is made of what they gave.
///
/// Say where the items come from, what is done with one, what is made of all, and end with [`asset`](Self::asset). Each
/// function names its own upstreams, in the order of its arguments; their values are those that are pinned for the step.
/// `W` knows how far that got.
///
/// ```
/// use std::sync::Arc;
///
/// use flowstone_core::asset::Asset;
/// use flowstone_core::pipeline::Pipeline;
/// use flowstone_core::{Error, Result};
/// use flowstone_scatter::{Gather, Item, Scatter};
///
/// let words = Asset::new("words").run(|| async { vec!["to".to_owned(), "gather".to_owned()] });
/// let longest = Asset::new("longest").run(|| async { 10_usize });
///
/// let letters = Scatter::items("words", |words: Arc<Vec<String>>| async move { Vec::clone(&words) })
///     .each("longest", |word: Item<String>, longest: Arc<usize>| async move {
///         if word.len() > *longest {
///             return Err(Error::permanent("nobody says that"));
///         }
///         Ok(word.len())
///     })
///     .gather((), |mut lengths: Gather<usize>| async move {
///         let mut letters = 0;
///         while let Some(length) = lengths.next_value().await? {
///             letters += length;
///         }
///         Ok::<_, Error>(letters)
///     })
///     .max_concurrent(8)
///     .tolerate(0.05)
///     .asset("letters");
///
/// Pipeline::builder("text").assets([words, longest, letters]).build()?;
/// # Ok::<(), Error>(())
/// ```
#[must_use = "a scatter becomes part of a pipeline as an asset: end with `.asset(name)`"]
pub struct Scatter<W> {
    source: Source,
    picks: Vec<Pick>,
    shared: Option<(Function<Calling<Outcome<Value>>>, TypeInfo)>,
    limits: Limits,
    work: W,
}

/// Where [`Scatter`] does not say yet what is done with an item.
#[derive(Debug)]
pub struct NoWork(());

/// Where [`Scatter`] makes a `V`.
pub struct Makes<V> {
    work: Work,
    gathering: Gathering,
    value: PhantomData<fn() -> V>,
}

impl Scatter<NoWork> {
    /// The items that an asynchronous function gives: a `Vec<T>`, or [`Items`](crate::Items) of any source.
    ///
    /// The items of a `Vec` are named by their place unless [`key`](Self::key) says otherwise. The function is asked
    /// again after a crash and must give the same items then; a list that begins otherwise is refused.
    pub fn items<M, H>(upstreams: impl Upstreams, function: H) -> Self
    where
        H: Handler<M>,
        H::Output: IntoItems,
    {
        let call = function.into_body();
        let open = move |step| {
            let made = call(step);
            async move {
                match made.await? {
                    Outcome::Value(items) => items.take::<H::Output>()?.into_reader().await,
                    Outcome::Skipped(_) => Vec::<()>::new().into_reader().await,
                }
            }
            .boxed()
        };
        Self::from(Source::Function(Function {
            wiring: Wiring::new(Role::Items, upstreams, H::arguments()),
            call: Arc::new(open),
        }))
    }

    /// The items that an item reader finds.
    pub fn read(source: impl ItemSource) -> Self {
        Self::from(Source::Fixed(Arc::new(source)))
    }

    fn from(source: Source) -> Self {
        Self {
            source,
            picks: Vec::new(),
            shared: None,
            limits: Limits::default(),
            work: NoWork(()),
        }
    }

    fn makes<R: AssetValue>(self, work: Work) -> Scatter<Makes<Results<R>>> {
        let results = |outcomes| ready(Results::<R>::gather(outcomes)).boxed();
        Scatter {
            source: self.source,
            picks: self.picks,
            shared: self.shared,
            limits: self.limits,
            work: Makes {
                work,
                gathering: Gathering::Fold(Arc::new(results)),
                value: PhantomData,
            },
        }
    }

    /// The asynchronous function that is called for each item. It takes [`Item<T>`](crate::Item) among what else an asset's
    /// function takes, and returns a value, an `Outcome`, or a `Result` of either.
    pub fn each<M, H: Handler<M>>(self, upstreams: impl Upstreams, function: H) -> Scatter<Makes<Results<H::Output>>> {
        let wiring = Wiring::new(Role::Each, upstreams, H::arguments());
        self.makes(Work::Each(Function {
            wiring,
            call: function.into_body(),
        }))
    }

    /// The same with a plain function; it may block.
    pub fn each_blocking<M, H: BlockingHandler<M>>(
        self,
        upstreams: impl Upstreams,
        function: H,
    ) -> Scatter<Makes<Results<H::Output>>> {
        let wiring = Wiring::new(Role::Each, upstreams, H::arguments());
        self.makes(Work::EachBlocking(Function {
            wiring,
            call: function.into_body(),
        }))
    }

    /// The asynchronous function that is called for several items at once. It takes [`ItemBatch<T>`](crate::ItemBatch) and
    /// returns a `Vec` with a value for each, or [`ItemOutcomes`](crate::ItemOutcomes).
    ///
    /// A call that fails whole fails each of its items, and is made again for the same items; an item that fails by its
    /// outcome is tried again without the others. How many failures are tolerated counts items, not calls.
    pub fn each_batch<M, H>(
        self,
        batches: Batches,
        upstreams: impl Upstreams,
        function: H,
    ) -> Scatter<Makes<Results<<H::Output as IntoItemResults>::Item>>>
    where
        H: Handler<M>,
        H::Output: IntoItemResults,
    {
        let wiring = Wiring::new(Role::Batch, upstreams, H::arguments());
        let function = Function {
            wiring,
            call: function.into_body(),
        };
        let sort = |value: Value, items: &[u64]| value.take::<H::Output>()?.into_item_results(items);
        self.makes(Work::Many(function, sort, batches))
    }

    /// Lets each item be scattered itself: what the inner one makes is the value of the item. The function that gives the
    /// items of the inner one takes the outer [`Item`](crate::Item).
    pub fn each_scatter<V: AssetValue>(self, inner: Scatter<Makes<V>>) -> Scatter<Makes<Results<V>>> {
        self.makes(Work::Nested(Arc::new(inner.into_body())))
    }
}

impl<R: AssetValue> Scatter<Makes<Results<R>>> {
    fn gathers<V>(self, gathering: Gathering) -> Scatter<Makes<V>> {
        Scatter {
            source: self.source,
            picks: self.picks,
            shared: self.shared,
            limits: self.limits,
            work: Makes {
                work: self.work.work,
                gathering,
                value: PhantomData,
            },
        }
    }

    /// The asynchronous function that makes the value of the asset of what the items gave, once all have ended. It takes
    /// [`Gather<R>`](crate::Gather).
    ///
    /// Without it, and without [`fold`](Self::fold) and [`reduce`](Self::reduce), the value is [`Results<R>`](crate::Results).
    pub fn gather<M, H: Handler<M>>(self, upstreams: impl Upstreams, function: H) -> Scatter<Makes<H::Output>> {
        let wiring = Wiring::new(Role::Gather, upstreams, H::arguments());
        self.gathers(Gathering::Function(Function {
            wiring,
            call: function.into_body(),
        }))
    }

    /// Makes the value of the asset by adding what the items gave to `start`, one after the other in their order. Failed
    /// and skipped items are handed over too.
    pub fn fold<A: AssetValue>(
        self,
        start: A,
        add: impl Fn(A, Gathered<R>) -> A + Send + Sync + 'static,
    ) -> Scatter<Makes<A>> {
        let add = Arc::new(add);
        self.gathers(Gathering::Fold(Arc::new(move |outcomes| {
            let (mut folded, add) = (start.clone(), Arc::clone(&add));
            async move {
                let mut gather = Gather::<R>::new(outcomes);
                while let Some(gathered) = gather.next().await? {
                    folded = add(folded, gathered);
                }
                Ok(Value::new(folded).into())
            }
            .boxed()
        })))
    }

    /// Makes the value of the asset by combining the values of the items, neighbors first, as a tree: `combine` should
    /// not care how its arguments are grouped, and no more values are held than the logarithm of their number. Failed and
    /// skipped items are left out; of no value at all, `None` is made.
    pub fn reduce(self, combine: impl Fn(R, R) -> R + Send + Sync + 'static) -> Scatter<Makes<Option<R>>> {
        let combine = Arc::new(combine);
        self.gathers(Gathering::Fold(Arc::new(move |outcomes| {
            let combine = Arc::clone(&combine);
            async move {
                let mut gather = Gather::<R>::new(outcomes);
                let mut tree = Tree::new(|left, right| combine(left, right));
                while let Some(value) = gather.next_value().await? {
                    tree.add(value);
                }
                Ok(Value::new(tree.finish()).into())
            }
            .boxed()
        })))
    }
}

impl<V: AssetValue> Scatter<Makes<V>> {
    /// The asset called `name` that is made like this. Everything else about it is said there: its partitions, its IO
    /// manager, its group. The asset's `deadline` bounds the scatter as a whole, its `retry` is for what is not an item.
    #[must_use]
    #[track_caller]
    pub fn asset(self, name: impl Into<String>) -> Asset {
        let asset = Asset::new(name);
        let mut body = self.into_body();
        let mut layout = Layout::default();
        body.place(&mut layout);
        let asset = layout.upstreams.into_iter().fold(asset, Asset::upstream);
        asset.fan_out(layout.arguments, TypeInfo::of::<V>(), Arc::new(body))
    }

    fn into_body(self) -> Body {
        Body {
            source: self.source,
            picks: self.picks,
            shared: self.shared,
            work: self.work.work,
            gathering: self.work.gathering,
            limits: self.limits,
            kept: None,
        }
    }
}

/// What may be said at any point.
impl<W> Scatter<W> {
    /// Names each item. Items with the same key are one item: the first that is read.
    pub fn key<T, K, F>(mut self, key: F) -> Self
    where
        T: DeserializeOwned + 'static,
        K: Display,
        F: Fn(&T) -> K + Send + Sync + 'static,
    {
        self.picks.push(Pick::key(key));
        self
    }

    /// Takes each item as another one, or leaves it out.
    pub fn select<Raw, T, F>(mut self, select: F) -> Self
    where
        Raw: DeserializeOwned + 'static,
        T: Serialize + 'static,
        F: Fn(Raw) -> Option<T> + Send + Sync + 'static,
    {
        self.picks.push(Pick::select(select));
        self
    }

    /// What all items share, evaluated once whatever crashes: the function for an item takes it as
    /// [`Shared<T>`](crate::Shared). It is stored as JSON.
    pub fn shared<M, H: Handler<M>>(mut self, upstreams: impl Upstreams, function: H) -> Self {
        let function = Function {
            wiring: Wiring::new(Role::Shared, upstreams, H::arguments()),
            call: function.into_body(),
        };
        self.shared = Some((function, TypeInfo::of::<H::Output>()));
        self
    }

    /// How many calls may run at once, over all workers; 64 unless given.
    pub fn max_concurrent(mut self, calls: u32) -> Self {
        self.limits.max_concurrent = calls;
        self
    }

    /// At most so many calls start in each `per`, evenly.
    pub fn rate_limit(mut self, calls: u32, per: Duration) -> Self {
        self.limits.rate = Some((calls, per));
        self
    }

    /// Under a rate limit, how many calls may start at once after a quiet time; 1 unless given.
    pub fn burst(mut self, calls: u32) -> Self {
        self.limits.burst = Some(calls);
        self
    }

    /// At most this share of all items may fail, from 0 to 1; none unless given. It is judged when all items are known.
    pub fn tolerate(mut self, share: f64) -> Self {
        self.limits.tolerated = Tolerated::Share(share);
        self
    }

    /// At most so many items may fail; none unless given.
    pub fn tolerate_count(mut self, items: u64) -> Self {
        self.limits.tolerated = Tolerated::Count(items);
        self
    }

    /// When a failed attempt at an item is followed by another; three attempts, 5 s × 3ⁿ⁻¹ apart, for errors that pass
    /// unless given.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.limits.retry = retry;
        self
    }

    /// How long one attempt at an item may take; for several items, one call.
    pub fn item_timeout(mut self, timeout: Duration) -> Self {
        self.limits.item_timeout = Some(timeout);
        self
    }

    /// Which items go first; as they come unless given.
    pub fn order(mut self, order: ItemOrder) -> Self {
        self.limits.order = order;
        self
    }

    /// Among the scatters of one run, items of those with the greater number go first; 0 unless given.
    pub fn priority(mut self, priority: i32) -> Self {
        self.limits.priority = priority;
        self
    }

    /// The most items that are taken from the source.
    pub fn items_max(mut self, items: u64) -> Self {
        self.limits.items_max = Some(items);
        self
    }

    /// How many items are read at once; 1,000 unless given.
    pub fn page_len(mut self, items: u32) -> Self {
        self.limits.page_len = items;
        self
    }

    /// Starts from what a Distributed Map of AWS Step Functions does unless told otherwise: up to 10,000 calls at once, no
    /// failure tolerated, one attempt at each item. What is given after it holds; see the
    /// [comparison](crate#beside-step-functions).
    pub fn step_functions(mut self) -> Self {
        self.limits = Limits {
            max_concurrent: crate::STEP_FUNCTIONS_CONCURRENCY,
            retry: Retry::never(),
            ..Limits::default()
        };
        self
    }
}

impl<W> fmt::Debug for Scatter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scatter")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
