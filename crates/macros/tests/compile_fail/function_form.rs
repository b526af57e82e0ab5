//! Forms of functions, and things that are none.

use flowstone_macros::asset;

#[asset]
async fn generic<T: Default>() -> T {
    T::default()
}

#[asset]
unsafe extern "C" fn foreign() -> u64 {
    1
}

#[asset]
fn unnamed() -> impl Iterator<Item = u64> {
    [1].into_iter()
}

#[asset]
struct Flights;

fn main() {}
