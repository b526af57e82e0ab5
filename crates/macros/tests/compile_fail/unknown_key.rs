//! Keys that `#[asset]` does not have, or that are given in another form.

use flowstone_macros::asset;

#[asset(partition = Daily::from("2013-01-01"), timeout = Duration::from_secs(5))]
async fn flights() -> u64 {
    1
}

#[asset(colour("red"), group = "a", group = "b", acts_outside = true, tags = "daily", name = "", io)]
async fn planes() -> u64 {
    1
}

fn main() {}
