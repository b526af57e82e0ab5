//! A key's value has another type than the builder's method takes.

use flowstone_macros::asset;

#[asset(deadline = 60, retry = 3)]
async fn flights() -> u64 {
    1
}

fn main() {}
