//! `#[asset]` and `assets![…]`: functions become assets of a Flowstone pipeline.
//!
//! Both write nothing but calls of the builder in `flowstone::asset`, so there is nothing that they can do and the
//! builder cannot. Use them through the `flowstone` crate, which exports them.

mod argument;
mod code_version;
mod complaints;
mod definition;
mod expand;
mod options;
mod returned;
mod scatter;

use proc_macro::TokenStream;
use proc_macro2::Span;
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Item, ItemFn, Path, Token, parse_macro_input};

use crate::complaints::Complaints;
use crate::definition::{Definition, strip};
use crate::options::Options;

/// Makes a function an asset: a named piece of data that the pipeline knows how to make.
///
/// ```
/// # use flowstone::asset::{Asset, Retry};
/// # use flowstone::partition::Daily;
/// # use flowstone::{Result, pipeline::Pipeline};
/// # use flowstone_macros::{asset, assets};
/// #[asset]
/// async fn numbers() -> Vec<i64> {
///     vec![1, 2, 3]
/// }
///
/// /// The sum of all numbers.
/// #[asset(group = "reports", retry = Retry::exponential(3))]
/// fn total(numbers: Vec<i64>) -> i64 {
///     numbers.iter().sum()
/// }
///
/// # fn main() -> Result<()> {
/// let pipeline = Pipeline::builder("sums").assets(assets![numbers, total]).build()?;
/// # assert_eq!(pipeline.graph().len(), 2);
/// # Ok(())
/// # }
/// ```
///
/// The function is left as it is, so that a test can call it: `assert_eq!(total(vec![1, 2]), 3)`. An `async fn` may
/// wait and must not block; a plain `fn` may block, it runs on a thread for that. Either returns a value, an `Outcome`,
/// or a `Result` of one of these, under these names, whose error turns into `flowstone::Error` with `?`. The first
/// paragraph of the doc comment is the asset's description. Of an asset that no list names and no other asset reads,
/// the compiler says that the function is never used.
///
/// # Keys
///
/// All are optional. A value is an expression and means what the method of that name on `Asset` says.
///
/// | key | gives |
/// |---|---|
/// | `partitions = Daily::from("2013-01-01")` | the slices that are made one by one |
/// | `scatter(items = …, …)` | how it becomes many items; see [below](#scatters) |
/// | `batch = 50` | how many partitions one call may be for; see [below](#batches) |
/// | `io = "parquet"` | the IO manager that keeps the values |
/// | `retry = Retry::exponential(3)` | when a failed attempt is followed by another |
/// | `deadline = Duration::from_secs(60)` | how long one attempt may take |
/// | `group = "ingest"` | the group |
/// | `tags("raw", "daily")` | tags |
/// | `name = "any name"` | the asset's name, if it is not the function's |
/// | `code_version = "2"` | the version of the code, in place of the function's text |
/// | `acts_outside` | the function acts on the outside world: it starts only when what it rests on is on disk |
/// | `keep_versions = Keep::last(5)` | which versions of each partition are kept |
/// | `max_concurrent = 2` | how many of its steps run at once, over all runs |
/// | `crate = path` | where `flowstone` is to be found, if the crate renames it or depends on `flowstone-core` only |
///
/// # Arguments
///
/// | argument | is handed |
/// |---|---|
/// | `numbers: T` | the value of the asset `numbers` |
/// | `numbers: Arc<T>` | the same, shared and not copied |
/// | `numbers: Option<T>`, `Option<Arc<T>>` | the same, or `None` when it was never made |
/// | `numbers: RowStream<T>` | the rows of the sequence `T` one after the other, without having all of them in memory |
/// | `numbers: PartitionStream<T>` | the values of many partitions of `numbers`, one after the other |
/// | `ctx: AssetContext` | which partition is made, for which run |
/// | `ctx: BatchContext`, `numbers: Batch<…>` | the same for many partitions, with [`batch`](#batches) |
/// | `route: Item<T>`, `routes: ItemBatch<T>`, `all: Shared<T>` | an item, and what items share, with [`scatter`](#scatters) |
/// | `client: Res<T>` | the pipeline's resource of type `T` |
/// | `limits: Config<T>` | the asset's section of the run's configuration |
///
/// The last segment of the type's path decides, so these types cannot be renamed on import. Everything else is the
/// value of an upstream of that type.
///
/// An argument is named after the asset's *function*, which has to be in scope under that name. The compiler then
/// checks the argument's type; for a name that it does not know it says `cannot find type`, for the function stands
/// beside a type of its name (which is also why no other type or module in scope can have that name). An underscore in
/// front does not count: `_numbers: Vec<i64>` waits for `numbers`. To read an asset by another name:
///
/// * `#[from(path::to::asset)]` gives the function's path, and the compiler still checks the type;
/// * `#[from("any name")]` gives the asset's name as text, for an asset that was made with the builder. Then type and
///   name are checked when the pipeline is built.
///
/// `#[mapping(…)]` gives the partition mapping, where the one that follows from the two partition spaces is not meant.
///
/// ```
/// # use flowstone::asset::{Asset, AssetContext, PartitionStream, RowStream};
/// # use flowstone::partition::{Daily, Mapping, Monthly};
/// # use flowstone::{Result, pipeline::Pipeline};
/// # use flowstone_macros::{asset, assets};
/// mod ingest {
/// #   use flowstone::partition::Daily;
/// #   use flowstone_macros::asset;
///     #[asset(partitions = Daily::from("2013-01-01"))]
///     pub async fn raw_rows() -> Vec<u64> {
///         vec![1, 2, 3]
///     }
/// }
///
/// #[asset(partitions = Monthly::from("2013-01"))]
/// async fn row_count(
///     ctx: AssetContext,
///     #[from(ingest::raw_rows)] mut days: PartitionStream<Vec<u64>>,
///     #[from("blocked rows")] mut blocked: RowStream<Vec<u64>>,
/// ) -> Result<usize> {
///     let mut count = 0;
///     while let Some(rows) = days.next().await? {
///         count += rows.len();
///     }
///     while blocked.next().await?.is_some() {
///         count -= 1;
///     }
///     Ok(count)
/// }
///
/// # fn main() -> Result<()> {
/// let blocked = Asset::new("blocked rows").run(async || vec![2_u64]);
/// let pipeline = Pipeline::builder("counts")
///     .assets(assets![ingest::raw_rows, row_count])
///     .asset(blocked)
///     .build()?;
/// # assert_eq!(pipeline.graph().len(), 3);
/// # Ok(())
/// # }
/// ```
///
/// # Batches
///
/// With `batch = N` the function is called for up to `N` partitions at once and gives an outcome for each of them, as
/// `BatchOutcome<T>` or a `Result` of it. It takes `BatchContext` in place of `AssetContext`, and an upstream as
/// `Batch<T>` (or `Batch<Option<T>>`, `Batch<Arc<T>>`, `Batch<PartitionStream<T>>`): what each of the partitions reads.
/// An upstream that all partitions read alike may be taken without `Batch`.
///
/// ```
/// # use flowstone::asset::{Batch, BatchOutcome};
/// # use flowstone::partition::Daily;
/// # use flowstone::{Result, pipeline::Pipeline};
/// # use flowstone_macros::{asset, assets};
/// # #[asset(partitions = Daily::from("2013-01-01"))]
/// # async fn raw() -> Vec<String> { Vec::new() }
/// # #[asset]
/// # async fn known() -> Vec<String> { Vec::new() }
/// #[asset(partitions = Daily::from("2013-01-01"), batch = 50)]
/// async fn clean(raw: Batch<Vec<String>>, known: Vec<String>) -> Result<BatchOutcome<Vec<String>>> {
///     let mut outcome = BatchOutcome::new();
///     for (day, rows) in raw {
///         match rows.iter().find(|row| !known.contains(row)) {
///             _ if rows.is_empty() => outcome.skip(day, "nothing came that day"),
///             Some(stranger) => outcome.fail(day, flowstone::Error::permanent(format!("{stranger} is unknown"))),
///             None => outcome.value(day, rows),
///         }
///     }
///     Ok(outcome)
/// }
/// # fn main() -> Result<()> {
/// # Pipeline::builder("clean").assets(assets![raw, known, clean]).build()?;
/// # Ok(())
/// # }
/// ```
///
/// # Scatters
///
/// With `scatter(…)` the asset becomes many items, found when it runs, and the function is called for each of them. It takes
/// `Item<T>` among its other arguments. The feature `scatter` of `flowstone` is needed, which is on by default.
///
/// ```
/// # use std::sync::Arc;
/// # use flowstone::{Result, pipeline::Pipeline};
/// # use flowstone_macros::{asset, assets};
/// # use flowstone_scatter::{Gather, Item};
/// # mod facade {
/// #     pub use flowstone::__private;
/// #     pub use flowstone_scatter as scatter;
/// # }
/// # #[asset] fn flights() -> Vec<(String, i64)> { Vec::new() }
/// async fn origins(flights: Arc<Vec<(String, i64)>>) -> Vec<String> {
///     let mut origins: Vec<String> = flights.iter().map(|(origin, _)| origin.clone()).collect();
///     origins.sort();
///     origins.dedup();
///     origins
/// }
///
/// async fn worst(mut delays: Gather<i64>) -> Result<i64> {
///     let mut worst = 0;
///     while let Some(delay) = delays.next_value().await? {
///         worst = worst.max(delay);
///     }
///     Ok(worst)
/// }
///
/// #[asset(
/// #   crate = facade,
///     scatter(items = origins(flights), gather = worst() -> i64, max_concurrent = 64, tolerate = 0.05)
/// )]
/// async fn worst_delay(origin: Item<String>, flights: Arc<Vec<(String, i64)>>) -> i64 {
///     flights.iter().filter(|(from, _)| *from == *origin).map(|(_, minutes)| *minutes).sum()
/// }
/// # fn main() -> Result<()> {
/// # let pipeline = Pipeline::builder("delays").assets(assets![flights, worst_delay]).build()?;
/// # assert_eq!(pipeline.graph().len(), 2);
/// # Ok(())
/// # }
/// ```
///
/// | key | gives |
/// |---|---|
/// | `items = function(upstream, …)` | the function that gives the items, a `Vec<T>` or `Items` |
/// | `read = source` | in its place, an item reader |
/// | `shared = function(upstream, …)` | what all items share, taken as `Shared<T>` |
/// | `gather = function(upstream, …) -> Type` | what is made of what they gave, taken as `Gather<R>` |
/// | `reduce = function` | in its place, two values become one |
/// | `rate_limit(100, Duration::from_secs(1))` | how many calls may start in which time |
/// | `step_functions` | the presets of a Distributed Map, which the other keys override |
/// | `key`, `select`, `batch`, `max_concurrent`, `burst`, `tolerate`, `tolerate_count`, `retry`, `item_timeout`, `order`, `priority`, `items_max`, `page_len` | what the method of that name on `Scatter` says; `batch` is for `each_batch` |
///
/// The functions that are named are `async` and take what the builder hands them, `Arc<T>` or `In<T>` for a value. In the
/// parentheses stand their upstreams in the order of their arguments: paths of functions, or names in quotes. Where a
/// partition mapping is meant, or a scatter within an item, use the builder. Without `gather` and `reduce` the value is
/// `Results<R>`. With `batch = Batches::count(10)` the function takes `ItemBatch<T>` and returns a value for each item.
///
/// # What counts as the same code
///
/// Unless `code_version` is given, the version is a fingerprint of the function's signature and body, and of where the items
/// of a scatter come from and go to. Comments and
/// formatting do not count. Functions that it calls, and crates, are not looked into: when one of these changes what
/// the asset is, give the asset a new `code_version`, or run it with `--force`.
#[proc_macro_attribute]
pub fn asset(options: TokenStream, item: TokenStream) -> TokenStream {
    let mut complaints = Complaints::default();
    let options = Options::read(options.into(), &mut complaints);
    let written = match parse_macro_input!(item as Item) {
        Item::Fn(function) => write_asset(options, function, &mut complaints),
        item => {
            complaints.push(syn::Error::new(Span::call_site(), "`#[asset]` goes on a function"));
            quote!(#item)
        }
    };
    let complaints = complaints.into_tokens();
    quote!(#complaints #written).into()
}

fn write_asset(options: Options, function: ItemFn, complaints: &mut Complaints) -> proc_macro2::TokenStream {
    let mut plain = function.clone();
    strip(&mut plain);
    match Definition::read(options, function, complaints) {
        Some(definition) => expand::asset(&definition),
        None => quote!(#plain),
    }
}

/// The definitions of functions marked `#[asset]`, as a `Vec<Asset>` for `Pipeline::builder(…).assets(…)`.
///
/// ```
/// # use flowstone_macros::{asset, assets};
/// # mod ingest {
/// #     #[flowstone_macros::asset]
/// #     pub fn raw() -> i64 { 1 }
/// # }
/// # #[asset]
/// # fn total() -> i64 { 1 }
/// let all = assets![ingest::raw, total];
///
/// assert_eq!(all[1].name(), "total");
/// ```
///
/// That no two have the same name is checked when the pipeline is built. A crate that does not depend on `flowstone`
/// says where to look: `assets![crate = flowstone_core; raw, total]`.
#[proc_macro]
pub fn assets(list: TokenStream) -> TokenStream {
    let list = parse_macro_input!(list as List);
    expand::assets(&list.krate, list.paths.into_iter()).into()
}

/// What stands in `assets![…]`.
struct List {
    krate: Path,
    paths: Punctuated<Path, Token![,]>,
}

impl Parse for List {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut krate = syn::parse_quote!(::flowstone);
        if input.peek(Token![crate]) && input.peek2(Token![=]) {
            input.parse::<Token![crate]>()?;
            input.parse::<Token![=]>()?;
            krate = input.call(Path::parse_mod_style)?;
            input.parse::<Token![;]>()?;
        }
        Ok(Self {
            krate,
            paths: input.parse_terminated(asset_path, Token![,])?,
        })
    }
}

fn asset_path(input: ParseStream<'_>) -> syn::Result<Path> {
    let start = input.span();
    let refused = || {
        let message = "`assets![…]` lists functions marked `#[asset]`; \
                       an asset that was made with the builder is added with `.asset(…)`";
        syn::Error::new(start, message)
    };
    let path = input.call(Path::parse_mod_style).map_err(|_| refused())?;
    if input.is_empty() || input.peek(Token![,]) {
        Ok(path)
    } else {
        Err(refused())
    }
}
