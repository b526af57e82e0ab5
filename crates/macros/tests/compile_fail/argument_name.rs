//! Arguments that are named after no asset.

use flowstone_macros::asset;

#[asset]
fn airlines() -> Vec<String> {
    Vec::new()
}

fn plain() -> u64 {
    1
}

#[expect(non_camel_case_types, reason = "it stands where an asset is expected")]
struct planes;

#[asset]
fn misspelt(airline: Vec<String>) -> usize {
    airline.len()
}

#[asset]
fn without_the_attribute(plain: u64) -> u64 {
    plain
}

#[asset]
fn of_a_type(#[from(planes)] rows: u64) -> u64 {
    rows
}

fn main() {}
