use flowstone_core::Result;
use flowstone_macros::asset;
use flowstone_scatter::{Gather, Item};

mod facade {
    pub(super) use flowstone_core::__private;
    pub(super) use flowstone_scatter as scatter;
}

async fn all() -> Vec<u64> {
    vec![1]
}

async fn one() -> u64 {
    1
}

async fn sum(mut gather: Gather<u64>) -> Result<u64> {
    Ok(gather.next_value().await?.unwrap_or(0))
}

#[asset(crate = facade, scatter(items = one))]
async fn no_list(number: Item<u64>) -> u64 {
    *number
}

#[asset(crate = facade, scatter(items = all, gather = sum() -> String))]
async fn other_type(number: Item<u64>) -> u64 {
    *number
}

#[asset(crate = facade, scatter(items = all))]
async fn no_upstream(number: Item<u64>, nothing: u64) -> u64 {
    *number + nothing
}

#[asset(crate = facade, scatter(items = all(nothing)))]
async fn no_upstream_of_items(number: Item<u64>) -> u64 {
    *number
}

fn main() {}
