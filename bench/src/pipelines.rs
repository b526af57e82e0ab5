//! The pipelines that are measured: assets that do nothing, in the shapes that the figures name.

use flowstone_core::Result;
use flowstone_core::asset::{Asset, BatchContext, BatchOutcome, In};
use flowstone_core::partition::Hourly;
use flowstone_core::pipeline::Pipeline;

pub(crate) const CHAIN_LEN: u64 = 1_000;
pub(crate) const LAYERS: u64 = 10;
pub(crate) const LAYER_LEN: u64 = 100;
pub(crate) const BACKFILL_LEN: u64 = 100_000;

/// Whether a step waits until what it was made from is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// It does: the step may act on the world outside.
    WaitsForDisk,
    /// It does not.
    AheadOfDisk,
}

/// 1,000 assets, each made from the one before.
pub(crate) fn chain(pace: Pace) -> Result<Pipeline> {
    let paced = |asset: Asset| match pace {
        Pace::WaitsForDisk => asset.acts_outside(),
        Pace::AheadOfDisk => asset,
    };
    let first = paced(Asset::new("link_0")).run(|| async { 0_u64 });
    let others = (1..CHAIN_LEN).map(|no| {
        paced(Asset::new(format!("link_{no}")).upstream(format!("link_{}", no - 1)))
            .run(|In(before): In<u64>| async move { before + 1 })
    });
    Pipeline::builder("chain").asset(first).assets(others).build()
}

/// 10 layers of 100 assets, each made from three of the layer before.
pub(crate) fn layered() -> Result<Pipeline> {
    let name = |layer: u64, no: u64| format!("layer_{layer}_{}", no % LAYER_LEN);
    let first = (0..LAYER_LEN).map(|no| Asset::new(name(0, no)).run(|| async { 1_u64 }));
    let others = (1..LAYERS).flat_map(|layer| {
        (0..LAYER_LEN).map(move |no| {
            (0..3)
                .fold(Asset::new(name(layer, no)), |asset, offset| {
                    asset.upstream(name(layer - 1, no + offset))
                })
                .run(|In(a): In<u64>, In(b): In<u64>, In(c): In<u64>| async move { (a + b + c) % 1_000 })
        })
    });
    Pipeline::builder("layered").assets(first).assets(others).build()
}

/// One asset of 100,000 partitions.
pub(crate) fn partitioned() -> Result<Pipeline> {
    let asset = Asset::new("slices").partitions(hours()).run(|| async {});
    Pipeline::builder("partitioned").asset(asset).build()
}

/// The same, called for so many partitions at once.
pub(crate) fn batched(batch: u64) -> Result<Pipeline> {
    let asset = Asset::new("slices")
        .partitions(hours())
        .run_batch(batch, |context: BatchContext| async move {
            context
                .partitions()
                .map(|partition| (partition, ()))
                .collect::<BatchOutcome<_>>()
        });
    Pipeline::builder("batched").asset(asset).build()
}

/// The asset that [`one_to_one`] reads.
pub(crate) const UPSTREAM: &str = "upstream";
/// The asset that reads it.
pub(crate) const DOWNSTREAM: &str = "downstream";

/// Two assets of 100,000 partitions; each partition of the second is made from the same one of the first.
pub(crate) fn one_to_one() -> Result<Pipeline> {
    let upstream = Asset::new(UPSTREAM).partitions(hours()).run(|| async { 1_u64 });
    let downstream = Asset::new(DOWNSTREAM)
        .partitions(hours())
        .upstream(UPSTREAM)
        .run(|In(value): In<u64>| async move { value + 1 });
    Pipeline::builder("one_to_one").assets([upstream, downstream]).build()
}

/// 100,000 hours.
fn hours() -> Hourly {
    Hourly::from("2000-01-01T00").until("2011-05-29T16")
}
