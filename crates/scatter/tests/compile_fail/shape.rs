use flowstone_macros::asset;
use flowstone_scatter::{Batches, Item, ItemBatch};

mod facade {
    pub(super) use flowstone_core::__private;
    pub(super) use flowstone_scatter as scatter;
}

async fn all() -> Vec<u64> {
    vec![1]
}

#[asset(crate = facade, scatter(max_concurrent = 4))]
async fn from_nowhere(number: Item<u64>) -> u64 {
    *number
}

#[asset(crate = facade, scatter(items = all, gather = sum, max_concurency = 4))]
async fn of_no_type(number: Item<u64>) -> u64 {
    *number
}

#[asset(crate = facade, scatter(items = || async { vec![1_u64] }))]
async fn of_a_closure(number: Item<u64>) -> u64 {
    *number
}

#[asset(crate = facade, scatter(items = all, batch = Batches::count(2)))]
fn alone(number: Item<u64>) -> u64 {
    *number
}

#[asset(crate = facade, scatter(items = all))]
async fn together(numbers: ItemBatch<u64>) -> u64 {
    numbers[0].index()
}

fn main() {}
