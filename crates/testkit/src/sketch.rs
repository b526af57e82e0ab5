//! Random pipelines, and what their partitions read, looked up key by key.
//!
//! For tests of decisions about any pipeline. What the assets make is left to the test.

use std::sync::Arc;
use std::time::Duration;

use flowstone_core::asset::{Asset, In, InputKind, PartitionStream, Retry, Upstream};
use flowstone_core::partition::{BoundMapping, Daily, Mapping, Monthly, PartitionSpace, Partitions};
use flowstone_core::pipeline::Pipeline;
use flowstone_core::store::Store;
use flowstone_core::{AssetId, Result};
use jiff::Timestamp;

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

/// A pipeline as drawn. Each asset reads only those before it.
#[derive(Debug, Clone)]
pub struct Sketch {
    /// The assets.
    pub assets: Vec<AssetSketch>,
}

/// When everything happens: open-ended days and months are as long as they are at this time.
pub fn now() -> Timestamp {
    "2024-03-05T06:00:00Z".parse().expect("the text is a timestamp")
}

fn space(draw: &mut Draw) -> PartitionSpace {
    let drawn: Partitions = match draw.below(8) {
        0 | 1 => Partitions::unit(),
        2 => Partitions::keys(["a", "b", "c"]),
        3 => Partitions::keys(["a", "b", "c", "d", "e"]),
        4 => Daily::from("2024-02-23").into(),
        5 => Daily::from("2024-02-20").until("2024-03-01").into(),
        6 => Monthly::from("2023-12").into(),
        _ => Daily::from("2024-02-25").into(),
    };
    drawn.build().expect("the space is well formed")
}

impl Sketch {
    /// Draws a pipeline of at most `assets_max` assets.
    pub fn draw(draw: &mut Draw, assets_max: usize) -> Self {
        let mut assets: Vec<AssetSketch> = Vec::new();
        for number in 0..1 + draw.below(assets_max) {
            let space = space(draw);
            let mut inputs = Vec::new();
            for _ in 0..if number == 0 { 0 } else { draw.below(4) } {
                let upstream = if draw.chance(500) {
                    number - 1 - draw.below(number.min(3))
                } else {
                    draw.below(number)
                };
                inputs.extend(input(draw, &space, upstream, &assets[upstream].space));
            }
            let attempts_max = 1 + draw.below(3) as u32;
            assets.push(AssetSketch {
                space,
                inputs,
                code: 0,
                attempts_max,
                acts_outside: draw.chance(100),
            });
        }
        Self { assets }
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
            for input in &sketch.inputs {
                let upstream = Upstream::new(name(input.upstream));
                asset = asset.upstream(match &input.mapping {
                    Some(mapping) => upstream.mapping(mapping.clone()),
                    None => upstream,
                });
            }
            let kinds: Vec<InputKind> = sketch.inputs.iter().map(|input| input.kind).collect();
            with_function(asset, &kinds)
        });
        Arc::new(
            Pipeline::builder("drawn")
                .assets(assets)
                .build()
                .expect("the sketch is sound"),
        )
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

/// The name of the asset at a place in a sketch.
pub fn name(number: usize) -> String {
    format!("asset_{number:02}")
}

fn input(draw: &mut Draw, down: &PartitionSpace, upstream: usize, up: &PartitionSpace) -> Option<InputSketch> {
    let trailing = Mapping::Trailing(2 + draw.below(3) as u32);
    let drawn = [
        None,
        None,
        None,
        Some(trailing),
        Some(Mapping::Offset(-1)),
        Some(Mapping::All),
        Some(Mapping::Last),
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
    let reads = |at, len: u64| {
        let bound = BoundMapping::new(&explicit, down, up, at).ok()?;
        (0..len).map(|partition| bound.upstream_of_one(partition).len()).max()
    };
    let many = reads(now(), down.len_at(now())).max(reads(Timestamp::MAX, 40))?;
    Some(InputSketch {
        upstream,
        kind: if many > 1 { InputKind::Stream } else { kind },
        mapping,
    })
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
                let bound = input.bind(&asset.space, &sketch.assets[input.upstream].space);
                let reads = |partition| bound.upstream_of_one(partition).iter().collect::<Vec<u64>>();
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

impl InputSketch {
    fn bind(&self, down: &PartitionSpace, up: &PartitionSpace) -> BoundMapping {
        let inferred = || Mapping::infer(down, up).expect("it was inferred before");
        let mapping = self.mapping.clone().unwrap_or_else(inferred);
        BoundMapping::new(&mapping, down, up, now()).expect("it was bound before")
    }
}
