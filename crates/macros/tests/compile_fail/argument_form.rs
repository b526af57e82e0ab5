//! Arguments that no step can fill.

use flowstone::asset::{AssetContext, In};
use flowstone_macros::asset;

#[asset]
fn numbers() -> Vec<i64> {
    vec![1]
}

#[asset]
fn borrowed(numbers: &[i64]) -> usize {
    numbers.len()
}

#[asset]
fn of_the_builder(In(numbers): In<Vec<i64>>) -> usize {
    numbers.len()
}

#[asset]
fn without_a_name((first, _): (u64, u64)) -> u64 {
    first
}

#[asset]
fn misplaced(#[from(numbers)] ctx: AssetContext) -> String {
    ctx.partition_label()
}

#[asset]
fn misspelt(#[from(numbers, planes)] rows: Vec<i64>, #[mapping] numbers: Vec<i64>) -> usize {
    rows.len() + numbers.len()
}

fn main() {}
