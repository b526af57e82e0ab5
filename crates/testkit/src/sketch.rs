//! Random pipelines, and what their partitions read, looked up key by key.
//!
//! For tests of decisions about any pipeline. What the assets make is left to the test.

mod reads;

use std::future::{Ready, ready};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use flowstone_core::asset::{Asset, Batch, BatchOutcome, In, InputKind, PartitionStream, Retry, Upstream};
use flowstone_core::partition::{
    BoundMapping, Daily, EveryMinutes, Hourly, Mapping, Monthly, PartitionKey, PartitionSpace, Partitions, Weekly,
    Yearly,
};
use flowstone_core::pipeline::Pipeline;
use flowstone_core::store::Store;
use flowstone_core::{AssetId, Result};
use jiff::Timestamp;

use self::reads::reads;
use crate::Draw;

/// A partition of an asset, the asset by its place in the sketch.
pub type Key = (usize, u64);

/// An asset as drawn.
#[derive(Debug, Clone)]
pub struct AssetSketch {
    /// Its partitions.
    pub space: PartitionSpace,
    /// What it reads.
    pub inputs: Vec<InputSketch>,
    /// Its code version.
    pub code: u64,
    /// How often a step of it is tried at most.
    pub attempts_max: u32,
    /// Whether it acts on the outside world.
    pub acts_outside: bool,
    /// The pools that each step takes slots of, and how many.
    pub pools: Vec<(&'static str, u32)>,
    /// How many of its steps may run at once.
    pub max_concurrent: Option<u32>,
    /// How many partitions it is called for at once, if for more than one.
    pub batch: Option<u64>,
}

/// An input as drawn.
#[derive(Debug, Clone)]
pub struct InputSketch {
    /// The place of the upstream in the sketch.
    pub upstream: usize,
    /// How it is read.
    pub kind: InputKind,
    /// The mapping, if it is not inferred.
    pub mapping: Option<Mapping>,
}

/// A pipeline as drawn. Each asset reads only those before it, and earlier partitions of its own.
#[derive(Debug, Clone)]
pub struct Sketch {
    /// The assets.
    pub assets: Vec<AssetSketch>,
    /// The pools, and how many slots each has.
    pub pools: Vec<(&'static str, u32)>,
}

/// When everything happens: open-ended days and months are as long as they are at this time.
pub fn now() -> Timestamp {
    static NOW: LazyLock<Timestamp> =
        LazyLock::new(|| "2024-03-05T06:00:00Z".parse().expect("the text is a timestamp"));
    *NOW
}

fn space(draw: &mut Draw) -> PartitionSpace {
    let drawn: Partitions = match draw.below(16) {
        0 | 1 => Partitions::unit(),
        2 => Partitions::keys(["a", "b", "c"]),
        3 => Partitions::keys(["a", "b", "c", "d", "e"]),
        4 | 5 => Daily::from("2024-02-23").into(),
        6 => Daily::from("2024-02-20").until("2024-03-01").into(),
        7 => Monthly::from("2023-12").into(),
        8 => Daily::from("2024-02-25").into(),
        9 => Daily::from("2024-02-25T06").zone("America/New_York").into(),
        10 => Weekly::from("2024-02-05").into(),
        11 => Yearly::from("2022").into(),
        12 => Hourly::from("2024-03-04T20").into(),
        13 => EveryMinutes::from(360, "2024-02-26T03").until("2024-02-28T03").into(),
        14 => Partitions::dimension("day", Daily::from("2024-02-28")).by("key", Partitions::keys(["b", "a"])),
        _ => Partitions::dimension("key", Partitions::keys(["a", "b", "c"]))
            .by("day", Daily::from("2024-02-24").until("2024-02-27")),
    };
    drawn.build().expect("the space is well formed")
}

impl Sketch {
    /// Draws a pipeline of at most `assets_max` assets.
    pub fn draw(draw: &mut Draw, assets_max: usize) -> Self {
        let mut assets: Vec<AssetSketch> = Vec::new();
        let pools: Vec<_> = ["api", "memory"].into_iter().filter(|_| draw.chance(300)).collect();
        let pools: Vec<(&str, u32)> = pools.into_iter().map(|pool| (pool, 1 + draw.below(4) as u32)).collect();
        for number in 0..1 + draw.below(assets_max) {
            let space = space(draw);
            let mut inputs = Vec::new();
            for _ in 0..draw.below(4) {
                if draw.chance(150) {
                    inputs.extend(own_input(draw, &space, number));
                } else if number > 0 {
                    let upstream = if draw.chance(500) {
                        number - 1 - draw.below(number.min(3))
                    } else {
                        draw.below(number)
                    };
                    inputs.extend(input(draw, &space, upstream, &assets[upstream].space));
                }
            }
            let attempts_max = 1 + draw.below(3) as u32;
            let may_batch = !space.is_unit() && inputs.iter().all(|input| input.upstream != number);
            assets.push(AssetSketch {
                space,
                inputs,
                code: 0,
                attempts_max,
                acts_outside: draw.chance(100),
                pools: pools_used(draw, &pools),
                max_concurrent: draw.chance(80).then(|| 1 + draw.below(2) as u32),
                batch: (may_batch && draw.chance(350)).then(|| 1 + draw.below(9) as u64),
            });
        }
        Self { assets, pools }
    }

