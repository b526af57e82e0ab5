//! The error of a `Result` does not become Flowstone's.

use flowstone_macros::asset;

struct Broken;

#[asset]
async fn flights() -> Result<u64, Broken> {
    Err(Broken)
}

fn main() {}
