//! Functions that are called for many partitions, and those that are not.

use flowstone::asset::{AssetContext, Batch, BatchContext, BatchOutcome};
use flowstone::partition::Daily;
use flowstone_macros::asset;

#[asset(partitions = Daily::from("2013-01-01"))]
fn days() -> u64 {
    1
}

#[asset(partitions = Daily::from("2013-01-01"), batch = 0)]
fn of_nothing(days: Batch<u64>) -> BatchOutcome<u64> {
    days.into_iter().collect()
}

#[asset(partitions = Daily::from("2013-01-01"), batch = 50)]
fn one_value(days: Batch<u64>) -> u64 {
    days.len() as u64
}

#[asset(partitions = Daily::from("2013-01-01"), batch = 50)]
fn of_which(ctx: AssetContext) -> BatchOutcome<u64> {
    drop(ctx);
    BatchOutcome::new()
}

#[asset(partitions = Daily::from("2013-01-01"))]
fn of_how_many(ctx: BatchContext, days: Batch<u64>) -> BatchOutcome<u64> {
    drop(ctx);
    days.into_iter().collect()
}

#[asset(batch = 50)]
fn unpartitioned(days: Batch<u64>) -> BatchOutcome<u64> {
    days.into_iter().collect()
}

#[asset(partitions = Daily::from("2013-01-01"), batch = 50)]
fn of_other_type(days: Batch<String>) -> BatchOutcome<String> {
    days.into_iter().collect()
}

fn main() {}