    /// Builds the pipeline. Its functions are never called: what they would do is up to who plays it.
    ///
    /// # Panics
    /// When the sketch was changed into something that cannot be built.
    pub fn build(&self) -> Arc<Pipeline> {
        let assets = self.assets.iter().enumerate().map(|(number, sketch)| {
            let retry =
                Retry::exponential(sketch.attempts_max).between(Duration::from_secs(10), Duration::from_secs(100));
            let mut asset = Asset::new(name(number))
                .partitions(sketch.space.clone())
                .code_version(sketch.code.to_le_bytes())
                .retry(retry);
            if sketch.acts_outside {
                asset = asset.acts_outside();
            }
            for (pool, weight) in &sketch.pools {
                asset = asset.pool(*pool, *weight);
            }
            if let Some(count) = sketch.max_concurrent {
                asset = asset.max_concurrent(count);
            }
            for input in &sketch.inputs {
                let upstream = Upstream::new(name(input.upstream));
                asset = asset.upstream(match &input.mapping {
                    Some(mapping) => upstream.mapping(mapping.clone()),
                    None => upstream,
                });
            }
            let kinds: Vec<InputKind> = sketch.inputs.iter().map(|input| input.kind).collect();
            match sketch.batch {
                None => with_function(asset, &kinds),
                Some(batch) => with_batch_function(asset, batch, &kinds),
            }
        });
        let pools = self.pools.iter();
        let builder = pools.fold(Pipeline::builder("drawn"), |builder, (pool, slots)| {
            builder.pool(*pool, *slots)
        });
        Arc::new(builder.assets(assets).build().expect("the sketch is sound"))
    }

    /// Declares the assets in an order of its own, so that numbers in the store differ from places in the graph.
    ///
    /// # Errors
    /// What the store says.
    pub async fn declare(&self, store: &dyn Store, draw: &mut Draw) -> Result<Vec<AssetId>> {
        let mut order: Vec<usize> = (0..self.assets.len()).collect();
        draw.shuffle(&mut order);
        let rows: Vec<_> = order
            .iter()
            .map(|number| {
                (
                    name(*number).parse().expect("a name"),
                    self.assets[*number].space.clone(),
                )
            })
            .collect();
        let ids = store.declare_assets(&rows).await?;
        let mut by_place = vec![AssetId(0); ids.len()];
        for (number, id) in order.into_iter().zip(ids) {
            by_place[number] = id;
        }
        Ok(by_place)
    }
}

/// Some of the pools, each with as many slots as there are at most.
fn pools_used(draw: &mut Draw, pools: &[(&'static str, u32)]) -> Vec<(&'static str, u32)> {
    let mut used = Vec::new();
    for (pool, slots) in pools {
        if draw.chance(400) {
            used.push((*pool, 1 + draw.below(*slots as usize) as u32));
        }
    }
    used
}

/// The name of the asset at a place in a sketch.
pub fn name(number: usize) -> String {
    format!("asset_{number:02}")
}

fn input(draw: &mut Draw, down: &PartitionSpace, upstream: usize, up: &PartitionSpace) -> Option<InputSketch> {
    let drawn = [
        None,
        None,
        None,
        Some(Mapping::Trailing(1 + draw.below(4) as u32)),
        Some(Mapping::Preceding(1 + draw.below(4) as u32)),
        Some(Mapping::Offset(-1)),
        Some(Mapping::Offset(draw.below(7) as i64 - 3)),
        Some(Mapping::All),
        Some(Mapping::Last),
        Some(table(draw, down, up)),
        Some(custom(table(draw, down, up))),
        Some(Mapping::Dimension((*draw.pick(&["day", "key"])).to_owned())),
    ];
    let mapping = draw.pick(&drawn).clone();
    let explicit = match &mapping {
        Some(given) => given.clone(),
        None => Mapping::infer(down, up).ok()?,
    };
    let kind = *draw.pick(&[
        InputKind::Value,
        InputKind::Value,
        InputKind::Optional,
        InputKind::Stream,
    ]);
    // What is asked when the pipeline is built, and what is there now.
    let reads_many = |bound: &BoundMapping, len: u64| (0..len).any(|one| bound.upstream_of_one(one).len() > 1);
    let built = BoundMapping::at_capacity(&explicit, down, up).ok()?;
    let bound = BoundMapping::new(&explicit, down, up, now()).ok()?;
    let is_many = reads_many(&built, 32) || reads_many(&bound, down.len_at(now()));
    Some(InputSketch {
        upstream,
        kind: if is_many { InputKind::Stream } else { kind },
        mapping,
    })
}

/// An input by which an asset reads earlier partitions of its own.
fn own_input(draw: &mut Draw, space: &PartitionSpace, number: usize) -> Option<InputSketch> {
    let earlier = 1 + draw.below(3);
    let drawn = [
        Mapping::Offset(-1),
        Mapping::Offset(-(earlier as i64)),
        Mapping::Preceding(earlier as u32),
        own_table(draw, space),
        custom(own_table(draw, space)),
    ];
    let mapping = draw.pick(&drawn).clone();
    let kind = *draw.pick(&[InputKind::Optional, InputKind::Stream]);
    let bound = BoundMapping::at_capacity(&mapping, space, space).ok()?;
    let is_one = (0..32).all(|partition| bound.upstream_of_one(partition).len() <= 1);
    (!space.is_unit() && bound.reads_only_earlier()).then_some(InputSketch {
        upstream: number,
        kind: if is_one { kind } else { InputKind::Stream },
        mapping: Some(mapping),
    })
}

fn table(draw: &mut Draw, down: &PartitionSpace, up: &PartitionSpace) -> Mapping {
    let mut some = |space: &PartitionSpace| {
        let len = space.len_at(now()).max(1);
        space.key_of(draw.below(len as usize) as u64).expect("within the space")
    };
    Mapping::Table((0..6).map(|_| (some(down), some(up))).collect())
}

/// A function that says what a table does.
fn custom(table: Mapping) -> Mapping {
    let Mapping::Table(pairs) = table else {
        panic!("only a table is made a function");
    };
    Mapping::custom("drawn", "1", move |key: &PartitionKey| {
        let read = pairs.iter().filter(|(reader, _)| reader == key);
        read.map(|(_, read)| read.clone()).collect::<Vec<_>>()
    })
}

fn own_table(draw: &mut Draw, space: &PartitionSpace) -> Mapping {
    let len = space.len_at(now()) as usize;
    let key = |partition: usize| space.key_of(partition as u64).expect("within the space");
    let mut pairs = Vec::new();
    for _ in 0..if len > 1 { 6 } else { 0 } {
        let reader = 1 + draw.below(len - 1);
        pairs.push((key(reader), key(draw.below(reader))));
    }
    Mapping::Table(pairs)
}

macro_rules! of_kind {
    ($kind:expr, $argument:ident, $made:expr) => {
        match $kind {
            InputKind::Value => {
                type $argument = In<u64>;
                $made
            }
            InputKind::Optional => {
                type $argument = Option<In<u64>>;
                $made
            }
            InputKind::Stream => {
                type $argument = PartitionStream<u64>;
                $made
            }
        }
    };
}

fn with_function(asset: Asset, kinds: &[InputKind]) -> Asset {
    match *kinds {
        [] => asset.run(|| async { 0_u64 }),
        [a] => of_kind!(a, A, asset.run(|_: A| async { 0_u64 })),
        [a, b] => of_kind!(a, A, of_kind!(b, B, asset.run(|_: A, _: B| async { 0_u64 }))),
        [a, b, c] => {
            of_kind!(
                a,
                A,
                of_kind!(b, B, of_kind!(c, C, asset.run(|_: A, _: B, _: C| async { 0_u64 })))
            )
        }
        _ => panic!("a sketch has at most three inputs"),
    }
}

fn with_batch_function(asset: Asset, batch: u64, kinds: &[InputKind]) -> Asset {
    fn nothing() -> Ready<BatchOutcome<u64>> {
        ready(BatchOutcome::new())
    }
    match *kinds {
        [] => asset.run_batch(batch, nothing),
        [a] => of_kind!(a, A, asset.run_batch(batch, |_: Batch<A>| nothing())),
        [a, b] => of_kind!(
            a,
            A,
            of_kind!(b, B, asset.run_batch(batch, |_: Batch<A>, _: Batch<B>| nothing()))
        ),
        [a, b, c] => of_kind!(
            a,
            A,
            of_kind!(
                b,
                B,
                of_kind!(
                    c,
                    C,
                    asset.run_batch(batch, |_: Batch<A>, _: Batch<B>, _: Batch<C>| nothing())
                )
            )
        ),
        _ => panic!("a sketch has at most three inputs"),
    }
}

/// What every partition reads and who reads it, as lists of keys.
#[derive(Debug)]
pub struct Reading {
    /// By asset, input and partition: the upstream partitions.
    pub upstreams: Vec<Vec<Vec<Vec<u64>>>>,
    /// By asset and partition: who reads it.
    pub readers: Vec<Vec<Vec<Key>>>,
    /// The number of partitions by asset.
    pub lens: Vec<u64>,
}

impl Reading {
    /// Looks up everything that a sketch reads.
    pub fn of(sketch: &Sketch) -> Self {
        let lens: Vec<u64> = sketch.assets.iter().map(|asset| asset.space.len_at(now())).collect();
        let mut readers: Vec<Vec<Vec<Key>>> = lens.iter().map(|len| vec![Vec::new(); *len as usize]).collect();
        let mut upstreams = Vec::new();
        for (number, asset) in sketch.assets.iter().enumerate() {
            let mut by_input = Vec::new();
            for input in &asset.inputs {
                let up = &sketch.assets[input.upstream].space;
                let inferred = || Mapping::infer(&asset.space, up).expect("it was inferred before");
                let mapping = input.mapping.clone().unwrap_or_else(inferred);
                let reads = |partition| reads(&mapping, &asset.space, up, partition);
                let by_partition: Vec<Vec<u64>> = (0..lens[number]).map(reads).collect();
                for (partition, read) in by_partition.iter().enumerate() {
                    for upstream in read {
                        readers[input.upstream][*upstream as usize].push((number, partition as u64));
                    }
                }
                by_input.push(by_partition);
            }
            upstreams.push(by_input);
        }
        Self {
            upstreams,
            readers,
            lens,
        }
    }
}
